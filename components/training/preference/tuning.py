"""Tuning a model that gives answers a reward on preference pairs: pointwise (Bradley–Terry), and what else scores so.

All pairs of one prompt stand in one batch and every distinct answer passes through the model once (arXiv:2203.02155
§3.5: pairs of a prompt are correlated, and shuffled apart they overfit in one epoch). The prompt is laid in once for
its answers. The loss is divided by the pairs of the whole optimiser step.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from components.conversations import PreferencePair
from components.errors import DataError
from components.lineage import digest_value
from components.modeling.adapters import attach_adapters, has_adapters, trained_state
from components.modeling.micro_batches import cut_by_tokens
from components.modeling.precision import Precision
from components.recorder import Recorder
from components.rewards.reward_model import answer_rewards, encode_answers
from components.settings.training import SupervisedSettings
from components.storage.checkpoints import CheckpointFolder
from components.training.divergence import is_sound_loss, refuse_unsound, with_loss
from components.training.floors import StepFloors
from components.training.optimisation import create_optimiser
from components.training.preemption import orderly_steps, stop_here_if_asked
from components.training.preference.bradley_terry import bradley_terry_loss, pair_accuracy
from components.training.preference.checkpoints import TuningCheckpoints
from components.training.preference.prompt_pairs import PromptPairs, group_pairs, pair_positions, plan_batches
from components.training.schedule import learning_rate

SCORED_TOGETHER = 256  # answers of one pass
# (rewards of the preferred answers, of the others, margins), each (pairs,) → the sum over pairs of the loss, a scalar
PairLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


def tune_reward_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    pairs: Sequence[PreferencePair],
    *,
    settings: SupervisedSettings,
    centring: float,
    margin_scale: float,
    seed: int,
    recorder: Recorder,
    name: str,
    checkpoints: CheckpointFolder | None = None,
) -> None:
    """Tune a reward model in place, going on from the newest checkpoint; `batch_samples` counts pairs a step.

    Args:
        margin_scale: reward units a unit of the pairs' margin (oracle score) stands for; 0 leaves margins out.
        name: put before the metrics, so that two models may share a record.
        checkpoints: of this model alone.
    Raises:
        DataError: no pairs.
        Diverged: a loss or a gradient is not finite, or a loss is far above those before.
        Preempted: a stop was asked for; the state is saved.
        StorageError: the checkpoint is damaged, was made on other pairs, or cannot be written.
    """

    def loss(chosen_P: Tensor, rejected_P: Tensor, margins_P: Tensor) -> Tensor:
        return bradley_terry_loss(chosen_P, rejected_P, margins_P=margins_P, centring=centring)

    tune_scores(
        model, tokenizer, pairs, loss=loss, settings=settings, margin_scale=margin_scale, seed=seed, recorder=recorder, name=name,
        checkpoints=checkpoints,
    )  # fmt: skip


def tune_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    pairs: Sequence[PreferencePair],
    *,
    loss: PairLoss,
    settings: SupervisedSettings,
    margin_scale: float,
    seed: int,
    recorder: Recorder,
    name: str,
    checkpoints: CheckpointFolder | None = None,
) -> None:
    """Do what `tune_reward_model` does, with any loss of the two rewards of a pair; arguments and errors are its."""
    if not pairs:
        raise DataError(f"reward model {name}: no preference pairs; raise reward_models.prompts or candidates")
    groups = group_pairs(pairs, partial(encode_answers, tokenizer))
    shape = settings.optimiser
    attach_adapters(model, settings.adapters, seed=seed)
    optimiser = create_optimiser(model, shape, precision=settings.precision)
    floors = StepFloors(model, precision=settings.precision, is_adapted=has_adapters(model))
    plan = plan_batches(groups, steps=settings.steps, batch_pairs=settings.batch_samples, seed=seed)
    identity = {"pairs": pairs_digest(pairs)}
    saved = TuningCheckpoints(checkpoints, model, optimiser, recorder, identity, steps=settings.steps, what="a reward model")
    with orderly_steps(checkpoints):
        for step in range(saved.resume(), settings.steps):
            batch, started = [groups[index] for index in plan[step]], perf_counter()
            optimiser.set_rate(learning_rate(step, steps=settings.steps, settings=shape))
            optimiser.zero_grad(set_to_none=True)
            value, accuracy = _accumulate(model, batch, loss=loss, settings=settings, margin_scale=margin_scale)
            norm = float(nn.utils.clip_grad_norm_(model.parameters(), shape.clip_norm))
            if not (is_sound_loss(value, saved.losses, spike_limit=settings.spike_limit) and math.isfinite(norm)):
                reason = f"reward model {name}: loss {value:.4g}, gradient norm {norm:.4g}"
                saved.stop(step, reason=reason, batch=batch, values={"loss": value, "gradient_norm": norm})
            optimiser.step()
            saved.losses = with_loss(saved.losses, value)
            seconds = {"update": perf_counter() - started, "floor_update": floors.update([group.tree for group in batch], headed=0)}
            timings = {f"seconds_{part}/{name}": spent for part, spent in seconds.items()} | saved.seconds(name)
            recorder.metrics({f"{name}/loss": value, f"{name}/accuracy": accuracy, **timings}, step=step)
            recorder.progress(step + 1, settings.steps, loss=value)
            if (step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps:
                saved.save(step + 1)
            stop_here_if_asked(partial(saved.save, step + 1), checkpoints=checkpoints, done=step + 1, total=settings.steps)
    refuse_unsound(trained_state(model), step=settings.steps, checkpoints=checkpoints)


def pairs_digest(pairs: Sequence[PreferencePair]) -> str:
    """Return the digest of what a reward model is tuned on: every pair's texts and margin, in order."""
    return digest_value([pair.model_dump(mode="json") for pair in pairs])


@torch.no_grad()
def score_pairs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[PreferencePair], *, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Return raw rewards of the preferred and of the other answers, two (pairs,) float32 tensors in the pairs' order."""
    conversations = [pair.messages for pair in pairs for _ in range(2)]
    encoded = encode_answers(tokenizer, conversations, [text for pair in pairs for text in (pair.chosen, pair.rejected)])
    starts = range(0, len(encoded), SCORED_TOGETHER)
    rewards = torch.cat([answer_rewards(model, encoded[start : start + SCORED_TOGETHER], precision=precision) for start in starts])
    return rewards[0::2], rewards[1::2]


def _accumulate(
    model: PreTrainedModel, batch: Sequence[PromptPairs], *, loss: PairLoss, settings: SupervisedSettings, margin_scale: float
) -> tuple[float, float]:
    """Add the gradient of a step's mean loss, micro-batch by micro-batch; return that loss and the share of pairs got right."""
    count = sum(len(group.chosen) for group in batch)
    loss_sum = accuracy_sum = 0.0
    for micro in cut_by_tokens(batch, tokens=lambda group: group.tokens, micro_tokens=settings.micro_tokens):
        rewards = answer_rewards(model, [answer for group in micro for answer in group.answers], precision=settings.precision, recompute=settings.recompute)
        chosen, rejected = (rewards.index_select(0, positions.to(rewards.device)) for positions in pair_positions(micro))
        margins = torch.tensor([margin * margin_scale for group in micro for margin in group.margins], device=rewards.device)
        part = loss(chosen, rejected, margins) / count
        part.backward()
        loss_sum += float(part.detach())
        accuracy_sum += float(pair_accuracy(chosen, rejected).sum())
    return loss_sum, accuracy_sum / count
