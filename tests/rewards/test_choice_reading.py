"""Reading the chosen option, by hand-made traps and on real model outputs."""

import json
from pathlib import Path

import pytest

from components.rewards.choice_reading import read_choice

OPTIONS = {"A": "Asthma", "B": "COPD", "C": "Asthma attack"}
REAL = Path(__file__).parents[3] / "shared/data/mirage_outputs"  # beside the project, where it is there


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"answer_choice": "B"}', "B"),
        ('{"answer_choice": "B. COPD"}', "B"),
        ('{"answer_choice": "(b)"}', "B"),
        ('{"answer_choice": "COPD"}', "B"),
        ('{"answer_choice": "Asthma attack"}', "C"),
        ('{"answer_choice": "A. COPD"}', None),  # letter and text disagree
        ('{"answer_choice": "A/B"}', None),
        ('{"answer_choice": "None of the above"}', None),
        ('{"answer_choice": "A patient like this needs rest"}', None),  # an article, not a letter
        ('{"answer_choice": "D"}', None),  # no such option
        ("The answer is B.", "B"),
        ("The answer is A. No, the answer is B.", None),  # several that disagree
        ('<think>{"answer": "A"}</think>{"answer": "B"}', "B"),
        ("", None),
    ],
)
def test_choice_is_read_or_abstained(text, expected):
    assert read_choice(text, OPTIONS) == expected


@pytest.mark.parametrize("run", ["medqa__cot__gpt-4-32k", "medqa__rag32_medcorp_rrf4__gpt-4-32k"])
def test_real_outputs_are_read_as_well_as_by_a_lenient_reader_without_guessing(run):
    # The samples' own notes: lenient rule .8272 and .8325, of which 3 and 5 of 191 are guesses of "A"; strict .13 and .57.
    if not REAL.is_dir():
        pytest.skip("the shared samples of real model outputs are not on this machine")
    gold = {row["id"]: row for row in map(json.loads, (REAL / "gold" / "medqa.jsonl").open(encoding="utf-8"))}
    outputs = [row for row in map(json.loads, (REAL / f"{run}.jsonl").open(encoding="utf-8")) if row["id"] in gold]
    read = [read_choice(row["output"], gold[row["id"]]["options"]) for row in outputs]
    accuracy = sum(letter == gold[row["id"]]["answer"] for letter, row in zip(read, outputs, strict=True)) / len(outputs)
    assert 0.815 <= accuracy <= 0.84
    assert sum(letter is None for letter in read) <= 5
