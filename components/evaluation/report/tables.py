"""The report's tables as plain rows: which models and cells, in which order, what stands in each."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluation.suites import CLOSED_BOOK, RETRIEVAL, SUITE_MODES, SUITE_TITLES

EXAM_LEVELS = ("junior", "intermediate", "associate_senior", "senior")
EXAM_TYPES = ("single", "multiple_response", "shared_stem", "case_analysis")

Metrics = Mapping[str, Mapping[str, Mapping[str, float]]]
Cells = Sequence[Mapping[str, Any]]


def score_table(metrics: Metrics) -> list[dict[str, Any]]:
    """Return one row a suite: its title and each model's entry (or None)."""
    rows = []
    for suite in SUITE_MODES:
        entries = [suites.get(suite) for suites in metrics.values()]
        present = [entry for entry in entries if entry]
        if present:
            rows.append({"suite": suite, "title": SUITE_TITLES[suite], "n": int(present[0]["n"]), "entries": entries, "best": max(entry["value"] for entry in present)})
    return rows


def exam_grid(cells: Cells, model: str, condition: str) -> list[dict[str, Any]]:
    """Return one row an examination level with the entry of each question type (None where it was not asked)."""
    found = {cell["cell"]: cell for cell in cells if cell["model"] == model and cell["suite"] == "exam" and cell["condition"] == condition}
    rows = []
    for level in EXAM_LEVELS:
        entries = [found.get(f"{level}/{kind}") for kind in EXAM_TYPES]
        if any(entries):
            rows.append({"level": level.replace("_", " "), "entries": entries})
    return rows


def exam_grids(cells: Cells, models: Sequence[str]) -> list[dict[str, Any]]:
    """Return the grids of the first and the last model, closed book and with retrieval, that have an entry."""
    grids = []
    for model in dict.fromkeys([models[0], models[-1]] if models else []):
        for condition, words in ((CLOSED_BOOK, "closed book"), (RETRIEVAL, "with retrieval")):
            rows = exam_grid(cells, model, condition)
            if rows:
                grids.append({"title": f"{model}, {words}", "rows": rows})
    return grids


def cell_table(cells: Cells, models: Sequence[str], suite: str) -> list[dict[str, Any]]:
    """Return one row a cell of a suite (a task, a probe set) with each model's entry."""
    found = {(cell["model"], cell["cell"]): cell for cell in cells if cell["suite"] == suite and cell["condition"] != RETRIEVAL}
    names = sorted({cell for _, cell in found})
    return [{"cell": name.replace("_", " "), "entries": [found.get((model, name)) for model in models]} for name in names]


def count_table(counts: Sequence[Mapping[str, Any]], models: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row a (suite, condition): answers a model gave, and each model's abstained and unscored ones."""
    found = {(row["suite"], row["condition"], row["model"]): row for row in counts}
    rows = []
    for suite, condition in dict.fromkeys((row["suite"], row["condition"]) for row in counts):
        entries = [found.get((suite, condition, model)) for model in models]
        answers = max(entry["answers"] for entry in entries if entry)
        words = f"{SUITE_TITLES[suite]}{f', {condition}' if condition else ''}".replace("_", " ")
        rows.append({"title": words, "answers": answers, "entries": entries})
    return rows
