"""Weights handed to an engine: whole, cast, named as in a checkpoint, and gone when no longer needed."""

import pytest
import torch
from safetensors.torch import load_file

from components.errors import StorageError
from components.generation.weight_folder import LOCK, PREFIX, WeightFolder


def test_the_newest_version_lies_there_alone_and_nothing_at_the_end(tmp_path, tiny_model):
    weights = WeightFolder(dtype=torch.float32, memory=tmp_path)
    weights.write(tiny_model, version=1)
    with torch.no_grad():
        tiny_model.lm_head.weight.add_(1.0)
    folder = weights.write(tiny_model, version=2)
    assert folder.is_absolute() and folder.parent.parent == tmp_path
    assert [path.name for path in folder.parent.glob("weights-*")] == ["weights-000002"]
    written = load_file(folder / "model.safetensors")
    assert written.keys() == tiny_model.state_dict().keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in tiny_model.state_dict().items())
    weights.close()
    assert list(tmp_path.iterdir()) == []


def test_tensors_are_cast_and_a_tied_head_is_left_out(tmp_path, tiny_model):
    tiny_model.config.tie_word_embeddings = True
    tiny_model.lm_head.weight = tiny_model.model.embed_tokens.weight
    weights = WeightFolder(dtype=torch.bfloat16, memory=tmp_path)
    folder = weights.write(tiny_model, version=1)
    written = load_file(folder / "model.safetensors")
    assert "lm_head.weight" not in written and "model.embed_tokens.weight" in written
    assert {tensor.dtype for tensor in written.values()} == {torch.bfloat16}


def test_a_small_memory_folder_is_left_for_the_disk(tmp_path, tiny_model, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "disk"))
    (tmp_path / "disk").mkdir()
    (tmp_path / "memory").mkdir()
    folder = WeightFolder(dtype=torch.float32, memory=tmp_path / "memory").write(tiny_model, version=1)
    assert folder.parent.parent == tmp_path / "disk"


def test_a_full_disk_leaves_no_half_version(tmp_path, tiny_model, monkeypatch):
    def fails(*arguments, **options):
        raise OSError(28, "No space left on device")

    weights = WeightFolder(dtype=torch.float32, memory=tmp_path)
    weights.write(tiny_model, version=1)
    monkeypatch.setattr("safetensors.torch.save_file", fails)
    with pytest.raises(StorageError, match="No space left"):
        weights.write(tiny_model, version=2)
    assert [path.name for path in next(tmp_path.iterdir()).glob("*weights-*")] == ["weights-000001"]


def test_a_forgotten_folder_is_removed(tmp_path, tiny_model):
    weights = WeightFolder(dtype=torch.float32, memory=tmp_path)
    weights.write(tiny_model, version=1)
    del weights
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_a_live_ones_is_not(tmp_path, tiny_model):
    live = WeightFolder(dtype=torch.float32, memory=tmp_path)
    folder = live.write(tiny_model, version=1)
    abandoned = tmp_path / f"{PREFIX}killed"
    (abandoned / "weights-000001").mkdir(parents=True)
    (abandoned / LOCK).touch()  # nobody holds it
    starting = tmp_path / f"{PREFIX}starting"  # made, and not locked yet
    starting.mkdir()
    WeightFolder(dtype=torch.float32, memory=tmp_path).write(tiny_model, version=1)
    assert not abandoned.exists() and starting.exists() and (folder / "model.safetensors").is_file()
