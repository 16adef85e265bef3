"""What MLflow is told of a stage, read from the stage's own record: metrics with their steps and times."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAXIMUM_VALUE = 5000


@dataclass(frozen=True)
class MetricPoint:
    """One number at one step; `milliseconds` since the epoch, as the stage noted it."""

    name: str
    value: float
    milliseconds: int
    step: int


def metric_points(entries: list[dict[str, Any]]) -> list[MetricPoint]:
    """Return the metrics and summary values of a record, each (name, step) once: the last one noted counts."""
    points: dict[tuple[str, int], MetricPoint] = {}
    for entry in entries:
        if entry["kind"] not in ("metrics", "summary"):
            continue
        prefix = "summary." if entry["kind"] == "summary" else ""
        for name, value in entry["values"].items():
            point = MetricPoint(accepted_name(f"{prefix}{name}"), float(value), int(entry["time"] * 1000), int(entry.get("step", 0)))
            points[point.name, point.step] = point
    return list(points.values())


def record_span(entries: list[dict[str, Any]]) -> tuple[int, int]:
    """Return the first and last time stamp of a record in milliseconds; (0, 0) where it is empty."""
    times = [int(entry["time"] * 1000) for entry in entries]
    return (min(times), max(times)) if times else (0, 0)


def flat_parameters(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return nested parameters as dotted keys and texts."""
    return {key: str(value)[:MAXIMUM_VALUE] for key, value in _leaves(parameters, "")}


def _leaves(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def accepted_name(name: str) -> str:
    """Return a name MLflow accepts: letters, digits, and _-. /:"""
    return "".join(letter if letter.isalnum() or letter in "_-./: " else "_" for letter in name)
