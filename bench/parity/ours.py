"""Our loss and gradients of each case on the fixed batch, by the functions the training loops call."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.parity.batch import LONGEST_ANSWER, TEMPERATURE, Batch, pair_references
from components.rewards.reward_model import answer_rewards
from components.settings.training import DirectPreferenceSettings, OptimiserSettings
from components.training.policy.losses.loss import AnswerTokens, ClipRange, StepTotals, policy_loss
from components.training.policy.losses.registry import LOSSES
from components.training.policy.scoring import answer_logprobs, pack_groups
from components.training.preference.bradley_terry import bradley_terry_loss
from components.training.preference.direct_update import PairStatistics, ReferencedPairs, summed_loss
from components.training.preference.prompt_pairs import PromptPairs


@dataclass(frozen=True)
class Case:
    """One loss, and its settings on both sides."""

    name: str
    loss: str
    kl: str = "k3"
    kl_weight: float = 0.2
    clip_low: float = 0.2
    clip_high: float = 0.28
    beta: float = 0.1
    centring: float = 0.01


CASES = (
    Case("logprobs", "logprobs"),
    Case("grpo", "grpo"),
    Case("grpo, ratio x k3", "grpo", kl="ratio_k3"),
    Case("dapo", "dapo"),
    Case("dapo, ratio x k3", "dapo", kl="ratio_k3"),
    Case("dr_grpo", "dr_grpo"),
    Case("gspo", "gspo", clip_low=0.05, clip_high=0.06),  # wide enough for some whole answers to stay inside
    Case("cispo", "cispo", clip_low=1.0, clip_high=0.1),
    Case("reward", "reward"),
    Case("dpo", "dpo"),
)


def our_result(batch: Batch, case: Case) -> dict[str, Tensor]:
    """Return `loss`, `grad.<parameter>` of every parameter, and for the case `logprobs` the log-probabilities."""
    model = batch.reward_model if case.loss == "reward" else batch.policy
    model.zero_grad(set_to_none=True)
    extra = {}
    if case.loss == "reward":
        loss = _reward(batch, case)
    elif case.loss == "dpo":
        loss = _direct(batch, case)
    elif case.loss == "logprobs":
        logprobs = _logprobs(batch)
        loss, extra = -logprobs.sum() / len(logprobs), {"logprobs": logprobs.detach()}
    else:
        loss = _policy(batch, case)
    loss.backward()
    gradients = {f"grad.{name}": parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {"loss": loss.detach().reshape(1), **gradients, **extra}


def _logprobs(batch: Batch) -> Tensor:
    return answer_logprobs(batch.policy, pack_groups(batch.groups), temperature=TEMPERATURE, precision="float32", with_entropy=False)[0]


def _policy(batch: Batch, case: Case) -> Tensor:
    lengths = torch.tensor([len(answer.ids) for group in batch.groups for answer in group.answers])
    advantages = torch.tensor([value for group in batch.groups for value in group.advantages])
    tokens = AnswerTokens(
        logprobs_T=_logprobs(batch), old_T=batch.old_T, reference_T=batch.reference_T, advantages_T=advantages.repeat_interleave(lengths),
        lengths_A=lengths,
    )  # fmt: skip
    totals = StepTotals(len(lengths), int(lengths.sum()), LONGEST_ANSWER)
    clip = ClipRange(case.clip_low, case.clip_high)
    return policy_loss(LOSSES[case.loss], tokens, totals=totals, clip=clip, kl=case.kl, kl_weight=case.kl_weight).loss


def _reward(batch: Batch, case: Case) -> Tensor:
    encoded = [(group.prompt_ids, answer.ids) for group in batch.groups for answer in group.answers[:2]]
    rewards = answer_rewards(batch.reward_model, encoded, precision="float32")
    return bradley_terry_loss(rewards[0::2], rewards[1::2], margins_P=batch.margins_P, centring=case.centring) / len(batch.groups)


def _direct(batch: Batch, case: Case) -> Tensor:
    groups = [
        PromptPairs(tuple((group.prompt_ids, answer.ids) for answer in group.answers[:2]), (0,), (1,), (0.0,), (str(number),))
        for number, group in enumerate(batch.groups)
    ]
    scored = ReferencedPairs(groups, pair_references(batch).unbind())
    settings = DirectPreferenceSettings(optimiser=OptimiserSettings(learning_rate=1.0), steps=1, beta=case.beta, precision="float32")
    return summed_loss(batch.policy, scored, range(len(groups)), settings=settings, statistics=PairStatistics()) / len(groups)


def clipped_share(batch: Batch, case: Case) -> float:
    """Return the share of answer tokens whose ratio lies outside the clip range."""
    with torch.no_grad():
        ratio_T = (_logprobs(batch) - batch.old_T).exp()
    return float(((ratio_T < 1 - case.clip_low) | (ratio_T > 1 + case.clip_high)).float().mean())
