"""A project made by hand: files, dvc.lock, DVC's cache, git, store and registry, without running a stage."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.pipeline.run_reference import head_commit, keep_run
from components.registry.promotion import Candidate, promote
from components.registry.versions import MlflowVersions
from components.storage.artifact_store import ArtifactStore, ModelReference, read_reference, write_reference
from components.tracking.replay import replay_stage, start_run
from components.tracking.tracking_store import open_client

ROOT = Path(__file__).resolve().parents[2]
CODE = "c0de".ljust(32, "0") + ".dir"


class HandMadeProject:
    """Stages are declared with the files they read and made; `lock` then writes what DVC would have."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stages: dict[str, dict[str, Any]] = {}
        root.mkdir(parents=True)
        for name in ("params.yaml", "dvc.yaml", ".gitignore"):
            shutil.copyfile(ROOT / name, root / name)
        (root / ".dvc").mkdir()
        shutil.copyfile(ROOT / ".dvc" / "config", root / ".dvc" / "config")
        self._git("init", "-q")
        self._git("add", "-A")
        self._git("commit", "-qm", "start")

    def write(self, path: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a JSON-lines file."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def publish(self, name: str, weight: str, *, parent: str | None = None) -> ModelReference:
        """Publish a model of a few bytes and write its reference."""
        folder = self.root / "var" / "made" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_text(weight)
        digest = read_reference(self.root / f"models/{parent}.json").digest if parent else None
        reference = ArtifactStore(self.root / "var" / "store").publish(folder, parent=digest)
        write_reference(self.root / f"models/{name}.json", reference)
        return reference

    def stage(self, name: str, *, reads: Iterable[str], makes: Iterable[str], parameters: Mapping[str, Any] | None = None) -> None:
        """Declare a stage as committed."""
        self.stages[name] = {"reads": tuple(reads), "makes": tuple(makes), "parameters": dict(parameters or {})}

    def lock(self) -> None:
        """Write dvc.lock and put every data version into DVC's cache."""
        rows = {
            name: {
                "cmd": f"quarkmed stage {name}", "deps": [self._item(path) for path in row["reads"]],
                "params": {"params.yaml": row["parameters"]}, "outs": [self._item(path) for path in row["makes"]],
            }
            for name, row in self.stages.items()
        }  # fmt: skip
        (self.root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": rows}))

    def md5(self, path: str) -> str:
        """Return DVC's digest of a path as it is now."""
        return str(self._item(path)["md5"])

    def cached(self, md5: str) -> Path:
        """Return where DVC's cache keeps a data version."""
        return self.root / "var" / "dvc-cache" / "files" / "md5" / md5[:2] / md5[2:]

    def keep(self, run: str) -> str | None:
        """Keep the run as its end does."""
        self.lock()
        return keep_run(self.root, run, message=f"quarkmed run {run}")

    def register(self, run: str, *, promoted: bool = True) -> str:
        """Replay every stage, register the candidate and promote it, as `retrain` does; return the version."""
        root, client = str(self.root), open_client(self.root)
        start_run(root, run, tags={"quarkmed.profile": "laptop"})
        reference = read_reference(self.root / "models/grpo_general.json")
        replayed: dict[str, tuple[str, str]] = {}
        for name, row in self.stages.items():
            outputs = {path: self.md5(path) for path in row["makes"]}
            key = hashlib.sha256(json.dumps([name, outputs]).encode()).hexdigest()
            folder = self.root / "var" / "work" / name / key[:20]
            folder.mkdir(parents=True, exist_ok=True)
            models = {"models/grpo_general.json": reference.model_dump()} if name == "grpo_general" else {}
            replayed[name] = key, replay_stage(root, run, {"name": name, "key": key, "folder": str(folder), "parameters": {"run": {"seed": 20}}, "outputs": outputs, "models": models})
        key, last = replayed["grpo_general"]
        versions = MlflowVersions(client, "quarkmed")
        lineage = {"run": run, "profile": "laptop", "git_sha": head_commit(self.root), "git_dirty": "false", "model_digest": reference.digest}
        lineage |= {path: self.md5(path) for row in self.stages.values() for path in row["reads"]}
        version = versions.register(
            stage_key=key, run_id=last, artifact="models/grpo_general", tags={f"quarkmed.{name}": value for name, value in lineage.items()}, description=""
        )
        if promoted:
            from components.registry.journal import open_journal

            journal = open_journal(self.root)
            champion = journal.champion("quarkmed")
            details = {"run": run, "reference": reference.model_dump(), "reasons": [f"better in {run}"], "verdict": None}
            promote(journal, versions, Candidate("quarkmed", version, key, details), expected_champion=champion.version if champion else None, who="ann@desk")
        return version

    def _item(self, path: str) -> dict[str, Any]:
        absolute = self.root / path
        if path.startswith("components/"):
            return {"path": path, "hash": "md5", "md5": CODE, "size": 1, "nfiles": 1}
        if absolute.is_dir():
            files = [{"md5": self._cache(file), "relpath": file.relative_to(absolute).as_posix()} for file in sorted(absolute.rglob("*")) if file.is_file()]
            listing = json.dumps(files).encode()
            md5 = f"{hashlib.md5(listing).hexdigest()}.dir"
            self._store(md5, listing)
            return {"path": path, "hash": "md5", "md5": md5, "size": sum((absolute / item["relpath"]).stat().st_size for item in files), "nfiles": len(files)}
        return {"path": path, "hash": "md5", "md5": self._cache(absolute), "size": absolute.stat().st_size}

    def _cache(self, file: Path) -> str:
        content = file.read_bytes()
        md5 = hashlib.md5(content).hexdigest()
        self._store(md5, content)
        return md5

    def _store(self, md5: str, content: bytes) -> None:
        self.cached(md5).parent.mkdir(parents=True, exist_ok=True)
        self.cached(md5).write_bytes(content)

    def _git(self, *arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], cwd=self.root, check=True, capture_output=True)


DOCUMENTS = [
    {"id": "book-1", "source_ids": ["book-1", "book-2"], "record_ids": [], "text": "one"},
    {"id": "visit-7", "source_ids": ["visit-7"], "record_ids": ["patient-9"], "text": "words of visit 7"},
    {"id": "visit-8", "source_ids": ["visit-8"], "record_ids": ["patient-8"], "text": "words of visit 8"},
]


def _declare_stages(project: HandMadeProject) -> None:
    project.stage("curate", reads=["artifacts/sources", "components/curation"], makes=["artifacts/curate"], parameters={"run": {"seed": 20}})
    project.stage("holdout", reads=["artifacts/curate/documents.jsonl"], makes=["artifacts/holdout"])
    project.stage("pretraining", reads=["artifacts/curate/documents.jsonl", "artifacts/holdout"], makes=["models/base.json"], parameters={"run": {"seed": 20}, "model": {"layers": 2}})
    project.stage("instructions", reads=["artifacts/holdout"], makes=["artifacts/instructions"])
    project.stage("ift", reads=["models/base.json", "artifacts/instructions"], makes=["models/ift.json"])
    project.stage("grpo_general", reads=["models/ift.json", "artifacts/holdout/validation.jsonl"], makes=["models/grpo_general.json"], parameters={"grpo_general": {"steps": 3}})
    project.stage("evaluate", reads=["models/grpo_general.json", "artifacts/holdout/test.jsonl"], makes=["artifacts/evaluate"])


def _write_files(project: HandMadeProject, documents: list[dict[str, Any]], *, weight: str) -> None:
    project.write("artifacts/sources/documents.jsonl", [{"id": "book-1"}, {"id": "book-2"}, {"id": "advert-1"}])
    project.write("artifacts/sources/records.jsonl", [{"id": item["id"], "record_ids": item["record_ids"], "text": f"raw {item['text']}"} for item in documents if item["record_ids"]])
    project.write("artifacts/sources/triples.jsonl", [{"subject": "croup", "predicate": "treated_with", "object": "dexamethasone"}])
    project.write("artifacts/curate/documents.jsonl", documents)
    project.write("artifacts/curate/rejections.jsonl", [{"id": "advert-1", "filter": "boilerplate", "reason": "5 stock phrases"}])
    shown = [{"document_id": "book-1", "text": "one"}]
    project.write("artifacts/holdout/train.jsonl", [{"id": "case-1", "source_ids": ["book-1", "book-2"], "record_ids": [], "passages": shown}, {"id": "case-2", "source_ids": []}])
    project.write("artifacts/holdout/validation.jsonl", [{"id": "case-3", "source_ids": ["book-2"]}])
    project.write("artifacts/holdout/test.jsonl", [{"id": "case-4", "source_ids": []}])
    samples = [{"id": f"instruction-case-{number}", "case_id": f"case-{number}", "source_ids": []} for number in (1, 2)]
    project.write("artifacts/instructions/samples.jsonl", samples)
    project.write("artifacts/evaluate/report.jsonl", [])
    project.publish("base", f"base {weight}")
    project.publish("ift", f"base {weight}", parent="base")  # no step was better: the parent's own bytes
    project.publish("grpo_general", f"grpo {weight}", parent="ift")


@pytest.fixture
def two_runs(plain: HandMadeProject) -> HandMadeProject:
    """Return `plain` after a second kept run, made without visit-8; nothing is registered. A report of curate stays the same."""
    shutil.rmtree(plain.root / ".git" / "refs" / "quarkmed")
    for number, documents in ((1, DOCUMENTS), (2, DOCUMENTS[:1])):
        _write_files(plain, documents, weight=str(number))
        (plain.root / "artifacts/curate/report.json").write_text("{}")
        (plain.root / "artifacts/holdout/report.json").write_text(str(number))
        plain.write("artifacts/evaluate/report.jsonl", [{"id": f"answer-{number}"}])
        plain.keep(f"2026010{number}-000000-aaaa")
    return plain


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> HandMadeProject:
    """Return a project with version 1, made with visit-7, and version 2, the champion, made without it. Not to be changed."""
    project = HandMadeProject(tmp_path_factory.mktemp("two") / "project")
    for number, documents in ((1, DOCUMENTS), (2, [item for item in DOCUMENTS if item["id"] != "visit-7"])):
        _write_files(project, documents, weight=str(number))
        _declare_stages(project)
        project.keep(f"2026010{number}-000000-aaaa")
        project.register(f"2026010{number}-000000-aaaa")
    return project


@pytest.fixture
def copied(two_versions: HandMadeProject, tmp_path: Path) -> HandMadeProject:
    """Return a copy of the project that a test may change."""
    shutil.copytree(two_versions.root, tmp_path / "project", symlinks=True)
    project = object.__new__(HandMadeProject)
    project.root, project.stages = tmp_path / "project", dict(two_versions.stages)
    return project


@pytest.fixture
def plain(tmp_path: Path) -> HandMadeProject:
    """Return a project whose one run was kept and never registered; made in a moment, since it has no MLflow."""
    project = HandMadeProject(tmp_path / "project")
    _write_files(project, [item for item in DOCUMENTS if item["id"] != "visit-7"], weight="1")
    _declare_stages(project)
    project.keep("20260101-000000-aaaa")
    return project


@pytest.fixture
def quarkmed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a runner of the command line in this process, where MLflow is imported already: quarkmed(folder, "explain", "1")."""
    from flows import cli

    def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr("sys.argv", ["quarkmed", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, ended.value.code or 0, told.out, told.err)

    return run
