"""Tuning a model that gives answers a reward on preference pairs: pointwise (Bradley–Terry), and what else scores so.

All pairs of one prompt stand in one batch and every distinct answer passes through the model once (arXiv:2203.02155
§3.5: pairs of a prompt are correlated, and shuffled apart they overfit in one epoch). The prompt is laid in once for
its answers. The loss is divided by the pairs of the whole optimiser step. With several ranks a step's prompts are shared.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from time import perf_counter
from typing import NoReturn

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from components.conversations import PreferencePair
from components.errors import DataError
from components.lineage import digest_value
from components.modeling.adapters import attach_adapters, has_adapters, trained_state
from components.modeling.micro_batches import cut_by_tokens
from components.modeling.precision import Precision
from components.recorder import Recorder, SilentRecorder
from components.rewards.reward_model import answer_rewards, encode_answers
from components.settings.engine import EngineSettings
from components.settings.training import SupervisedSettings
from components.storage.checkpoints import CheckpointFolder
from components.training.divergence import is_sound_loss, refuse_unsound, with_loss
from components.training.engines.creation import create_engine
from components.training.engines.engine import Engine
from components.training.floors import StepFloors
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
        Diverged: a loss or a gradient is not finite, or a loss is far above those before.
        Preempted: a stop was asked for; the state is saved.
        StorageError: the checkpoint is damaged, was made on other pairs, or cannot be written.
    """

    def loss(chosen_P: Tensor, rejected_P: Tensor, margins_P: Tensor) -> Tensor:
        return bradley_terry_loss(chosen_P, rejected_P, margins_P=margins_P, centring=centring)

    tune_scores(
        model, tokenizer, pairs, loss=loss, settings=settings, margin_scale=margin_scale, seed=seed, recorder=recorder, name=name,
        checkpoints=checkpoints, engine=engine,
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
    engine: EngineSettings | None = None,
) -> None:
    """Do what `tune_reward_model` does, with any loss of the two rewards of a pair; arguments and errors are its."""
    if not pairs:
        raise DataError(f"reward model {name}: no preference pairs; raise reward_models.prompts or candidates")
    run = ScoreRun(
        model, group_pairs(pairs, partial(encode_answers, tokenizer)), loss=loss, settings=settings, margin_scale=margin_scale, seed=seed,
        recorder=recorder, name=name, checkpoints=checkpoints, identity={"pairs": pairs_digest(pairs)}, engine=engine,
    )  # fmt: skip
    run.run()


class ScoreRun:
    """One run over a plan of batches of prompts; `model` is changed in place."""

    def __init__(
        self, model: PreTrainedModel, groups: Sequence[PromptPairs], *, loss: PairLoss, settings: SupervisedSettings, margin_scale: float,
        seed: int, recorder: Recorder, name: str, checkpoints: CheckpointFolder | None, identity: Mapping[str, str], engine: EngineSettings | None,
    ) -> None:  # fmt: skip
        self.groups, self.loss, self.settings, self.margin_scale, self.name = groups, loss, settings, margin_scale, name
        attach_adapters(model, settings.adapters, seed=seed)
        self.engine = create_engine(model, settings.optimiser, engine, precision=settings.precision, norm_order="model")
        ranks = self.engine.ranks
        self.recorder = recorder if ranks.is_main else SilentRecorder()
        self.floors = StepFloors(model, precision=settings.precision, is_adapted=has_adapters(model), ranks=ranks.size)
        self.plan = plan_batches(groups, steps=settings.steps, batch_pairs=settings.batch_samples, seed=seed)
        self.saved = TuningCheckpoints(checkpoints, self.engine, self.recorder, identity, steps=settings.steps, what="a reward model")

    def run(self) -> None:
        """Train to the end of the plan."""
        total, checkpoints = self.settings.steps, self.saved.checkpoints
        with orderly_steps(checkpoints):
            for step in range(self.saved.resume(), total):
                self._step(step)
                done = step + 1
                if done % self.settings.checkpoint_every == 0 or done == total:
                    self.saved.save(done)
                stop_here_if_asked(partial(self.saved.save, done), checkpoints=checkpoints, done=done, total=total, ranks=self.engine.ranks)
        self.engine.finish()
        refuse_unsound(trained_state(self.engine.whole), step=total, checkpoints=self.saved.written)

    def _step(self, step: int) -> None:
        batch, started, shape = [self.groups[index] for index in self.plan[step]], perf_counter(), self.settings.optimiser
        value, accuracy = accumulate_gradients(self.engine, batch, loss=self.loss, settings=self.settings, margin_scale=self.margin_scale)
        if not is_sound_loss(value, self.saved.losses, spike_limit=self.settings.spike_limit):
            self._stop(step, batch, loss=value, norm=self.engine.gradient_norm())
        norm = self.engine.step(rate=learning_rate(step, steps=self.settings.steps, settings=shape), clip_norm=shape.clip_norm)
        if not math.isfinite(norm):
            self._stop(step, batch, loss=value, norm=norm)
        self.saved.losses = with_loss(self.saved.losses, value)
        trees = [group.tree for group in batch]
        floor = self.floors.update(trees, headed=0, read=sum(len(tree.answers) for tree in trees))
        seconds = {"update": perf_counter() - started, "floor_update": floor}
        timings = {f"seconds_{part}/{self.name}": spent for part, spent in seconds.items()} | self.saved.seconds(self.name)
        self.recorder.metrics({f"{self.name}/loss": value, f"{self.name}/accuracy": accuracy, **timings}, step=step)
        self.recorder.progress(step + 1, self.settings.steps, loss=value)

    def _stop(self, step: int, batch: Sequence[PromptPairs], *, loss: float, norm: float) -> NoReturn:
        reason = f"reward model {self.name}: loss {loss:.4g}, gradient norm {norm:.4g}"
        self.saved.stop(step, reason=reason, batch=batch, values={"loss": loss, "gradient_norm": norm})


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


def accumulate_gradients(
    engine: Engine, batch: Sequence[PromptPairs], *, loss: PairLoss, settings: SupervisedSettings, margin_scale: float
) -> tuple[float, float]:
    """Add the gradient of a step's mean loss, pass by pass; return the whole step's loss and the share of pairs got right."""
    count = sum(len(group.chosen) for group in batch)
    loss_sum = accuracy_sum = 0.0
    tokens = attrgetter("tokens")
    for part in engine.passes(batch, tokens=tokens, cut=partial(cut_by_tokens, tokens=tokens, micro_tokens=settings.micro_tokens)):
        answers = [answer for group in part.items for answer in group.answers]
        rewards = answer_rewards(engine.model, answers, precision=settings.precision, recompute=settings.recompute)
        chosen, rejected = (rewards.index_select(0, positions.to(rewards.device)) for positions in pair_positions(part.items))
        margins = torch.tensor([margin * margin_scale for group in part.items for margin in group.margins], device=rewards.device)
        mean = loss(chosen, rejected, margins) / count
        engine.backward(mean, part)
        if part.is_counted:
            loss_sum += float(mean.detach())
            accuracy_sum += float(pair_accuracy(chosen, rejected).sum())
    loss_sum, accuracy_sum = engine.ranks.total([loss_sum, accuracy_sum])
    return loss_sum, accuracy_sum / count
