from hypothesis import given
from hypothesis import strategies as st

from sinks.incidents.risk import risk_at

DAY = 86_400_000
alerts = st.lists(st.tuples(st.integers(0, 30 * DAY), st.integers(0, 100)), max_size=8)


def test_an_alerts_risk_halves_with_every_half_life() -> None:
    assert [risk_at([(0, 100)], days * DAY, 2 * DAY) for days in (0, 2, 4, 6, 40)] == [100, 50, 25, 13, 0]


def test_two_alerts_weigh_more_than_the_gravest_and_never_more_than_all() -> None:
    assert risk_at([(0, 60), (0, 50)], 0, DAY) == 80
    assert risk_at([(0, 90)] * 20, 0, DAY) == 100
    assert risk_at([], 0, DAY) == 0


@given(alerts, st.integers(30 * DAY, 90 * DAY), st.integers(0, 30 * DAY))
def test_time_alone_only_lowers_it(found: list[tuple[int, int]], at_ms: int, later_ms: int) -> None:
    assert risk_at(found, at_ms + later_ms, 3 * DAY) <= risk_at(found, at_ms, 3 * DAY)


@given(alerts, st.tuples(st.integers(0, 30 * DAY), st.integers(0, 100)))
def test_another_alert_never_lowers_it(found: list[tuple[int, int]], another: tuple[int, int]) -> None:
    alone, both = risk_at(found, 30 * DAY, 3 * DAY), risk_at([*found, another], 30 * DAY, 3 * DAY)
    assert 0 <= alone <= both <= 100


@given(alerts)
def test_the_order_of_alerts_does_not_matter(found: list[tuple[int, int]]) -> None:
    assert risk_at(found, 30 * DAY, 3 * DAY) == risk_at(sorted(found, reverse=True), 30 * DAY, 3 * DAY)
