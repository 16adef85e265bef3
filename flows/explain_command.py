"""`quarkmed explain`: where a registered version came from, as tables or as JSON."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.tables import print_table


def explain(root: Path, wanted: str, *, as_json: bool, reads_bytes: bool, console: Console) -> None:
    """Print what is recorded of how a version was made."""
    from components.provenance.explanation import explain_version

    explained = explain_version(root, wanted, reads_bytes=reads_bytes)
    if as_json:
        print(json.dumps(explained, ensure_ascii=False, indent=1))
        return
    print_explanation(explained, console=console)


def print_explanation(explained: Mapping[str, Any], *, console: Console) -> None:
    """Print an explanation: heading, models, data, stages, parameters, promotion, notes."""
    _print_heading(explained, console)
    print_table(
        console, "models, newest first", ("model", "made by", "checksum (SHA-256)", "bytes", "stored"),
        [_model_cells(item) for item in explained["models"]] + [_model_cells(item, mark=" (reward)") for item in explained["other_models"]],
    )  # fmt: skip
    print_table(
        console, "data versions", ("path", "DVC md5", "bytes", "made by", "read by"),
        [(item["path"], item["md5"], _count(item["size_bytes"]), item["made_by"] or "(given)", ", ".join(item["read_by"])) for item in explained["data"]],
    )  # fmt: skip
    print_table(console, "code", ("path", "DVC md5", "read by"), [(item["path"], item["md5"], ", ".join(item["read_by"])) for item in explained["code"]])
    print_table(console, "stages", ("stage", "MLflow run", "stage key"), [(item["name"], item["mlflow_run"] or "–", item["stage_key"] or "–") for item in explained["stages"]])
    print_table(console, "parameters", ("section", "values"), _parameter_rows(explained["stages"]))
    print_table(console, "promotion journal", ("#", "when", "what", "who", "before", "why"), [_entry_cells(item) for item in explained["promotion"]])
    for note in explained["notes"]:
        console.print(f"note: {note}", highlight=False, markup=False)


def _print_heading(explained: Mapping[str, Any], console: Console) -> None:
    run = explained["run"]
    aliases = ", ".join(explained["aliases"])
    console.print(f"{explained['model']} version {explained['version']}{f' ({aliases})' if aliases else ''}, registered {_moment(explained['registered'])}", highlight=False)
    lines = {
        "git commit": f"{run['git_commit']}{' and uncommitted changes' if run['had_uncommitted_changes'] else ''}",
        "run": f"{run['id']}, profile {run['profile']}",
        "kept as": f"{run['kept_as']}{' ' + run['kept_commit'] if run['kept_commit'] else ''}" if run["kept_as"] else "–",
        "MLflow run": f"{run['mlflow_run'] or '–'}, of the model {run['mlflow_run_of_the_model']}",
        "checksum": f"{explained['checksum']} (SHA-256 of the model's files)",
        "stage key": run["stage_key"] or "–",
    }
    for name, value in lines.items():
        console.print(f"  {name:11} {value}", highlight=False, markup=False, soft_wrap=True)


def _model_cells(item: Mapping[str, Any], *, mark: str = "") -> tuple[str, ...]:
    return (Path(item["path"]).stem + mark, item["stage"] or "–", item["digest"], _count(item["size_bytes"]), item["stored"])


def _parameter_rows(stages: list[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return each section once with its values; a stage that read others of a section gets a row of its own."""
    seen: dict[tuple[str, str], list[str]] = {}
    for stage in stages:
        for section, values in stage["parameters"].items():
            seen.setdefault((section, ", ".join(_leaves(values, ""))), []).append(stage["name"])
    several = {section for section, _ in seen if sum(section == other for other, _ in seen) > 1}
    return [(f"{section} ({', '.join(names)})" if section in several else section, text) for (section, text), names in seen.items()]


def _leaves(value: Any, prefix: str) -> list[str]:
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{prefix}.{key}" if prefix else str(key))]
    return [f"{prefix}={json.dumps(value, ensure_ascii=False)}"]


def _entry_cells(item: Mapping[str, Any]) -> tuple[str, ...]:
    why = "\n".join(item["reasons"]) if item["kind"] != "PREPARED" else ""
    return (str(item["sequence"]), _moment(item["time"]), f"{item['action']} {item['kind']}", item["who"], item["champion_before"] or "–", why)


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}".replace(",", " ")


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
