"""Why a stage is stale, from DVC's status entries to sentences a person reads."""

from collections.abc import Mapping
from typing import Any

OUTPUT_WORDS = {"deleted": "missing", "modified": "changed", "not in cache": "not in the cache", "new": "new"}


def explain_status(stage: Any, entries: list[Any]) -> list[str]:
    """Return one sentence a reason.

    Args:
        stage: a loaded DVC stage; its parameters' recorded and present values are compared.
        entries: what its `status()` returned for it, e.g. [{"changed deps": {"data": "modified"}}].
    """
    if not entries:
        return []
    if not any(item.hash_info for item in stage.deps):
        return ["never ran"]
    reasons: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            reasons.append("its command changed" if "command" in entry or "checksum" in entry else entry)
            continue
        for path, state in entry.get("changed deps", {}).items():
            reasons.extend(_explain_dependency(stage, path, state))
        for path, state in entry.get("changed outs", {}).items():
            reasons.append(f"output {path} {OUTPUT_WORDS.get(state, state)}")
    return reasons


def changed_parameters(recorded: Any, present: Any, *, prefix: str) -> list[str]:
    """Return "parameter a.b changed (1 → 2)" for every leaf that differs between two nested values."""
    if isinstance(recorded, Mapping) and isinstance(present, Mapping):
        return [
            line
            for key in sorted({*recorded, *present})
            for line in changed_parameters(recorded.get(key), present.get(key), prefix=f"{prefix}.{key}" if prefix else str(key))
        ]
    return [] if recorded == present else [f"parameter {prefix} changed ({_short(recorded)} → {_short(present)})"]


def _explain_dependency(stage: Any, path: str, state: Any) -> list[str]:
    if isinstance(state, Mapping) or path == "params.yaml":
        for item in stage.deps:
            if item.def_path == path and isinstance(item.hash_info.value, Mapping):
                present = item.read_params()
                return changed_parameters(dict(item.hash_info.value), {name: present.get(name) for name in item.params}, prefix="")
        return [f"parameters of {path} changed"]
    return [f"{path} {'is missing' if state == 'deleted' else 'changed'}"]


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else text[:23] + "…"
