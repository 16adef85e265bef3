"""The fixed batch: answers of several lengths to prompts of several lengths, advantages, margins, and models near by."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from components.modeling.models import create_model, save_model
from components.rewards.reward_model import create_reward_model, save_reward_model
from components.settings.training import ModelSettings
from components.training.policy.groups import Answer, LiveGroup
from components.training.policy.scoring import answer_logprobs, pack_groups

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TEMPERATURE = 0.8
PROMPTS, ANSWERS = 5, 4
LONGEST_PROMPT, LONGEST_ANSWER = 24, 16
WEIGHT_NOISE, OLD_NOISE, REFERENCE_NOISE = 0.05, 0.006, 0.02  # standard deviations: of fresh weights, and from the policy to each


@dataclass(frozen=True)
class Batch:
    """Policy, reward model and the answers; `old_T` and `reference_T` are (answer tokens,), in the groups' order."""

    policy: "PreTrainedModel"
    reward_model: "PreTrainedModel"
    groups: tuple[LiveGroup, ...]
    old_T: Tensor
    reference_T: Tensor
    margins_P: Tensor  # (pairs,): a pair is a prompt's first two answers


def make_batch(shape: ModelSettings, *, tokenizer: "PreTrainedTokenizerFast", folder: Path, seed: int = 3) -> Batch:
    """Make the batch and save its models as `policy` and `reward`."""
    generator = torch.Generator().manual_seed(seed)
    policy = _moved(create_model(shape, tokenizer=tokenizer, seed=seed), WEIGHT_NOISE, generator)
    reward_model = create_reward_model(policy, seed=seed)
    save_model(policy, tokenizer, folder / "policy")
    save_reward_model(reward_model, tokenizer, folder / "reward", mean=0.0, scale=1.0)
    ordinary = [token for token in range(len(tokenizer)) if token not in tokenizer.all_special_ids]
    groups = tuple(_group(ordinary, tokenizer.eos_token_id, generator) for _ in range(PROMPTS))
    old, reference = (
        answer_logprobs(_moved(copy.deepcopy(policy), noise, generator), pack_groups(groups), temperature=TEMPERATURE, precision="float32", with_entropy=False)[0].detach()
        for noise in (OLD_NOISE, REFERENCE_NOISE)
    )
    return Batch(policy, reward_model, groups, old, reference, torch.rand(PROMPTS, generator=generator))


def _group(ordinary: list[int], end: int, generator: torch.Generator) -> LiveGroup:
    def tokens(longest: int) -> tuple[int, ...]:
        count = int(torch.randint(2, longest + 1, (1,), generator=generator))
        return tuple(ordinary[int(place)] for place in torch.randint(len(ordinary), (count,), generator=generator))

    answers = tuple(Answer((*tokens(LONGEST_ANSWER - 1), end), (), "stop", "", {}) for _ in range(ANSWERS))
    return LiveGroup(tokens(LONGEST_PROMPT), answers, tuple(torch.randn(ANSWERS, generator=generator).tolist()))


def _moved(model: "PreTrainedModel", noise: float, generator: torch.Generator) -> "PreTrainedModel":
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * noise)
    return model


def pair_references(batch: Batch) -> Tensor:
    """Return the reference's log-probability of each pair's two answers, (pairs, 2): sums over tokens, at the sampling temperature."""
    lengths = [len(answer.ids) for group in batch.groups for answer in group.answers]
    sums = torch.stack([part.sum() for part in batch.reference_T.split(lengths)])
    return sums.view(len(batch.groups), -1)[:, :2]


def exported(batch: Batch, *, pad: int) -> dict[str, Tensor]:
    """Return the batch as TRL's trainers take it: prompts padded left, answers right, (answers, …); pairs chosen first."""
    rows = [(group.prompt_ids, answer.ids) for group in batch.groups for answer in group.answers]
    prompts, prompt_mask = _padded([prompt for prompt, _ in rows], pad, left=True)
    answers, answer_mask = _padded([answer for _, answer in rows], pad, left=False)
    lengths = [len(answer) for _, answer in rows]
    numbers = {"old_per_token_logps": batch.old_T, "ref_per_token_logps": batch.reference_T}
    pairs = [(group.prompt_ids, group.answers[place].ids) for place in (0, 1) for group in batch.groups]
    pair_ids, pair_mask = _padded([(*prompt, *answer) for prompt, answer in pairs], pad, left=False)
    completion = _padded([(*(0 for _ in prompt), *(1 for _ in answer)) for prompt, answer in pairs], 0, left=False)[0]
    return {
        "prompt_ids": prompts, "prompt_mask": prompt_mask, "completion_ids": answers, "completion_mask": answer_mask,
        "advantages": torch.tensor([value for group in batch.groups for value in group.advantages]),
        **{name: torch.nn.utils.rnn.pad_sequence(values.split(lengths), batch_first=True).contiguous() for name, values in numbers.items()},
        "pair_ids": pair_ids, "pair_mask": pair_mask, "pair_completion_mask": completion, "margin": batch.margins_P,
        "ref_chosen_logps": pair_references(batch)[:, 0].contiguous(), "ref_rejected_logps": pair_references(batch)[:, 1].contiguous(),
    }  # fmt: skip


def _padded(rows: list[tuple[int, ...]], pad: int, *, left: bool) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids, mask = torch.full((len(rows), width), pad), torch.zeros(len(rows), width, dtype=torch.int64)
    for number, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[number, place], mask[number, place] = torch.tensor(row), 1
    return ids, mask
