"""`python -m bench.who_used`: how long `quarkmed who-used` takes on a million synthetic ids.

A project is made in a temporary folder: documents (every tenth a patient's record), questions of a quarter of them,
samples of the questions; no text. The first question builds the index, later ones check its SHA-256 and look up.
Without the registry: a process that also imports MLflow needs its seconds besides.
"""

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from bench.machine import cpu_text, git_state

PROJECT = Path(__file__).resolve().parents[1]
DOCUMENTS = "artifacts/curate/documents.jsonl"
CASES = "artifacts/holdout/train.jsonl"
SAMPLES = "artifacts/instructions/samples.jsonl"
RECORD_EVERY, CASE_EVERY = 10, 4


def main() -> int:
    """Build, ask, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.who_used", description=__doc__.splitlines()[0])
    parser.add_argument("--ids", type=int, default=1_000_000, help="documents (default: a million)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), arguments.ids)
    sha = git_state(PROJECT).sha
    print(f"{arguments.ids:,} documents, {found['rows']:,} rows with ids, {found['data_mb']:.0f} MB of data; {cpu_text()}; commit {sha[:12] if sha else 'none'}")
    print(f"  build    {found['build_seconds']:8.2f} s   (first question; index {found['index_mb']:.0f} MB)")
    for name, seconds in found["questions"].items():
        print(f"  question {seconds:8.2f} s   ({name})")
    print(json.dumps(found))
    return 0


def measure(root: Path, ids: int) -> dict[str, Any]:
    """Make a project, ask the first and later questions; times in seconds, sizes in 10⁶ bytes."""
    from components.errors import UserError
    from components.provenance.executions import reached_by
    from components.provenance.usage import who_used

    rows = make_project(root, ids)
    last = ids - 1 - (ids - 1) % (RECORD_EVERY * CASE_EVERY)
    started = time.perf_counter()
    first = who_used(root, f"document-{last:08d}")
    built = time.perf_counter() - started
    if not first["index"]["made"]:
        raise AssertionError("the first question made no index")
    questions = {"a document": f"document-{last:08d}", "a patient's record": f"patient-{last:08d}", "a sample": f"sample-{last:08d}", "an unknown id": "nobody"}
    seconds = {}
    for name, asked in questions.items():
        started = time.perf_counter()
        with contextlib.suppress(UserError):
            who_used(root, asked)
        seconds[name] = round(time.perf_counter() - started, 3)
    started = time.perf_counter()
    if not reached_by(root, [questions["a patient's record"]]).files:
        raise AssertionError("the record reached no file")
    seconds["a patient's record, as `forget` follows it"] = round(time.perf_counter() - started, 3)
    return {
        "ids": ids, "rows": rows, "data_mb": _size(root / "artifacts"), "index_mb": _size(root / "var" / "lineage"), "build_seconds": round(built, 2), "questions": seconds,
    }  # fmt: skip


def make_project(root: Path, ids: int) -> int:
    """Write the files and the dvc.lock that names them; return how many rows they have."""
    rows = _write(root / DOCUMENTS, _documents(ids)) + _write(root / CASES, _cases(ids)) + _write(root / SAMPLES, _samples(ids))
    stages = {
        "curate": ((), (DOCUMENTS,)), "holdout": ((DOCUMENTS,), (CASES,)), "pretraining": ((DOCUMENTS, CASES), ("models/base.json",)),
        "instructions": ((CASES,), (SAMPLES,)), "ift": ((SAMPLES, "models/base.json"), ("models/ift.json",)),
    }  # fmt: skip
    lock = {name: {"deps": [_item(root, path) for path in read], "outs": [_item(root, path) for path in made]} for name, (read, made) in stages.items()}
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}), encoding="utf-8")
    return rows


def _documents(ids: int) -> Iterator[dict[str, Any]]:
    for number in range(ids):
        records = [f"patient-{number:08d}"] if number % RECORD_EVERY == 0 else []
        yield {"id": f"document-{number:08d}", "source_ids": [f"document-{number:08d}"], "record_ids": records}


def _cases(ids: int) -> Iterator[dict[str, Any]]:
    for number in range(0, ids, CASE_EVERY):
        shown = [f"document-{other:08d}" for other in (number, (number * 7 + 1) % ids, (number * 13 + 2) % ids)]
        yield {"id": f"case-{number:08d}", "source_ids": shown, "record_ids": [], "passages": [{"document_id": other} for other in shown]}


def _samples(ids: int) -> Iterator[dict[str, Any]]:
    for case in _cases(ids):
        yield {"id": case["id"].replace("case", "sample"), "case_id": case["id"], "source_ids": case["source_ids"], "record_ids": []}


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row) + "\n")
            count += 1
    return count


def _item(root: Path, path: str) -> dict[str, Any]:
    from components.pipeline.dvc_cache import md5_of

    return {"path": path, "md5": md5_of(root / path) if (root / path).is_file() else "0" * 32}


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    raise SystemExit(main())
