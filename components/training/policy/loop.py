"""Training a policy by GRPO, from prompts and a reward to a result: the parts of a run are put together here, its steps are `run.py`."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from components.generation.sampler import Sampler
from components.modeling.adapters import attach_adapters, has_adapters
from components.recorder import Recorder, SilentRecorder
from components.settings.engine import EngineSettings
from components.settings.training import PolicySettings
from components.storage.checkpoints import CheckpointFolder
from components.training.engines.creation import create_engine
from components.training.floors import StepFloors
from components.training.policy.groups import PolicyPrompt, RewardFunction
from components.training.policy.prompts import prompts_for_epochs
from components.training.policy.resampling import PromptResampler
from components.training.policy.run import PolicyRun, run_summary
from components.training.policy.state import prompts_digest, weights_digest
from components.training.selection import Measure, Selection


@dataclass(frozen=True)
class PolicyResult:
    """What a policy run came to."""

    steps: int
    history: list[dict[str, int]]  # one entry an epoch: prompts, active, mastered, readmitted
    summary: dict[str, float]


def optimise_policy(
    model: PreTrainedModel,
    prompts: Sequence[PolicyPrompt],
    reward: RewardFunction,
    *,
    sampler: Sampler,
    settings: PolicySettings,
    seed: int,
    recorder: Recorder,
    checkpoints: CheckpointFolder | None = None,
    mastery: str = "correct",
    measure: Measure | None = None,
    engine: EngineSettings | None = None,
) -> PolicyResult:
    """Train the model in place for `settings.steps` optimiser steps, going on from the newest checkpoint.

    Adapters are put on it where the settings ask for them; the reference is then the model without them.

    Args:
        prompts: with unique ids; more than the steps can pass over `settings.epochs` times are cut (noted).
        reward: judges answers; see `RewardFunction`.
        sampler: is handed `model` before each step's sampling, so that its weights are always current.
        mastery: the reward that is a prompt's pass rate.
        measure: looked at every `settings.validate_every` steps; the model ends with the weights that did best by it,
            and the run ends after `settings.patience` looks without a better one.
        engine: what trains; None: torch in this process. With several ranks each samples and judges its share of the prompts.
    Raises:
        Diverged: NaN, or KL above `kl_limit`; the last checkpoint is kept, and the evidence beside it.
        Preempted: a stop was asked for; the state is saved.
        StorageError: a checkpoint that does not belong to this run, or cannot be written.
    """
    base = weights_digest(model)
    attach_adapters(model, settings.adapters, seed=seed)
    chosen = prompts_for_epochs(prompts, settings, seed=seed)
    identity = {"reference": base, "prompts": prompts_digest([p.id for p in chosen], [p.ids for p in chosen])}
    run = _start(
        model, chosen, reward, sampler=sampler, settings=settings, seed=seed, recorder=recorder, checkpoints=checkpoints,
        identity=identity, mastery=mastery, engine=engine,
    )  # fmt: skip
    if len(chosen) < len(prompts):
        run.recorder.note(f"{len(chosen)} of {len(prompts)} prompts are used, so that {settings.epochs} epochs fit {settings.steps} steps")
    if measure is not None and settings.validate_every:
        run.selection = Selection(measure, every=settings.validate_every, patience=settings.patience)
    done = run.train()
    return PolicyResult(done, run.resampler.history, run_summary(run))


def reference_model(model: PreTrainedModel) -> PreTrainedModel:
    """Return the reference of the KL penalty: the model itself where it carries adapters (read with them off), else a frozen copy."""
    return model if has_adapters(model) else copy.deepcopy(model).requires_grad_(False)


def _start(
    model: PreTrainedModel, prompts: Sequence[PolicyPrompt], reward: RewardFunction, *,
    sampler: Sampler, settings: PolicySettings, seed: int, recorder: Recorder, checkpoints: CheckpointFolder | None,
    identity: dict[str, str], mastery: str, engine: EngineSettings | None,
) -> PolicyRun:  # fmt: skip
    reference = reference_model(model) if settings.kl_weight > 0 else None
    trained = create_engine(model, settings.optimiser, engine, precision=settings.precision, norm_order="model")
    resampler = PromptResampler(
        ids=[prompt.id for prompt in prompts], seed=seed,
        mastered_pass_rate=settings.mastered_pass_rate, readmission=settings.readmission,
    )  # fmt: skip
    by_id = {prompt.id: prompt for prompt in prompts}
    kept = recorder if trained.ranks.is_main else SilentRecorder()
    floors = StepFloors(model, precision=settings.precision, is_adapted=has_adapters(model), ranks=trained.ranks.size)
    return PolicyRun(trained, reference, by_id, resampler, reward, sampler, settings, seed, mastery, kept, checkpoints, identity, floors)
