"""Pane arithmetic: days, zones, both changes of the clock."""

# ruff: noqa: DTZ001 - local wall times are what is tested here

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import ConfigurationError
from windowing.calendar import DAY_MS, Calendar, WindowSpec, wall_to_utc_ms

HOUR = 3_600_000
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Karachi", "Australia/Lord_Howe", "America/Sao_Paulo"]


def at(zone: str, *wall: int) -> int:
    return wall_to_utc_ms(datetime(*wall), ZoneInfo(zone))  # type: ignore[arg-type]


def test_a_pane_begins_at_local_midnight_plus_a_multiple_of_the_hop() -> None:
    calendar = Calendar(WindowSpec(), "Asia/Karachi")
    pane = calendar.pane_of(at("Asia/Karachi", 2010, 1, 4, 7, 30))
    assert calendar.edge(pane) == at("Asia/Karachi", 2010, 1, 4, 6) == int(datetime(2010, 1, 4, 1, tzinfo=UTC).timestamp() * 1000)
    assert calendar.window_end(pane) - calendar.window_start(pane) == DAY_MS


def test_a_spring_day_has_a_shorter_pane_and_an_autumn_day_a_longer_one() -> None:
    calendar = Calendar(WindowSpec(), "Europe/Berlin")
    spring, autumn = (calendar.pane_of(at("Europe/Berlin", 2026, *day)) for day in ((3, 29), (10, 25)))
    assert [(calendar.edge(spring + i + 1) - calendar.edge(spring + i)) // HOUR for i in range(4)] == [5, 6, 6, 6]
    assert [(calendar.edge(autumn + i + 1) - calendar.edge(autumn + i)) // HOUR for i in range(4)] == [7, 6, 6, 6]
    assert calendar.window_end(spring) - calendar.window_start(spring) == 23 * HOUR
    assert calendar.window_end(autumn) - calendar.window_start(autumn) == 25 * HOUR


def test_the_hour_that_does_not_exist_is_an_empty_pane_and_the_doubled_one_a_long_one() -> None:
    calendar = Calendar(WindowSpec(size_ms=HOUR, hop_ms=HOUR), "Europe/Berlin")
    gap = calendar.pane_of(at("Europe/Berlin", 2026, 3, 29)) + 2
    assert calendar.edge(gap) == calendar.edge(gap + 1) == at("Europe/Berlin", 2026, 3, 29, 3)
    assert calendar.pane_of(calendar.edge(gap)) == gap + 1
    doubled = calendar.pane_of(at("Europe/Berlin", 2026, 10, 25)) + 2
    assert calendar.edge(doubled + 1) - calendar.edge(doubled) == 2 * HOUR


def test_a_local_time_that_does_not_exist_is_the_instant_of_the_change() -> None:
    # Lord Howe changes by half an hour only
    assert at("Australia/Lord_Howe", 2026, 10, 4, 2, 10) == at("Australia/Lord_Howe", 2026, 10, 4, 2, 30)
    assert at("Europe/Berlin", 2026, 3, 29, 2, 59) == int(datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp() * 1000)
    # midnight itself is missing on this day
    assert at("America/Sao_Paulo", 2018, 11, 4) == int(datetime(2018, 11, 4, 3, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("zone", ZONES)
@given(ts=st.integers(631_152_000_000, 4_102_444_800_000), hop=st.sampled_from([HOUR, 6 * HOUR, 24 * HOUR]))
def test_every_instant_lies_in_its_pane(zone: str, ts: int, hop: int) -> None:
    calendar = Calendar(WindowSpec(size_ms=DAY_MS, hop_ms=hop), zone)
    pane = calendar.pane_of(ts)
    assert calendar.edge(pane) <= ts < calendar.edge(pane + 1)
    local = datetime.fromtimestamp(ts / 1000, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    day = (local - datetime(1970, 1, 1)) // timedelta(days=1)
    assert pane // calendar.spec.panes_a_day == day


@pytest.mark.parametrize("zone", ZONES)
def test_many_instants_at_once_agree_with_one_at_a_time(zone: str) -> None:
    calendar = Calendar(WindowSpec(hop_ms=HOUR), zone)
    ts = np.arange(at(zone, 2018, 3, 1), at(zone, 2018, 12, 1), 1_234_567, dtype=np.int64)
    panes = calendar.panes_of(ts)
    assert (np.diff(panes) >= 0).all()
    for i in range(0, len(ts), 997):
        assert panes[i] == Calendar(WindowSpec(hop_ms=HOUR), zone).pane_of(int(ts[i]))


@pytest.mark.parametrize(("size", "hop"), [(DAY_MS, 7 * HOUR), (DAY_MS, 0), (5 * HOUR, 2 * HOUR), (2 * DAY_MS, 2 * DAY_MS)])
def test_a_hop_that_does_not_divide_size_and_day_is_refused(size: int, hop: int) -> None:
    with pytest.raises(ConfigurationError, match="hop"):
        WindowSpec(size_ms=size, hop_ms=hop)


def test_an_unknown_zone_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="Mars/Olympus"):
        Calendar(WindowSpec(), "Mars/Olympus")
