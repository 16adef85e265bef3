"""Small runs for several processes: `python ranked_runs.py JOBS.json`, one job after another in one process group.

A job: {"name", "loop": a name of `LOOPS`, "engine": {...}, "settings": changes, "killed_at": count, "goes_on": engine or null,
"told_at": count}. One killed at a count goes on under the same engine, under the one `goes_on` names, or (null) not at all; one
whose rank 1 is told to stop at a count must save, stop on all ranks, and goes on. Rank 0 leaves `<name>.safetensors` (the
weights at the end) and the record under `<name>/` beside the jobs file.
"""

import contextlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from components.conversations import Message, PreferencePair, Sample
from components.errors import Diverged, Preempted
from components.generation.native_sampler import NativeSampler
from components.modeling.models import create_model, load_model, save_model
from components.modeling.tokenizers import encode_prompts, train_tokenizer
from components.recorder import Recorder
from components.rewards.reward_model import RewardModel, create_reward_model, encode_answers, save_reward_model
from components.settings.engine import EngineSettings
from components.settings.training import (
    DirectPreferenceSettings,
    ModelSettings,
    OptimiserSettings,
    PolicySettings,
    SupervisedSettings,
)
from components.storage.checkpoints import CheckpointFolder
from components.training.engines.creation import create_engine
from components.training.policy.groups import PolicyPrompt
from components.training.policy.loop import optimise_policy
from components.training.preemption import stop_signals
from components.training.preference import direct, tuning
from components.training.preference.pairwise import both_orders_loss, tune_pairwise_model
from components.training.preference.prompt_pairs import group_pairs
from components.training.supervised.examples import chat_examples
from components.training.supervised.loss import micro_batches, summed_loss
from components.training.supervised.tuning import tune

WORDS = ("asthma", "anaemia", "gout", "migraine", "eczema", "asthenia", "angina", "rickets")
OPTIMISER = {"learning_rate": 3e-3, "warmup_steps": 2, "clip_norm": 0.5}


class Killed(Exception):
    """Stands for a kill, on all ranks at once."""


