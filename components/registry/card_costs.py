"""What making a version cost, for its card: CPU-hours, GPU-hours of pods and energy, of every stage its model was made by.

The stages are those of the version's dvc.lock, whichever run did their work. What a stage used stands in the tags of the
MLflow run its record was replayed into (`quarkmed.used.*`, from its `usage.jsonl`, all attempts together); GPU-hours stand in
the ledger under the stage's key. Energy is that of whole machines, as far as they tell. What nothing tells is called so.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.launch.gpu_hours import PodTime, open_ledger
from components.pipeline.locked_graph import LockedStage
from components.registry.version_reading import StageRunRecord, stage_runs
from components.tracking.replay import NOT_TOLD

if TYPE_CHECKING:
    from mlflow import MlflowClient

HOUR = 3600.0
UNKNOWN = "not measured"
NO_LINEAGE = "neither a kept run nor the dvc.lock here says which stages made it"
Runs = Mapping[str, StageRunRecord | None]  # of each stage the MLflow run that tells what it used


def stages_costs(root: Path, client: "MlflowClient", stages: Sequence[LockedStage], *, run: str, at_most: str = "") -> dict[str, str]:
    """Return label → sentence.

    Args:
        stages: those the model was made by; none where that is unknown.
        run: the version's, whose pods count where its stages are unknown.
        at_most: what is known of the CPU-hours where no stage tells.
    """
    runs = {stage.name: _run_that_tells(client, root, stage) for stage in stages}
    return {"CPU-hours": _cpu_hours(runs, at_most), "GPU-hours": _gpu_hours(open_ledger(root).pods(), runs, run=run), "energy": _energy(runs)}


def _run_that_tells(client: "MlflowClient", root: Path, stage: LockedStage) -> StageRunRecord | None:
    """Return the newest run of a stage that made these outputs and says what that took; a run that restored them took nothing."""
    found = stage_runs(client, root, stage=stage.name, outputs={item.path: item.md5 for item in stage.outputs})
    return next((record for record in found if record.used), found[0] if found else None)


def _cpu_hours(runs: Runs, at_most: str) -> str:
    seconds, silent = _sum(runs, "cpu_seconds")
    return at_most or _unknown(runs) if seconds is None else _sentence(f"{seconds / HOUR:.2f}", runs, silent)


def _energy(runs: Runs) -> str:
    watt_hours, silent = _sum(runs, "watt_hours")
    return _unknown(runs) if watt_hours is None else _sentence(f"{watt_hours:.2f} Wh", runs, silent)


def _gpu_hours(pods: Sequence[PodTime], runs: Runs, *, run: str) -> str:
    if not runs:
        mine = [pod for pod in pods if pod.run == run]
        return f"{_hours(mine)} of {len(mine)} pods in run {run}" if mine else f"{UNKNOWN}: no pod of a cluster worked in this run"
    keys = [record.stage_key for record in runs.values() if record is not None]
    mine = [pod for pod in pods if pod.key and any(key.startswith(pod.key) for key in keys)]  # a pod's label holds a key's beginning
    return f"{_hours(mine)} of {len(mine)} pods its stages ran in, failed attempts among them" if mine else f"{UNKNOWN}: none of its stages ran in a pod of a cluster"


def _hours(pods: Sequence[PodTime]) -> str:
    return f"{sum(pod.gpu_hours for pod in pods):.2f}"


def _sum(runs: Runs, name: str) -> tuple[float | None, list[str]]:
    """Return the sum over the stages that tell, None where none does, and the stages that do not."""
    told = {stage: float(record.used[name]) for stage, record in runs.items() if record is not None and record.used.get(name, NOT_TOLD) != NOT_TOLD}
    return (sum(told.values()) if told else None), [stage for stage in runs if stage not in told]


def _sentence(amount: str, runs: Runs, silent: Sequence[str]) -> str:
    if not silent:
        return f"{amount} in its {len(runs)} stages"
    return f"at least {amount}, in {len(runs) - len(silent)} of its {len(runs)} stages; {UNKNOWN} in {', '.join(silent)}"


def _unknown(runs: Runs) -> str:
    return f"{UNKNOWN} in any of its {len(runs)} stages" if runs else f"{UNKNOWN}: {NO_LINEAGE}"
