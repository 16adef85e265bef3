"""Checkpoints: verified, keyed to their work, never a silent fresh start."""

import pytest
import torch

from components.errors import StorageError
from components.storage.checkpoints import CheckpointFolder, restore_rng_state, rng_state


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


def test_the_random_state_survives_a_round_trip():
    torch.manual_seed(3)
    torch.rand(5)
    state = rng_state()
    expected = torch.rand(4)
    torch.rand(100)
    restore_rng_state(state)
    assert torch.equal(torch.rand(4), expected)
