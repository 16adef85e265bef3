"""A pointwise reward model: a decoder with a scalar head, read at the last token of the conversation.

Stored as a safetensors folder that transformers loads for sequence classification (num_labels 1) with no code of ours;
the mean and scale of the rewards on its training answers lie in config.json (`reward_mean`, `reward_scale`), so the
normalisation travels with the model. Only the final answer is judged, never the reasoning before it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from components.conversations import Message
from components.errors import StorageError
from components.modeling.adapters import has_adapters, merged_state
from components.modeling.devices import own_device
from components.modeling.packed_pass import token_scores
from components.modeling.packing import pack_trees
from components.modeling.precision import Precision
from components.modeling.reading import read_at
from components.modeling.tokenizers import CONTROL_TOKENS, encode_samples, load_tokenizer
from components.rewards.answer_parsing import split_reasoning

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

BATCH_TOKENS = 4096
POINTWISE, PAIRWISE = "pointwise", "pairwise"  # `reward_kind` in config.json; pointwise where it says nothing
Encoded = tuple[tuple[int, ...], tuple[int, ...]]  # (prompt ids, answer ids)


class RewardModel:
    """Scores answers; standardised by its own training answers, so that models can be averaged."""

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerFast",
        *,
        mean: float = 0.0,
        scale: float = 1.0,
        precision: Precision = "float32",
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.mean = mean
        self.scale = scale
        self.precision = precision

    @classmethod
    def load(cls, folder: Path, *, precision: Precision = "float32") -> "RewardModel":
        """Load a folder written by `save_reward_model`.

        Raises:
            StorageError: no reward model there, or its weights cannot be read.
        """
        model, tokenizer = load_scored(folder, kind=POINTWISE)
        config = model.config
        return cls(
            model, tokenizer, mean=float(getattr(config, "reward_mean", 0.0)),
            scale=float(getattr(config, "reward_scale", 1.0)), precision=precision,
        )  # fmt: skip

    @torch.no_grad()
    def score(self, conversations: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[float]:
        """Return the standardised reward of each answer; neighbours with one prompt share its pass."""
        encoded = encode_answers(self.tokenizer, conversations, answers)
        rewards: list[float] = []
        for batch in cut_batches(encoded):
            rewards.extend(answer_rewards(self.model, batch, precision=self.precision).tolist())
        return [(reward - self.mean) / self.scale for reward in rewards]


def load_scored(folder: Path, *, kind: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerFast]":
    """Load a model with a scalar head and its tokenizer, refusing one of another kind (`POINTWISE`, `PAIRWISE`).

    Raises:
        StorageError: no such model there, or its weights cannot be read.
    """
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    except (OSError, RuntimeError, ValueError) as error:
        raise StorageError(f"{folder}: no reward model can be loaded ({str(error).splitlines()[0]}); run the stage reward_models") from error
    found = getattr(model.config, "reward_kind", POINTWISE)
    if found != kind:
        raise StorageError(f"{folder}: holds a {found} reward model where a {kind} one is read; name the folder of a {kind} one")
    return model.eval().to(own_device()), load_tokenizer(folder)


def encode_answers(
    tokenizer: "PreTrainedTokenizerFast", conversations: Sequence[Sequence[Message]], answers: Sequence[str]
) -> list[Encoded]:
    """Return (prompt ids, answer ids) of each conversation with its answer's final part as the last turn."""
    whole = [
        [*messages, Message(role="assistant", content=_without_control(split_reasoning(answer)[1]))]
        for messages, answer in zip(conversations, answers, strict=True)
    ]
    encoded = []
    for messages, (ids, mask) in zip(whole, encode_samples(tokenizer, whole), strict=True):
        turns = sum(message.role == "assistant" for message in messages)
        start = _last_turn_start(mask, turns)
        encoded.append((tuple(ids[:start]), tuple(ids[start:])))
    return encoded


def answer_rewards(model: "PreTrainedModel", encoded: Sequence[Encoded], *, precision: Precision, recompute: bool = False) -> Tensor:
    """Return the raw reward of each answer, (answers,), float32: the head at the answer's last token.

    Args:
        encoded: (prompt ids, answer ids); neighbours with equal prompts are packed as one tree.
        recompute: see `forward_packed`.
    """
    prompts: list[tuple[int, ...]] = []
    answers: list[list[tuple[int, ...]]] = []
    for prompt, answer in encoded:
        if not prompts or prompts[-1] != prompt:
            prompts.append(prompt)
            answers.append([])
        answers[-1].append(answer)
    packed = pack_trees(prompts, answers)
    return token_scores(model, read_at(packed, packed.last_tokens), precision=precision, recompute=recompute)


def create_reward_model(backbone: "PreTrainedModel", *, seed: int) -> "PreTrainedModel":
    """Put a scalar head on a language model's decoder; head weights normal with std 1/√(hidden + 1) (2009.01325).

    Raises:
        StorageError: the backbone's config names no pad token, which the last-token read-out needs.
    """
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    if backbone.config.pad_token_id is None:
        raise StorageError("the backbone's config.json names no pad_token_id; a reward model cannot find the last token without it")
    kind = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(backbone.config)]
    values = {name: value for name, value in backbone.config.to_dict().items() if name not in ("id2label", "label2id")}
    config = type(backbone.config).from_dict({**values, "num_labels": 1, "architectures": [kind.__name__]})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config)
        torch.nn.init.normal_(model.score.weight, std=(config.hidden_size + 1) ** -0.5)
    model.base_model.load_state_dict(backbone.base_model.state_dict())
    return model.eval().to(backbone.device)


def save_reward_model(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", folder: Path, *, mean: float, scale: float
) -> None:
    """Write model, tokenizer and normalisation into a folder, adapters merged into the weights; equal weights give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.reward_mean = mean
    model.config.reward_scale = scale
    model.config.name_or_path = ""
    model.save_pretrained(folder, state_dict=merged_state(model) if has_adapters(model) else None)
    tokenizer.save_pretrained(folder)


def cut_batches(encoded: Sequence[Encoded]) -> list[list[Encoded]]:
    """Cut answers, in order, into passes of at most `BATCH_TOKENS` tokens, neighbours' equal prompts counted once."""
    batches: list[list[Encoded]] = []
    used = BATCH_TOKENS
    for item in encoded:
        size = len(item[1]) + (0 if batches and batches[-1] and batches[-1][-1][0] == item[0] else len(item[0]))
        if used + size > BATCH_TOKENS:
            batches.append([])
            used, size = 0, len(item[0]) + len(item[1])
        batches[-1].append(item)
        used += size
    return batches


def _last_turn_start(mask: Sequence[bool], turns: int) -> int:
    seen = 0
    for index, is_answer in enumerate(mask):
        if is_answer and (index == 0 or not mask[index - 1]):
            seen += 1
            if seen == turns:
                return index
    raise ValueError(f"{turns} assistant turns expected in a rendered conversation, {seen} found")


def _without_control(text: str) -> str:
    for token in CONTROL_TOKENS:
        text = text.replace(token, " ")
    return text
