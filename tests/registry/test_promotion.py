"""Promotion: one champion whatever happens at once, and whatever is killed in the middle."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.errors import StorageError
from components.registry.journal import Entry, Journal, PromotionConflict
from components.registry.process_names import process_name
from components.registry.promotion import CHAMPION, PREVIOUS, Candidate, promote, recover

MODEL = "quarkmed"


class Killed(BaseException):
    """Stands for `kill -9`: nothing after it runs."""


class FakeAliases:
    """A registry's aliases in memory; may be told to die before or after the n-th write."""

    def __init__(self, versions: tuple[str, ...] = ("1", "2", "3"), *, die_before: int | None = None, die_after: int | None = None) -> None:
        self.aliases: dict[str, str] = {}
        self.versions = set(versions)
        self.writes = 0
        self.die_before, self.die_after = die_before, die_after

    def get_alias(self, alias: str) -> str | None:
        return self.aliases.get(alias)

    def set_alias(self, alias: str, version: str) -> None:
        self.writes += 1
        if self.writes == self.die_before:
            raise Killed
        self.aliases[alias] = version
        if self.writes == self.die_after:
            raise Killed

    def has_version(self, version: str) -> bool:
        return version in self.versions


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(f"sqlite:///{tmp_path / 'journal.db'}")


def candidate(version: str, key: str | None = None) -> Candidate:
    return Candidate(MODEL, version, key or f"key-{version}", {"reasons": []})


def abandon(journal: Journal) -> None:
    """Make the open entry belong to a process that is gone."""
    import sqlalchemy as sa

    from components.registry.journal import TABLE

    with journal._engine.begin() as connection:
        connection.execute(sa.update(TABLE).values(details='{"process": "elsewhere:1:1.0", "reasons": []}'))


def test_a_promotion_sets_both_aliases_and_is_committed(journal):
    aliases = FakeAliases()
    promote(journal, aliases, candidate("1"), expected_champion=None)
    promote(journal, aliases, candidate("2"), expected_champion="1")
    assert aliases.aliases == {CHAMPION: "2", PREVIOUS: "1"}
    assert [(entry.sequence, entry.kind, entry.version) for entry in journal.entries(MODEL)] == [
        (1, "PREPARED", "1"), (2, "COMMITTED", "1"), (3, "PREPARED", "2"), (4, "COMMITTED", "2"),
    ]  # fmt: skip


def test_the_wrong_expectation_is_refused_and_changes_nothing(journal):
    aliases = FakeAliases()
    promote(journal, aliases, candidate("1"), expected_champion=None)
    with pytest.raises(PromotionConflict, match="is version 1, not None"):
        promote(journal, aliases, candidate("2"), expected_champion=None)
    assert aliases.aliases == {CHAMPION: "1"} and len(journal.entries(MODEL)) == 2


def test_a_version_the_registry_lacks_is_refused(journal):
    with pytest.raises(StorageError, match="no version 9"):
        promote(journal, FakeAliases(), candidate("9"), expected_champion=None)
    assert journal.entries(MODEL) == []


# Writes of the second promotion: 1 previous_champion, 2 champion.
@pytest.mark.parametrize(("die_before", "die_after", "served"), [(1, None, "1"), (2, None, "1"), (None, 1, "1"), (None, 2, "2")])
def test_killed_at_any_write_the_next_start_finishes_and_says_so(journal, die_before, die_after, served):
    aliases = FakeAliases()
    promote(journal, aliases, candidate("1"), expected_champion=None)
    dying = FakeAliases(die_before=die_before, die_after=die_after)
    dying.aliases = aliases.aliases
    with pytest.raises(Killed):
        promote(journal, dying, candidate("2"), expected_champion="1")
    assert aliases.aliases[CHAMPION] == served  # never neither
    abandon(journal)
    assert recover(journal, aliases, model=MODEL) == ["finished promotion 3: version 2 of quarkmed is champion"]
    assert aliases.aliases == {CHAMPION: "2", PREVIOUS: "1"}
    assert [entry.kind for entry in journal.entries(MODEL)][-2:] == ["PREPARED", "COMMITTED"]
    assert recover(journal, aliases, model=MODEL) == []


