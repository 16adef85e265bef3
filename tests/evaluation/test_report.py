"""The report and its plots: what they say is what the numbers say, self-contained, the same bytes each time."""

import re
from pathlib import Path

import numpy as np
import pytest

from components.errors import DataError
from components.evaluation.claims import stage_claims
from components.evaluation.metrics import answer_counts, breakdowns, retrieval_effects, suite_metrics
from components.evaluation.report.charts import Bar, Series, difference_whisker, interval_bars, line_chart, round_levels
from components.evaluation.report.content import ReportContent, flat_numbers
from components.evaluation.report.page import render_report
from components.evaluation.report.stored_controls import StoredControls, last_controls
from components.evaluation.results import ItemResult
from components.layout import MODELS
from components.settings.evaluation import EvaluateSettings
from components.storage.files import write_json

CELLS = {
    "probes": ["fact/plain", "fact/leading", "concept/plain", "concept/leading"],
    "exam": [f"{level}/{kind}" for level in ("junior", "intermediate", "associate_senior", "senior") for kind in ("single", "multiple_response", "shared_stem", "case_analysis")],
    "verified": ["diagnosis", "drug_choice", "test_ordering", "exam_question"],
    "ability": ["symptom_listing", "unit_conversion", "drug_class"],
    "grounded": ["grounded"], "preference": ["general"], "safety": ["false_premise", "dose_limit"], "format": ["verified", "exam"],
}  # fmt: skip


def made_results() -> dict[str, list[ItemResult]]:
    """Six models that get better, four in five of the exam's questions also asked with retrieval."""
    rng = np.random.default_rng(7)
    results: dict[str, list[ItemResult]] = {}
    for step, model in enumerate(MODELS):
        rows = []
        for suite, cells in CELLS.items():
            skill = {"format": 0.05 if step < 3 else 0.97}.get(suite, 0.2 + 0.1 * step)
            for number in range(160):
                for condition in ("closed_book", "retrieval") if suite == "exam" else ("",):
                    score = float(rng.random() < skill + 0.05 * (condition == "retrieval"))
                    cell = cells[number % len(cells)]
                    rows.append(ItemResult(suite, cell, f"{suite}{number}", f"d{number % 40}", 0, score, score == 0 and number % 9 == 0, "text", cell, condition))
        results[model] = rows
    return results


def stored_controls(day: str) -> StoredControls:
    """Return a result of two seeds and one control."""
    seeds = [
        {"seed": 20 + n, "score": 0.52 + 0.02 * n, "control_score": 0.5, "difference": d, "low": d - 0.01, "high": d + 0.01, "n": 9, "clusters": 3}
        for n, d in enumerate((0.02, 0.04))
    ]
    row = {"model": "ift", "control": "uniform ratios", "suite": "ability", "seeds": seeds, "mean": 0.03, "low": -0.097, "high": 0.157}
    return StoredControls(
        date=day, cpu="Some CPU, 2 cores", threads=2, git_sha="0123456789abcdef", is_clean=True, profile=None, settings="d", confidence=0.95,
        seeds=(20, 21), rows=(row,),
    )  # fmt: skip


@pytest.fixture(scope="module")
def content() -> ReportContent:
    results, intervals = made_results(), {"seed": 1, "confidence": 0.95, "draws": 400}
    settings = EvaluateSettings()
    rng = np.random.default_rng(2)
    groups = ("analysis", "comprehension", "generation", "knowledge_application")
    trials = [
        {"number": n, "kind": "uniform" if n == 10 else "random" if n < 5 else "gp", "ratios": {}, "score": float(0.3 + 0.02 * n + 0.05 * rng.random())}
        for n in range(11)
    ]
    mixture = {
        "ratios": dict(zip(groups, (0.2, 0.15, 0.1, 0.55), strict=True)), "trials": trials,
        "importance": dict(zip(groups, (0.1, 0.2, 0.05, 0.6), strict=True)),
        "comparison": {"chosen": [0.52, 0.55], "uniform": [0.47, 0.5]},
    }  # fmt: skip
    cases = {f"probes{n}": type("Probe", (), {"options": "abcd"})() for n in range(160)}
    return ReportContent(
        metrics=suite_metrics(results, **intervals), claims=stage_claims(results, cases, primary=settings.primary, kept=settings.kept, **intervals),
        cells=breakdowns(results, **intervals), counts=answer_counts(results), retrieval=retrieval_effects(results, **intervals),
        digests={model: "0123456789abcdef" for model in results}, settings=settings, seed=1, mixture=mixture,
        stage_reports={"Curation": {"recall": 0.987, "kept": {"documents": 812}}}, controls=("controls-2026-11-20.json", stored_controls("2026-11-20")),
    )  # fmt: skip


