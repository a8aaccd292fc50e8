"""A training run's loss curve as SVG that needs nothing from outside. Numbers in, markup out."""

from collections.abc import Sequence
from typing import Final

_WIDE, _HIGH, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 320, 52, 28, 52, 36
_SMOOTHED: Final = 10


def loss_chart(training: Sequence[Sequence[float]], checked: Sequence[Sequence[float]]) -> str:
    """The loss of each step, smoothed, and at each check the held-out users' loss and label accuracy.

    Args:
        training: (step, loss).
        checked: (step, loss, accuracy 0..1).
    """
    steps = max([point[0] for point in training] or [1])
    smooth = [
        (point[0], sum(each[1] for each in training[max(0, place - _SMOOTHED + 1) : place + 1]) / min(place + 1, _SMOOTHED))
        for place, point in enumerate(training)
    ]
    highest = max([loss for _, loss in smooth] + [point[1] for point in checked] + [1e-9])

    def x(step: float) -> float:
        return _LEFT + (_WIDE - _LEFT - _RIGHT) * step / steps

    def y(share: float) -> float:
        return _HIGH - _BOTTOM - (_HIGH - _TOP - _BOTTOM) * share

    def line(points: Sequence[tuple[float, float]], colour: str) -> str:
        path = " ".join(f"{x(step):.1f},{y(share):.1f}" for step, share in points)
        dots = "".join(f'<circle cx="{x(step):.1f}" cy="{y(share):.1f}" r="2.5" fill="{colour}"/>' for step, share in points[:40])
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>' + (dots if len(points) <= 40 else "")

    grid = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="#8884"/>'
        f'<text x="{_LEFT - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{share * highest:.2f}</text>'
        f'<text x="{_WIDE - _RIGHT + 6}" y="{y(share) + 4:.1f}">{share:.0%}</text>'
        for share in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" font-family="sans-serif" font-size="11">'
        f'<rect width="{_WIDE}" height="{_HIGH}" fill="white"/>{grid}'
        + line([(step, loss / highest) for step, loss in smooth], "#3b6ea8")
        + line([(point[0], point[1] / highest) for point in checked], "#c4572a")
        + line([(point[0], point[2]) for point in checked], "#3a8a4c")
        + f'<text x="{_LEFT}" y="16"><tspan fill="#3b6ea8">loss</tspan> · <tspan fill="#c4572a">loss on held-out users</tspan> · '
        f'<tspan fill="#3a8a4c">label accuracy on held-out users (right axis)</tspan></text>'
        f'<text x="{(_WIDE + _LEFT - _RIGHT) / 2}" y="{_HIGH - 8}" text-anchor="middle">step of {steps:.0f}</text></svg>\n'
    )
