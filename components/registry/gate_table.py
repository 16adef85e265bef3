"""The gate's table in words: one row a suite with its interval and power, as texts and as Markdown.

Forms, pages, model cards and the command line show the same rows. Verdicts of old journal entries lack interval and power.
"""

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = ("suite", "rule", "candidate", "against", "difference", "interval", "lower bound", "limit", "items", "power", "passed")
TEXTS = ("suite", "rule", "passed")
FORM_COLUMNS = ("suite", "passed", "candidate", "interval", "power")  # what a form of the Prefect page has room for; sentences say the rest


def gate_rows(verdict: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of every suite.

    Args:
        verdict: `GateVerdict.as_dict()`.
    """
    return [_row(item) for item in verdict["suites"]]


def gate_markdown(verdict: Mapping[str, Any] | None, *, columns: Sequence[str] = COLUMNS) -> str:
    """Return the table with its sentences, failures first; a sentence where the version is the champion itself.

    Args:
        columns: of `COLUMNS`.
    """
    if verdict is None:
        return "The version's model is the champion's, byte for byte: there is nothing to compare."
    lines = [f"Compared with {verdict['compared_with']}: {'passed' if verdict['is_passed'] else 'not passed'}.", ""]
    shown = [COLUMNS.index(column) for column in columns]
    lines += [f"| {' | '.join(columns)} |", f"|{''.join('---|' if column in TEXTS else '---:|' for column in columns)}"]
    lines += [f"| {' | '.join(row[index] for index in shown)} |" for row in gate_rows(verdict)]
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in verdict["reasons"])])


def _row(item: Mapping[str, Any]) -> tuple[str, ...]:
    interval = f"[{item['low']:+.3f}, {item['high']:+.3f}]" if item.get("low") is not None else ""
    power = f"{item['power'] * 100:.0f} %" if item.get("power") is not None else ""
    return (
        item["suite"], item["rule"], _number(item["candidate"]), _number(item["against"]), _signed(item["difference"]), interval,
        _signed(item["lower_bound"]), _number(item["limit"]), str(item["n"]), power, "yes" if item["is_passed"] else "no",
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"
