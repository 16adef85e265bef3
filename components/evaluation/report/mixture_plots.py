"""The plots of the mixture search, for its own page and for the report: scores by trial, the ratios chosen, which groups mattered, chosen against uniform."""

from importlib.resources import files
from typing import Any

from components.evaluation.report.charts import Bar, Series, interval_bars, line_chart


def search_charts(found: dict[str, Any]) -> dict[str, str]:
    """Return {title: SVG} for the content of ratios.json."""
    trials = found["trials"]
    best, running = [], float("-inf")
    for row in trials:
        running = max(running, row["score"])
        best.append((row["number"], running))
    history = line_chart(
        [
            Series("best so far", best),
            Series("random start-up", [(row["number"], row["score"]) for row in trials if row["kind"] == "random"], is_line=False),
            Series("led by the process", [(row["number"], row["score"]) for row in trials if row["kind"] == "gp"], is_line=False),
            Series("uniform", [(row["number"], row["score"]) for row in trials if row["kind"] == "uniform"], is_line=False),
        ],
        x_title="trial", y_title="weighted score",
    )  # fmt: skip
    charts = {
        "Search history": history,
        "Chosen ratios": _bars(found["ratios"], maximum=max(found["ratios"].values())),
        "Importance of a group's ratio": _bars(found["importance"], maximum=max(0.01, *found["importance"].values())),
    }
    if found["comparison"]["chosen"]:
        charts["Chosen against uniform, fresh seeds"] = interval_bars(_comparison_bars(found["comparison"]), maximum=_top(found["comparison"]))
    return charts


def mixture_page(found: dict[str, Any]) -> str:
    """Return a self-contained HTML page of the search."""
    style = files("components.evaluation.report").joinpath("page.css").read_text(encoding="utf-8")
    cards = "".join(f'<div class="card"><h3>{title}</h3>{chart}</div>' for title, chart in search_charts(found).items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Task ratios</title>'
        f'<style>{style}</style></head><body><main><h1>Search for task ratios</h1><div class="grid">{cards}</div></main></body></html>\n'
    )


def _bars(values: dict[str, float], *, maximum: float) -> str:
    return interval_bars([Bar(name, value, value, value) for name, value in values.items()], label_width=150, maximum=maximum)


def _comparison_bars(comparison: dict[str, list[float]]) -> list[Bar]:
    """Return one bar a mix: the mean over seeds, with the range of the seeds as its whisker."""
    return [Bar(name, sum(scores) / len(scores), min(scores), max(scores), name == "chosen") for name, scores in comparison.items()]


def _top(comparison: dict[str, list[float]]) -> float:
    return max(0.01, *(score for scores in comparison.values() for score in scores))
