"""Promises of `windowing.offline`: the windows of a directory are those that panes and profiles give one by one."""

from pathlib import Path

import polars as pl
import pytest

from stream.cert import ReadCount
from stream.errors import ConfigurationError
from stream.kinds import Kind
from windowing.calendar import WindowSpec
from windowing.describe import DESCRIBED_SCHEMA
from windowing.offline import windows_of
from windowing.record import Window, parse_window

HOUR_MS = 3_600_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two people; Ana works on 4, 5 and 9 January 2010, Bob on the 5th, at the last second of the day too."""
    (tmp_path / "logon.csv").write_text(
        "id,date,user,pc,activity\n"
        "{L1},01/04/2010 08:00:00,ANA,PC-1,Logon\n"
        "{L2},01/05/2010 08:00:00,ANA,PC-1,Logon\n"
        "{L3},01/05/2010 23:59:59,BOB,PC-2,Logon\n"
        "{L2},01/05/2010 23:59:59,ANA,PC-9,Logon\n"
        "{L4},01/09/2010 08:00:00,ANA,PC-1,Logon\n"
    )
    (tmp_path / "http.csv").write_text("id,date,user,pc,url,content\n{H1},01/04/2010 08:30:00,ANA,PC-1,http://a.org/,words\n")
    return tmp_path


def windows(directory: Path, hop: int, zone: str = "UTC") -> list[Window]:
    found = []
    for batch in windows_of(directory, WindowSpec(hop_ms=hop * HOUR_MS), zone):
        assert batch.windows.schema == pl.Schema(DESCRIBED_SCHEMA)
        found += [parse_window(value.encode()) for value in batch.windows["value"]]
    return found


def test_with_a_hop_of_a_day_there_is_a_window_for_every_user_and_day(directory: Path) -> None:
    found = windows(directory, 24)
    assert [(w.start[:10], w.user) for w in found] == [
        ("2010-01-04", "ANA"),
        ("2010-01-05", "ANA"),
        ("2010-01-05", "BOB"),
        ("2010-01-09", "ANA"),
    ]
    assert found[0].counts[Kind.HTTP] == 1


def test_of_two_records_of_one_event_the_first_counts(directory: Path) -> None:
    [ana] = [w for w in windows(directory, 24) if w.user == "ANA" and w.start.startswith("2010-01-05")]
    assert [event["pc"] for event in ana.events] == ["PC-1"]


def test_every_sliding_window_that_holds_an_event_is_there(directory: Path) -> None:
    found = windows(directory, 6)
    assert len({w.id for w in found}) == len(found)
    assert [w.start for w in found if w.user == "BOB"] == [f"2010-01-05T{hour:02}:00:00+00:00" for hour in (0, 6, 12, 18)]
    ninth = [w.start for w in found if w.user == "ANA" and w.start >= "2010-01-08T12"]
    assert ninth == [f"2010-01-{day}:00:00+00:00" for day in ("08T12", "08T18", "09T00", "09T06")]


def test_the_day_begins_at_local_midnight(directory: Path) -> None:
    found = windows(directory, 24, "Asia/Kolkata")
    assert [w.start for w in found if w.user == "BOB"] == ["2010-01-05T00:00:00+05:30"]


def test_progress_is_told(directory: Path) -> None:
    seen: list[ReadCount] = []
    list(windows_of(directory, WindowSpec(hop_ms=24 * HOUR_MS), progress=seen.append))
    assert seen[-1].rows == 6


def test_a_directory_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        list(windows_of(tmp_path, WindowSpec()))
