"""Mentions: longest match, word bounds, negation."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.knowledge_base.loading import load_knowledge_base
from components.rewards.mentions import MentionFinder

FINDER = MentionFinder(load_knowledge_base(Path(__file__).parents[2] / "data/knowledge_base"))


def negated(text: str) -> dict[str, bool]:
    return {mention.phrase.lower(): mention.is_negated for mention in FINDER.find(text) if mention.keys("drug")}


def test_the_longest_phrase_wins():
    assert [mention.phrase for mention in FINDER.find("Give amoxicillin-clavulanate now")] == ["amoxicillin-clavulanate"]


def test_a_name_inside_a_word_is_no_mention():
    assert FINDER.find("crpx xsalbutamolx") == []


def test_positions_are_those_of_the_text():
    text = "First, Salbutamol; then spirometry."
    assert [text[mention.start : mention.end] for mention in FINDER.find(text)] == ["Salbutamol", "spirometry"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Avoid ibuprofen in pregnancy. Use paracetamol.", {"ibuprofen": True, "paracetamol": False}),
        ("Ibuprofen should be avoided.", {"ibuprofen": True}),
        ("Doxycycline is contraindicated, use amoxicillin.", {"doxycycline": True, "amoxicillin": False}),
        ("Give salbutamol, not ibuprofen.", {"salbutamol": False, "ibuprofen": True}),
        ("Do not take warfarin but take aspirin.", {"warfarin": True, "aspirin": False}),
        ("Cough not improving with antibiotics is treated with rifampicin.", {"rifampicin": False}),
    ],
)
def test_negation_stays_within_its_clause(text, expected):
    assert negated(text) == expected


@given(st.text(max_size=200))
def test_any_text_is_read_without_error_and_without_overlaps(text):
    mentions = FINDER.find(text)
    assert all(first.end <= second.start for first, second in pairwise(mentions))
    assert all(text[mention.start : mention.end] == mention.phrase for mention in mentions)