class Countdown:
    """At a call's number raises `Killed`, or sends the process of rank 1 the signal to stop."""

    def __init__(self, killed_at: int | None = None, *, told_at: int | None = None) -> None:
        self.left = killed_at if told_at is None else told_at
        self.is_told = told_at is not None

    def tick(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left >= 0:
            return
        self.left = None
        if not self.is_told:
            raise Killed
        if torch.distributed.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def parts() -> tuple[Any, Any]:
    tokenizer = train_tokenizer([f"what is {word}? {word} it is" for word in WORDS], vocabulary=512)
    shape = ModelSettings(vocabulary=512, hidden=32, layers=2, heads=2, key_value_heads=1, head_dimension=16, intermediate=56, context=64)
    return create_model(shape, tokenizer=tokenizer, seed=3), tokenizer


def samples(count: int = 24) -> list[Sample]:
    return [
        Sample(
            id=str(number), task="t", group="g",
            messages=(
                Message(role="user", content=f"what is {WORDS[number % 8]}?" * (1 + number % 3)),
                Message(role="assistant", content=f"{WORDS[number % 8]} it is {number}"),
            ),
        )
        for number in range(count)
    ]  # fmt: skip


def supervised(folder: Path, engine: EngineSettings, countdown: Countdown, changes: dict[str, Any]) -> Any:
    model, tokenizer = parts()

    def measure(_: Any) -> float:
        countdown.tick()
        return 0.0

    settings = SupervisedSettings.model_validate(
        {"optimiser": OPTIMISER, "steps": 6, "batch_samples": 7, "micro_tokens": 64, "validate_every": 1, "checkpoint_every": 2, "precision": "float32", **changes}
    )
    tune(
        model, tokenizer, samples(), settings=settings, seed=3, recorder=Recorder(folder), validation=samples(4),
        measure=None if settings.patience else measure,  # patience goes by the loss
        checkpoints=CheckpointFolder(folder / "checkpoints", key="k"), engine=engine,
    )  # fmt: skip
    return model


def policy(folder: Path, engine: EngineSettings, countdown: Countdown, changes: dict[str, Any]) -> Any:
    model, tokenizer = parts()
    ids = encode_prompts(tokenizer, [[Message(role="user", content=f"what is {word}?")] for word in WORDS])
    prompts = [PolicyPrompt(word, "toy", tuple(prompt)) for word, prompt in zip(WORDS, ids, strict=True)]

    def reward(asked: Any, texts: Any) -> list[dict[str, float | None]]:
        countdown.tick()
        return [{"correct": text.count("a") / max(len(text), 1)} for text in texts]

    settings = PolicySettings.model_validate(
        {
            "optimiser": OPTIMISER, "steps": 5, "prompts_per_step": 5, "completions": 4, "max_new_tokens": 6, "epochs": 1, "precision": "float32",
            "mask_truncated": False, "checkpoint_every": 2, "refill_rounds": 0, "micro_tokens": 64, "kl_limit": 50.0, **changes,
        }
    )
    optimise_policy(
        model, prompts, reward, sampler=NativeSampler(model, tokenizer), settings=settings, seed=11, recorder=Recorder(folder),
        checkpoints=CheckpointFolder(folder / "checkpoints", key="k"), engine=engine,
        measure=lambda whole: float(whole.get_output_embeddings().weight.detach().square().sum()),
    )  # fmt: skip
    return model


def pairs(count: int = 24) -> list[PreferencePair]:
    """Three a prompt, of unequal lengths."""
    return [
        PreferencePair(
            id=str(number), dimension="honesty", messages=(Message(role="user", content=f"what is {WORDS[number // 3 % 8]}?" * (1 + number // 3 % 2)),),
            chosen=f"{WORDS[number % 8]} it is" + " gout" * (number % 3), rejected=f"{WORDS[(number + 3) % 8]} is", margin=0.5 * (number % 2),
        )
        for number in range(count)
    ]  # fmt: skip


@contextlib.contextmanager
def counting_steps(module: Any, countdown: Countdown) -> Iterator[None]:
    """Let a loop's asking for a step's learning rate, which every rank does once a step, move the countdown."""
    asked = module.learning_rate

    def ask(*given: Any, **named: Any) -> float:
        countdown.tick()
        return asked(*given, **named)

    module.learning_rate = ask
    try:
        yield
    finally:
        module.learning_rate = asked


def rewards(folder: Path, engine: EngineSettings, countdown: Countdown, changes: dict[str, Any]) -> Any:
    """Tune a pointwise reward model, or a pairwise one (`form`)."""
    language, tokenizer = parts()
    model = create_reward_model(language, seed=3)
    form, margin_scale = changes.pop("form", "pointwise"), changes.pop("margin_scale", 1.0)
    settings = SupervisedSettings.model_validate(
        {"optimiser": OPTIMISER, "steps": 6, "batch_samples": 7, "micro_tokens": 64, "checkpoint_every": 2, "precision": "float32", **changes}
    )
    shared = {
        "settings": settings, "seed": 3, "recorder": Recorder(folder), "name": "toy",
        "checkpoints": CheckpointFolder(folder / "checkpoints", key="k"), "engine": engine,
    }  # fmt: skip
    with counting_steps(tuning, countdown):
        if form == "pairwise":
            tune_pairwise_model(model, tokenizer, pairs(), **shared)
        else:
            tuning.tune_reward_model(model, tokenizer, pairs(), centring=0.01, margin_scale=margin_scale, **shared)
    return model


def preference(folder: Path, engine: EngineSettings, countdown: Countdown, changes: dict[str, Any]) -> Any:
    model, tokenizer = parts()
    settings = DirectPreferenceSettings.model_validate(
        {"optimiser": OPTIMISER, "steps": 6, "batch_pairs": 7, "micro_tokens": 64, "validate_every": 3, "checkpoint_every": 2, "precision": "float32", **changes}
    )
    with counting_steps(direct, countdown):
        direct.tune_on_preferences(
            model, tokenizer, pairs(), settings=settings, seed=3, recorder=Recorder(folder), validation=pairs(9),
            checkpoints=CheckpointFolder(folder / "checkpoints", key="k"), engine=engine,
        )  # fmt: skip
    return model


def export(folder: Path, engine: EngineSettings, countdown: Countdown, changes: dict[str, Any]) -> Any:
    """Train three steps, save, and check on every rank that the file holds the live weights."""
    model, tokenizer = parts()
    trained = create_engine(model, OptimiserSettings.model_validate(OPTIMISER), engine)
    examples = [example for example in chat_examples(tokenizer, samples(6), context=64) if example]
    for _ in range(3):
        for part in trained.passes(examples, tokens=lambda item: len(item.ids), cut=lambda share: micro_batches(share, micro_tokens=64)):
            trained.backward(summed_loss(trained.model, part.items, precision="float32") / 30, part)
        trained.step(rate=3e-3, clip_norm=0.5)
    refuses_a_spoilt_step(trained, examples)
    _holds_the_live_weights(trained, lambda: save_model(model, tokenizer, folder / "saved"), lambda: load_model(folder / "saved"))
    assert not torch.equal(model.lm_head.weight, parts()[0].lm_head.weight)
    return model


def export_rewards(folder: Path, engine: EngineSettings, countdown: Countdown, changes: dict[str, Any]) -> Any:
    """Do what `export` does with a reward model, one step."""
    language, tokenizer = parts()
    model = create_reward_model(language, seed=3)
    trained = create_engine(model, OptimiserSettings.model_validate(OPTIMISER), engine)
    settings = SupervisedSettings.model_validate({"optimiser": OPTIMISER, "steps": 1, "micro_tokens": 64, "precision": "float32"})
    groups = group_pairs(pairs(9), partial(encode_answers, tokenizer))
    tuning.accumulate_gradients(trained, groups, loss=lambda first, second, _: both_orders_loss(first, second), settings=settings, margin_scale=0.0)
    assert trained.step(rate=3e-3, clip_norm=0.5) > 0
    save = partial(save_reward_model, model, tokenizer, folder / "saved", mean=0.0, scale=1.0)
    _holds_the_live_weights(trained, save, lambda: RewardModel.load(folder / "saved").model)
    return model


def _holds_the_live_weights(trained: Any, save: Callable[[], Any], load: Callable[[], Any]) -> None:
    with trained.gathered() as whole:
        live = {name: value.detach().clone() for name, value in whole.state_dict().items()}
    trained.finish()
    if trained.ranks.is_main:
        save()
    trained.ranks.wait()
    exported = load().state_dict()
    assert set(exported) == set(live)
    assert all(torch.equal(exported[name], live[name]) for name in live)


def refuses_a_spoilt_step(trained: Any, examples: list[Any]) -> None:
    """Check that a gradient that is no number leaves the weights as they are."""
    before = trained.weights()
    for part in trained.passes(examples, tokens=lambda item: len(item.ids), cut=lambda share: micro_batches(share, micro_tokens=64)):
        trained.backward(summed_loss(trained.model, part.items, precision="float32") * float("inf"), part)
    assert not math.isfinite(trained.step(rate=3e-3, clip_norm=0.5))
    after = trained.weights()
    assert all(torch.equal(after[name], value) for name, value in before.items())


WORSENED = {  # loop → changes by which a step soon diverges, and a word of what is then said
    "policy": ({"kl_limit": 1e-7}, "kl_limit"),
    "rewards": ({"margin_scale": 1e39}, "loss inf"),
    "preference": ({"beta": 1e39}, "loss is nan"),
}  # fmt: skip


def diverging(folder: Path, engine: EngineSettings, countdown: Countdown, changes: dict[str, Any]) -> Any:
    """Train a loop (`of`) that soon diverges: every rank must stop."""
    of = changes.pop("of", "policy")
    worse, word = WORSENED[of]
    try:
        LOOPS[of](folder, engine, countdown, worse | changes)
    except Diverged as error:
        assert word in str(error)
        return parts()[0]
    raise AssertionError("the run did not stop")


LOOPS = {
    "supervised": supervised, "policy": policy, "rewards": rewards, "preference": preference, "export": export,
    "export_rewards": export_rewards, "diverging": diverging,
}  # fmt: skip


def run_job(job: dict[str, Any], folder: Path, *, is_main: bool) -> None:
    """Run a job, and once more where it is killed at a count."""
    engine = EngineSettings.model_validate(job["engine"])
    loop, work = LOOPS[job["loop"]], folder / job["name"]
    if job.get("killed_at") is not None:
        try:
            loop(work, engine, Countdown(job["killed_at"]), dict(job.get("settings", {})))
        except Killed:
            pass
        else:
            raise AssertionError(f"{job['name']} was not killed")
        if job.get("goes_on", engine) is None:
            return
        engine = EngineSettings.model_validate(job.get("goes_on", engine))
    if job.get("told_at") is not None:
        try:
            with stop_signals(grace_seconds=60.0):
                loop(work, engine, Countdown(told_at=job["told_at"]), dict(job.get("settings", {})))
        except Preempted as stopped:
            assert "saved after step" in str(stopped)
        else:
            raise AssertionError(f"{job['name']} did not stop")
    model = loop(work, engine, Countdown(), dict(job.get("settings", {})))
    if is_main:
        save_file({name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}, folder / f"{job['name']}.safetensors")


def main() -> None:
    from components.launch.process_end import leave_out_teardown
    from components.launch.torch_setup import prepare_torch
    from components.training.engines.ranks import join_ranks, leave_ranks

    tell_code = leave_out_teardown()
    prepare_torch(1)
    path = Path(sys.argv[1])
    ranks = join_ranks()
    for job in json.loads(path.read_text()):
        started = time.perf_counter()
        run_job(job, path.parent, is_main=ranks.is_main)
        print(f"{job['name']}: {time.perf_counter() - started:.1f} s", flush=True)
    leave_ranks()
    tell_code(0)


if __name__ == "__main__":
    main()
