"""The benchmark's figures as a table and as a picture. Knows nothing of how they were measured."""

from html import escape
from typing import Any

_BAR, _OURS, _WRONG, _RAW = "#9aa7b4", "#2563a8", "#c0392b", "#d8dee4"


def table(found: dict[str, Any]) -> str:
    """Plain text, a line a contestant; ratios are Daywatch's first figure to each peer's."""
    figures = found["figures"]
    ours = next((each for each in figures if each["name"].startswith("Daywatch")), None)
    lines = [f"{'':<27}{'events':>11}{'seconds':>9}{'events/s':>11}{'of raw':>8}{'ratio':>8}{'CPU-s/M':>9}{'peak MB':>9}  output"]
    for each in figures:
        ratio = f"{ours['rate'] / each['rate']:.1f}x" if ours and each is not ours and each["name"] != "raw consume" else ""
        share = f"{each['of_raw']:.3f}" if each["of_raw"] is not None else ""
        peak = f"{each['peak_mb']:,.0f}" if each["peak_mb"] else ""
        lines.append(
            f"{each['name']:<27}{each['events']:>11,}{each['seconds']:>9.2f}{each['rate']:>11,}{share:>8}{ratio:>8}"
            f"{each['cpu_s_per_million']:>9.2f}{peak:>9}  {each['verdict']}"
        )
    return "\n".join(lines) + "\n"


def picture(found: dict[str, Any]) -> str:
    """Bars of events a second, as an SVG; a contestant whose output was wrong is drawn in red."""
    figures = found["figures"]
    most = max(each["rate"] for each in figures)
    height, left, width = 30, 190, 450
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height * len(figures) + 40}"',
        ' font-family="system-ui, sans-serif" font-size="13">',
        "<title>Events a second, topics filled beforehand</title>",
        f'<rect width="760" height="{height * len(figures) + 40}" fill="#ffffff"/>',
        '<text x="10" y="20" font-weight="600">Events a second</text>',
    ]
    for number, each in enumerate(figures):
        y = 34 + number * height
        colour = _WRONG if not each["right"] else _RAW if each["name"] == "raw consume" else _OURS if "Daywatch" in each["name"] else _BAR
        long = max(1.0, width * each["rate"] / most)
        parts += [
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(each["name"])}</text>',
            f'<rect x="{left}" y="{y}" width="{long:.1f}" height="20" fill="{colour}"/>',
            f'<text x="{left + long + 6:.1f}" y="{y + 15}">{each["rate"]:,}{"" if each["right"] else " (wrong)"}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
