"""One step's groups: sample, judge, keep those with spread, refill from the next prompts, and count what was left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from components.generation.sampler import Sampler, SamplingOptions
from components.settings.training import PolicySettings
from components.training.engines.ranks import SINGLE, Ranks
from components.training.policy.advantages import combined_advantages, group_advantages, summed_rewards
from components.training.policy.groups import (
    Group,
    LiveGroup,
    PolicyPrompt,
    RewardFunction,
    live_groups,
    reward_tensors,
)
from components.training.policy.overlong import penalise_overlong
from components.training.policy.resampling import PromptResampler
from components.training.policy.rollouts import rollout_seed, sample_shared


@dataclass
class Collection:
    """What one step sampled, and what of it enters the loss."""

    groups: list[Group] = field(default_factory=list)
    live: list[LiveGroup] = field(default_factory=list)
    advantages_BG: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    unscored: int = 0
    round_sizes: list[int] = field(default_factory=list)  # groups of each round of sampling
    seconds_generate: float = 0.0
    seconds_score: float = 0.0

    @property
    def rounds(self) -> int:
        """How often was sampled."""
        return len(self.round_sizes)

    def metrics(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return reward means (over scored answers; by task too), lengths, shares and counts."""
        rewards = reward_tensors(self.groups)
        answers = [answer for group in self.groups for answer in group.answers]
        values = {
            "reward": _mean(summed_rewards(rewards, weights)) if rewards else 0.0,
            "answer_tokens_mean": sum(len(answer.ids) for answer in answers) / len(answers),
            "truncated_share": sum(answer.is_truncated for answer in answers) / len(answers),
            "sampled_groups": float(len(self.groups)),
            "live_groups": float(len(self.live)),
            "no_spread_share": 1.0 - float(self.advantages_BG.ne(0).any(dim=1).float().mean()),
            "unscored_answers": float(self.unscored),
            "sampled_tokens": float(sum(len(answer.ids) for answer in answers)),
            "seconds_generate": self.seconds_generate,
            "seconds_score": self.seconds_score,
        }
        tasks = sorted({group.prompt.task for group in self.groups})
        for name, rewards_BG in rewards.items():
            values[f"reward/{name}"] = _mean(rewards_BG)
            for task in tasks:
                rows = torch.tensor([group.prompt.task == task for group in self.groups])
                if not rewards_BG[rows].isnan().all():
                    values[f"{name}/{task}"] = _mean(rewards_BG[rows])
        return values


def collect_groups(
    sampler: Sampler,
    prompts: Mapping[str, PolicyPrompt],
    resampler: PromptResampler,
    reward: RewardFunction,
    *,
    settings: PolicySettings,
    seed: int,
    step: int,
    mastery: str,
    ranks: Ranks = SINGLE,
) -> Collection:
    """Sample a step's groups; where groups have no spread, the next prompts take their place (`refill_rounds` times).

    Args:
        mastery: the reward whose mean over a group is the prompt's pass rate, in 0..1.
        ranks: who share the prompts; every rank is given all groups.
    """
    collected = Collection()
    for part in range(1 + settings.refill_rounds):
        missing = settings.prompts_per_step - len(collected.live)
        chosen = [prompts[identifier] for identifier in resampler.take(missing)]
        options = SamplingOptions(
            max_new_tokens=settings.max_new_tokens,
            samples=settings.completions,
            temperature=settings.temperature,
            seed=rollout_seed(seed, step=step, part=part),
        )
        batch = sample_shared(
            sampler, chosen, reward, ranks=ranks,
            options=options, first_group=len(collected.groups), verifier_rollouts=settings.verifier_rollouts,
        )  # fmt: skip
        for group in batch.groups:
            _observe(resampler, group, mastery)
        collected.groups.extend(
            penalise_overlong(batch.groups, limit=settings.max_new_tokens, buffer=settings.overlong_buffer)
        )
        collected.unscored += batch.unscored
        collected.seconds_generate += batch.seconds_generate
        collected.seconds_score += batch.seconds_score
        collected.round_sizes.append(len(batch.groups))
        collected.advantages_BG = step_advantages(collected.groups, settings)
        collected.live = live_groups(
            collected.groups, collected.advantages_BG, mask_truncated=settings.mask_truncated
        )
        if len(collected.live) >= settings.prompts_per_step:
            break
    return collected


def step_advantages(groups: Sequence[Group], settings: PolicySettings) -> Tensor:
    """Return the advantages of all groups of a step, (prompts, completions); see `advantages.py`."""
    rewards = reward_tensors(groups)
    if not rewards:
        return torch.zeros(len(groups), settings.completions)
    if settings.combine_rewards == "per_reward":
        return combined_advantages(rewards, settings.reward_weights, scale=settings.scale_advantages)
    return group_advantages(summed_rewards(rewards, settings.reward_weights), scale=settings.scale_advantages)


def completion_rows(collected: Collection, *, groups: int) -> list[dict[str, object]]:
    """Return a completions table of the first groups: prompt id, answer, every reward, advantage."""
    rows: list[dict[str, object]] = []
    for group, advantages in zip(collected.groups[:groups], collected.advantages_BG.tolist()[:groups], strict=True):
        for answer, advantage in zip(group.answers, advantages, strict=True):
            rows.append(
                {
                    "prompt": group.prompt.id, "task": group.prompt.task, "answer": answer.text,
                    "finish_reason": answer.finish_reason, **answer.rewards, "advantage": round(advantage, 4),
                }
            )  # fmt: skip
    return rows


def _observe(resampler: PromptResampler, group: Group, mastery: str) -> None:
    scores = [value for answer in group.answers if (value := answer.rewards.get(mastery)) is not None]
    if scores:
        resampler.observe(group.prompt.id, passed=sum(scores), answers=len(scores))


def _mean(values: Tensor) -> float:
    return float(values.nanmean()) if not values.isnan().all() else 0.0
