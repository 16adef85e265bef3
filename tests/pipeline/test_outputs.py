"""Old outputs stand aside while new ones are made: they come back after a failure and survive a kill."""

from pathlib import Path

import pytest

from components.pipeline.graph import StageRow
from components.pipeline.outputs import replaced_outputs

ROW = StageRow("sources", (), (), ("artifacts/sources", "models/base.json"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path, "old")
    return tmp_path


def write(project: Path, text: str) -> None:
    for path in ("artifacts/sources/documents.jsonl", "models/base.json"):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)


def contents(project: Path) -> dict[str, str]:
    return {path.relative_to(project).as_posix(): path.read_text() for path in sorted(project.rglob("*")) if path.is_file()}


def both(text: str) -> dict[str, str]:
    return {"artifacts/sources/documents.jsonl": text, "models/base.json": text}


def test_new_outputs_take_the_place_of_the_old(project):
    with replaced_outputs(project, ROW):
        assert not (project / "artifacts/sources").exists()
        write(project, "new")
    assert contents(project) == both("new")


def test_after_a_failure_the_old_ones_stand_and_the_halves_are_gone(project):
    with pytest.raises(RuntimeError), replaced_outputs(project, ROW):
        (project / "artifacts/sources").mkdir()
        (project / "artifacts/sources/half.jsonl").write_text("half")
        raise RuntimeError
    assert contents(project) == both("old")


def test_after_a_kill_the_next_attempt_still_has_the_old_ones(project):
    killed = replaced_outputs(project, ROW)
    killed.__enter__()
    (project / "models/base.json").write_text("half")  # and here it was killed
    with pytest.raises(RuntimeError), replaced_outputs(project, ROW):
        assert not (project / "models/base.json").exists()
        raise RuntimeError
    assert contents(project) == both("old")


def test_a_first_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), replaced_outputs(tmp_path, ROW):
        write(tmp_path, "half")
        raise RuntimeError
    assert contents(tmp_path) == {}
