"""The readers: what they find, and that no text makes them raise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.rewards.answer_parsing import last_field, last_object, listed_items, split_reasoning
from components.rewards.choice_reading import read_choice
from components.rewards.format_reward import has_final_form, has_think_block
from components.rewards.verifiers.registry import VERIFIERS

OPTIONS = {"A": "yes", "B": "no", "C": "maybe"}
REFERENCES = {
    "icd_diagnosis": {"icd10": "J45.9"},
    "drug_choice": {"acceptable": ["a"], "forbidden": ["b"]},
    "test_ordering": {"tests": [["ecg"]], "decoys": []},
    "exam_answer": {"answer": ["a"], "options": ["a", "b"]},
    "exact_text": {"accept": ["a"]},
    "listing": {"items": ["a", "b"]},
    "grounded": {"facts": [["a"]], "relevant": [1]},
    "safety": {"expect": "warn", "about": []},
}
# Text that looks like answers, beside arbitrary text.
ANSWER_LIKE = st.lists(
    st.sampled_from(["<think>", "</think>", "{", "}", "[", "]", '"answer"', '"icd10"', '"drugs"', ":", '"a"', "J45.9", "[1]", "tests:", ";", ",", "no", "\\", "1e999", " "]),
    max_size=30,
).map("".join)


@given(text=st.one_of(st.text(max_size=200), ANSWER_LIKE))
@settings(max_examples=300, deadline=None)
def test_no_text_makes_a_reader_or_verifier_raise(text):
    read_choice(text, OPTIONS)
    has_think_block(text)
    for name, verifier in VERIFIERS.items():
        has_final_form(name, text)
        score = verifier(text, REFERENCES[name]).score
        assert score is not None and 0.0 <= score <= 1.0


@given(depth=st.integers(500, 4000))
@settings(max_examples=5, deadline=None)
def test_deeply_nested_text_is_no_object(depth):
    assert last_object('{"a":' * depth) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>wheeze</think>answer", ("wheeze", "answer")),
        ("plain answer", (None, "plain answer")),
        ("<think>a</think>x<think>b</think>y", ("a</think>x<think>b", "y")),
        ("never opened</think>z", ("never opened", "z")),
        ("<think>cut off", (None, "<think>cut off")),
    ],
)
def test_final_answer_is_what_follows_the_last_closed_block(text, expected):
    assert split_reasoning(text) == expected


def test_the_last_object_wins_and_nested_ones_belong_to_theirs():
    assert last_object('{"answer": "a"} no: {"answer": "b", "why": {"answer": "c"}} done') == {"answer": "b", "why": {"answer": "c"}}


def test_a_field_of_broken_json_is_still_read():
    assert last_field('{"answer": "a", "why": "it said "quoted" things"}', "answer") == "a"


def test_and_does_not_separate_items():
    assert listed_items("urea and electrolytes; fever") == ["urea and electrolytes", "fever"]


def test_bullets_and_case_are_taken_off():
    assert listed_items("- Fever\n2. Cough\n- fever") == ["fever", "cough"]
