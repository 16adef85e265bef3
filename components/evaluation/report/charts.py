"""Small plots as inline SVG: no script, no font, no network; colours come from the page's CSS variables.

Every function takes plain numbers and returns an `<svg>` element as text. Texts are escaped here, so callers pass them
as they are. Classes used: c-line, c-bar, c-bar-strong, c-whisker, c-grid, c-text, c-muted, c-0 … c-5 (series).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

ROW_PIXELS = 24
SERIES_COLOURS = 6


@dataclass(frozen=True)
class Bar:
    """A value with its interval; without one, low and high equal the value."""

    label: str
    value: float
    low: float
    high: float
    is_strong: bool = False


@dataclass(frozen=True)
class Series:
    """A named line, or named points where `is_line` is False."""

    name: str
    points: Sequence[tuple[float, float]]
    is_line: bool = True


def interval_bars(bars: Sequence[Bar], *, width: int = 340, label_width: int = 112, maximum: float = 1.0, is_percent: bool = False) -> str:
    """Return horizontal bars with interval whiskers on a scale from 0 to `maximum`; numbers as they are or per cent."""
    plot, height = width - label_width - 52, len(bars) * ROW_PIXELS + 6

    def x(value: float) -> float:
        return label_width + plot * min(max(value / maximum, 0.0), 1.0)

    parts = [_line(x(tick * maximum), 2, x(tick * maximum), height - 4, "c-grid") for tick in (0.0, 0.25, 0.5, 0.75, 1.0)]
    for position, bar in enumerate(bars):
        middle = position * ROW_PIXELS + ROW_PIXELS / 2 + 2
        parts.append(_text(label_width - 8, middle + 4, bar.label, anchor="end", css="c-text"))
        css = "c-bar-strong" if bar.is_strong else "c-bar"
        parts.append(f'<rect x="{x(0):.1f}" y="{middle - 7:.1f}" width="{x(bar.value) - x(0):.1f}" height="14" rx="2" class="{css}"/>')
        if bar.high > bar.low:
            parts.append(_line(x(bar.low), middle, x(bar.high), middle, "c-whisker"))
            parts += [_line(x(end), middle - 4, x(end), middle + 4, "c-whisker") for end in (bar.low, bar.high)]
        parts.append(_text(width - 2, middle + 4, f"{100 * bar.value:.1f}" if is_percent else f"{bar.value:.3f}", anchor="end", css="c-text c-number"))
    return _svg(width, height, parts, f"bars: {', '.join(f'{bar.label} {bar.value:.3f}' for bar in bars)}")


def difference_whisker(value: float, low: float, high: float, *, reach: float, margin: float | None = None, width: int = 180) -> str:
    """Return one difference with its interval around a zero line; `reach` is the value at either edge."""
    height, middle = 22, 11

    def x(number: float) -> float:
        return width / 2 + (width / 2 - 6) * min(max(number / reach, -1.0), 1.0)

    parts = [_line(x(0), 1, x(0), height - 1, "c-zero")]
    if margin is not None:
        parts.append(_line(x(-margin), 3, x(-margin), height - 3, "c-margin"))
    parts += [_line(x(low), middle, x(high), middle, "c-whisker"), *(_line(x(end), middle - 4, x(end), middle + 4, "c-whisker") for end in (low, high))]
    css = "c-point-strong" if low > 0 else "c-point"
    parts.append(f'<circle cx="{x(value):.1f}" cy="{middle}" r="4" class="{css}"/>')
    return _svg(width, height, parts, f"difference {value:+.3f}, interval {low:+.3f} to {high:+.3f}")


def line_chart(series: Sequence[Series], *, x_title: str, y_title: str, width: int = 340, height: int = 230) -> str:
    """Return lines or points over two linear axes, with a legend below; empty series are left out."""
    series = [item for item in series if item.points]
    if not series:
        return ""
    xs, ys = [x for item in series for x, _ in item.points], [y for item in series for _, y in item.points]
    (x_low, x_high), levels = _widened(min(xs), max(xs)), round_levels(min(ys), max(ys))
    y_low, y_high, labels = levels[0], levels[-1], _labels(levels)
    left, right, top, bottom = 18 + 7 * max(4, *map(len, labels)), width - 10, 22, height - 18 - 18 * -(-len(series) // 2) - 6

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * (x - x_low) / (x_high - x_low), bottom - (bottom - top) * (y - y_low) / (y_high - y_low)

    parts = []
    for value, label in zip(levels, labels, strict=True):
        level = place(x_low, value)[1]
        parts += [_line(left, level, right, level, "c-grid"), _text(left - 6, level + 4, label, anchor="end", css="c-muted c-number")]
    for end, anchor in ((x_low, "start"), (x_high, "end")):
        parts.append(_text(place(end, y_low)[0], bottom + 15, f"{end:,.6g}", anchor=anchor, css="c-muted c-number"))
    parts += [_text((left + right) / 2, bottom + 15, x_title, anchor="middle", css="c-muted"), _text(6, top - 9, y_title, anchor="start", css="c-muted")]
    for number, item in enumerate(series):
        parts += _series(item, number, [place(x, y) for x, y in item.points])
        parts += _legend(item.name, number, left + (number % 2) * (right - left) / 2, bottom + 36 + 18 * (number // 2))
    return _svg(width, height, parts, f"{y_title} over {x_title}: {', '.join(item.name for item in series)}")


def _series(item: Series, number: int, places: list[tuple[float, float]]) -> list[str]:
    css = f"c-{number % SERIES_COLOURS}"
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2.5 if item.is_line else 4}" class="c-dot {css}"/>' for x, y in places]
    if not item.is_line:
        return dots
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return [f'<polyline points="{path}" class="c-line {css}"/>', *(dots if len(dots) <= 60 else [])]


def _legend(name: str, number: int, x: float, y: float) -> list[str]:
    return [f'<circle cx="{x + 5:.1f}" cy="{y - 4:.1f}" r="4" class="c-dot c-{number % SERIES_COLOURS}"/>', _text(x + 14, y, name, anchor="start", css="c-text")]


def round_levels(low: float, high: float) -> list[float]:
    """Return three to six round numbers, evenly apart, the first at or below `low` and the last at or above `high`."""
    low, high = _widened(low, high)
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(power * part for part in (1, 2, 2.5, 5, 10) if power * part * 4 >= high - low)
    return [step * count for count in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _labels(levels: Sequence[float]) -> list[str]:
    """Return levels as texts with the decimals their distance needs."""
    decimals = next((count for count in range(10) if all(abs(round(level, count) - level) < 1e-6 * (levels[1] - levels[0]) for level in levels)), 10)
    return [f"{level:,.{decimals}f}" for level in levels]


def _widened(low: float, high: float) -> tuple[float, float]:
    return (low - 0.5, high + 0.5) if high == low else (low, high)


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def _text(x: float, y: float, text: str, *, anchor: str, css: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{escape(text)}</text>'


def _svg(width: int, height: int, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escape(title, quote=True)}">'
        f"{''.join(parts)}</svg>"
    )
