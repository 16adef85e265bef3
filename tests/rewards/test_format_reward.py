"""The format reward: exactly one think block and exactly the task's form."""

import pytest

from components.rewards.format_reward import MAXIMUM_REASONING_WORDS, has_final_form, has_think_block


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>wheeze</think>x", True),
        ("x", False),
        ("<think></think>x", False),
        ("<think> </think>x", False),
        ("well <think>a</think>x", False),
        ("<think>a</think><think>b</think>x", False),
        ("<think>a", False),
        (f"<think>{'a ' * MAXIMUM_REASONING_WORDS}</think>x", True),
        (f"<think>{'a ' * (MAXIMUM_REASONING_WORDS + 1)}</think>x", False),
    ],
)
def test_one_short_think_block_that_says_something(text, expected):
    assert has_think_block(text) is expected


@pytest.mark.parametrize(
    ("verifier", "final", "expected"),
    [
        ("icd_diagnosis", '{"icd10": "J45.9"}', True),
        ("icd_diagnosis", '{"icd10": "asthma"}', False),
        ("icd_diagnosis", 'It is {"icd10": "J45.9"}', False),
        ("icd_diagnosis", '{"icd10": "J45.9", "why": "x"}', False),
        ("drug_choice", '{"drugs": ["a"]}', True),
        ("drug_choice", '{"drugs": []}', False),
        ("drug_choice", '{"drugs": "a"}', False),
        ("test_ordering", "tests: a; b", True),
        ("test_ordering", "a; b", False),
        ("test_ordering", "tests: a;; b", False),
        ("exam_answer", '{"answer": "a"}', True),
        ("exam_answer", '{"answer": ["a", "b"]}', True),
        ("exam_answer", '{"answer": 1}', False),
        ("oracle", "Any sentence.", True),
        ("oracle", "", False),
    ],
)
def test_final_part_has_exactly_the_form_of_its_task(verifier, final, expected):
    assert has_final_form(verifier, final) is expected
