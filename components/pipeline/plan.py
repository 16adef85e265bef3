"""What a run would do, before it starts: each stage, whether it runs and why, and how long it took last time."""

from dataclasses import dataclass
from typing import Literal

from components.pipeline.durations import read_durations
from components.pipeline.workspace import Workspace

Action = Literal["run", "maybe", "skip"]
ANEW = "asked to run anew"


@dataclass(frozen=True)
class PlannedStage:
    """One line of the plan. `maybe`: only if what comes before it turns out different."""

    name: str
    action: Action
    reasons: tuple[str, ...]
    last_seconds: float | None


def make_plan(workspace: Workspace, *, anew: frozenset[str] = frozenset()) -> list[PlannedStage]:
    """Ask DVC about every stage, upstream first.

    A stage that is fresh itself but follows one that runs is `maybe`: equal bytes from above leave it as it is.

    Args:
        anew: stages that run whether or not anything changed.
    """
    durations = read_durations(workspace.root)
    planned: dict[str, PlannedStage] = {}
    for name in workspace.graph.names:
        reasons = (ANEW,) if name in anew else tuple(workspace.reasons(name))
        waits_for = [above for above in workspace.graph.upstream(name) if planned[above].action != "skip"]
        action: Action = "run" if reasons else "maybe" if waits_for else "skip"
        if action == "maybe":
            reasons = (f"if {', '.join(waits_for)} comes out different",)
        planned[name] = PlannedStage(name, action, reasons, durations.get(name))
    return list(planned.values())


def is_settled(plan: list[PlannedStage]) -> bool:
    """Say whether no stage of the plan would run."""
    return all(stage.action == "skip" for stage in plan)
