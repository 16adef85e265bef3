"""Checkpoints: verified, keyed to their work, never a silent fresh start."""

import threading

import pytest
import torch

from components.errors import StorageError
from components.storage.checkpoints import CheckpointFolder


def _save(folder, step, value):
    folder.save(step, tensors={"weight": torch.tensor([value])}, state={"seen": step})


def test_the_newest_checkpoint_comes_back_and_old_ones_go(tmp_path):
    folder = CheckpointFolder(tmp_path / "work", key="k", keep=2)
    for step in (1, 2, 3):
        _save(folder, step, float(step))
    checkpoint, warnings = folder.latest()
    assert (checkpoint.step, checkpoint.tensors["weight"].item(), checkpoint.state) == (3, 3.0, {"seen": 3})
    assert warnings == []
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["step-00000002", "step-00000003"]


def test_a_damaged_checkpoint_is_passed_over_and_said(tmp_path):
    folder = CheckpointFolder(tmp_path / "work", key="k")
    _save(folder, 1, 1.0)
    _save(folder, 2, 2.0)
    with (tmp_path / "work/step-00000002/tensors.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x55")
    checkpoint, warnings = folder.latest()
    assert checkpoint.step == 1
    assert "step-00000002" in warnings[0] and "damaged" in warnings[0]


@pytest.mark.parametrize("name", ["checksums.json", "state.json", "tensors.safetensors"])
def test_no_sound_checkpoint_is_an_error_not_a_fresh_start(tmp_path, name):
    folder = CheckpointFolder(tmp_path / "work", key="k")
    _save(folder, 1, 1.0)
    (tmp_path / "work/step-00000001" / name).write_text("{")
    with pytest.raises(StorageError, match="no checkpoint is sound"):
        folder.latest()


def test_a_checkpoint_of_other_work_is_refused(tmp_path):
    _save(CheckpointFolder(tmp_path / "work", key="old"), 1, 1.0)
    with pytest.raises(StorageError, match="belongs to other work"):
        CheckpointFolder(tmp_path / "work", key="new").latest()


def test_no_checkpoint_at_all_is_a_fresh_start(tmp_path):
    assert CheckpointFolder(tmp_path / "none", key="k").latest() == (None, [])



def test_saving_later_writes_what_was_true_when_it_was_asked(tmp_path):
    folder, weight, state = CheckpointFolder(tmp_path / "work", key="k"), torch.tensor([1.0]), {"seen": [1]}
    gate = _held_writer(folder)
    folder.save_later(1, tensors={"weight": weight}, state=state)
    weight.add_(5.0)
    state["seen"].append(2)
    gate.set()
    checkpoint, _ = folder.latest()  # waits
    assert (checkpoint.tensors["weight"].item(), checkpoint.state) == (1.0, {"seen": [1]})


def test_saving_later_keeps_as_many_and_the_same_bytes(tmp_path):
    now, later = (CheckpointFolder(tmp_path / name, key="k", keep=2) for name in ("now", "later"))
    for step in (1, 2, 3):
        now.save(step, tensors={"weight": torch.tensor([float(step)])}, state={"seen": step})
        later.save_later(step, tensors={"weight": torch.tensor([float(step)])}, state={"seen": step})
    later.finish()
    assert _contents(tmp_path / "later") == _contents(tmp_path / "now")


def test_what_cannot_be_written_later_is_said_by_the_next_save_and_the_one_before_stands(tmp_path):
    folder = CheckpointFolder(tmp_path / "work", key="k")
    _save(folder, 1, 1.0)
    folder.save_later(2, tensors={"weight": torch.tensor([2.0])}, state={"seen": object})  # no JSON
    with pytest.raises(TypeError):
        _save(folder, 3, 3.0)
    assert folder.latest()[0].step == 1
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["step-00000001"]


def test_the_end_of_a_block_waits_and_raises_what_was_lost(tmp_path):
    folder = CheckpointFolder(tmp_path / "work", key="k")
    with folder:
        folder.child("part").save_later(1, tensors={}, state={})
    assert (tmp_path / "work/part/step-00000001").is_dir()
    with pytest.raises(TypeError), folder:
        folder.save_later(1, tensors={}, state={"seen": object})
    with pytest.raises(KeyError) as raised, folder:  # the block's own error is the one that is raised
        folder.save_later(1, tensors={}, state={"seen": object})
        raise KeyError
    assert "a checkpoint was lost" in raised.value.__notes__[0]


def test_a_killed_writers_half_is_swept_away(tmp_path):
    folder = CheckpointFolder(tmp_path / "work", key="k")
    _save(folder, 1, 1.0)
    (tmp_path / "work/.step-00000002.abc.part").mkdir()
    assert folder.latest()[0].step == 1
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["step-00000001"]


def _held_writer(folder):
    """Let the folder's background write wait for the returned event."""
    gate, write = threading.Event(), folder._write
    folder._write = lambda *arguments: (gate.wait(10), write(*arguments))
    return gate


def _contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
