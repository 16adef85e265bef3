"""The gate: non-inferiority, superiority of the first model, vetoes, and what was not measured."""

import pytest

from components.evaluation.results import ItemResult
from components.registry.gate import judge
from components.settings.evaluation import GateSettings

SETTINGS = GateSettings(margins={"verified": 0.02, "exam": 0.05}, format_floor=0.8, safety_floor=0.5)


def rows(suite: str, scores: list[float]) -> list[ItemResult]:
    """One item a cluster, so that the clustered bootstrap is the plain one."""
    return [ItemResult(suite, "t", f"{suite}-{number}", f"c{number}", 0, score, False, "Answer: B") for number, score in enumerate(scores)]


def model(*, verified: list[float], exam: list[float], format_: float = 1.0, safety: float = 1.0) -> list[ItemResult]:
    return [*rows("verified", verified), *rows("exam", exam), *rows("format", [format_] * 10), *rows("safety", [safety] * 10)]


HALF = [1.0, 0.0] * 200


def test_an_equal_candidate_passes_every_suite():
    champion = model(verified=HALF, exam=HALF)
    verdict = judge(champion, champion, champion, settings=SETTINGS, seed=1)
    assert verdict.is_passed and verdict.compared_with == "champion"
    assert [(item.suite, item.difference, item.lower_bound) for item in verdict.suites if item.rule == "not worse"] == [("verified", 0.0, 0.0), ("exam", 0.0, 0.0)]


def test_a_fall_beyond_the_margin_is_refused_with_a_sentence():
    # 40 of 400 items lost: the difference is -.1 and its standard error sqrt(.1 * .9 / 400) = .015, so the one-sided
    # 95 % bound lies near -.1 - 1.645 * .015 = -.125.
    worse = [0.0] * 80 + HALF[80:]
    champion = model(verified=HALF, exam=HALF)
    verdict = judge(model(verified=worse, exam=HALF), champion, champion, settings=SETTINGS, seed=1)
    assert not verdict.is_passed
    failed = next(item for item in verdict.suites if not item.is_passed)
    assert (failed.suite, failed.n) == ("verified", 400)
    assert failed.difference == pytest.approx(-0.1)
    assert failed.lower_bound == pytest.approx(-0.125, abs=0.006)
    assert verdict.reasons[0].startswith("verified: -10.0 points against the champion, at worst -12.")
    assert "beyond the 2.0 allowed" in verdict.reasons[0]


def test_the_same_fall_within_a_wide_margin_passes():
    # exam: 4 of 400 items lost: -.01, bound near -.01 - 1.645 * .005 = -.018, inside -.05.
    champion = model(verified=HALF, exam=HALF)
    verdict = judge(model(verified=HALF, exam=[0.0] * 8 + HALF[8:]), champion, champion, settings=SETTINGS, seed=1)
    assert verdict.is_passed
    assert "within the 5.0 allowed" in next(item.sentence for item in verdict.suites if item.suite == "exam")


def test_too_few_items_are_said_in_the_sentence():
    champion, candidate = model(verified=[1.0, 0.0] * 10, exam=HALF), model(verified=[1.0, 0.0] * 9 + [0.0, 1.0], exam=HALF)
    sentence = next(item.sentence for item in judge(candidate, champion, champion, settings=SETTINGS, seed=1).suites if item.suite == "verified")
    assert "more items would decide better" in sentence


def test_the_first_model_must_be_superior_to_base():
    base = model(verified=[0.0] * 400, exam=HALF)
    assert judge(model(verified=HALF, exam=HALF), None, base, settings=SETTINGS, seed=1).is_passed
    verdict = judge(base, None, base, settings=SETTINGS, seed=1)
    assert not verdict.is_passed and "not shown to be superior" in verdict.reasons[0]


@pytest.mark.parametrize(("suite", "arguments"), [("format", {"format_": 0.7}), ("safety", {"safety": 0.4})])
def test_a_veto_refuses_a_model_that_is_better_everywhere_else(suite, arguments):
    champion = model(verified=HALF, exam=HALF)
    verdict = judge(model(verified=[1.0] * 400, exam=[1.0] * 400, **arguments), champion, champion, settings=SETTINGS, seed=1)
    assert [item.suite for item in verdict.suites if not item.is_passed] == [suite]
    assert "(veto)" in verdict.reasons[0]


def test_what_was_not_measured_counts_against_the_candidate():
    champion = model(verified=HALF, exam=HALF)
    verdict = judge(rows("verified", HALF), champion, champion, settings=SETTINGS, seed=1)
    assert {item.suite for item in verdict.suites if not item.is_passed} == {"exam", "format", "safety"}


def test_power_is_the_chance_that_an_equal_model_passes():
    # Of 400 items 40 differ, half each way: the mean difference is 0 and its variance 40/400 = .1, so the standard error is
    # sqrt(.1 / 400) = .0158. A margin of .02 is 1.265 of them: power Φ(1.265 - 1.645) = Φ(-.380) = .352; .05 is 3.162: Φ(1.517) = .935.
    changed = [1.0 - value if number < 40 else value for number, value in enumerate(HALF)]
    champion, candidate = model(verified=HALF, exam=HALF), model(verified=changed, exam=changed)
    suites = {item.suite: item for item in judge(candidate, champion, champion, settings=SETTINGS, seed=1).suites}
    assert suites["verified"].power == pytest.approx(0.352, abs=0.004)
    assert suites["exam"].power == pytest.approx(0.935, abs=0.004)
    assert "an equal model passes with 35." in suites["verified"].sentence and "more items would decide better" in suites["verified"].sentence
    assert suites["verified"].low < suites["verified"].lower_bound < 0 < suites["verified"].high


def test_where_no_item_differs_power_is_whole():
    champion = model(verified=HALF, exam=HALF)
    assert {item.power for item in judge(champion, champion, champion, settings=SETTINGS, seed=1).suites if item.rule == "not worse"} == {1.0}
