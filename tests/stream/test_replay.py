"""Replay: every event once, marks that keep their word, a last mark only at the end, and the pace that was asked for."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.clock import ManualClock
from stream.decode import DecodeLimits, decode
from stream.errors import ConfigurationError
from stream.kinds import KINDS, Kind
from stream.log import MemoryLog, TopicPartition
from stream.marks import ClockMark, parse_mark
from stream.partitioner import partition_of
from stream.replay import HOUR_MS, MemorySink, Place, Progress, Replay, ReplayPlan, ReplayReport, days_to_now, first_time
from stream.share import ShareSpec, TooManyDeadLetters
from stream.times import DAY_MS
from tests.stream.cert_files import START_MS, write_directory

TOPICS = {kind: f"acme.{kind}" for kind in KINDS}
PARTITIONS = 3


def after_two_days(newest_ms: int) -> int:
    return newest_ms - newest_ms % DAY_MS + 2 * DAY_MS


@dataclass
class Told:
    """What a replay wrote, read as a consumer would read it."""

    log: MemoryLog

    def events(self, kind: Kind) -> list[dict[str, object]]:
        return [orjson.loads(value) for value in self.log.values(TOPICS[kind])]

    def ids(self) -> dict[Kind, list[str]]:
        return {kind: sorted(str(event["id"]) for event in self.events(kind)) for kind in KINDS}

    def logs(self) -> Iterator[tuple[Kind, list[tuple[int | None, ClockMark | None]]]]:
        """Every topic-partition as its sequence of event times and marks."""
        for kind, topic in TOPICS.items():
            for partition in range(PARTITIONS):
                records = self.log.logs[TopicPartition(topic, partition)]
                seen: list[tuple[int | None, ClockMark | None]] = []
                for record in records:
                    if record.value is None:
                        seen.append((None, parse_mark(record.key, record.headers())))
                    else:
                        decoded = decode(kind, [record.value], [record.key], "UTC", DecodeLimits())
                        seen.append((decoded.frame["ts"].item(), None))
                yield kind, seen

    def marks(self) -> list[list[ClockMark]]:
        return [[mark for _, mark in seen if mark is not None] for _, seen in self.logs()]


def run(
    plan: ReplayPlan, told: Told | None = None, place: Place | None = None, stopped: Callable[[], bool] = lambda: False
) -> tuple[Told, ReplayReport, list[Place]]:
    told = told or Told(MemoryLog(TOPICS.values(), PARTITIONS))
    clock = ManualClock(5_000_000)
    places: list[Place] = []
    report = Replay(plan, TOPICS, MemorySink(told.log), after_two_days, clock, place).run(clock.advance, stopped, places.append)
    return told, report, places


def after(calls: int) -> Callable[[], bool]:
    """Stop when it has been asked for so many times."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


def test_every_event_is_sent_once_with_its_user_as_key_in_the_partition_of_the_key(tmp_path: Path) -> None:
    written = write_directory(tmp_path, events=400)
    told, report, _ = run(ReplayPlan(tmp_path))
    assert told.ids() == {kind: sorted(ids) for kind, ids in written.items()}
    assert report.events == {kind: len(ids) for kind, ids in written.items()}
    for kind in KINDS:
        for partition in range(PARTITIONS):
            for record in told.log.logs[TopicPartition(TOPICS[kind], partition)]:
                if record.value is not None:
                    assert record.key == str(orjson.loads(record.value)["user"]).encode()
                    assert partition_of(record.key, PARTITIONS) == partition


def test_records_decode_without_a_refusal_and_carry_cloud_events_headers(tmp_path: Path) -> None:
    write_directory(tmp_path, events=200)
    told, _, _ = run(ReplayPlan(tmp_path))
    for kind in KINDS:
        records = [record for record in told.log.records(TOPICS[kind]) if record.value is not None]
        decoded = decode(kind, [r.value for r in records if r.value], [r.key for r in records], "UTC", DecodeLimits())
        assert decoded.rejected == []
        for record in records:
            event, headers = orjson.loads(record.value or b""), dict(record.headers() or [])
            assert headers == {
                "ce_specversion": b"1.0", "ce_id": event["id"].encode(), "ce_type": f"daywatch.{kind}".encode(),
                "ce_source": b"daywatch/replay", "ce_time": event["ts"].encode(), "content-type": b"application/json",
            }  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), chunk_bytes=st.integers(200, 20_000), speed=st.sampled_from([0.0, 3600.0, 60.0]))
