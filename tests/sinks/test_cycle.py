"""What the workers on the common cycle tell of themselves, and how they say in their logs what happened."""

import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from sinks.cycle import MemoryPast
from sinks.detect_worker import DetectSettings, DetectWorker
from sinks.triage_worker import TriageSettings, TriageWorker
from stream.clock import ManualClock
from stream.errors import TakenBackError
from stream.log import Commit, MemoryLog, MemoryOutlet, MemorySource, Newest, Out, TopicPartition
from stream.metrics import (
    ALERT_ARRIVAL_SECONDS,
    ALERT_EVENT_SECONDS,
    ALERTS,
    ASSIGNMENTS,
    DEAD_LETTERS,
    LINES,
    PARTITIONS,
    POSITION,
    RECOVERIES,
    STEP_SECONDS,
    TRANSACTIONS,
    VERDICTS,
)
from stream.telemetry import Beat, MemoryTelemetry
from tests.sinks import test_detect_worker as detecting
from tests.sinks import test_triage_worker as triaging
from tests.sinks.rough import Flaky, kept_in, never
from tests.sinks.windows import FIRST, FixedBackend, day_of

DAY = 86_400_000


def detect(log: MemoryLog, outlet: Any = None, clock: Any = None, source: Any = None, prefetch: bool = False) -> tuple[Any, DetectWorker]:
    heard = MemoryTelemetry()
    settings = DetectSettings(batch_windows=3, until_done=True, prefetch=prefetch)
    source = source or MemorySource(log, ["windows"])
    devices = source, outlet or MemoryOutlet(log), MemoryPast(log)
    return heard, DetectWorker(*devices, FixedBackend(), detecting.TOPICS, settings, clock or ManualClock(), lambda _s: None, heard)


def triage(log: MemoryLog, outlet: Any = None) -> tuple[MemoryTelemetry, TriageWorker]:
    heard = MemoryTelemetry()
    settings = TriageSettings(frozenset({"Malicious", "Error"}), 7, until_done=True)
    devices = MemorySource(log, ["lines"]), outlet or MemoryOutlet(log), MemoryPast(log)
    clock = ManualClock(1_262_592_753_000 + 90_000)
    return heard, TriageWorker(*devices, triaging.ByFirstWord(), triaging.TOPICS, settings, clock, lambda _s: None, heard)


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("rough", [False, True])
def test_verdicts_and_alerts_are_counted_when_they_are_committed(rough: bool, prefetch: bool) -> None:
    log = detecting.filled(seed=4)
    detecting.put(log, "ana", b"no json")
    heard, worker = detect(log, Flaky(log, random.Random(4)) if rough else None, prefetch=prefetch)
    worker.run(never)
    totals = worker.totals
    told = sum(heard.numbers(VERDICTS).values())
    assert told == totals.windows
    assert heard.value(ALERTS, activity="created") == totals.alerts
    assert heard.value(ALERTS, activity="updated") == totals.updates
    assert heard.value(DEAD_LETTERS, topic="windows", reason="bad_window") == totals.refused.get("bad_window", 0)
    assert heard.value(RECOVERIES) == heard.value(TRANSACTIONS, outcome="failed") == totals.recoveries
    if rough:
        assert 0 < told <= len(log.values("verdicts"))  # what was committed without anybody hearing of it is not counted
    else:
        assert told == len(log.values("verdicts")) == 32
        assert totals.alerts + totals.updates == len(log.values("alerts")) > 0
        assert totals.refused == {"bad_window": 1}
    assert {step for (step,) in heard.spreads(STEP_SECONDS)} == {"read", "judge"}
    assert set(heard.ages()) == {Beat.LOOP, Beat.GROUP, Beat.BROKER}


def test_how_late_an_alert_is_counts_from_its_newest_event_and_from_its_arrival() -> None:
    clock = ManualClock(int(FIRST.timestamp()) * 1000 + 2 * DAY)
    log = MemoryLog(detecting.NAMES, 2, clock)
    detecting.put(log, "ana", day_of("ana", 0, 0.9))
    clock.advance(45_000)
    heard, worker = detect(log, clock=clock)
    worker.run(never)
    assert heard.value(ALERTS, activity="created") == 1
    assert heard.spreads(ALERT_ARRIVAL_SECONDS)[()].total == 45
    [spread] = heard.spreads(ALERT_EVENT_SECONDS).values()
    assert spread.count == 1
    assert DAY / 1000 < spread.total <= 2 * DAY / 1000 + 45


