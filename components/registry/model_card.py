"""The model card: what a version is, what it was made from, how it was judged; Markdown made from lineage alone."""

from collections.abc import Mapping
from typing import Any

NOTICE = (
    "A research model trained on synthetic sources about a subset of common diseases. It is not a medical device and "
    "must not be used for the care of patients. Intervals do not cover the spread over training seeds."
)


def model_card(*, model: str, lineage: Mapping[str, str], verdict: Mapping[str, Any] | None = None, decision: str | None = None) -> str:
    """Return the card of a version.

    Args:
        model: name in the registry.
        lineage: label → value: commit, run, profile, digests of data and parent models.
        verdict: `GateVerdict.as_dict()`, once the gate has judged.
        decision: what became of the version, and who decided.
    """
    lines = [f"# {model}", "", NOTICE, "", "## Made from", "", "| what | which |", "|---|---|"]
    lines += [f"| {name} | `{value}` |" for name, value in sorted(lineage.items())]
    if verdict is not None:
        lines += ["", f"## Gate (against {verdict['compared_with']})", "", "| suite | rule | candidate | against | lower bound | limit | items | passed |"]
        lines += ["|---|---|---:|---:|---:|---:|---:|---|", *(_row(item) for item in verdict["suites"])]
        lines += ["", *(f"- {sentence}" for sentence in verdict["reasons"])]
    if decision:
        lines += ["", "## Decision", "", decision]
    return "\n".join(lines) + "\n"


def _row(item: Mapping[str, Any]) -> str:
    numbers = [_number(item[name]) for name in ("candidate", "against", "lower_bound", "limit")]
    return f"| {item['suite']} | {item['rule']} | {' | '.join(numbers)} | {item['n']} | {'yes' if item['is_passed'] else 'no'} |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
