"""The report's drawings, as SVG that takes its colours from the page's style sheet. Numbers in, markup out; knows no records.

Drawn by hand rather than with a plotting library: the page must need nothing from outside, follow the reader's light or dark
setting and stay small; libraries that draw in the browser weigh megabytes, those that draw to SVG fix their colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from detector.evaluation.metrics import Curve

_WIDE, _HIGH = 560, 380
_LEFT, _TOP, _RIGHT, _BOTTOM = 46, 14, 14, 40


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart with both axes from 0 to 1: points as (x, y), a name for the legend, a style class, marks to point out."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    marks: Sequence[tuple[float, float, str]] = ()


def recall_precision(ranking: Curve, apart: float = 0.002) -> list[tuple[float, float]]:
    """The (recall, precision) points of a ranking that lie visibly `apart` from the one before; empty without positives."""
    if not ranking.positives:
        return []
    points: list[tuple[float, float]] = []
    for hits, false_alarms in zip(ranking.hits.tolist(), ranking.false_alarms.tolist(), strict=True):
        recall, precision = hits / ranking.positives, hits / (hits + false_alarms)
        if not points:
            points = [(0.0, precision)]
        if abs(recall - points[-1][0]) + abs(precision - points[-1][1]) >= apart:
            points.append((recall, precision))
    return points


def unit_chart(lines: Sequence[Line], x_name: str, y_name: str, title: str) -> Markup:
    """A chart whose axes both run from 0 to 1, with a legend."""
    parts = [f'<svg class="chart" viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{escape(title)}">']
    for tick in range(6):
        share = tick / 5
        x, y = _x(share), _y(share)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_y(0):.1f}" x2="{x:.1f}" y2="{_y(1):.1f}"/>')
        parts.append(f'<line class="grid" x1="{_x(0):.1f}" y1="{y:.1f}" x2="{_x(1):.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{_y(0) + 16:.1f}" text-anchor="middle">{share:.1f}</text>')
        parts.append(f'<text class="tick" x="{_x(0) - 7:.1f}" y="{y + 4:.1f}" text-anchor="end">{share:.1f}</text>')
    parts.append(f'<text class="axis" x="{_x(0.5):.1f}" y="{_HIGH - 6}" text-anchor="middle">{escape(x_name)}</text>')
    middle = _y(0.5)
    parts.append(
        f'<text class="axis" x="12" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 12 {middle:.1f})">{escape(y_name)}</text>'
    )
    for line in lines:
        if line.points:
            path = " ".join(f"{'M' if n == 0 else 'L'}{_x(x):.1f} {_y(y):.1f}" for n, (x, y) in enumerate(line.points))
            parts.append(f'<path class="line {line.style}" d="{path}"><title>{escape(line.name)}</title></path>')
        for x, y, text in line.marks:
            parts.append(
                f'<circle class="mark {line.style}" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="4"><title>{escape(text)}</title></circle>'
            )
    parts.append("</svg>")
    legend = "".join(f'<span><i class="swatch {line.style}"></i>{escape(line.name)}</span>' for line in lines)
    return Markup("".join(parts) + f'<p class="legend">{legend}</p>')  # noqa: S704  every text in it went through escape()


def _x(share: float) -> float:
    return _LEFT + share * (_WIDE - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HIGH - _BOTTOM - share * (_HIGH - _TOP - _BOTTOM)


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a timeline. `score` is None on a day without activity; counts are of events."""

    label: str
    tick: str
    score: float | None
    alert: bool
    found: int
    missed: int
    other: int


def timeline(days: Sequence[Day], title: str) -> Markup:
    """Scores upward, events downward, one column a day: cited key events, key events not cited, other cited events."""
    wide, up, down, axis = 1000.0, 54.0, 40.0, 16.0
    column = wide / max(1, len(days))
    most = max([day.found + day.missed + day.other for day in days], default=1) or 1
    parts = [f'<svg class="timeline" viewBox="0 0 {wide:.0f} {up + down + axis + 8:.0f}" role="img" aria-label="{escape(title)}">']
    base = up + 8
    parts.append(f'<line class="base" x1="0" y1="{base}" x2="{wide:.0f}" y2="{base}"/>')
    for place, day in enumerate(days):
        left, inner = place * column, max(1.0, column * 0.78)
        bar = f'x="{left + (column - inner) / 2:.1f}" width="{inner:.1f}"'
        cells: list[str] = []
        if day.found or day.missed:
            cells.append(f'<rect class="positive" x="{left:.1f}" y="4" width="{column:.1f}" height="{up + down + 4:.0f}"/>')
        if day.score is not None:
            high = max(1.5, day.score * up)
            cells.append(f'<rect class="score {"alert" if day.alert else "quiet"}" {bar} y="{base - high:.1f}" height="{high:.1f}"/>')
        depth, events = base + 2, day.found + day.missed + day.other
        for count, style in ((day.found, "found"), (day.missed, "missed"), (day.other, "other")):
            if count:
                # square roots: days with two and with two hundred events are both to be seen
                high = max(2.0, down * (events / most) ** 0.5 * count / events)
                cells.append(f'<rect class="event {style}" {bar} y="{depth:.1f}" height="{high:.1f}"/>')
                depth += high
        if cells:
            parts.append(f"<g><title>{escape(day.label)}</title>{''.join(cells)}</g>")
        if day.tick:
            parts.append(f'<text class="tick" x="{left:.1f}" y="{up + down + axis + 6:.0f}">{escape(day.tick)}</text>')
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704  every text in it went through escape()
