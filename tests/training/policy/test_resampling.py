"""Dynamic resampling: who leaves, who returns, and that the state is whole."""

import json

from components.training.policy.resampling import PromptResampler

IDS = [f"p{index}" for index in range(20)]


def resampler(**changes) -> PromptResampler:
    return PromptResampler(**({"ids": IDS, "seed": 3, "mastered_pass_rate": 0.9, "readmission": 0.0} | changes))


def test_an_epoch_visits_every_prompt_once():
    prompts = resampler()
    taken = [identifier for _ in range(4) for identifier in prompts.take(5)]
    assert sorted(taken) == sorted(IDS)
    assert prompts.epoch == 0
    prompts.take(1)
    assert prompts.epoch == 1


def test_orders_differ_between_epochs_and_seeds():
    prompts = resampler()
    assert prompts.take(20) != prompts.take(20)
    assert resampler(seed=4).take(20) != resampler(seed=3).take(20)


def test_mastered_prompts_leave_and_counts_are_kept():
    prompts = resampler()
    for identifier in prompts.take(20):
        prompts.observe(identifier, passed=8.0 if identifier < "p13" else 2.0, answers=8)
    # "p0", "p1", "p10", "p11", "p12" sort before "p13": five mastered
    second = prompts.take(15)
    assert not set(second) & {"p0", "p1", "p10", "p11", "p12"}
    assert prompts.history[1] == {"epoch": 1, "prompts": 20, "active": 15, "mastered": 5, "readmitted": 0}
    assert (prompts.seen["p0"], prompts.passed["p2"]) == (8, 2.0)


def test_a_readmitted_prompt_that_was_forgotten_stays():
    prompts = resampler(readmission=1.0)
    for identifier in prompts.take(20):
        prompts.observe(identifier, passed=1.0, answers=1)
    for identifier in prompts.take(20):
        prompts.observe(identifier, passed=0.0 if identifier == "p5" else 1.0, answers=1)
    assert not prompts.is_mastered("p5") and prompts.is_mastered("p6")


def test_readmission_is_a_small_share():
    many = [f"q{index}" for index in range(2000)]
    prompts = PromptResampler(ids=many, seed=1, mastered_pass_rate=0.5, readmission=0.1)
    for identifier in prompts.take(2000):
        prompts.observe(identifier, passed=1.0, answers=1)
    prompts.take(1)
    # 2000 draws at .1: mean 200, standard deviation 13.4; four of them either side
    assert 146 <= prompts.history[1]["readmitted"] <= 254


def test_an_epoch_is_never_empty():
    prompts = resampler()
    for index, identifier in enumerate(prompts.take(20)):
        prompts.observe(identifier, passed=0.9 + index / 1000, answers=1)
    hardest = sorted(prompts.last_rate, key=prompts.last_rate.get)[:6]
    assert sorted(prompts.take(6)) == sorted(hardest)


def test_a_batch_across_epochs_holds_no_prompt_twice():
    prompts = resampler()
    for _ in range(30):
        batch = prompts.take(14)
        assert len(set(batch)) == 14


def test_a_restored_resampler_goes_on_with_the_same_prompts():
    prompts = resampler(readmission=0.3)
    for _ in range(7):
        for identifier in prompts.take(6):
            prompts.observe(identifier, passed=float(identifier > "p3"), answers=1)
    other = resampler(readmission=0.3)
    other.restore(json.loads(json.dumps(prompts.state())))
    for _ in range(9):
        batch = prompts.take(6)
        assert other.take(6) == batch
        for identifier in batch:
            prompts.observe(identifier, passed=0.5, answers=1)
            other.observe(identifier, passed=0.5, answers=1)
