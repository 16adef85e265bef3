"""The HTML report: one file without scripts or links, pleasant in light and dark, the same bytes for the same numbers."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from components.evaluation.claims import Claim
from components.evaluation.report.charts import Bar, difference_whisker, interval_bars
from components.evaluation.report.content import ReportContent, flat_numbers
from components.evaluation.report.mixture_plots import search_charts
from components.evaluation.report.tables import cell_table, count_table, exam_grids, score_table
from components.evaluation.suites import SUITE_MODES, SUITE_TITLES

TEMPLATE = "page.html.j2"


def render_report(content: ReportContent) -> str:
    """Return the report as one HTML document."""
    import jinja2

    folder = files("components.evaluation.report")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    environment.filters["points"] = lambda value: f"{100 * value:+.1f}".replace("-", "−")
    template = environment.from_string(folder.joinpath(TEMPLATE).read_text(encoding="utf-8"))
    return template.render(**_view(content), style=folder.joinpath("page.css").read_text(encoding="utf-8")) + "\n"


def _view(content: ReportContent) -> dict[str, Any]:
    models = list(content.metrics)
    return {
        "models": models,
        "digests": content.digests,
        "seed": content.seed,
        "settings": content.settings,
        "claims": _claim_rows([claim for claim in content.claims if claim.kind != "overall"]),
        "overall": _claim_rows([claim for claim in content.claims if claim.kind == "overall"]),
        "suites": _suite_cards(content.metrics),
        "scores": score_table(content.metrics),
        "exam_grids": exam_grids(content.cells, models),
        "retrieval": [{**row, "chart": _whisker(row["value"], row["low"], row["high"], content.retrieval)} for row in content.retrieval],
        "cell_tables": [
            {"title": title, "rows": rows}
            for title, suite in (("Verified reasoning by task", "verified"), ("Knowledge probes by set and leading text", "probes"), ("Ability tasks", "ability"), ("Safety", "safety"))
            if (rows := cell_table(content.cells, models, suite))
        ],
        "counts": count_table(content.counts, models),
        "mixture": search_charts(dict(content.mixture)) if content.mixture else {},
        "stage_reports": {title: flat_numbers(report) for title, report in content.stage_reports.items()},
        "controls": {"file": content.controls[0], "stored": content.controls[1]} if content.controls else None,
        "suite_titles": SUITE_TITLES,
    }  # fmt: skip


def _claim_rows(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    reach = max([0.05, *(max(abs(claim.low), abs(claim.high)) for claim in claims)])
    return [
        {
            "claim": claim,
            "title": SUITE_TITLES[claim.suite],
            "chart": difference_whisker(claim.difference, claim.low, claim.high, reach=reach, margin=claim.margin),
        }
        for claim in claims
    ]


def _suite_cards(metrics: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[dict[str, Any]]:
    cards = []
    last = list(metrics)[-1] if metrics else ""
    for suite in SUITE_MODES:
        bars = [
            Bar(model, entry["value"], entry["low"], entry["high"], model == last)
            for model, suites in metrics.items()
            if (entry := suites.get(suite))
        ]
        if bars:
            cards.append({"title": SUITE_TITLES[suite], "chart": interval_bars(bars, is_percent=True), "n": int(metrics[bars[0].label][suite]["n"])})
    return cards


def _whisker(value: float, low: float, high: float, rows: Sequence[Mapping[str, Any]]) -> str:
    reach = max([0.05, *(max(abs(row["low"]), abs(row["high"])) for row in rows)])
    return difference_whisker(value, low, high, reach=reach)
