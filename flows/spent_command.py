"""`quarkmed spent`: GPU-hours of pods, by run and stage, from the ledger that stages on a cluster write."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from components.errors import UserError
from components.launch.gpu_hours import HOUR, LEDGER, PodTime, open_ledger
from components.settings.settings import load_settings


def spent(root: Path, *, run: str | None, as_json: bool, console: Console) -> None:
    """Print what pods used: one line a run and stage, then the sum, and the budget of one run.

    Raises:
        UserError: the ledger knows no such run.
    """
    pods = [pod for pod in open_ledger(root).pods() if run in (None, pod.run)]
    if run is not None and not pods:
        raise UserError(f"{LEDGER} has no pod of run {run!r}; `quarkmed spent` without --run lists all runs")
    rows = _rows(pods)
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    if not pods:
        console.print("no pod has been counted here: no stage ran on a cluster", highlight=False)
        return
    table = Table("run", "stage", "attempts", "pods", "GPUs a pod", "pod-hours", "GPU-hours", "", header_style="bold", pad_edge=False, box=None)
    for row in rows:
        table.add_row(*(str(row[name]) for name in ("run", "stage", "attempts", "pods", "gpus")), f"{row['pod_hours']:.2f}", f"{row['gpu_hours']:.2f}", "" if row["has_ended"] else "at work when last seen")
    console.print(table)
    budget = load_settings(root / "params.yaml").launch.budget_gpu_hours
    console.print(f"{sum(row['gpu_hours'] for row in rows):.2f} GPU-hours; budget of one run: {'none' if budget is None else f'{budget:g}'} (launch.budget_gpu_hours)", highlight=False)


def _rows(pods: list[PodTime]) -> list[dict[str, object]]:
    groups: dict[tuple[str, str], list[PodTime]] = {}
    for pod in pods:
        groups.setdefault((pod.run, pod.stage), []).append(pod)
    return [
        {
            "run": run, "stage": stage, "attempts": len({pod.attempt for pod in group}), "pods": len(group), "gpus": max(pod.gpus for pod in group),
            "pod_hours": sum(pod.ended - pod.started for pod in group) / HOUR, "gpu_hours": sum(pod.gpu_hours for pod in group),
            "has_ended": all(pod.has_ended for pod in group),
        }
        for (run, stage), group in groups.items()
    ]  # fmt: skip
