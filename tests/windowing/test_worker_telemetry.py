"""What a windowing worker tells of itself, compared with what its logs dictate."""

import random
from itertools import pairwise
from typing import Any

import pytest

from stream.clock import ManualClock
from stream.errors import TransientError
from stream.kinds import KINDS
from stream.log import MemoryLog, MemoryOutlet, MemorySource, TopicPartition
from stream.metrics import (
    ASSIGNMENTS,
    CLOCK,
    DEAD_LETTERS,
    DUPLICATES,
    EVENTS,
    LAST_TURN,
    LATE,
    PARTITIONS,
    POSITION,
    RECORDS_SENT,
    RECOVERIES,
    STEP_SECONDS,
    STORE_CALLS,
    STORE_SECONDS,
    TRANSACTIONS,
    WATERMARK,
    WINDOWS_CLOSED,
    WINDOWS_OPEN,
)
from stream.telemetry import Beat, MemoryTelemetry
from tests.sinks.rough import Flaky, never
from tests.windowing.logs import EVENTS as TOPIC_OF
from tests.windowing.logs import PARTITIONS as COUNT
from tests.windowing.logs import RULES, TOPICS, make_log, sent_dead, sent_windows
from windowing.store import MemoryStore
from windowing.worker import WindowWorker, WorkerSettings


def run(log: MemoryLog, outlet: Any = None, source: Any = None, stop: Any = never) -> tuple[MemoryTelemetry, WindowWorker]:
    heard = MemoryTelemetry()
    settings = WorkerSettings(batch_records=7, close_windows=3, until_done=True, idle_after_ms=None)
    source = source or MemorySource(log, list(TOPIC_OF.values()))
    outlet = outlet or MemoryOutlet(log)
    worker = WindowWorker(source, outlet, MemoryStore(), TOPICS, RULES, settings, log.clock, lambda _s: None, heard)
    worker.run(stop)
    return heard, worker


def records_of(log: MemoryLog) -> dict[str, int]:
    return {kind: len(log.values(topic)) for kind, topic in TOPIC_OF.items()}


class Unsent(Flaky):
    """Fails now and then, and what failed has not been sent."""

    def transact(self, *what: Any) -> None:
        if self._chance.random() < 0.3:
            raise TransientError("not sent")
        MemoryOutlet(self._log).transact(what[0], what[1], self._log.generation)


@pytest.mark.parametrize("trouble", [None, Unsent, Flaky], ids=["calm", "failures", "lost answers"])
@pytest.mark.parametrize("seed", range(3))
def test_events_and_dead_letters_are_counted_once_whatever_fails(seed: int, trouble: Any) -> None:
    log = make_log(random.Random(seed))
    heard, worker = run(log, trouble and trouble(log, random.Random(seed)))
    assert {kind: n for (kind,), n in heard.numbers(EVENTS).items()} == records_of(log)
    dead = sent_dead(log)
    assert sum(heard.numbers(DEAD_LETTERS).values()) == len(dead) > 0
    headers = [dict(kept.headers() or []) for kept in log.records(TOPICS.dead_letters)]
    for (topic, reason), n in heard.numbers(DEAD_LETTERS).items():
        assert n == sum((h["daywatch-topic"], h["daywatch-reason"]) == (topic.encode(), reason.encode()) for h in headers)
    assert {reason for _, reason in heard.numbers(DEAD_LETTERS)} == {"late", "not_json"}
    assert sum(heard.numbers(LATE).values()) == sum(h["daywatch-reason"] == b"late" for h in headers) > 0
    assert heard.value(RECOVERIES) == worker.totals.recoveries == heard.value(TRANSACTIONS, outcome="failed")
    assert (worker.totals.recoveries > 0) == (trouble is not None)


