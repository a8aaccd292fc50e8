"""Promises of `windowing.salience`: telling events are shown, floods hide nothing, and ties are settled by the events alone."""

import polars as pl

from stream.kinds import Kind, frame_schema
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.describe import DescribeSettings, describe
from windowing.profiles import Profiles
from windowing.record import Window, parse_window

DAY = 14613
CALENDAR = Calendar(WindowSpec(hop_ms=DAY_MS))


def shown(cap: int = 40, **frames: list[dict[str, object]]) -> Window:
    events = {}
    for name, rows in frames.items():
        kind = Kind(name)
        blank = {"user": "ana", "pc": "PC-1", "content": ""}
        wanted = frame_schema(kind)
        full = [{key: (blank | row).get(key) for key in wanted} for row in rows]
        events[kind] = pl.DataFrame(full, schema=wanted)
    frame = describe(events, DAY, CALENDAR, Profiles(CALENDAR), None, DescribeSettings(cap=cap))
    return parse_window(frame["value"][0].encode())


def at(hour: float) -> int:
    return DAY * DAY_MS + int(hour * 3_600_000)


def test_a_flood_of_drive_events_hides_neither_a_leak_nor_a_mail_home() -> None:
    window = shown(
        device=[{"ts": at(9) + n, "id": f"d{n:04}", "activity": "Connect"} for n in range(2000)],
        http=[{"ts": at(10), "id": "leak", "url": "http://wikileaks.org/upload"}],
        email=[{"ts": at(11), "id": "home", "to": "smith@gmail.com", "from": "ana.smith@dtaa.com", "size": 9, "attachments": 3}],
        file=[{"ts": at(12), "id": "copy", "filename": "x.zip"}],
    )
    assert {"leak", "home", "copy"} <= {event["id"] for event in window.events}
    assert window.omitted[Kind.DEVICE] == 2000 - 37


def test_a_flood_of_visits_to_one_flagged_host_leaves_room_for_another() -> None:
    window = shown(
        http=[{"ts": at(9) + n, "id": f"j{n:04}", "url": "http://monster.com/"} for n in range(500)]
        + [{"ts": at(15), "id": "cloud", "url": "http://dropbox.com/upload"}],
    )
    assert "cloud" in {event["id"] for event in window.events}


def test_ties_go_to_the_earlier_event_and_then_to_the_smaller_id() -> None:
    same = [{"ts": at(10), "id": name, "url": "http://example.org/"} for name in ("c", "a", "d", "b")]
    earlier = [{"ts": at(10) - 1, "id": "z", "url": "http://example.org/"}]
    assert [event["id"] for event in shown(cap=3, http=same + earlier).events] == ["z", "a", "b"]


def test_without_a_place_nothing_is_shown_and_all_is_counted() -> None:
    window = shown(cap=0, http=[{"ts": at(10), "id": "a", "url": "http://example.org/"}])
    assert window.events == ()
    assert window.omitted[Kind.HTTP] == window.counts[Kind.HTTP] == 1
    assert window.omitted_domains == {"example.org": 1}