def test_a_prepared_version_that_is_gone_is_aborted_and_said(journal):
    aliases = FakeAliases()
    promote(journal, aliases, candidate("1"), expected_champion=None)
    with pytest.raises(Killed):
        promote(journal, FakeAliases(die_before=1), candidate("2"), expected_champion="1")
    abandon(journal)
    aliases.versions.discard("2")
    assert recover(journal, aliases, model=MODEL) == ["aborted promotion 3: the registry does not hold version 2 of quarkmed; the champion is unchanged"]
    assert aliases.aliases == {CHAMPION: "1"} and journal.champion(MODEL).version == "1"
    promote(journal, aliases, candidate("3"), expected_champion="1")  # the way is free again


def test_a_promotion_of_a_living_process_is_left_alone(journal):
    entry = Entry(model=MODEL, version="1", kind="PREPARED", action="promote", decision_key="k", who="a@b", details={"process": "1"})
    journal.prepare(entry, expected_champion=None)
    import json
    import os
    import socket

    import psutil
    import sqlalchemy as sa

    from components.registry.journal import TABLE

    parent = psutil.Process(os.getppid())
    name = f"{socket.gethostname()}:{parent.pid}:{parent.create_time():.2f}"
    with journal._engine.begin() as connection:
        connection.execute(sa.update(TABLE).values(details=json.dumps({"process": name})))
    assert recover(journal, FakeAliases(), model=MODEL) == ["promotion 1 of version 1 by a@b is under way"]
    assert process_name() != name


def test_aliases_moved_by_hand_are_set_back(journal):
    aliases = FakeAliases()
    promote(journal, aliases, candidate("1"), expected_champion=None)
    aliases.aliases[CHAMPION] = "3"
    assert recover(journal, aliases, model=MODEL) == ["set the alias champion back to version 1, as the journal says"]
    assert aliases.aliases[CHAMPION] == "1"


def test_ten_promotions_at_once_leave_one_champion_and_a_whole_history(tmp_path):
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    aliases, barrier = FakeAliases(tuple(str(number) for number in range(10))), threading.Barrier(10)
    Journal(url)

    def attempt(number: int) -> str:
        mine = Journal(url)
        barrier.wait()
        try:
            promote(mine, aliases, candidate(str(number)), expected_champion=None)
        except PromotionConflict:
            return "refused"
        return str(number)

    with ThreadPoolExecutor(10) as pool:
        outcomes = list(pool.map(attempt, range(10)))
    winners = [outcome for outcome in outcomes if outcome != "refused"]
    entries = Journal(url).entries(MODEL)
    assert len(winners) == 1
    assert aliases.aliases[CHAMPION] == winners[0] == Journal(url).champion(MODEL).version
    assert [(entry.sequence, entry.kind) for entry in entries] == [(1, "PREPARED"), (2, "COMMITTED")]


def test_a_decision_stands_until_another_candidate_is_promoted(journal):
    aliases = FakeAliases()
    promote(journal, aliases, candidate("1", "a"), expected_champion=None)
    journal.note(Entry(model=MODEL, version="2", kind="REFUSED", action="refuse", decision_key="b", who="x"))
    assert journal.last_decision(MODEL, "a").kind == "COMMITTED"
    assert journal.last_decision(MODEL, "b").kind == "REFUSED"
    assert journal.last_decision(MODEL, "c") is None
    promote(journal, aliases, candidate("3", "c"), expected_champion="1")
    assert journal.last_decision(MODEL, "b") is None  # the champion is another one: to be judged anew
    promote(journal, aliases, candidate("1", "a"), expected_champion="3", action="rollback")
    assert journal.last_decision(MODEL, "c").kind == "COMMITTED"  # a rollback does not let the same candidate in again
