"""The floors of one policy step: of its rollout, round by round, and of what is learnt from it."""

from collections.abc import Sequence

from components.settings.training import PolicySettings
from components.sizing.floors import Tree
from components.training.floors import StepFloors
from components.training.policy.collection import Collection
from components.training.policy.groups import LiveGroup
from components.training.policy.rollout_updates import cut_evenly


def rollout_floors(floors: StepFloors, collected: Collection, *, settings: PolicySettings, has_reference: bool) -> dict[str, float]:
    """Return `seconds_floor_generate`, and `seconds_floor_update`: of old policy, reference and policy together.

    Both are of the device the policy lies on, also where a server elsewhere draws the answers.
    """
    drawn = [Tree(len(group.prompt.ids), tuple(len(answer.ids) for answer in group.answers)) for group in collected.groups]
    generate, start = 0.0, 0
    for size in collected.round_sizes:
        generate += floors.generate(drawn[start : start + size])
        start += size
    update = floors.update(_trees(collected.live), headed=_answer_tokens(collected.live), has_reference=has_reference)
    for part in cut_evenly(collected.live, settings.updates_per_rollout)[1:]:
        update += floors.forward(_trees(part), headed=_answer_tokens(part))
    return {"seconds_floor_generate": generate, "seconds_floor_update": update}


def _trees(groups: Sequence[LiveGroup]) -> list[Tree]:
    return [Tree(len(group.prompt_ids), tuple(len(answer.ids) for answer in group.answers)) for group in groups]


def _answer_tokens(groups: Sequence[LiveGroup]) -> int:
    return sum(group.answer_tokens for group in groups)
