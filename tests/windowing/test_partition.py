"""A partition's windows are a function of its logs: how they were read, cut or interleaved does not show in any byte."""

import json
import random
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.kinds import FIELDS, KINDS, Kind, frame_schema
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.clocks import ClockSpec, Mark
from windowing.closing import close_together
from windowing.panes import decode_blobs
from windowing.partition import Arrivals, Closed, Closing, Partition, Rules

HOUR = 3_600_000
T0 = 1_262_563_200_000
DISORDER = 15 * 60_000
ZONES = ["UTC", "Asia/Kolkata", "Europe/Berlin"]

Row = tuple[int, str, str]  # time, user, id


def rules(zone: str = "UTC", hop: int = 6 * HOUR, disorder: int = DISORDER) -> Rules:
    return Rules(Calendar(WindowSpec(hop_ms=hop), zone), ClockSpec(out_of_orderness_ms=disorder, max_jump_ms=10**12))


def frame(kind: Kind, rows: list[Row], first_row: int = 0) -> pl.DataFrame:
    own: dict[str, Any] = {
        "url": "http://example.com/a",
        "activity": "Logon",
        "filename": "a.doc",
        "to": "x@y.org",
        "from": "me@corp.com",
        "size": 10,
    }
    values = [(user, ts, name, "PC-1", *(own.get(column) for column in FIELDS[kind])) for ts, user, name in rows]
    return pl.DataFrame(values, schema=frame_schema(kind), orient="row").with_row_index("row", first_row)


def read(partition: Partition, kind: Kind, rows: list[Row], marks: list[int] | None = None) -> Any:
    """Marks stand behind the rows."""
    found = [Mark(len(rows) + i, at) for i, at in enumerate(marks or [])]
    return partition.read(Arrivals(kind, frame(kind, rows), np.full(len(rows) + len(found), T0 + 10**12, np.int64), found))


def close_next(partition: Partition, limit: int) -> Closing:
    (closing,) = [closing for _, closing in close_together([partition], limit)]
    return closing


def close_all(partition: Partition, limit: int = 1000) -> list[str]:
    out: list[str] = []
    while partition.due():
        out += close_next(partition, limit).windows["value"].to_list()
    return out


def organisation(seed: int, days: int = 2) -> dict[Kind, list[Row]]:
    rnd = random.Random(seed)
    logs: dict[Kind, list[Row]] = {}
    for kind in KINDS:
        times = sorted(T0 + rnd.randrange(days * DAY_MS) for _ in range(rnd.randint(1, 40)))
        logs[kind] = [(ts, rnd.choice(["ana", "bo", "cy"]), f"{kind}{i}") for i, ts in enumerate(times)]
    return logs


def run(logs: dict[Kind, list[Row]], rnd: random.Random, zone: str = "UTC", hop: int = 6 * HOUR, limit: int = 1000) -> list[str]:
    """Read the logs in a random interleaving of random batches, closing whenever something is due; end marks last."""
    partition = Partition(rules(zone, hop))
    at = dict.fromkeys(KINDS, 0)
    out: list[str] = []
    while waiting := [kind for kind in KINDS if at[kind] < len(logs[kind])]:
        kind = rnd.choice(waiting)
        n = rnd.randint(1, 9)
        read(partition, kind, logs[kind][at[kind] : at[kind] + n])
        at[kind] += n
        if rnd.random() < 0.5:
            out += close_all(partition, limit)
    for kind in KINDS:
        read(partition, kind, [], [T0 + 5 * DAY_MS])
    return out + close_all(partition, limit)


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), order=st.integers(0, 10**6))
def test_interleaving_the_topics_differently_gives_the_same_bytes(zone: str, seed: int, order: int) -> None:
    logs = organisation(seed)
    assert sorted(run(logs, random.Random(0), zone)) == sorted(
        run(logs, random.Random(order), zone, limit=random.Random(order).randint(1, 5))
    )


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), order=st.integers(0, 10**6))
def test_arrival_out_of_order_within_the_tolerance_gives_the_same_bytes(seed: int, order: int) -> None:
    rnd = random.Random(order)
    logs = organisation(seed)
    shaken = {kind: sorted(rows, key=lambda row: row[0] + rnd.randrange(DISORDER)) for kind, rows in logs.items()}
    assert sorted(run(logs, random.Random(0))) == sorted(run(shaken, rnd))


def test_windows_go_out_in_the_order_of_their_end_and_user() -> None:
    keys = [(record["end"], record["user"]) for record in map(json.loads, run(organisation(3), random.Random(1), limit=1))]
    assert len(keys) > 10
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [("Europe/Berlin", 1_269_730_800_000, 23), ("Europe/Berlin", 1_288_476_000_000, 25), ("Asia/Kolkata", 1_262_543_400_000, 24)],
)
def test_a_day_is_the_organisation_s_day_also_when_the_clocks_change(zone: str, day: int, hours: int) -> None:
    partition = Partition(rules(zone, hop=24 * HOUR))
    rows = [
        (day - 1, "ana", "before"),
        (day, "ana", "first"),
        (day + hours * HOUR - 1, "ana", "last"),
        (day + hours * HOUR, "ana", "after"),
    ]
    read(partition, Kind.LOGON, rows)
    for kind in KINDS:
        read(partition, kind, [], [day + 5 * DAY_MS])
    windows = [json.loads(value) for value in close_all(partition)]
    assert [[event["id"] for event in window["events"]] for window in windows] == [["before"], ["first", "last"], ["after"]]
    assert windows[0]["end"] == windows[1]["start"]


