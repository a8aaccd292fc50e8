"""The worker's own decisions, on the in-memory twins: silence, alignment, when it is done, and when it refuses to start."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from stream.clock import ManualClock
from stream.errors import RefusedError
from stream.kinds import KINDS, Kind
from stream.log import MemoryLog, MemoryOutlet, MemorySource, TopicPartition
from stream.marks import encode_mark, parse_mark
from tests.windowing.logs import iso
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.clocks import LONG_AGO, ClockSpec
from windowing.intake import Topics
from windowing.partition import Rules
from windowing.store import MemoryStore
from windowing.worker import WindowWorker, WorkerSettings

HOUR, MINUTE = 3_600_000, 60_000
T0 = 1_262_563_200_000
EVENTS = {kind: f"x.{kind}" for kind in KINDS}
TOPICS = Topics(EVENTS, "x.windows", "x.dead-letters", 1)


class Bench:
    """One partition, its log and store, and a clock that the test moves."""

    def __init__(self, now_ms: int = T0 + 10**11) -> None:
        self.clock = ManualClock(now_ms)
        self.log = MemoryLog([*EVENTS.values(), TOPICS.windows, TOPICS.dead_letters], 1, self.clock)
        self.store = MemoryStore()

    def worker(self, spec: WindowSpec | None = None, source: MemorySource | None = None, **settings: Any) -> WindowWorker:
        rules = Rules(Calendar(spec or WindowSpec(hop_ms=24 * HOUR)), ClockSpec(out_of_orderness_ms=0, max_jump_ms=2 * DAY_MS))
        source = source or MemorySource(self.log, list(EVENTS.values()))
        return WindowWorker(source, MemoryOutlet(self.log), self.store, TOPICS, rules, WorkerSettings(**settings), self.clock)

    def event(self, kind: Kind, ts: int, name: str, user: str = "ana") -> None:
        value = json.dumps({"id": name, "kind": kind, "ts": iso(ts), "user": user, "pc": "PC-1", "activity": "Logon"})
        self.log.append(TopicPartition(EVENTS[kind], 0), user.encode(), value.encode())

    def mark(self, kind: Kind, at: int, **flags: bool) -> None:
        self.log.append(TopicPartition(EVENTS[kind], 0), None, None, encode_mark(at, **flags))

    def windows(self) -> list[dict[str, Any]]:
        return [json.loads(value) for value in self.log.values(TOPICS.windows)]

    def marks(self, topic: str) -> list[int]:
        return [parse_mark(kept.key, kept.headers()).at_ms for kept in self.log.records(topic) if kept.value is None]


def step_for(worker: WindowWorker, clock: ManualClock, ms: int, every: int = 500) -> None:
    for _ in range(ms // every):
        worker.step()
        clock.advance(every)


def test_a_silent_topic_follows_the_others_so_that_windows_close() -> None:
    bench = Bench()
    for kind in KINDS[1:]:
        bench.event(kind, T0 + HOUR, "a")
        bench.event(kind, T0 + DAY_MS + HOUR, "b", "bo")
    worker = bench.worker(idle_after_ms=MINUTE)
    step_for(worker, bench.clock, MINUTE // 2)
    assert not bench.windows()
    step_for(worker, bench.clock, MINUTE)
    assert [window["user"] for window in bench.windows()] == ["ana"]
    assert bench.marks(EVENTS[Kind.LOGON]) == [T0 + DAY_MS + HOUR]


def test_when_all_topics_fall_silent_live_the_clock_goes_on_with_the_wall() -> None:
    bench = Bench(now_ms=T0 + 23 * HOUR + 50 * MINUTE)
    for kind in KINDS:
        bench.event(kind, T0 + 23 * HOUR + 49 * MINUTE, "a")
    worker = bench.worker(idle_after_ms=MINUTE)
    step_for(worker, bench.clock, 9 * MINUTE)
    assert not bench.windows()
    step_for(worker, bench.clock, 4 * MINUTE)
    assert [window["counts"]["logon"] for window in bench.windows()] == [1]


def test_an_interrupted_replay_is_not_a_quiet_hour() -> None:
    bench = Bench(now_ms=T0 + 400 * DAY_MS)
    for kind in KINDS:
        bench.event(kind, T0 + 23 * HOUR, "a")
    worker = bench.worker(idle_after_ms=MINUTE)
    step_for(worker, bench.clock, 3 * HOUR, every=1_000)
    assert not bench.windows()


def test_with_marks_switched_off_windows_wait_for_the_next_event() -> None:
    bench = Bench()
    for kind in KINDS[1:]:
        bench.event(kind, T0, "a")
        bench.event(kind, T0 + DAY_MS, "b", "bo")
    worker = bench.worker(idle_after_ms=None)
    step_for(worker, bench.clock, 5 * MINUTE)
    assert not bench.windows()
    assert not bench.marks(EVENTS[Kind.LOGON])


class WatchedSource(MemorySource):
    """Remembers what was paused at any time."""

    def __init__(self, log: MemoryLog) -> None:
        super().__init__(log, list(EVENTS.values()))
        self.ever_paused: set[TopicPartition] = set()

    def pause(self, logs: Any) -> None:
        logs = list(logs)
        self.ever_paused |= set(logs)
        super().pause(logs)


def test_a_topic_that_runs_ahead_waits_for_the_others() -> None:
    bench = Bench()
    for day in range(30):
        for n in range(20):
            bench.event(Kind.HTTP, T0 + day * DAY_MS + n * MINUTE, f"h{day}-{n}", user=("ana", "bo")[n % 2])
    for kind in KINDS[:4]:
        for day in range(30):
            bench.event(kind, T0 + day * DAY_MS, f"{day}", user=("ana", "bo")[day % 2])
    for kind in KINDS:
        bench.mark(kind, T0 + 30 * DAY_MS, last=True)
    source = WatchedSource(bench.log)
    worker = bench.worker(source=source, until_done=True, batch_records=25, max_ahead_ms=2 * DAY_MS)
    most = 0

    def look(worker: WindowWorker) -> None:
        nonlocal most
        most = max(most, *(len(partition.panes) for partition in worker.partitions.values()), 0)

    worker.run(lambda: False, look)
    assert source.ever_paused == {TopicPartition(EVENTS[kind], 0) for kind in KINDS[:4]}
    assert len(bench.windows()) == 60
    assert worker.totals.windows == 60


def test_until_done_waits_for_the_last_mark_of_every_marked_topic() -> None:
    bench = Bench()
    for kind in KINDS:
        bench.event(kind, T0, "a")
        bench.mark(kind, T0 + HOUR)
    worker = bench.worker(until_done=True)
    for _ in range(20):
        worker.step()
    assert not worker.done()
    for kind in KINDS:
        bench.mark(kind, T0 + DAY_MS, last=True)
    worker.run(lambda: False)
    assert len(bench.windows()) == 1
    assert bench.marks(TOPICS.windows) == [T0, T0 + DAY_MS]
    assert [dict(kept.headers() or []).get("daywatch-last") for kept in bench.log.records(TOPICS.windows) if not kept.value] == [None, b"1"]


def test_until_done_without_marks_ends_at_the_ends_of_the_logs_and_leaves_windows_open() -> None:
    bench = Bench()
    for kind in KINDS:
        bench.event(kind, T0, "a")
    worker = bench.worker(until_done=True)
    worker.run(lambda: False)
    assert not bench.windows()
    assert sum(partition.open_windows for partition in worker.partitions.values()) == 1


def test_a_second_replay_behind_the_last_mark_is_worked_off_too() -> None:
    bench = Bench()
    for day in range(2):
        for kind in KINDS:
            bench.event(kind, T0 + day * DAY_MS, f"a{day}")
            bench.mark(kind, T0 + (day + 1) * DAY_MS, last=True)
    bench.worker(until_done=True).run(lambda: False)
    assert len(bench.windows()) == 2


def test_every_refused_record_leaves_a_dead_letter_with_reason_and_origin() -> None:
    bench = Bench()
    bench.event(Kind.LOGON, T0 + 5 * DAY_MS, "far", "bo")
    bench.event(Kind.LOGON, T0 + 5 * DAY_MS, "far2", "ana")
    bench.event(Kind.LOGON, T0, "late")
    at = TopicPartition(EVENTS[Kind.LOGON], 0)
    bench.event(Kind.LOGON, bench.clock.now_ms() + DAY_MS, "future")
    bench.log.append(at, b"ana", b"not json")
    bench.log.append(at, b"ana", None)
    bench.log.append(at, None, None, [("daywatch-clock", b"soon")])
    bench.log.append(at, None, None, encode_mark(10**14))
    bench.log.append(at, b"eve", json.dumps({"id": "x", "kind": "logon", "ts": iso(T0 + 6 * DAY_MS), "user": "ana", "pc": "P"}).encode())
    worker = bench.worker(until_done=True)
    worker.run(lambda: False)
    letters = bench.log.records(TOPICS.dead_letters)
    found = [(dict(kept.headers() or [])["daywatch-reason"], dict(kept.headers() or [])["daywatch-offset"], kept.value) for kept in letters]
    reasons = [reason for reason, _, _ in found]
    assert reasons == [b"late", b"future", b"not_json", b"bad_mark", b"bad_mark", b"bad_mark", b"misrouted"]
    assert [int(offset) for _, offset, _ in found] == [2, 3, 4, 5, 6, 7, 8]
    assert found[2][2] == b"not json"


def test_a_user_in_the_wrong_partition_is_misrouted() -> None:
    bench = Bench()
    rules = Rules(Calendar(WindowSpec(hop_ms=24 * HOUR)), ClockSpec())
    topics = Topics(EVENTS, TOPICS.windows, TOPICS.dead_letters, 7)
    bench.log = MemoryLog([*EVENTS.values(), TOPICS.windows, TOPICS.dead_letters], 7, bench.clock)
    bench.event(Kind.LOGON, T0, "a", "ana")
    bench.event(Kind.LOGON, T0, "b", "user-of-another-partition")
    source = MemorySource(bench.log, list(EVENTS.values()), [0])
    worker = WindowWorker(source, MemoryOutlet(bench.log), bench.store, topics, rules, WorkerSettings(), bench.clock)
    for _ in range(3):
        worker.step()
    reasons = [dict(kept.headers() or [])["daywatch-reason"] for kept in bench.log.records(TOPICS.dead_letters)]
    assert b"misrouted" in reasons


def test_until_done_waits_for_the_partitions_of_others() -> None:
    bench = Bench()
    bench.log = MemoryLog([*EVENTS.values(), TOPICS.windows, TOPICS.dead_letters], 2, bench.clock)
    for kind in KINDS:
        for partition in range(2):
            bench.log.append(TopicPartition(EVENTS[kind], partition), None, None, encode_mark(T0 + DAY_MS, last=True))
    topics = Topics(EVENTS, TOPICS.windows, TOPICS.dead_letters, 2)
    rules = Rules(Calendar(WindowSpec(hop_ms=24 * HOUR)), ClockSpec())

    def worker_of(partition: int) -> WindowWorker:
        source = MemorySource(bench.log, list(EVENTS.values()), [partition])
        return WindowWorker(source, MemoryOutlet(bench.log), bench.store, topics, rules, WorkerSettings(until_done=True), bench.clock)

    first = worker_of(0)
    for _ in range(5):
        first.step()
    assert not first.done()
    second = worker_of(1)
    for _ in range(5):
        second.step()
    assert second.done()


# refusing to start -----------------------------------------------------------------------------------------------------------


def worked(bench: Bench) -> None:
    for kind in KINDS:
        bench.event(kind, T0, "a")
        bench.mark(kind, T0 + DAY_MS, last=True)
    bench.worker(until_done=True).run(lambda: False)


def test_a_lost_store_is_refused() -> None:
    bench = Bench()
    worked(bench)
    bench.store = MemoryStore()
    with pytest.raises(RefusedError, match=r"store was lost.*namespace"):
        bench.worker().step()


def test_expired_commits_are_refused() -> None:
    bench = Bench()
    worked(bench)
    bench.log.committed.clear()
    with pytest.raises(RefusedError, match="no committed offsets"):
        bench.worker().step()


@pytest.mark.parametrize(
    ("spec", "name"), [(WindowSpec(hop_ms=6 * HOUR), "hop_ms"), (WindowSpec(size_ms=12 * HOUR, hop_ms=12 * HOUR), "(hop|size)_ms")]
)
def test_another_window_layout_is_refused_by_name(spec: WindowSpec, name: str) -> None:
    bench = Bench()
    worked(bench)
    with pytest.raises(RefusedError, match=name):
        bench.worker(spec).step()


def test_a_topic_made_anew_is_refused() -> None:
    bench = Bench()
    worked(bench)
    bench.log.logs[TopicPartition(EVENTS[Kind.HTTP], 0)].clear()
    with pytest.raises(RefusedError, match="made anew"):
        bench.worker().step()


class ShortenedSource(MemorySource):
    """Says that the first records have been deleted."""

    def bounds(self, partitions: Any) -> dict[TopicPartition, tuple[int, int]]:
        return {at: (high + 1, high + 2) for at, (_, high) in super().bounds(partitions).items()}


def test_records_deleted_before_they_were_read_are_refused() -> None:
    bench = Bench()
    worked(bench)
    with pytest.raises(RefusedError, match="deleted before they were read"):
        bench.worker(source=ShortenedSource(bench.log, list(EVENTS.values()))).step()


def test_a_first_start_that_died_before_its_commit_starts_again() -> None:
    bench = Bench()
    bench.event(Kind.LOGON, T0, "a")

    class DeadOutlet(MemoryOutlet):
        def transact(self, records: Sequence[Any], commits: Mapping[Any, Any], group: object) -> None:
            raise KeyboardInterrupt

    worker = bench.worker()
    worker._cycle.outlet = DeadOutlet(bench.log)
    with pytest.raises(KeyboardInterrupt):
        worker.step()
    again = bench.worker(until_done=True)
    again.run(lambda: False)
    assert again.totals.read[Kind.LOGON] == 1
    assert all(partition.clocks[Kind.DEVICE].at_ms == LONG_AGO for partition in again.partitions.values())
