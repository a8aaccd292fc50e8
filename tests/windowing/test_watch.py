"""What a windowing worker notices of its logs and tells: once each, whatever dies, and without touching a window."""

import json
from typing import Any

import pytest

from sinks.operations import Operations as Findings
from sinks.operations import encode_operation
from stream.clock import ManualClock
from stream.errors import TransientError
from stream.kinds import KINDS, Kind
from stream.log import Commit, MemoryLog, MemoryOutlet, MemorySource, Out, TopicPartition
from stream.metrics import FINDINGS
from stream.operations import Operations
from stream.share import ShareSpec, TooManyDeadLetters
from stream.telemetry import MemoryTelemetry
from tests.windowing.logs import iso
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.clocks import ClockSpec
from windowing.intake import Topics
from windowing.partition import Rules
from windowing.store import MemoryStore
from windowing.worker import WindowWorker, WorkerSettings

HOUR, MINUTE = 3_600_000, 60_000
T0 = 1_262_563_200_000
EVENTS = {kind: f"x.{kind}" for kind in KINDS}
TOPICS = Topics(EVENTS, "x.windows", "x.dead-letters", 1)
FINDINGS_TOPIC = "x.operations"


class Site:
    """One partition whose sources speak every half hour from eight to eighteen, every day."""

    def __init__(self) -> None:
        self.clock = ManualClock(T0)
        self.log = MemoryLog([*EVENTS.values(), TOPICS.windows, TOPICS.dead_letters, FINDINGS_TOPIC], 1, self.clock)
        self.store = MemoryStore()
        self.telemetry = MemoryTelemetry()
        self.number = 0

    def worker(self, outlet: MemoryOutlet | None = None, *, until_done: bool = False, share: float = 0.1) -> WindowWorker:
        rules = Rules(Calendar(WindowSpec(hop_ms=DAY_MS)), ClockSpec(out_of_orderness_ms=0, max_jump_ms=2 * DAY_MS))
        operations = Operations(
            FINDINGS_TOPIC, 1, encode_operation, ShareSpec(share=share, records=20), stops=until_done, least_silence_ms=HOUR
        )
        source, settings = MemorySource(self.log, list(EVENTS.values())), WorkerSettings(until_done=until_done, idle_after_ms=MINUTE)
        outlet = outlet or MemoryOutlet(self.log)
        return WindowWorker(
            source, outlet, self.store, TOPICS, rules, settings, self.clock, lambda _: None, self.telemetry, operations=operations
        )

    def speak(self, *kinds: Kind) -> None:
        for kind in kinds:
            self.number += 1
            event = {
                "id": f"e{self.number}",
                "kind": kind,
                "ts": iso(self.clock.now_ms()),
                "user": "ana",
                "pc": "PC-1",
                "activity": "Logon",
            }
            self.log.append(TopicPartition(EVENTS[kind], 0), b"ana", json.dumps(event).encode())

    def junk(self, kind: Kind, times: int = 1) -> None:
        for _ in range(times):
            self.log.append(TopicPartition(EVENTS[kind], 0), b"ana", b"junk")

    def days(self, first: int, last: int, worker: WindowWorker, *kinds: Kind) -> None:
        """Let days pass in which these kinds speak during the day, and are read at their end."""
        for day in range(first, last):
            for at in range(8 * HOUR, 18 * HOUR, 30 * MINUTE):
                self.to(day, at)
                self.speak(*kinds)
        settle(worker, 8)

    def to(self, day: int, at: int) -> None:
        self.clock.advance(T0 + day * DAY_MS + at - self.clock.now_ms())

    def findings(self) -> list[dict[str, Any]]:
        return [json.loads(value) for value in self.log.values(FINDINGS_TOPIC)]

    def told(self) -> list[tuple[str, str]]:
        return [(found["unmapped"]["source"]["topic"], found["activity_name"]) for found in self.findings()]


def settle(worker: WindowWorker, times: int = 4) -> None:
    for _ in range(times):
        worker.step()


