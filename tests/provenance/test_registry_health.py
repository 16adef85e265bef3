"""What `quarkmed doctor` finds in a registry."""

import shutil

from components.provenance.registry_health import alias_disagreement, dangling_versions, open_promotion, unended_runs
from components.registry.journal import Entry, open_journal
from components.registry.version_reading import open_registry, registered_versions
from components.tracking.replay import end_run


def test_a_sound_registry_has_no_fault(two_versions):
    assert dangling_versions(two_versions.root) == (2, [])
    assert open_promotion(two_versions.root) is None and alias_disagreement(two_versions.root) is None


def test_a_version_whose_bytes_are_gone_dangles(copied):
    digest = registered_versions(open_registry(copied.root), "quarkmed")[0].tags["quarkmed.model_digest"]
    shutil.rmtree(copied.root / "var/store/models" / digest[:32])
    assert dangling_versions(copied.root)[1] == [f"version 1: the store has no models/{digest[:32]}"]


def test_a_prepared_promotion_and_a_wrong_alias_are_said(copied):
    open_registry(copied.root).set_registered_model_alias("quarkmed", "champion", "1")
    assert alias_disagreement(copied.root) == "the alias champion names version 1, the journal says 2"
    entry = Entry(model="quarkmed", version="1", kind="PREPARED", action="promote", decision_key="k", who="ann@desk")
    prepared = open_journal(copied.root).prepare(entry, expected_champion="2")
    assert open_promotion(copied.root) == f"promotion {prepared.sequence} of version 1 by ann@desk is PREPARED and not ended"


def test_a_run_that_mlflow_has_as_running_is_named_until_it_ends(copied):
    assert unended_runs(copied.root) == ["20260102-000000-aaaa", "20260101-000000-aaaa"]  # the fixture never ended them
    for run in unended_runs(copied.root):
        end_run(str(copied.root), run, status="FINISHED", metrics={}, tags={}, files=[])
    assert unended_runs(copied.root) == []
