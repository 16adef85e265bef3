"""The house form of chosen answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.answers.annotation import annotate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("asthma is treated with salbutamol [1], [2]", "Asthma is treated with salbutamol [1][2]."),
        ("Asthma is common. [1]", "Asthma is common [1]."),
        ("Tests help [1, 2][2].", "Tests help [1][2]."),
        ("Take  2.5 mg.  Take 2.5 mg.", "Take 2.5 mg."),
    ],
)
def test_citations_and_sentences_take_one_form(text, expected):
    assert annotate(text, is_general=False) == expected


def test_a_general_answer_without_advice_gets_it_and_one_with_advice_does_not():
    assert annotate("Use salbutamol.", is_general=True, has_care_advice=False) == "Use salbutamol. See a doctor if it gets worse."
    assert annotate("Use salbutamol.", is_general=True, has_care_advice=True) == "Use salbutamol."


@given(st.text(max_size=120))
def test_annotating_twice_changes_nothing_more(text):
    once = annotate(text, is_general=False)
    assert annotate(once, is_general=False) == once
