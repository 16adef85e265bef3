"""runs/<id>/summary.json: what a run did, for machines to read; made from its events, DVC's lock and the evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components import layout
from components.errors import StorageError
from components.observing.usage import stage_usage
from components.pipeline.events import read_events, stage_endings
from components.storage.files import read_json, write_json
from flows.time_spent import recorded_seconds

SUMMARY = "summary.json"
STAGE_OF_MODEL = {"base": "pretraining"}  # every other model has the name of its stage


def write_summary(
    root: Path, folder: Path, *, git_sha: str | None, profile: str, wall_seconds: float, data: dict[str, str]
) -> dict[str, Any]:
    """Write and return the summary of the run in `folder`."""
    events = read_events(folder)
    stages = [_stage(item) for item in stage_endings(events)]
    decisions = [event for event in events if event["kind"] == "decision"]
    registry = {name: decisions[-1][name] for name in ("model", "version", "alias", "decision", "reasons", "decided_in")} if decisions else None
    own_seconds = sum(float(item["seconds"]) for item in stages)
    summary = {
        "run": folder.name, "git_sha": git_sha, "profile": profile, "wall_seconds": round(wall_seconds, 3),
        "overhead_seconds": round(max(0.0, wall_seconds - own_seconds), 3), "stages": stages, "used": used_by_all(stages),
        "metrics": read_or(root / layout.METRICS, {}), "registry": registry, "data": data,
    }  # fmt: skip
    write_json(folder / SUMMARY, summary)
    return summary


def _stage(ending: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a stage ended and, where it did its own work in this run, the sums of the timings it recorded and what it used."""
    has_worked = ending["seconds"] and ending["folder"]
    parts = recorded_seconds(Path(ending["folder"])) if has_worked else {}
    usage = stage_usage(Path(ending["folder"])) if has_worked else None
    shown = {name: ending[name] for name in ("name", "status", "reason", "seconds")}
    return {**shown, "parts": {part: round(seconds, 3) for part, seconds in parts.items()}, "used": usage.rounded() if usage else None}


def used_by_all(stages: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return what the stages of a run used: sums, and the highest peak of memory; None where no stage tells."""
    used = [stage["used"] for stage in stages if stage.get("used")]
    highest = {name: max((item[name] for item in used if item[name] is not None), default=None) for name in ("peak_bytes", "gpu_peak_bytes")}
    told = [item["watt_hours"] for item in used if item["watt_hours"] is not None]
    cpu = round(sum(item["cpu_seconds"] for item in used), 1) if used else None
    return {"cpu_seconds": cpu, **highest, "watt_hours": round(sum(told), 3) if told else None}


def claims_by_stage(root: Path) -> dict[str, dict[str, Any]]:
    """Return stage → the claim on its primary suite: model, suite, before, after, difference, low, high, word."""
    claims = read_or(root / layout.CLAIMS, [])
    return {STAGE_OF_MODEL.get(claim["model"], claim["model"]): claim for claim in claims if claim["kind"] in ("gain", "chance")}


def read_or(path: Path, default: Any) -> Any:
    """Return a JSON file's value, or the default where there is none yet."""
    try:
        return read_json(path)
    except StorageError:
        return default