def test_nothing_older_than_a_mark_follows_it_and_marks_come_every_hour(
    tmp_path_factory: pytest.TempPathFactory, seed: int, chunk_bytes: int, speed: float
) -> None:
    directory = tmp_path_factory.mktemp("cert")
    written = write_directory(directory, events=120, seed=seed, kinds=random.Random(seed).sample(KINDS, 3))
    told, report, _ = run(ReplayPlan(directory, chunk_bytes=chunk_bytes, speed=speed))
    assert {kind: ids for kind, ids in told.ids().items() if ids} == {kind: sorted(ids) for kind, ids in written.items() if ids}
    for _, seen in told.logs():
        promised = -1
        marks = [mark for _, mark in seen if mark is not None]
        for ts, mark in seen:
            if mark is not None:
                assert mark.at_ms > promised
                promised = mark.at_ms
            else:
                assert ts is not None
                assert ts >= promised
        assert all(0 < later.at_ms - earlier.at_ms <= HOUR_MS for earlier, later in pairwise(marks))
        assert [mark.last for mark in marks] == [False] * (len(marks) - 1) + [True]
    assert report.newest_ms is not None
    assert {marks[-1].at_ms for marks in told.marks()} == {after_two_days(report.newest_ms)}
    assert {marks[0].at_ms <= (report.first_ms or 0) for marks in told.marks()} == {True}


def test_events_of_one_log_come_in_the_order_of_time(tmp_path: Path) -> None:
    write_directory(tmp_path, events=300)
    told, _, _ = run(ReplayPlan(tmp_path, chunk_bytes=2000))
    for _, seen in told.logs():
        times = [ts for ts, _ in seen if ts is not None]
        assert times == sorted(times)


@pytest.mark.parametrize("calls", [0, 1, 2, 5, 30])
@pytest.mark.parametrize("shift_days", [0, 3])
def test_an_interrupted_replay_writes_no_last_mark_and_goes_on_where_it_was(tmp_path: Path, calls: int, shift_days: int) -> None:
    written = write_directory(tmp_path, events=400)
    plan = ReplayPlan(tmp_path, chunk_bytes=3000, shift_days=shift_days)
    told, report, places = run(plan, stopped=after(calls))
    assert report.last_mark_ms is None
    assert not any(mark.last for marks in told.marks() for mark in marks)
    assert not places[-1].done
    assert sum(map(len, told.ids().values())) < 400
    told, report, places = run(plan, told, places[-1])
    assert told.ids() == {kind: sorted(ids) for kind, ids in written.items()}, "nothing is lost and nothing is sent twice"
    assert places[-1].done
    assert places[-1].events == 400
    assert [mark.last for marks in told.marks() for mark in marks].count(True) == len(KINDS) * PARTITIONS
    _, whole_report, _ = run(plan)
    assert report.last_mark_ms == whole_report.last_mark_ms


def test_a_replay_interrupted_after_its_last_event_still_writes_the_last_mark(tmp_path: Path) -> None:
    write_directory(tmp_path, events=50)
    _, report, places = run(ReplayPlan(tmp_path))
    told, again, _ = run(ReplayPlan(tmp_path), place=replace(places[-1], done=False))
    assert sum(map(len, told.ids().values())) == 0
    assert again.last_mark_ms == report.last_mark_ms
    assert all(marks[-1].last for marks in told.marks())


def test_kinds_and_times_can_be_chosen_and_marks_go_to_all_topics_anyway(tmp_path: Path) -> None:
    write_directory(tmp_path, events=300)
    low, high = START_MS + 2 * HOUR_MS, START_MS + 9 * HOUR_MS
    told, report, _ = run(ReplayPlan(tmp_path, kinds=(Kind.LOGON, Kind.HTTP), from_ms=low, to_ms=high))
    assert all((ids != []) == (kind in (Kind.LOGON, Kind.HTTP)) for kind, ids in told.ids().items())
    assert report.first_ms is not None
    assert report.newest_ms is not None
    assert low <= report.first_ms <= report.newest_ms < high
    assert all(marks[-1].last for marks in told.marks())


def test_a_time_without_events_is_told(tmp_path: Path) -> None:
    write_directory(tmp_path, events=10)
    with pytest.raises(ConfigurationError, match="no events in the time"):
        run(ReplayPlan(tmp_path, from_ms=START_MS + 900 * DAY_MS))


