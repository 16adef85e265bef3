"""What a registered version says of itself."""

from components.registry.version_reading import VersionRecord


def _record(tags):
    return VersionRecord("quarkmed", "3", "run", "models:/m-1", 0.0, tags, ())


def test_data_versions_are_one_tag_and_no_label():
    record = _record({"quarkmed.run": "r1", "quarkmed.data": '{"data/withdrawn.jsonl": "d41d", "models/base.json": "c375"}', "mlflow.user": "ann"})
    assert record.labels == {"run": "r1"}
    assert record.data == {"data/withdrawn.jsonl": "d41d", "models/base.json": "c375"}


def test_versions_of_before_had_a_tag_for_each_path():
    record = _record({"quarkmed.run": "r1", "quarkmed.artifacts/curate": "26b8.dir"})
    assert (record.labels, record.data) == ({"run": "r1"}, {"artifacts/curate": "26b8.dir"})


def test_a_version_without_data_has_none():
    assert _record({}).data == {}
