"""A person's decision: who and why are kept, the table's champion is the expectation, a veto stands, a question is answered once."""

import shutil
from dataclasses import replace

import pytest

from components.errors import StorageError, UserError
from components.registry.approval import Answer, settle_by_person
from components.registry.assessment import assess_version
from components.registry.card_keeping import read_card
from components.registry.decision import settled_decision
from components.registry.journal import Entry, PromotionConflict
from components.registry.promotion import CHAMPION, Candidate, promote
from components.registry.versions import PURGED
from components.tracking.tracking_store import open_client

MODEL = "quarkmed"
YES = Answer("promote", "Dr Ruth Adler", "better on verified cases", asked_in="flow-1")


def kinds(project):
    return [(entry.kind, entry.action, entry.version) for entry in project.journal.entries(MODEL)]


BEFORE = [("PREPARED", "promote", "1"), ("COMMITTED", "promote", "1")]


def test_who_and_why_are_kept_with_the_table_and_stand_on_the_card(project):
    settled = settle_by_person(project.root, assess_version(project.root, "2", score=project.score), YES)
    assert (settled["decision"], settled["who"], settled["why"]) == ("promoted", "Dr Ruth Adler", "better on verified cases")
    assert project.aliases == {"champion": "2", "previous_champion": "1", "challenger": "2"}
    last = project.journal.entries(MODEL)[-1]
    assert (last.kind, last.who, last.details["why"], last.champion_before) == ("COMMITTED", "Dr Ruth Adler", "better on verified cases", "1")
    assert last.details["reasons"] == ["promoted by Dr Ruth Adler: better on verified cases"]
    assert {item["suite"] for item in last.details["verdict"]["suites"]} >= {"format", "safety", "leakage", "verified"}
    card = read_card(project.root, open_client(project.root), "2", model=MODEL)
    assert "promoted by Dr Ruth Adler: better on verified cases" in card and "| leakage | veto |" in card
    description = project.versions.client.get_model_version(MODEL, "2").description
    assert "promoted by Dr Ruth Adler" in description and len(description) <= 5000
    assert settled_decision(project.root).kind == "COMMITTED"  # so the next `retrain` has nothing to decide


def test_rejected_the_champion_stays_and_the_reason_is_kept(project):
    settled = settle_by_person(project.root, assess_version(project.root, "2", score=project.score), Answer("reject", "ann", "wait for more cases"))
    assert settled["decision"] == "refused" and project.aliases["champion"] == "1"
    assert kinds(project) == [*BEFORE, ("REFUSED", "reject", "2")]
    assert project.journal.entries(MODEL)[-1].details["reasons"] == ["rejected by ann: wait for more cases"]


@pytest.mark.parametrize(("who", "why"), [("", "why"), ("who", ""), ("who", "  \n")])
def test_without_a_name_or_a_reason_nothing_is_decided(project, who, why):
    with pytest.raises(UserError, match="who decides and why"):
        settle_by_person(project.root, assess_version(project.root, "2", score=project.score), Answer("promote", who, why))
    assert kinds(project) == BEFORE


def test_a_veto_cannot_be_overruled_and_the_attempt_is_kept(project, leaking):
    project.change_rows(leaking)
    with pytest.raises(UserError, match=r"no person can overrule a veto: leakage: 1 of .* exam-7"):
        settle_by_person(project.root, assess_version(project.root, "2", score=project.score), YES)
    assert project.aliases["champion"] == "1"
    assert kinds(project) == [*BEFORE, ("REFUSED", "veto", "2")]
    assert project.journal.entries(MODEL)[-1].who == "Dr Ruth Adler"
    assert "415" not in str(project.journal.entries(MODEL)[-1].details)  # the case is named, never what it said


def test_a_suite_that_did_not_pass_can_be_overruled_and_that_is_kept(project):
    project.change_rows(lambda row: replace(row, score=0.0) if row.suite == "verified" else row)
    assessed = assess_version(project.root, "2", score=project.score)
    assert not assessed.verdict["is_passed"]
    settled = settle_by_person(project.root, assessed, YES)
    assert settled["decision"] == "promoted"
    assert [reason for reason in settled["reasons"] if reason.startswith("overruled: verified: ")]


def test_another_champion_since_the_table_was_shown_refuses(project):
    shown = assess_version(project.root, "2", score=project.score)
    other, reference = project.register("third", "20260103-000000-cccc")
    promote(project.journal, project.versions, Candidate(MODEL, other, "k", {"reference": reference.model_dump()}), expected_champion="1")
    with pytest.raises(PromotionConflict, match="is version 3 now, not version 1 as in the table that was shown; version 2 was not promoted"):
        settle_by_person(project.root, shown, YES)
    assert project.aliases["champion"] == "3" and project.journal.champion(MODEL).version == "3"


def test_a_question_is_answered_once_however_often_its_process_starts_again(project):
    shown = assess_version(project.root, "2", score=project.score)
    first = settle_by_person(project.root, shown, YES)
    again = settle_by_person(project.root, shown, YES)
    assert again["decision"] == first["decision"] == "promoted"
    assert kinds(project) == [*BEFORE, ("PREPARED", "promote", "2"), ("COMMITTED", "promote", "2")]
    with pytest.raises(UserError, match="is the champion already"):
        settle_by_person(project.root, shown, Answer("promote", "ann", "again", asked_in="flow-2"))


def test_killed_between_the_aliases_the_same_question_finishes_and_says_so(project):
    shown = assess_version(project.root, "2", score=project.score)
    details = {"asked_in": YES.asked_in, "reference": dict(shown.reference), "process": "elsewhere:1:1.0", "reasons": []}
    entry = Entry(MODEL, "2", "PREPARED", "promote", shown.decision_key, YES.who, details=details)
    project.journal.prepare(entry, expected_champion="1")
    settled = settle_by_person(project.root, shown, YES)
    assert settled["said"] == ["finished promotion 3: version 2 of quarkmed is champion"] and settled["decision"] == "promoted"
    assert project.aliases["champion"] == "2" and len(kinds(project)) == 4


def test_a_version_whose_bytes_are_gone_is_not_promoted(project):
    shown = assess_version(project.root, "2", score=project.score)
    shutil.rmtree(project.root / "var" / "store" / shown.reference["key"])
    with pytest.raises(StorageError, match=r"version 2 cannot be served, so no alias was changed: the store has no models/.* `quarkmed retrain --revision c0ffee` makes it again"):
        settle_by_person(project.root, shown, YES)
    project.versions.client.set_model_version_tag(MODEL, "2", PURGED, "1")
    with pytest.raises(StorageError, match="version 2 cannot be served, so no alias was changed: purge 1 of `quarkmed forget`"):
        settle_by_person(project.root, shown, YES)
    assert project.aliases[CHAMPION] == "1" and kinds(project) == BEFORE
    rejected = settle_by_person(project.root, shown, replace(YES, choice="reject"))  # what waits for a person need not wait for ever
    assert rejected["decision"] == "refused" and project.aliases[CHAMPION] == "1"
