"""Risk that fades: what alerts of some age still amount to. Numbers in, numbers out; knows no alert and no clock."""

from collections.abc import Iterable

from stream.kinds import Millis


def risk_at(alerts: Iterable[tuple[Millis, int]], at_ms: Millis, half_life_ms: Millis) -> int:
    """The risk, 0-100, of alerts (when, how risky) as seen at a moment that is not before any of them.

    Each alert's risk halves every `half_life_ms`. Together they are as risky as that at least one of them is right: alerts that come
    soon after each other weigh more than the gravest alone, and no number of them exceeds 100.

    >>> day = 86_400_000
    >>> risk_at([(0, 80)], 0, 3 * day), risk_at([(0, 80)], 3 * day, 3 * day), risk_at([(0, 80)], 30 * day, 3 * day)
    (80, 40, 0)
    >>> risk_at([(0, 80), (3 * day, 50)], 3 * day, 3 * day)
    70
    """
    none_right = 1.0
    for when_ms, risk in alerts:
        none_right *= 1 - risk / 100 * 2.0 ** (-max(at_ms - when_ms, 0) / half_life_ms)
    # rounded twice, so that the last bits of a machine's powers decide nothing
    return int(round(100 * (1 - none_right), 6) + 0.5)