def test_an_event_is_late_only_when_every_window_over_it_has_closed() -> None:
    partition = Partition(rules(disorder=0))
    pane = T0 + 6 * HOUR  # windows over it end at T0 + 12 h … T0 + 30 h
    assert read(partition, Kind.LOGON, [(T0 + 30 * HOUR - 1, "ana", "a"), (pane, "ana", "b")]).late == []
    assert read(
        partition, Kind.LOGON, [(T0 + 30 * HOUR, "ana", "c"), (pane + 6 * HOUR - 1, "ana", "d"), (pane + 6 * HOUR, "ana", "e")]
    ).late == [1]


def test_an_event_from_a_far_future_is_handed_back_and_closes_nothing() -> None:
    partition = Partition(rules())
    stamps = np.full(3, T0 + DAY_MS, np.int64)
    rows = [(T0, "ana", "a"), (T0 + 4000 * DAY_MS, "bo", "b"), (T0 + HOUR, "ana", "c")]
    unplaced = partition.read(Arrivals(Kind.LOGON, frame(Kind.LOGON, rows), stamps, []))
    assert unplaced.future == [1]
    assert partition.clocks[Kind.LOGON].at_ms == T0 + HOUR - DISORDER


def test_one_user_s_leap_closes_nobody_s_window_until_a_second_user_follows() -> None:
    partition = Partition(Rules(Calendar(WindowSpec()), ClockSpec(out_of_orderness_ms=0, max_jump_ms=DAY_MS)))
    for kind in KINDS:
        read(partition, kind, [(T0, "ana", "a"), (T0 + 50 * DAY_MS, "eve", "b")])
    assert close_all(partition) == []
    for kind in KINDS:
        read(partition, kind, [(T0 + 50 * DAY_MS + 1, "bo", "c")])
    assert close_all(partition)


def test_a_window_waits_for_the_slowest_topic() -> None:
    partition = Partition(rules(disorder=0))
    for kind in KINDS[1:]:
        read(partition, kind, [(T0, "ana", "a")], [T0 + 9 * DAY_MS])
    assert not partition.due()
    read(partition, Kind.LOGON, [(T0, "ana", "a")], [T0 + 6 * HOUR])
    assert len(close_all(partition)) == 1


def test_what_was_sent_in_an_earlier_life_is_closed_but_not_sent_again() -> None:
    logs = organisation(5)
    whole = run(logs, random.Random(2))
    partition = Partition(rules())
    window = Calendar(WindowSpec()).pane_of(T0 + DAY_MS)
    partition.sent = Closed(window, 0, "bo")
    for kind in KINDS:
        read(partition, kind, logs[kind], [T0 + 5 * DAY_MS])
    rest = close_all(partition)
    assert 0 < len(rest) < len(whole)
    assert set(rest) < set(whole)


def test_duplicates_within_a_pane_are_counted_once_and_the_lowest_offset_wins() -> None:
    partition = Partition(rules(hop=24 * HOUR))
    read(partition, Kind.LOGON, [(T0 + 5, "ana", "a"), (T0 + 9, "ana", "a"), (T0 + 9, "bo", "a")])
    read(partition, Kind.DEVICE, [(T0 + 7, "ana", "a")])
    for kind in KINDS:
        read(partition, kind, [], [T0 + 5 * DAY_MS])
    first = close_next(partition, 10)
    windows = [json.loads(value) for value in first.windows["value"]]
    assert [(window["user"], window["counts"]["logon"], window["counts"]["device"]) for window in windows] == [("ana", 1, 1), ("bo", 1, 0)]
    assert "00:00:00.005" in windows[0]["events"][0]["ts"]
    assert first.duplicates[Kind.LOGON] == 1


def test_state_put_back_from_its_blobs_goes_on_with_the_same_bytes() -> None:
    logs = organisation(11)
    whole = sorted(run(logs, random.Random(0)))
    first, second = Partition(rules()), Partition(rules())
    blobs: dict[int, list[bytes]] = {}
    for kind in KINDS:
        half = len(logs[kind]) // 2
        read(first, kind, logs[kind][:half])
        for pane, blob in first.take_staged():
            blobs.setdefault(pane, []).append(blob)
    sent = []
    while first.due():
        closing = close_next(first, 2)
        sent += closing.windows["value"].to_list()
        second.profiles.load(first.profiles.dump(closing.folded))
        blobs.pop(closing.done_pane, None)  # type: ignore[arg-type]
    second.clocks, second.closed = first.clocks, first.closed
    for pane, kept in blobs.items():
        second.restore(pane, decode_blobs(kept))
    for kind in KINDS:
        read(second, kind, logs[kind][len(logs[kind]) // 2 :], [T0 + 5 * DAY_MS])
    assert sorted(sent + close_all(second)) == whole
