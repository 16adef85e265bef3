"""Curves of a bench as an SVG file that any browser shows by itself: the report's charts with their colours set."""

from collections.abc import Sequence
from pathlib import Path

from components.evaluation.report.charts import Series, line_chart

COLOURS = ("#2f6db3", "#c8702a", "#2a8a6a", "#8a56a8", "#b03a4a", "#6b7686")
STYLE = (
    "svg { background: #fff; font: 12px system-ui, sans-serif; } text { fill: #1d2430; } .c-muted { fill: #68717f; } .c-grid { stroke: #dfe3e9; } "
    ".c-line { fill: none; stroke-width: 1.8; } "
    + " ".join(f".c-line.c-{number} {{ stroke: {colour}; }} .c-dot.c-{number} {{ fill: {colour}; }}" for number, colour in enumerate(COLOURS))
)


def write_curves(path: Path, series: Sequence[Series], *, x_title: str, y_title: str) -> None:
    """Write a chart of lines over two linear axes."""
    chart = line_chart(series, x_title=x_title, y_title=y_title, width=640, height=400)
    opening, rest = chart.split(">", 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{opening} xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>{rest}\n', encoding="utf-8")
