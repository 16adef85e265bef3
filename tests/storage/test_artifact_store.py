"""The artifact store: content-addressed, idempotent, verified on read."""

import pytest

from components.errors import StorageError
from components.storage.artifact_store import ArtifactStore, read_reference, write_reference


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_equal_bytes_have_equal_references(tmp_path, model):
    store = ArtifactStore(tmp_path / "store")
    first, second = store.publish(model), store.publish(model)
    assert first == second
    assert first.size_bytes == 2 + 7
    assert (store.fetch(first) / "model.safetensors").read_bytes() == b"weights"


def test_a_reference_survives_its_file(tmp_path, model):
    reference = ArtifactStore(tmp_path / "store").publish(model, parent="abc")
    write_reference(tmp_path / "base.json", reference)
    assert read_reference(tmp_path / "base.json") == reference


def test_damaged_bytes_are_refused(tmp_path, model):
    store = ArtifactStore(tmp_path / "store")
    reference = store.publish(model)
    (store.root / reference.key / "model.safetensors").write_bytes(b"Weights")
    with pytest.raises(StorageError, match="damaged"):
        store.fetch(reference)


def test_a_missing_model_is_named(tmp_path, model):
    reference = ArtifactStore(tmp_path / "store").publish(model)
    with pytest.raises(StorageError, match="no such model"):
        ArtifactStore(tmp_path / "other").fetch(reference)
