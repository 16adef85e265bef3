"""Rollback: the routine of promotion, only to what was champion once and can be served."""

import shutil

import pytest

from components.errors import StorageError, UserError
from components.registry.approval import Answer, settle_by_person
from components.registry.assessment import assess_version
from components.registry.promotion import Candidate, promote
from components.registry.rollback import roll_back
from components.registry.versions import PURGED

MODEL = "quarkmed"


@pytest.fixture
def promoted(project):
    """Return the project with version 2 promoted over version 1."""
    settle_by_person(project.root, assess_version(project.root, "2", score=project.score), Answer("promote", "ann", "better"))
    return project


def purge(project, version: str) -> None:
    """Leave a version as purge 4 does: without its model's files, and marked."""
    digest = project.versions.client.get_model_version(MODEL, version).tags["quarkmed.model_digest"]
    shutil.rmtree(project.root / "var" / "store" / "models" / digest[:32])
    project.versions.client.set_model_version_tag(MODEL, version, PURGED, "4")


def test_back_to_the_champion_before_with_who_and_why(promoted):
    settled = roll_back(promoted.root, who="ben", why="wrong doses")
    assert (settled["version"], settled["before"]) == ("1", "2")
    assert promoted.aliases == {"champion": "1", "previous_champion": "2", "challenger": "2"}
    last = promoted.journal.entries(MODEL)[-1]
    assert (last.action, last.kind, last.who, last.details["reasons"]) == ("rollback", "COMMITTED", "ben", ["rolled back from version 2 by ben: wrong doses"])
    assert promoted.journal.champion(MODEL).details["reference"]["digest"] == promoted.versions.client.get_model_version(MODEL, "1").tags["quarkmed.model_digest"]
    assert "made champion again (rollback) by ben" in promoted.versions.client.get_model_version(MODEL, "1").description
    assert roll_back(promoted.root, who="ben", why="it was the network", to="2")["version"] == "2"  # and forward again, by name


def test_a_version_that_never_was_champion_is_refused(promoted):
    promoted.register("third", "20260103-000000-cccc")
    with pytest.raises(UserError, match="version 3 never was champion"):
        roll_back(promoted.root, who="ben", why="x", to="3")


@pytest.mark.parametrize(("to", "message"), [("7", "no version or alias '7'"), ("2", "is the champion already")])
def test_a_version_that_is_unknown_or_champion_is_refused(promoted, to, message):
    with pytest.raises(UserError, match=message):
        roll_back(promoted.root, who="ben", why="x", to=to)


def test_the_first_champion_has_none_before(project):
    with pytest.raises(UserError, match="is the first champion"):
        roll_back(project.root, who="ben", why="x")


@pytest.mark.parametrize("damage", ["missing", "damaged", "manifest"])
def test_bytes_that_are_not_as_published_are_refused_and_nothing_changes(promoted, damage):
    before = promoted.aliases
    record = promoted.versions.client.get_model_version(MODEL, "1")
    folder = promoted.root / "var" / "store" / "models" / record.tags["quarkmed.model_digest"][:32]
    if damage == "missing":
        shutil.rmtree(folder)
    elif damage == "damaged":
        (folder / "model.safetensors").write_text("other")
    else:
        shutil.rmtree(record.source.removeprefix("file://"))
    with pytest.raises(StorageError, match="version 1"):
        roll_back(promoted.root, who="ben", why="x")
    assert promoted.aliases == before and promoted.journal.champion(MODEL).version == "2"


def test_a_purged_version_is_refused_before_the_journal_is_written_and_others_are_named(promoted):
    _, reference = promoted.register("third", "20260103-000000-cccc")
    details = {"reference": reference.model_dump(), "reasons": [], "verdict": None}
    promote(promoted.journal, promoted.versions, Candidate(MODEL, "3", "key of run 3", details), expected_champion="2")
    purge(promoted, "2")
    before = (promoted.journal.entries(MODEL), promoted.aliases)
    refused = r"version 2 cannot be served, so no alias was changed: purge 4 of `quarkmed forget` deleted its model's files, .* withdrawn; version 1 can be taken instead$"
    with pytest.raises(StorageError, match=refused):
        roll_back(promoted.root, who="ben", why="x")
    assert (promoted.journal.entries(MODEL), promoted.aliases) == before
    assert roll_back(promoted.root, who="ben", why="x", to="1")["before"] == "3"
    purge(promoted, "3")
    with pytest.raises(StorageError, match=r"purge 4 .* there is no other version to take instead: `quarkmed retrain` makes a new one$"):
        roll_back(promoted.root, who="ben", why="x", to="3")  # 1 is the champion, 2 is purged


def test_no_reason_no_rollback(promoted):
    with pytest.raises(UserError, match="who rolls back and why"):
        roll_back(promoted.root, who="ben", why=" ")