def test_passes_follow_each_other_by_whole_weeks_with_marked_ids(tmp_path: Path) -> None:
    written = write_directory(tmp_path, events=100)
    told, report, _ = run(ReplayPlan(tmp_path, passes=3))
    for kind, ids in written.items():
        assert told.ids()[kind] == sorted(found + mark for found in ids for mark in ("", "~2", "~3"))
    assert report.total == 300
    first = {str(e["id"]): str(e["ts"]) for e in told.events(Kind.HTTP) if "~" not in str(e["id"])}
    for event in told.events(Kind.HTTP):
        base, _, number = str(event["id"]).partition("~")
        assert str(event["ts"])[10:] == first[base][10:], "mornings stay mornings"
        days = (ms(str(event["ts"])) - ms(first[base])) // DAY_MS
        assert days == 7 * (int(number or 1) - 1), "and Mondays Mondays"
    assert [mark.last for marks in told.marks() for mark in marks].count(True) == len(KINDS) * PARTITIONS


def test_an_endless_replay_goes_on_until_it_is_stopped(tmp_path: Path) -> None:
    write_directory(tmp_path, events=20)
    told, report, places = run(ReplayPlan(tmp_path, passes=0), stopped=after(1500))
    assert report.total > 60
    assert report.last_mark_ms is None
    resumed, _, _ = run(ReplayPlan(tmp_path, passes=places[-1].number + 1), told, places[-1])
    ids = [found for kind in KINDS for found in resumed.ids()[kind]]
    assert len(ids) == len(set(ids)) == 20 * (places[-1].number + 1)


@pytest.mark.parametrize("speed", [1.0, 60.0, 3600.0])
def test_events_keep_to_the_pace(tmp_path: Path, speed: float) -> None:
    write_directory(tmp_path, events=40, span_hours=2)
    clock = ManualClock(1_000_000_000)
    log = MemoryLog(TOPICS.values(), PARTITIONS, clock)
    report = Replay(ReplayPlan(tmp_path, speed=speed), TOPICS, MemorySink(log), after_two_days, clock).run(clock.advance)
    assert report.first_ms is not None
    for kind in KINDS:
        for record in log.records(TOPICS[kind]):
            if record.value is not None:
                due = 1_000_000_000 + (ms(orjson.loads(record.value)["ts"]) - report.first_ms) / speed
                assert -1100 <= record.stamp - due <= 1100 + 1000 / speed


def test_a_pace_can_be_interrupted_while_nothing_happens(tmp_path: Path) -> None:
    write_directory(tmp_path, events=5, span_hours=1)
    _, report, _ = run(ReplayPlan(tmp_path, speed=1.0), stopped=after(30))
    assert report.last_mark_ms is None


def test_shifted_to_now_nothing_is_sent_before_its_time(tmp_path: Path) -> None:
    write_directory(tmp_path, events=100)
    now = START_MS + 5000 * DAY_MS + 12_345
    plan = ReplayPlan(tmp_path)
    plan = replace(plan, shift_days=days_to_now(plan, now))
    _, report, _ = run(plan)
    assert report.newest_ms is not None
    assert now - DAY_MS < report.newest_ms <= now
    assert first_time(plan) == report.first_ms
    slow = replace(plan, speed=1.0, shift_days=0)
    first = first_time(replace(slow, shift_days=days_to_now(slow, now)))
    assert first is not None
    assert now - DAY_MS < first <= now


def test_progress_tells_events_time_and_bytes(tmp_path: Path) -> None:
    write_directory(tmp_path, events=100)
    told: list[Progress] = []
    clock = ManualClock()
    sink = MemorySink(MemoryLog(TOPICS.values(), PARTITIONS))
    Replay(ReplayPlan(tmp_path, chunk_bytes=2000), TOPICS, sink, after_two_days, clock).run(clock.advance, progress=told.append)
    assert told[-1].events == 100
    assert told[-1].bytes_read == told[-1].bytes_total
    assert [p.events for p in told] == sorted(p.events for p in told)


def ms(written: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(written).timestamp() * 1000)


@pytest.mark.parametrize(("unusable", "stops"), [(10, False), (11, True)])
def test_files_of_which_too_many_rows_cannot_be_used_stop_it_before_more_is_sent(tmp_path: Path, unusable: int, stops: bool) -> None:
    write_directory(tmp_path, events=90 if unusable == 10 else 89, kinds=[Kind.LOGON])
    with (tmp_path / "logon.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{{bad{number}}},no date,USR0001,PC-1,Logon\n" for number in range(unusable))
    log, clock = MemoryLog(TOPICS.values(), PARTITIONS), ManualClock()
    replay = Replay(ReplayPlan(tmp_path), TOPICS, MemorySink(log), after_two_days, clock, share=ShareSpec(share=0.1, records=10))
    if stops:
        with pytest.raises(TooManyDeadLetters, match=r"11 of 100 rows lack a proper id, date or user \(11 of logon\), more than 10%"):
            replay.run(clock.advance)
        assert not any(mark.last for marks in Told(log).marks() for mark in marks)
    else:
        assert replay.run(clock.advance).unusable == 10