def test_report_names_every_model_claim_and_number(content):
    page = render_report(content)
    for claim in content.claims:
        assert f"{100 * claim.after:.1f}" in page
    of_claims = page[: page.index("<h2>Controls</h2>")]
    assert of_claims.count('class="badge shown"') == sum(claim.is_shown for claim in content.claims)
    assert of_claims.count('class="badge open"') == sum(not claim.is_shown for claim in content.claims)
    assert all(model in page for model in MODELS)
    assert "documents" in page
    assert "not cover training seeds" in page and "names the option's text" in page


def test_report_needs_nothing_from_outside(content):
    page = render_report(content)
    assert not re.search(r"<script|<link|https?://|@import|url\(", page)
    assert render_report(content) == page


def test_text_of_a_report_cannot_break_the_page():
    chart = interval_bars([Bar("<b>&", 0.5, 0.4, 0.6)])
    assert "&lt;b&gt;&amp;" in chart and "<b>" not in chart


def test_bar_is_as_long_as_its_value():
    # width 340, labels 112, numbers 52: the plot is 176 wide; .25 of it is 44, and of a maximum of .5 it is 88
    assert 'width="44.0"' in interval_bars([Bar("a", 0.25, 0.25, 0.25)])
    assert 'width="88.0"' in interval_bars([Bar("a", 0.25, 0.25, 0.25)], maximum=0.5)


def test_whisker_stands_right_of_zero_only_where_the_interval_does():
    assert "c-point-strong" in difference_whisker(0.1, 0.05, 0.15, reach=0.2)
    assert "c-point-strong" not in difference_whisker(0.1, -0.01, 0.21, reach=0.2)
    # zero at 90 of 180 pixels, .1 of a reach of .2 at 90 + 84/2
    assert 'cx="132.0"' in difference_whisker(0.1, 0.05, 0.15, reach=0.2)


@pytest.mark.parametrize(
    ("low", "high", "levels"),
    [
        (3.7, 28.1, [0, 10, 20, 30]),  # (28.1 - 3.7) / 4 = 6.1: steps of 10
        (0.51, 2.55, [0, 1, 2, 3]),  # four steps of .5 hold 2, less than 2.04: steps of 1
        (-1.0, 1.0, [-1.0, -0.5, 0.0, 0.5, 1.0]),
        (5.0, 5.0, [4.5, 4.75, 5.0, 5.25, 5.5]),
    ],
)
def test_an_axis_has_round_levels_around_its_values(low, high, levels):
    assert round_levels(low, high) == pytest.approx(levels)


def test_levels_are_written_with_the_decimals_they_need():
    chart = line_chart([Series("a", [(0, 3_700), (8192, 28_100)])], x_title="x", y_title="y")
    assert ">30,000<" in chart and ">8,192<" in chart and "e+" not in chart
    assert ">0.25<" in line_chart([Series("a", [(0, 0.0), (1, 1.0)])], x_title="x", y_title="y")


def test_chart_without_points_is_empty():
    assert line_chart([Series("none", [])], x_title="x", y_title="y") == ""


def test_retrieval_effect_is_paired_on_the_questions_asked_both_ways():
    def row(number: int, condition: str, score: float) -> ItemResult:
        return ItemResult("exam", "t", f"e{number}", f"d{number}", 0, score, False, "", "junior/single", condition)

    rows = [row(0, "closed_book", 0.0), row(1, "closed_book", 1.0), row(2, "closed_book", 1.0), row(0, "retrieval", 1.0), row(1, "retrieval", 1.0)]
    (effect,) = retrieval_effects({"m": rows}, seed=0, confidence=0.95, draws=200)
    assert (effect["with"], effect["without"], effect["value"], effect["n"]) == (1.0, 0.5, 0.5, 2)


def test_controls_are_a_table_with_their_date(content):
    page = render_report(content)
    assert "Measured on 2026-11-20" in page and "controls-2026-11-20.json" in page and "Some CPU, 2 cores" in page
    row = page[page.index("uniform ratios") : page.index("not shown", page.index("uniform ratios"))]
    # differences .02 and .04 with ± .01, mean .03 [−.097, .157]
    for text in ("Ability tasks", "+2.0 <small>[+1.0, +3.0]", "+4.0 <small>[+3.0, +5.0]", "+3.0 <small>[−9.7, +15.7]", "seed 20: 52.0 against 50.0, n 9"):
        assert text in row


def test_newest_controls_are_read(tmp_path: Path):
    assert last_controls(tmp_path) is None
    for day in ("2026-11-02", "2026-11-20", "2026-11-10"):
        write_json(tmp_path / f"controls-{day}.json", stored_controls(day).model_dump(mode="json"))
    assert last_controls(tmp_path) == ("controls-2026-11-20.json", stored_controls("2026-11-20"))
    write_json(tmp_path / "controls-2026-11-21.json", {"rows": []})
    with pytest.raises(DataError, match=r"controls-2026-11-21\.json: date: Field required; delete the file"):
        last_controls(tmp_path)


def test_nested_report_is_flattened():
    assert flat_numbers({"a": {"b": 0.5, "c": [1, 2]}, "d": 3}) == [("a.b", "0.5"), ("a.c", "2 entries"), ("d", "3")]