def test_lines_alerts_and_refusals_of_log_lines_are_counted() -> None:
    log = triaging.filled()
    heard, worker = triage(log)
    worker.run(never)
    assert {label: n for (label,), n in heard.numbers(LINES).items()} == {label.lower(): n for label, n in worker.totals.by_label.items()}
    assert heard.value(ALERTS, activity="created") == worker.totals.alerts == heard.spreads(ALERT_ARRIVAL_SECONDS)[()].count > 0
    assert heard.value(DEAD_LETTERS, topic="lines", reason="no_line") == worker.totals.refused["no_line"] > 0
    assert 85 <= heard.spreads(ALERT_ARRIVAL_SECONDS)[()].total / worker.totals.alerts <= 90


def test_its_place_is_where_it_has_committed() -> None:
    log = detecting.filled()
    heard, worker = detect(log)
    steps: list[DetectWorker] = []
    worker.run(lambda: len(steps) == 3, steps.append)
    told = {(at.topic, str(at.partition)): commit.offset for at, commit in log.committed.items()}
    assert told
    assert {at: offset for at, offset in heard.numbers(POSITION).items() if offset} == told


def test_what_has_moved_to_another_worker_is_told_of_no_more() -> None:
    log = detecting.filled()
    source = detecting.Changing(log)
    heard, worker = detect(log, source=source)
    asked = 0

    def hands_over() -> bool:
        nonlocal asked
        asked += 1
        source.next = {3: frozenset({1}), 6: frozenset()}.get(asked)
        if asked == 6:
            assert set(heard.numbers(POSITION)) == {("windows", "1")}
        return asked > 8

    worker.run(hands_over)
    assert heard.numbers(PARTITIONS) == {(): 0}
    assert heard.numbers(POSITION) == {}
    assert heard.value(ASSIGNMENTS) == 2


def test_the_log_says_what_is_held_and_what_went_wrong_and_names_nobody(caplog: pytest.LogCaptureFixture) -> None:
    log = detecting.filled()
    detecting.put(log, "ana", b'{"user": "ana", "secret": "plan.docx"}')
    _, worker = detect(log, Flaky(log, random.Random(1)))
    with caplog.at_level(logging.DEBUG, "daywatch"):
        worker.run(never)
    lines = [(record.event, record.getMessage(), record.facts) for record in caplog.records]
    assert ("assigned", "holds 2 of 2 partitions of windows", {"partitions": [0, 1], "of": 2, "topic": "windows"}) in lines
    recoveries = [facts for event, _, facts in lines if event == "recovery"]
    assert len(recoveries) == worker.totals.recoveries > 0
    assert all(facts["cause"] == "TransientError" for facts in recoveries)
    for word in ("ana", "bob", "cyd", "plan.docx"):
        assert word not in str(lines)


class HalfForgotten:
    """An outlet whose broker forgets half of some transactions: the commits, or all records; what is left stands."""

    def __init__(self, log: MemoryLog, chance: random.Random, half: str) -> None:
        self._log, self._chance, self._half = log, chance, half
        self._last: Callable[[], None] | None = None
        self.taken_back = 0

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        self.settle()
        log, before = self._log, dict(self._log.committed)
        lengths = {record.at: len(log.logs[record.at]) for record in records}
        MemoryOutlet(log).transact(records, commits, group)

        def forget() -> None:
            if self._half == "commits":
                log.committed = before
            for at, length in lengths.items() if self._half == "records" else ():
                del log.logs[at][length:]

        self._last = forget

    def settle(self) -> None:
        last, self._last = self._last, None
        if last is not None and self._chance.random() < 0.4:
            last()
            self.taken_back += 1
            raise TakenBackError("taken back")

    def lying_open(self, logs: Iterable[TopicPartition]) -> Sequence[TopicPartition]:
        del logs
        return ()

    def close(self) -> None: ...


class Emptied(MemorySource):
    """A source whose broker keeps the places of what was taken back."""

    def newest(self, logs: Iterable[TopicPartition]) -> dict[TopicPartition, Newest | None]:
        logs = list(logs)
        return dict.fromkeys(logs, None) | super().newest(logs)


@pytest.mark.parametrize("half", ["commits", "records"])
@pytest.mark.parametrize("seed", range(4))
def test_a_transaction_of_which_a_broker_keeps_one_half_makes_no_difference(half: str, seed: int) -> None:
    log, clean = detecting.filled(seed=4), detecting.filled(seed=4)
    detect(clean)[1].run(never)
    outlet = HalfForgotten(log, random.Random(seed), half)
    detect(log, outlet, source=Emptied(log, ["windows"]))[1].run(never)
    assert outlet.taken_back > 1
    topics = ["verdicts", "alerts"]
    assert kept_in(log, topics) == kept_in(clean, topics)
    assert log.committed == clean.committed
