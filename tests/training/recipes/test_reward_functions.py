"""Reward functions of one's own: what they are given, and what is refused of what they return."""

import pytest

from components.errors import DataError, SettingsError
from components.settings.recipes import RewardSource
from components.training.recipes.reward_functions import load_reward

COLUMNS = frozenset({"id", "task", "prompts", "answer"})


@pytest.fixture
def load(tmp_path):
    def make(body: str, signature: str = "completions, **columns", columns: frozenset = COLUMNS):
        path = tmp_path / "reward.py"
        path.write_text(f"def score({signature}):\n    {body}\n", encoding="utf-8")
        return load_reward(RewardSource(function=f"{path}:score"), columns=columns)

    return make


def test_a_function_gets_the_columns_its_signature_names(load):
    reward = load("return [float(a == t) for a, t in zip(answer, completions)]", "completions, answer")
    assert reward.score(["x", "y"], {"answer": ["x", "z"], "task": ["t", "t"]}) == [1.0, 0.0]
    everything = load("return [len(columns)] * len(completions)")
    assert everything.score(["x"], {"answer": ["x"], "task": ["t"]}) == [2.0]


def test_none_and_numbers_that_are_not_finite_are_unscored(load):
    assert load("return [1, None, float('nan'), float('inf'), True]").score(["x"] * 5, {}) == [1.0, None, None, None, 1.0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1.0", r"returned float 1\.0; return a list with one number or None for each of the 3 completions"),
        ("return [1.0]", "returned 1 values for 3 completions"),
        ("return [1.0] * 4", "returned 4 values for 3 completions"),
        ("return ['1', 2, 3]", "value 0 is str '1'; each value must be a number or None"),
        ("return {0: 1.0}", "returned dict"),
        ("return [1.0, [2.0], 3.0]", "value 1 is list"),
        ("import torch; return torch.zeros(3)", "returned Tensor"),
        ("return None", "returned NoneType"),
    ],
)
def test_a_wrong_length_or_type_is_refused(load, body, said):
    with pytest.raises(DataError, match=said):
        load(body).score(["a", "b", "c"], {})


def test_answers_on_which_the_function_raises_are_unscored_and_counted(load):
    reward = load("return [1 / len(text) for text in completions]")
    assert reward.score(["ab", "", "a", ""], {}) == [0.5, None, 1.0, None]
    assert reward.failures == 2
    assert "reward.py:2: ZeroDivisionError" in reward.first_failure


def test_a_function_that_raises_on_every_answer_ends_the_run(load):
    with pytest.raises(DataError, match=r"raised on all 2 answers of call 1: .*reward\.py:2: KeyError: 'x'; mend the function"):
        load("return columns['x']").score(["a", "b"], {})


def test_a_call_over_its_time_counts_as_raised(tmp_path):
    path = tmp_path / "reward.py"
    path.write_text("import time\ndef score(completions):\n    if 'slow' in completions:\n        time.sleep(60)\n    return [1.0] * len(completions)\n", encoding="utf-8")
    reward = load_reward(RewardSource(function=f"{path}:score", timeout_seconds=0.1), columns=COLUMNS)
    assert reward.score(["quick", "slow"], {}) == [1.0, None]
    assert "reward.py:4: TimeoutError: took longer than timeout_seconds (0.1)" in reward.first_failure


def test_a_function_that_catches_every_exception_cannot_score_what_came_too_late(tmp_path):
    path = tmp_path / "reward.py"
    body = "    try:\n        if 'slow' in completions:\n            time.sleep(60)\n    except Exception:\n        return [0.0] * len(completions)\n    return [1.0] * len(completions)\n"
    path.write_text(f"import time\ndef score(completions):\n{body}", encoding="utf-8")
    reward = load_reward(RewardSource(function=f"{path}:score", timeout_seconds=0.1), columns=COLUMNS)
    assert reward.score(["slow", "quick"], {}) == [None, 1.0]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def score(completions, gold): return []", "asks for gold, which no line of the data holds; columns: answer, id, prompts, task"),
        ("def score(texts): return []", "takes no `completions`"),
        ("def other(completions): return []", "has no function 'score'"),
        ("score = 3", "has no function 'score'"),
        ("def score(:", r"reward\.py:1: not valid Python"),
        ("x = 1\nimport nothing_of_this_name", r"reward\.py:2: cannot be imported \(ModuleNotFoundError"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused_when_it_is_loaded(tmp_path, source, said):
    path = tmp_path / "reward.py"
    path.write_text(source, encoding="utf-8")
    with pytest.raises(SettingsError, match=said):
        load_reward(RewardSource(function=f"{path}:score"), columns=COLUMNS)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.py: no such file; write `reward: file\.py:function`"):
        load_reward(RewardSource(function=f"{tmp_path / 'none.py'}:score"), columns=COLUMNS)
