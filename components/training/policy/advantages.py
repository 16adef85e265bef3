"""Group-relative advantages: how much better an answer is than the other answers to the same prompt.

Sources: GRPO, arXiv:2402.03300 §4.1 (centre and scale within the group); Dr. GRPO, arXiv:2503.20783 (centre only);
Lite PPO, arXiv:2508.08221 (centre within the group, scale over the batch, so that a group of almost equal rewards is
not blown up); GDPO, arXiv:2601.05242 (several rewards: each normalised within its group, weighted sum, normalised over the batch).
Departures: a group whose rewards are all equal gets 0, not NaN; "equal" is max − min within a tolerance, because a
standard deviation of equal float32 numbers need not be 0. An unscored reward (None, here NaN) is left out of its
group's statistics and gets 0; rows are never removed before the group statistics are taken.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from components.errors import SettingsError
from components.settings.training import AdvantageScale

TOLERANCE = 1e-6


def group_spread(rewards_BG: Tensor) -> Tensor:
    """Return max − min of the scored rewards of each group, (prompts,); 0 where fewer than two are scored."""
    scored_BG = ~rewards_BG.isnan()
    highest_B = rewards_BG.masked_fill(~scored_BG, -torch.inf).amax(dim=1)
    lowest_B = rewards_BG.masked_fill(~scored_BG, torch.inf).amin(dim=1)
    return torch.where(scored_BG.sum(dim=1) > 1, highest_B - lowest_B, torch.zeros_like(highest_B))


def group_advantages(
    rewards_BG: Tensor, *, scale: AdvantageScale = "group", epsilon: float = 1e-4, tolerance: float = TOLERANCE
) -> Tensor:
    """Centre rewards within each prompt's group and, if asked, scale them: (R − mean) / (std + epsilon), sample std.

    Args:
        rewards_BG: (prompts, completions), float32; NaN where an answer is unscored.
        scale: the std of the group, of all scored rewards of the batch (of groups without spread too), or none.
    Returns:
        Same shape; every row sums to 0; 0 for unscored answers and for groups without spread.
    Raises:
        SettingsError: fewer than 2 completions a prompt.
    """
    if rewards_BG.shape[1] < 2:
        raise SettingsError(f"completions: {rewards_BG.shape[1]} a prompt; a group needs at least 2 to be compared")
    scored_BG = ~rewards_BG.isnan()
    count_B1 = scored_BG.sum(dim=1, keepdim=True).clamp(min=1)
    values_BG = torch.where(scored_BG, rewards_BG, torch.zeros_like(rewards_BG))
    centred_BG = torch.where(scored_BG, values_BG - values_BG.sum(dim=1, keepdim=True) / count_B1, 0.0)
    if scale == "group":
        variance_B1 = centred_BG.square().sum(dim=1, keepdim=True) / (count_B1 - 1).clamp(min=1)
        centred_BG = centred_BG / (variance_B1.sqrt() + epsilon)
    elif scale == "batch" and scored_BG.sum() > 1:
        centred_BG = centred_BG / (rewards_BG[scored_BG].std() + epsilon)
    has_spread_B1 = (group_spread(rewards_BG) > tolerance).unsqueeze(1)
    return torch.where(has_spread_B1 & scored_BG, centred_BG, 0.0)


def summed_rewards(rewards: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return the weighted sum of the rewards of each answer, (prompts, completions).

    A reward that is unscored (NaN) for the whole group does not apply to that prompt and adds nothing; one that is
    unscored for single answers makes those answers unscored, since their sums could not be compared with the others'.
    """
    total_BG = None
    applies_B1 = None
    for name, rewards_BG in rewards.items():
        absent_B1 = rewards_BG.isnan().all(dim=1, keepdim=True)
        part_BG = torch.where(absent_B1, torch.zeros_like(rewards_BG), rewards_BG) * weights.get(name, 1.0)
        total_BG = part_BG if total_BG is None else total_BG + part_BG
        applies_B1 = ~absent_B1 if applies_B1 is None else applies_B1 | ~absent_B1
    if total_BG is None or applies_B1 is None:
        raise SettingsError("reward_weights: no reward was given; name at least one")
    return torch.where(applies_B1, total_BG, torch.nan)


def combined_advantages(
    rewards: Mapping[str, Tensor],
    weights: Mapping[str, float],
    *,
    scale: AdvantageScale = "group",
    epsilon: float = 1e-4,
    tolerance: float = TOLERANCE,
) -> Tensor:
    """Normalise each reward within its group, sum with weights, then scale over the batch (GDPO, arXiv:2601.05242).

    Args:
        rewards: reward name → (prompts, completions), NaN where unscored or not applicable.
        weights: reward name → weight in the sum; 1 where absent.
        scale: as for `group_advantages`, for each reward; `none` leaves out the scale over the batch too.
    Returns:
        (prompts, completions). A group without spread in any reward is 0 and does not enter the batch's scale. As
        every group is centred, the batch mean is 0 already and only the scale remains to be normalised.
    """
    total_BG = torch.stack(
        [
            weights.get(name, 1.0) * group_advantages(rewards_BG, scale=scale, epsilon=epsilon, tolerance=tolerance)
            for name, rewards_BG in rewards.items()
        ]
    ).sum(dim=0)
    live_BG = (group_spread(total_BG) > tolerance).unsqueeze(1) & torch.ones_like(total_BG, dtype=torch.bool)
    if scale == "none" or not live_BG.any():
        return torch.where(live_BG, total_BG, 0.0)
    deviation = total_BG[live_BG].square().sum().div(max(int(live_BG.sum()) - 1, 1)).sqrt()
    return torch.where(live_BG, total_BG / (deviation + epsilon), 0.0)
