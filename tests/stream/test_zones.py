"""Naive local times: the columnar mapping is the calendar's own, whatever the zone and the year."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import ConfigurationError
from stream.zones import check_zone, utc_to_wall, wall_to_utc
from windowing.calendar import wall_to_utc_ms

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu"]
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall times are naive
MINUTE_MS = 60_000


def wall_ms(*parts: int) -> int:
    return (datetime(*parts) - EPOCH) // timedelta(milliseconds=1)  # noqa: DTZ001


@pytest.mark.parametrize("zone", ZONES)
def test_every_half_hour_of_two_years_maps_as_the_calendar_says(zone: str) -> None:
    walls = np.arange(wall_ms(2010, 1, 1), wall_ms(2012, 1, 1), 30 * MINUTE_MS)
    expected = [wall_to_utc_ms(EPOCH + timedelta(milliseconds=wall), ZoneInfo(zone)) for wall in walls.tolist()]
    assert wall_to_utc(walls, zone).tolist() == expected


@settings(max_examples=150, deadline=None)
@given(zone=st.sampled_from(ZONES), wall=st.integers(wall_ms(1990, 1, 1), wall_ms(2090, 1, 1)))
def test_any_instant_maps_as_the_calendar_says(zone: str, wall: int) -> None:
    expected = wall_to_utc_ms(EPOCH + timedelta(milliseconds=wall), ZoneInfo(zone))
    assert wall_to_utc(np.array([wall], np.int64), zone).tolist() == [expected]


def test_a_time_that_does_not_exist_is_the_instant_of_the_change() -> None:
    walls = np.array([wall_ms(2026, 3, 29, 1, 59), wall_ms(2026, 3, 29, 2), wall_ms(2026, 3, 29, 2, 59), wall_ms(2026, 3, 29, 3)])
    change = wall_ms(2026, 3, 29, 1)
    assert wall_to_utc(walls, "Europe/Berlin").tolist() == [change - MINUTE_MS, change, change, change]


def test_a_doubled_time_is_its_first() -> None:
    walls = np.array([wall_ms(2026, 10, 25, 2), wall_ms(2026, 10, 25, 2, 59), wall_ms(2026, 10, 25, 3)])
    first = wall_ms(2026, 10, 25, 0)
    assert wall_to_utc(walls, "Europe/Berlin").tolist() == [first, first + 59 * MINUTE_MS, first + 120 * MINUTE_MS]


@settings(max_examples=100, deadline=None)
@given(zone=st.sampled_from(ZONES), ts=st.integers(wall_ms(1990, 1, 1), wall_ms(2090, 1, 1)))
def test_wall_times_are_those_that_the_clock_showed(zone: str, ts: int) -> None:
    shown = datetime.fromtimestamp(ts / 1000, ZoneInfo(zone)).replace(tzinfo=None)
    assert abs(utc_to_wall(np.array([ts], np.int64), zone).item() - (shown - EPOCH) / timedelta(milliseconds=1)) < 1


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(ConfigurationError, match="Europe/Atlantis"):
        check_zone("Europe/Atlantis")


def test_no_times_give_no_times() -> None:
    assert wall_to_utc(np.empty(0, np.int64), "Europe/Berlin").tolist() == []
