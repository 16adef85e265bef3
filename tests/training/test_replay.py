"""Replay: the share asked for, tasks taking turns, whatever the order of the samples."""

from components.conversations import Message, Sample
from components.training.supervised.replay import draw_replay


def test_replay_makes_the_share_asked_for_and_the_tasks_take_turns():
    samples = [
        Sample(id=f"{task}-{number}", task=task, group="g", messages=(Message(role="user", content="q"), Message(role="assistant", content="a")))
        for task, size in (("big", 100), ("small", 10)) for number in range(size)
    ]  # fmt: skip
    drawn = draw_replay(samples, others=60, share=0.25, seed=1)
    # 20 / (60 + 20) = .25, ten of each task
    assert len(drawn) == 20
    assert sum(sample.task == "small" for sample in drawn) == 10
    # two kinds, of two tasks and of one: half of the draw each
    kinds = draw_replay(samples, others=60, share=0.25, seed=1, kinds=lambda sample: str(sample.id in {"big-0", "big-1", "big-2", "small-0"}))
    assert sum(sample.id in {"big-0", "big-1", "big-2", "small-0"} for sample in kinds) == 4
    assert sum(sample.task == "small" for sample in kinds) == 1 + 8
    assert {sample.id for sample in draw_replay(samples[::-1], others=60, share=0.25, seed=1)} == {sample.id for sample in drawn}