@pytest.mark.parametrize("trouble", [None, Unsent], ids=["calm", "failures"])
def test_windows_duplicates_and_transactions_are_those_of_the_logs(trouble: Any) -> None:
    log = make_log(random.Random(5))
    heard, worker = run(log, trouble and trouble(log, random.Random(5)))
    assert heard.value(WINDOWS_CLOSED) == len(sent_windows(log)) > 5
    assert {kind: heard.value(DUPLICATES, kind=kind) for kind in KINDS} == worker.totals.duplicates
    assert sum(worker.totals.duplicates.values()) > 0
    assert heard.value(TRANSACTIONS, outcome="committed") > 1
    written = {topic: len(log.records(topic)) for topic in (TOPICS.windows, TOPICS.dead_letters)}
    assert {topic: n for (topic,), n in heard.numbers(RECORDS_SENT).items()} == written
    assert heard.value(STORE_CALLS, call="advance") > 1
    assert {call for (call,) in heard.spreads(STORE_SECONDS)} == {call for (call,) in heard.numbers(STORE_CALLS)}
    assert {step for (step,) in heard.spreads(STEP_SECONDS)} == {"read", "close"}


def test_clocks_and_places_are_told_for_the_partitions_that_are_held() -> None:
    log = make_log(random.Random(1))
    heard, worker = run(log)
    held = worker.partitions
    assert sorted(held) == list(range(COUNT))
    for number, partition in held.items():
        assert heard.value(WATERMARK, partition=str(number)) == partition.watermark_ms / 1000
        assert heard.value(WINDOWS_OPEN, partition=str(number)) == partition.open_windows
        for kind in KINDS:
            at = {"topic": TOPIC_OF[kind], "partition": str(number)}
            assert heard.value(CLOCK, **at) == partition.clocks[kind].at_ms / 1000
            assert heard.value(POSITION, **at) == len(log.logs[TopicPartition(TOPIC_OF[kind], number)])
    assert heard.value(PARTITIONS) == COUNT
    assert heard.value(LAST_TURN) == log.clock.now_ms() / 1000
    assert set(heard.ages()) == {Beat.LOOP, Beat.GROUP, Beat.BROKER, Beat.STORE}


def test_what_has_moved_to_another_worker_is_told_of_no_more() -> None:
    log = make_log(random.Random(2))
    source = MemorySource(log, list(TOPIC_OF.values()))
    asked = 0

    def until_somebody_else_has_them() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            log.generation += 1  # a newer member; this one learns of it in its next poll
        return asked > 8

    heard, worker = run(log, source=source, stop=until_somebody_else_has_them)
    assert not worker.partitions
    assert heard.value(ASSIGNMENTS) == 1
    assert heard.numbers(PARTITIONS) == {(): 0}
    for gauge in (POSITION, CLOCK, WATERMARK, WINDOWS_OPEN):
        assert heard.numbers(gauge) == {}


def test_a_worker_to_whom_telling_is_dear_tells_less_often() -> None:
    log = MemoryLog([*TOPIC_OF.values(), TOPICS.windows, TOPICS.dead_letters], COUNT, ManualClock(10**12))
    told: list[int] = []

    class Dear(MemoryTelemetry):
        """Counting for it takes a second."""

        def levels(self, metric: Any, values: Any, /) -> None:
            super().levels(metric, values)
            if metric is LAST_TURN:
                told.append(log.clock.now_ms())
                clock.advance(1_000)

    clock: Any = log.clock
    source = MemorySource(log, list(TOPIC_OF.values()))
    settings = WorkerSettings(idle_after_ms=None)
    worker = WindowWorker(source, MemoryOutlet(log), MemoryStore(), TOPICS, RULES, settings, log.clock, lambda _s: None, Dear())
    worker.run(lambda: log.clock.now_ms() > 10**12 + 200_000, lambda _: clock.advance(500))
    gaps = [later - earlier for earlier, later in pairwise(told[:-1])]  # the last one is told at the end
    assert len(gaps) > 2
    assert min(gaps) >= 50_000
