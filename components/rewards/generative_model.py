"""A generative reward model: a language model that is asked what an answer is worth and answers with a label.

The reward is the expectation over the labels, not the label drawn (arXiv:2303.16634 §2.3, 2408.15240 §3.1):

    R = Σ_l value_l · p(l) / Σ_l p(l),   p(l) the probability of label l as the first token of the verdict

Optionally the model reasons first (the report's judge writes a chain of thought, then a score): the reasoning is sampled,
the label's probabilities are read after it, and R is the mean over samples. Tuned by the supervised loop on labelled
verdicts (`verdict_samples`); the question asked and the labels lie in config.json (`judge`) and travel with the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import torch

from components.conversations import Message, PreferencePair, Sample
from components.errors import SettingsError, StorageError
from components.generation.sampler import Sampler, SamplingOptions
from components.modeling.forward import forward_packed
from components.modeling.micro_batches import cut_by_tokens
from components.modeling.models import load_model, save_model
from components.modeling.packing import pack_sequences
from components.modeling.precision import Precision, products_in
from components.modeling.reading import read_at
from components.modeling.tokenizers import CONTROL_TOKENS, encode_prompts, encode_texts, load_tokenizer
from components.rewards.answer_parsing import THINK_CLOSE, THINK_OPEN, split_reasoning

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

BATCH_TOKENS = 4096


@dataclass(frozen=True)
class JudgeForm:
    """How a judge is asked, and what its labels stand for.

    Attributes:
        criterion: what an answer is judged by, in words; the first line of the prompt.
        labels: label → value; each label is one token of the tokenizer.
        minimum_mass: probability that must fall on the labels together; below it the model gave no verdict (unscored).
    """

    criterion: str = "Judge the answer to the question from 1 (worst) to 5 (best)."
    labels: Mapping[str, float] = field(default_factory=lambda: {"1": 0.0, "2": 0.25, "3": 0.5, "4": 0.75, "5": 1.0})
    minimum_mass: float = 0.5

    def prompt(self, messages: Sequence[Message], answer: str) -> tuple[Message, ...]:
        """Return the judging prompt, one user turn: the criterion, the conversation, the final answer."""
        turns = "\n".join(f"{message.role}: {message.content}" for message in messages)
        text = f"{self.criterion}\n\n{turns}\n\nanswer: {split_reasoning(answer)[1]}\n\nverdict:"
        for token in CONTROL_TOKENS:
            text = text.replace(token, " ")
        return (Message(role="user", content=text),)

    def nearest(self, score: float) -> str:
        """Return the label whose value is nearest to a score; of two equally near ones, the lower."""
        return min(self.labels, key=lambda label: (abs(self.labels[label] - score), self.labels[label]))


@dataclass(frozen=True)
class JudgedAnswer:
    """A labelled answer to tune a judge on: `score` on the labels' scale, None where its grader could not say."""

    id: str
    messages: tuple[Message, ...]
    answer: str
    score: float | None
    reasoning: str = ""


