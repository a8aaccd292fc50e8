"""Written times: read and written as columns, agreeing with the standard library."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.times import MAX_TS, MIN_TS, format_iso, read_cert, read_iso

instants = st.datetimes(datetime(1990, 1, 2), datetime(2199, 12, 30))  # noqa: DTZ001 - hypothesis wants them naive


def ms(moment: datetime) -> int:
    return (moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@settings(max_examples=200, deadline=None)
@given(moments=st.lists(instants, min_size=1, max_size=5), minutes=st.integers(-23 * 60, 23 * 60))
def test_iso_times_are_read_as_the_standard_library_reads_them(moments: list[datetime], minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    here = [moment.replace(tzinfo=zone) for moment in moments]
    for timespec in ("seconds", "milliseconds"):
        written = [moment.isoformat(timespec=timespec) for moment in here]
        ts, good = read_iso(pl.Series(written), "UTC")
        assert good.all()
        assert ts.tolist() == [ms(datetime.fromisoformat(text)) for text in written]


@settings(max_examples=100, deadline=None)
@given(moments=st.lists(instants, min_size=1, max_size=5))
def test_cert_dates_are_month_day_year(moments: list[datetime]) -> None:
    ts, good = read_cert(pl.Series([f"{moment:%m/%d/%Y %H:%M:%S}" for moment in moments]), "UTC")
    assert good.all()
    assert ts.tolist() == [ms(moment.replace(tzinfo=UTC, microsecond=0)) for moment in moments]


@given(ts=st.lists(st.integers(MIN_TS, MAX_TS - 1), min_size=1, max_size=5))
def test_what_was_written_is_read_again(ts: list[int]) -> None:
    back, good = read_iso(format_iso(pl.Series(ts)), "Asia/Kolkata")
    assert good.all()
    assert back.tolist() == ts


def test_layouts_may_be_mixed_and_what_is_no_time_is_unread() -> None:
    texts = ["2010-01-04T08:12:33Z", "no", None, "2010-01-04T08:12:33.5Z", "2010-02-29T00:00:00Z", "2010-01-04T09:12:33+01:00"]
    ts, good = read_iso(pl.Series(texts), "UTC")
    assert good.tolist() == [True, False, False, False, False, True]
    assert ts[good].tolist() == [1262592753000, 1262592753000]


@pytest.mark.parametrize(
    "text", ["13/01/2010 00:00:00", "01/32/2010 00:00:00", "1/4/2010 08:12:33", "2010-01-04 08:12:33", "", "01/04/2010 24:00:00"]
)
def test_what_is_no_cert_date_is_unread(text: str) -> None:
    ts, good = read_cert(pl.Series([text, "01/04/2010 08:12:33"]), "UTC")
    assert good.tolist() == [False, True]
    assert ts[1] == 1262592753000


@pytest.mark.parametrize(("year", "leap"), [(1900, False), (2000, True), (2004, True), (2010, False), (2100, False)])
def test_leap_days_are_those_of_the_gregorian_calendar(year: int, leap: bool) -> None:
    _, good = read_iso(pl.Series([f"{year}-02-29T00:00:00Z"]), "UTC")
    assert good.tolist() == [leap]


def test_no_times_give_no_times() -> None:
    ts, good = read_iso(pl.Series([], dtype=pl.String), "UTC")
    assert (len(ts), len(good)) == (0, 0)
    assert ts.dtype == np.int64
