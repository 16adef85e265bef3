"""Tuning a reward model on preference pairs.

All pairs of one prompt stand in one batch and every distinct answer passes through the model once (arXiv:2203.02155
§3.5: pairs of a prompt are correlated, and shuffled apart they overfit in one epoch). The prompt is laid in once for
its answers. The loss is divided by the pairs of the whole optimiser step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from components.conversations import PreferencePair
from components.errors import DataError, Diverged, StorageError
from components.lineage import digest_value, stable_fraction
from components.modeling.micro_batches import cut_by_tokens
from components.modeling.precision import Precision
from components.recorder import Recorder, SilentRecorder
from components.rewards.reward_model import Encoded, answer_rewards, encode_answers
from components.settings.engine import EngineSettings
from components.settings.training import SupervisedSettings
from components.storage.checkpoints import CheckpointFolder
from components.training.engines.creation import create_engine
from components.training.engines.engine import Engine
from components.training.preference.bradley_terry import bradley_terry_loss, pair_accuracy
from components.training.schedule import learning_rate

SCORED_TOGETHER = 256  # answers of one pass


@dataclass(frozen=True)
class PromptPairs:
    """The pairs of one prompt: its distinct encoded answers, and for each pair the two positions and the margin."""

    answers: tuple[Encoded, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    margins: tuple[float, ...]

    @property
    def tokens(self) -> int:
        """Tokens of one pass, the prompt counted once."""
        return len(self.answers[0][0]) + sum(len(answer) for _, answer in self.answers)


def group_pairs(tokenizer: PreTrainedTokenizerFast, pairs: Sequence[PreferencePair]) -> list[PromptPairs]:
    """Encode pairs and gather those with the same prompt, in the order prompts first appear."""
    by_prompt: dict[str, list[PreferencePair]] = {}
    for pair in pairs:
        by_prompt.setdefault("\x1f".join(message.content for message in pair.messages), []).append(pair)
    texts = [list(dict.fromkeys(text for pair in group for text in (pair.chosen, pair.rejected))) for group in by_prompt.values()]
    conversations = [group[0].messages for group, answers in zip(by_prompt.values(), texts, strict=True) for _ in answers]
    encoded = iter(encode_answers(tokenizer, conversations, [text for answers in texts for text in answers]))
    grouped = []
    for group, answers in zip(by_prompt.values(), texts, strict=True):
        grouped.append(
            PromptPairs(
                answers=tuple(next(encoded) for _ in answers),
                chosen=tuple(answers.index(pair.chosen) for pair in group),
                rejected=tuple(answers.index(pair.rejected) for pair in group),
                margins=tuple(pair.margin for pair in group),
            )
        )
    return grouped


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
    engine: EngineSettings | None = None,
) -> None:
    """Tune a reward model in place, going on from the newest checkpoint; `batch_samples` counts pairs a step.

    Args:
        margin_scale: reward units a unit of the pairs' margin (oracle score) stands for; 0 leaves margins out.
        name: put before the metrics, so that two models may share a record.
        checkpoints: of this model alone.
        engine: what trains; None: torch in this process.
    Raises:
        DataError: no pairs.
        Diverged: the loss is not finite.
        StorageError: the checkpoint is damaged, or was made on other pairs.
    """
    if not pairs:
        raise DataError(f"reward model {name}: no preference pairs; raise reward_models.prompts or candidates")
    groups = group_pairs(tokenizer, pairs)
    shape = settings.optimiser
    trained = create_engine(model, shape, engine, precision=settings.precision, norm_order="model")
    recorder = recorder if trained.ranks.is_main else SilentRecorder()
    batches = _batches(groups, settings, seed=seed)
    saved = _TuningCheckpoints(checkpoints, trained, recorder, pairs=digest_value([pair.id for pair in pairs]), steps=settings.steps)
    for step in range(saved.resume(), settings.steps):
        batch = batches[step]
        loss, accuracy = _accumulate(trained, batch, settings=settings, centring=centring, margin_scale=margin_scale)
        rate = learning_rate(step, steps=settings.steps, settings=shape)
        norm = trained.step(rate=rate, clip_norm=shape.clip_norm) if math.isfinite(loss) else math.nan
        if not math.isfinite(norm):
            raise Diverged(f"reward model {name}: step {step}: loss {loss}, gradient norm {norm}; lower reward_models.tuning.optimiser.learning_rate")
        recorder.metrics({f"{name}/loss": loss, f"{name}/accuracy": accuracy}, step=step)
        recorder.progress(step + 1, settings.steps, loss=loss)
        if (step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps:
            saved.save(step + 1)
    trained.finish()


@dataclass(frozen=True)
class _TuningCheckpoints:
    """The checkpoints of one model's tuning, which may share its record with another's."""

    checkpoints: CheckpointFolder | None
    engine: Engine
    recorder: Recorder
    pairs: str  # digest of what is tuned on
    steps: int

    def save(self, step: int) -> None:
        if self.checkpoints is not None:
            state = {"pairs": self.pairs, "record": self.recorder.position()}
            self.engine.save(self.checkpoints, step, state=state)

    def resume(self) -> int:
        """Restore the newest checkpoint and return its step; where there is none, write that of the beginning."""
        checkpoint, warnings = self.engine.latest(self.checkpoints) if self.checkpoints is not None else (None, [])
        if checkpoint is None:
            self.save(0)
            return 0
        if checkpoint.state["pairs"] != self.pairs:
            raise StorageError("the checkpoint of a reward model was made on other pairs; delete its folder to start anew")
        self.engine.restore_tensors(checkpoint.tensors)
        # What stands in the record after a finished tuning is another model's.
        end = self.recorder.position() if checkpoint.step == self.steps else checkpoint.state["record"]
        self.recorder.rewind(end, step=checkpoint.step)
        for warning in warnings:
            self.recorder.warning(warning)
        return checkpoint.step


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
    engine: Engine, batch: Sequence[PromptPairs], *, settings: SupervisedSettings, centring: float, margin_scale: float
) -> tuple[float, float]:
    count = sum(len(group.chosen) for group in batch)
    loss_sum = accuracy_sum = 0.0

    def cut(share: Sequence[PromptPairs]) -> list[list[PromptPairs]]:
        return cut_by_tokens(share, tokens=lambda group: group.tokens, micro_tokens=settings.micro_tokens)

    for part in engine.passes(batch, tokens=lambda group: group.tokens, cut=cut):
        micro = part.items
        offsets = torch.tensor([0, *(len(group.answers) for group in micro)]).cumsum(0).tolist()
        rewards = answer_rewards(engine.model, [answer for group in micro for answer in group.answers], precision=settings.precision)
        chosen = rewards.index_select(0, torch.tensor([start + i for start, group in zip(offsets, micro, strict=False) for i in group.chosen]))
        rejected = rewards.index_select(0, torch.tensor([start + i for start, group in zip(offsets, micro, strict=False) for i in group.rejected]))
        margins = torch.tensor([margin * margin_scale for group in micro for margin in group.margins])
        loss = bradley_terry_loss(chosen, rejected, margins_P=margins, centring=centring) / count
        engine.backward(loss, part)
        loss_sum += float(loss.detach()) * part.is_counted
        accuracy_sum += float(pair_accuracy(chosen, rejected).sum()) * part.is_counted
    loss_sum, accuracy_sum = engine.ranks.total([loss_sum, accuracy_sum])
    return loss_sum, accuracy_sum / count


def _batches(groups: Sequence[PromptPairs], settings: SupervisedSettings, *, seed: int) -> list[list[PromptPairs]]:
    """Return one batch a step: whole prompts, shuffled anew each epoch, until `batch_samples` pairs are reached."""
    batches: list[list[PromptPairs]] = []
    epoch, order = 0, []
    while len(batches) < settings.steps:
        batch: list[PromptPairs] = []
        while sum(len(group.chosen) for group in batch) < settings.batch_samples:
            if not order:
                order = sorted(range(len(groups)), key=lambda index: stable_fraction(str(seed), str(epoch), str(index)))
                epoch += 1
            batch.append(groups[order.pop(0)])
        batches.append(batch)
    return batches