class GenerativeModel:
    """Scores answers by asking; `reasoner` samples what the judge thinks first, where it was tuned to think."""

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerFast",
        form: JudgeForm,
        *,
        precision: Precision = "float32",
        reasoner: tuple[Sampler, SamplingOptions] | None = None,
    ) -> None:
        """Raises: SettingsError: see `label_ids`; or a reasoner for a tokenizer in which `</think>` is not one token."""
        self.model, self.tokenizer, self.form, self.precision, self.reasoner = model, tokenizer, form, precision, reasoner
        self._labels = torch.tensor(label_ids(tokenizer, form))
        (self._close,) = tokenizer.convert_tokens_to_ids([THINK_CLOSE])
        if reasoner is not None and self._close in (None, tokenizer.unk_token_id):
            raise SettingsError(f"the judge's tokenizer has no token {THINK_CLOSE}: leave the reasoner out, or add the token before tuning")
        self._values = torch.tensor(list(form.labels.values()), dtype=torch.float32)

    @classmethod
    def load(cls, folder: Path, *, precision: Precision = "float32") -> "GenerativeModel":
        """Load a folder written by `save_generative_model`.

        Raises:
            StorageError: no model there, or none that was saved as a judge.
        """
        model = load_model(folder)
        judge = getattr(model.config, "judge", None)
        if judge is None:
            raise StorageError(f"{folder}: config.json has no `judge`; the model was not saved as a generative reward model")
        return cls(model, load_tokenizer(folder), JudgeForm(**judge), precision=precision)

    def score(self, conversations: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[float | None]:
        """Return each answer's reward, between the lowest and the highest label's value.

        None, unscored, where the answer is empty once its reasoning is taken off, or no verdict came: see `JudgeForm`.
        """
        asked = [index for index, answer in enumerate(answers) if split_reasoning(answer)[1]]
        prompts = encode_prompts(self.tokenizer, [self.form.prompt(conversations[index], answers[index]) for index in asked])
        rewards: list[float | None] = [None] * len(answers)
        for index, lines in zip(asked, self._reasoned(prompts), strict=True):
            values = [value for value in self._expectations(lines) if value is not None]
            rewards[index] = fmean(values) if values else None
        return rewards

    def _reasoned(self, prompts: Sequence[Sequence[int]]) -> list[list[list[int]]]:
        """Return for each prompt the rows to read a label after: itself, or itself with each reasoning that was closed."""
        if self.reasoner is None:
            return [[list(prompt)] for prompt in prompts]
        sampler, options = self.reasoner
        groups = sampler.generate(prompts, options)
        return [
            [[*prompt, *item.ids[: item.ids.index(self._close) + 1]] for item in group if self._close in item.ids]
            for prompt, group in zip(prompts, groups, strict=True)
        ]

    @torch.no_grad()
    def _expectations(self, rows: Sequence[Sequence[int]]) -> list[float | None]:
        products = products_in(self.precision)
        head_VD = products.operand(self.model.get_output_embeddings().weight)
        found: list[float | None] = []
        for batch in cut_by_tokens(rows, tokens=len, micro_tokens=BATCH_TOKENS):
            packed = pack_sequences(batch)
            hidden_RD = forward_packed(self.model, read_at(packed, packed.last_tokens), precision=self.precision)
            logprobs_RV = products.linear(products.entering(hidden_RD), head_VD).float().log_softmax(dim=-1)
            shares_RL = logprobs_RV.index_select(1, self._labels.to(head_VD.device))
            rewards_R = shares_RL.softmax(dim=-1) @ self._values.to(head_VD.device)
            masses = shares_RL.logsumexp(dim=-1).exp().tolist()
            found += [reward if mass >= self.form.minimum_mass else None for reward, mass in zip(rewards_R.tolist(), masses, strict=True)]
        return found


def label_ids(tokenizer: "PreTrainedTokenizerFast", form: JudgeForm) -> list[int]:
    """Return the token of each label.

    Raises:
        SettingsError: fewer than two labels, one that is not a single token, or two of one token.
    """
    encoded = encode_texts(tokenizer, list(form.labels))
    for label, ids in zip(form.labels, encoded, strict=True):
        if len(ids) != 1:
            raise SettingsError(f"judge label {label!r} is {len(ids)} tokens; choose labels of one token each, such as digits")
    flat = [ids[0] for ids in encoded]
    if len(set(flat)) != len(flat) or len(flat) < 2:
        raise SettingsError(f"judge labels {list(form.labels)}: at least two, of different tokens")
    return flat


def verdict_samples(judged: Sequence[JudgedAnswer], form: JudgeForm) -> list[Sample]:
    """Return what a judge is tuned on: each scored answer's prompt and label, after its reasoning where there is one."""
    samples = []
    for item in judged:
        if item.score is None:
            continue
        thought = f"{THINK_OPEN}{item.reasoning}{THINK_CLOSE}" if item.reasoning else ""
        verdict = Message(role="assistant", content=thought + form.nearest(item.score))
        samples.append(Sample(id=f"judge:{item.id}", task="judge", group="judge", messages=(*form.prompt(item.messages, item.answer), verdict)))
    return samples


def judged_pairs(pairs: Sequence[PreferencePair], form: JudgeForm) -> list[JudgedAnswer]:
    """Return labelled answers of pairs that only say which is better: the preferred gets the highest value, the other the lowest.

    An answer preferred in one pair and not in another gets the mean of its values; each stands once.
    """
    low, high = min(form.labels.values()), max(form.labels.values())
    values: dict[tuple[tuple[Message, ...], str], list[float]] = {}
    for pair in pairs:
        values.setdefault((pair.messages, pair.chosen), []).append(high)
        values.setdefault((pair.messages, pair.rejected), []).append(low)
    return [JudgedAnswer(str(number), messages, answer, fmean(scores)) for number, ((messages, answer), scores) in enumerate(values.items())]


def save_generative_model(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", folder: Path, form: JudgeForm) -> None:
    """Write model, tokenizer and the judge's form into a folder; equal weights give equal bytes."""
    model.config.judge = {**asdict(form), "labels": dict(form.labels)}
    save_model(model, tokenizer, folder)