def wait(site: Site, worker: WindowWorker, ms: int) -> None:
    """Let time pass with the worker at work, as fast as silence is counted."""
    for _ in range(ms // 1_000):
        site.clock.advance(1_000)
        worker.step()


REST = tuple(kind for kind in KINDS if kind is not Kind.HTTP)


def taught(days: int = 17) -> tuple[Site, WindowWorker]:
    site = Site()
    worker = site.worker()
    site.days(0, days, worker, *KINDS)
    return site, worker


def test_a_source_that_falls_silent_is_told_of_once_and_again_when_it_speaks() -> None:
    site, worker = taught()
    site.days(17, 18, worker, *REST)
    assert site.told() == []  # the end of a log must be heard for a while
    site.to(18, 9 * HOUR)
    site.speak(*REST)
    wait(site, worker, MINUTE // 2)
    assert site.told() == [(EVENTS[Kind.HTTP], "Create")]
    assert site.telemetry.value(FINDINGS, about="silence") == 1
    site.speak(Kind.HTTP)
    settle(worker)
    assert site.told() == [(EVENTS[Kind.HTTP], "Create"), (EVENTS[Kind.HTTP], "Close")]
    opened, closed = site.findings()
    assert opened["finding_info"]["uid"] == closed["finding_info"]["uid"]
    # too long at the hour at which the others begin, not when somebody happened to look
    assert T0 + 17 * DAY_MS + 8 * HOUR <= opened["time"] <= T0 + 17 * DAY_MS + 11 * HOUR


def test_a_quiet_night_is_nothing_to_tell() -> None:
    site, worker = taught()
    wait(site, worker, MINUTE // 2)
    site.to(17, 7 * HOUR + 30 * MINUTE)
    wait(site, worker, MINUTE // 2)
    assert site.told() == []


def test_what_was_learned_and_told_outlives_the_worker() -> None:
    site, worker = taught()
    site.days(17, 18, worker, *REST)
    site.to(18, 9 * HOUR)
    site.speak(*REST)
    heir = site.worker()
    wait(site, heir, MINUTE // 2)
    assert site.told() == [(EVENTS[Kind.HTTP], "Create")]
    site.speak(*REST)  # whatever moves the state on writes down what has been told
    settle(heir)
    third = site.worker()
    wait(site, third, MINUTE // 2)
    assert site.told() == [(EVENTS[Kind.HTTP], "Create")]
    site.speak(Kind.HTTP)
    settle(third)
    assert site.told() == [(EVENTS[Kind.HTTP], "Create"), (EVENTS[Kind.HTTP], "Close")]


def test_a_silence_that_nobody_saw_is_told_of_when_it_is_over() -> None:
    site, worker = taught()
    del worker
    site.to(18, 9 * HOUR)
    site.speak(*KINDS)
    settle(site.worker())
    assert sorted(site.told()) == sorted((EVENTS[kind], activity) for kind in KINDS for activity in ("Create", "Close"))


def test_recorded_events_teach_nothing_of_silence() -> None:
    site = Site()
    site.clock.advance(400 * DAY_MS)
    worker = site.worker()
    for day in range(20):
        for at in range(8 * HOUR, 18 * HOUR, HOUR):
            event = {"id": f"r{day}-{at}", "kind": "http", "ts": iso(T0 + day * DAY_MS + at), "user": "ana", "pc": "PC-1", "url": "u"}
            self_stamp = T0 + 400 * DAY_MS + day * 1_000
            site.log.append(TopicPartition(EVENTS[Kind.HTTP], 0), b"ana", json.dumps(event).encode(), stamp=self_stamp)
    settle(worker)
    site.clock.advance(3 * HOUR)
    wait(site, worker, MINUTE // 2)
    assert site.told() == []
    assert not worker._cycle.held[0].watch.habits[Kind.HTTP].gaps.any()


def test_junk_is_told_of_and_work_goes_on() -> None:
    site = Site()
    worker = site.worker()
    site.junk(Kind.FILE, 3)
    site.speak(*KINDS)
    settle(worker)
    assert site.told() == [(EVENTS[Kind.FILE], "Create")]
    [found] = site.findings()
    assert found["unmapped"]["refused"] == {"not_json": 3}
    for _ in range(60):
        site.speak(*KINDS)
        settle(worker)
    assert site.told() == [(EVENTS[Kind.FILE], "Create"), (EVENTS[Kind.FILE], "Close")]
    assert worker.totals.read[Kind.FILE] == 64


def test_a_run_over_recorded_data_stops_and_a_later_one_goes_on_behind_what_was_read() -> None:
    site = Site()
    site.junk(Kind.FILE, 3)
    site.speak(*KINDS)
    with pytest.raises(TooManyDeadLetters, match=r"x\.file, partition 0: .* more than 10% were refused \(3 not_json\)"):
        site.worker(until_done=True).run(lambda: False)
    assert len(site.log.values(TOPICS.dead_letters)) == 3
    site.worker(until_done=True).run(lambda: False)
    assert len(site.log.values(TOPICS.dead_letters)) == 3
    assert site.told() == [(EVENTS[Kind.FILE], "Create")]


class _Dies(MemoryOutlet):
    """Loses the reply to the transaction that carries a finding."""

    def __init__(self, log: MemoryLog) -> None:
        super().__init__(log)
        self.died = 0

    def transact(self, records: Any, commits: Any, group: object) -> None:
        super().transact(records, commits, group)
        if any(record.at.topic == FINDINGS_TOPIC for record in records) and not self.died:
            self.died += 1
            raise TransientError("the reply was lost")


def test_findings_and_dead_letters_come_once_though_the_reply_is_lost() -> None:
    site = Site()
    outlet = _Dies(site.log)
    worker = site.worker(outlet)
    site.junk(Kind.FILE, 5)
    site.speak(*KINDS)
    turns = iter(range(12))
    worker.run(lambda: next(turns, None) is None)
    assert outlet.died == 1
    assert len(site.log.values(TOPICS.dead_letters)) == 5
    assert site.told() == [(EVENTS[Kind.FILE], "Create")]


def test_a_silence_that_is_told_twice_after_a_crash_is_the_same_record() -> None:
    site, worker = taught()
    site.days(17, 18, worker, *REST)
    site.to(18, 9 * HOUR)
    site.speak(*REST)
    worker = site.worker()
    settle(worker)
    snapshot = site.store.snapshot()
    wait(site, worker, MINUTE // 2)
    site.store.come_back_as(snapshot)
    wait(site, site.worker(), MINUTE // 2)
    records = site.log.values(FINDINGS_TOPIC)
    assert len(records) == 2
    assert len(set(records)) == 1
    seen = Findings()
    for record in records:
        seen.take(record)
    assert len(seen.open) == 1


def test_windows_are_the_same_bytes_with_and_without_watching() -> None:
    seen = []
    for watched in (True, False):
        site = Site()
        worker = site.worker()
        if not watched:
            worker._cycle.operations = None
        site.days(0, 3, worker, *KINDS)
        seen.append(site.log.values(TOPICS.windows))
    assert seen[0] == seen[1]
    assert len(seen[0]) == 2


def test_a_commit_that_carries_a_finding_never_goes_back() -> None:
    site, worker = taught()
    before = dict(site.log.committed)
    site.to(18, 9 * HOUR)
    wait(site, worker, MINUTE // 2)
    assert site.told()
    assert all(commit.offset >= before.get(at, Commit(0)).offset for at, commit in site.log.committed.items())


def test_a_finding_goes_to_the_partition_that_it_is_about() -> None:
    operations = Operations("x.operations", 4, encode_operation, ShareSpec())
    from stream.operations import About, Operation

    out = operations.out(Operation(About.SILENCE, TopicPartition("x.http", 6), 1, closed=True, time_ms=2))
    assert isinstance(out, Out)
    assert (out.at, out.key) == (TopicPartition("x.operations", 2), b"silence/x.http/6")
