"""The stages that read patients' text, over records whose identifiers are known: none of them in any log, record or event."""

import json
from pathlib import Path

import pytest

from components import layout
from components.errors import QuarkmedError
from components.launch.local_process import LocalProcess
from components.pipeline.events import RunEvents

SHORTEST = 9  # a shorter identifier may stand in a time stamp or a digest by chance


@pytest.fixture
def identifiers(linked_project: Path):
    """Return a reader of the identifiers that `sources` planted."""

    def read() -> set[str]:
        texts = {}
        for path in (layout.RAW_DOCUMENTS, layout.RAW_RECORDS):
            texts |= {item["id"]: item["text"] for item in map(json.loads, (linked_project / path).read_text().splitlines())}
        spans = [json.loads(line) for line in (linked_project / layout.GOLD_SPANS).read_text().splitlines()]
        return {texts[item["id"]][span["start"] : span["end"]] for item in spans for span in item["spans"] if span["end"] - span["start"] >= SHORTEST}

    return read


def kept_texts(project: Path) -> dict[str, str]:
    """Return what a run leaves beside its outputs: logs, events, records, samples, tables."""
    files = [path for folder in ("runs", "var/work") for path in (project / folder).rglob("*") if path.is_file()]
    return {path.relative_to(project).as_posix(): path.read_text(encoding="utf-8", errors="replace") for path in files}


def run_stages(project: Path, names: tuple[str, ...]) -> list[str]:
    """Run stages as a run does, in a worker with its log; return what failed."""
    events = RunEvents(project / "runs" / "r1")
    worker, said = LocalProcess(project, log=events.folder / "logs" / "stages.log"), []
    try:
        for name in names:
            try:
                worker.call("components.pipeline.running:execute_stage", name=name, root=str(project))
                events.stage(name, "ran", reason="never ran")
            except QuarkmedError as error:
                said.append(str(error))
                events.stage(name, "failed", reason=str(error))
        events.end("failed" if said else "finished", cause="".join(said))
    finally:
        worker.close()
    return said


def test_no_identifier_of_a_record_is_in_any_log_even_where_a_stage_fails(linked_project, identifiers):
    assert run_stages(linked_project, ("sources", "curate")) == []
    known = identifiers()
    assert len(known) > 50
    kept = kept_texts(linked_project)
    assert {"runs/r1/logs/stages.jsonl", "runs/r1/logs/flow.jsonl", "runs/r1/events.jsonl"} <= set(kept)
    logged = [json.loads(line) for line in kept["runs/r1/logs/stages.jsonl"].splitlines()]
    assert [(line["stage"], line["event"]) for line in logged if line["event"].startswith("stage ")] == [
        (name, event) for name in ("sources", "curate") for event in ("stage began", "stage ended")
    ]
    found = {path for path, text in kept.items() if any(word in text for word in known)}
    assert found == set()

    # A record that the stage was not written for: nothing of the line is quoted.
    records = linked_project / layout.RAW_RECORDS
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    records.write_text("".join(json.dumps({**row, "type": row["text"]} if number == 3 else row) + "\n" for number, row in enumerate(rows)))
    (said,) = run_stages(linked_project, ("curate",))
    assert f"{layout.RAW_RECORDS}:4: type: " in said
    assert {path for path, text in kept_texts(linked_project).items() if any(word in text for word in known)} == set()
