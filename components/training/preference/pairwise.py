"""Tuning a pairwise reward model (`components/rewards/pairwise_model.py`) as a classifier of both orders of every pair.

    −½ [ log σ(f(better, worse)) + log σ(−f(worse, better)) ]

(arXiv:2306.02561 §3.2, both orders.) The two readings of a pair share the question's pass and are never apart, so what
a place is favoured by gets no gradient from the labels' mix. An untuned model that says 0 costs log 2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from components.conversations import PreferencePair
from components.modeling.precision import Precision
from components.recorder import Recorder
from components.rewards.pairwise_model import in_both_orders
from components.settings.engine import EngineSettings
from components.settings.training import SupervisedSettings
from components.storage.checkpoints import CheckpointFolder
from components.training.preference.bradley_terry import pair_accuracy
from components.training.preference.tuning import score_pairs, tune_scores


def both_orders_loss(first_P: Tensor, second_P: Tensor) -> Tensor:
    """Return the sum over pairs of the loss, a scalar.

    Args:
        first_P: (pairs,), the logit of the reading that has the better answer first; `second_P`: that has it second.
    """
    return -(functional.logsigmoid(first_P) + functional.logsigmoid(-second_P)).sum() / 2


def tune_pairwise_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    pairs: Sequence[PreferencePair],
    *,
    settings: SupervisedSettings,
    seed: int,
    recorder: Recorder,
    name: str = "pairwise",
    checkpoints: CheckpointFolder | None = None,
    engine: EngineSettings | None = None,
) -> None:
    """Tune a model made by `create_reward_model` in place; arguments and errors are those of `tune_reward_model`.

    Pairs of two equal final answers are left out: they say nothing.
    """
    readings = [reading for reading in map(in_both_orders, pairs) if reading.chosen != reading.rejected]
    tune_scores(
        model, tokenizer, readings, loss=lambda first, second, _: both_orders_loss(first, second), settings=settings, margin_scale=0.0,
        seed=seed, recorder=recorder, name=name, checkpoints=checkpoints, engine=engine,
    )  # fmt: skip


@torch.no_grad()
def pairwise_figures(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[PreferencePair], *, precision: Precision
) -> dict[str, float]:
    """Return how often a model is right, with both orders averaged and with each alone, and how it favours the first place.

    `position_bias` is in logits (0: none), `flipped_share` the share of pairs whose verdict changes with the order.
    """
    first_P, second_P = score_pairs(model, tokenizer, [in_both_orders(pair) for pair in pairs], precision=precision)
    return {
        "accuracy": float(pair_accuracy(first_P, second_P).mean()),
        "accuracy_better_first": float((first_P > 0).float().mean()),
        "accuracy_better_second": float((second_P < 0).float().mean()),
        "position_bias": float((first_P + second_P).mean() / 2),
        "flipped_share": float(((first_P > 0) == (second_P > 0)).float().mean()),
    }
