"""Detect and classify count what they refuse: a run over recorded data stops, a live one tells of it and goes on."""

import json
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from sinks.cycle import MemoryPast, Note
from sinks.detect_worker import DetectSettings, DetectWorker, Topics
from sinks.operations import encode_operation
from sinks.triage_worker import TriageSettings, TriageTopics, TriageWorker
from stream.clock import ManualClock
from stream.log import MemoryLog, MemoryOutlet, MemorySource, TopicPartition
from stream.metrics import FINDINGS
from stream.operations import Operations
from stream.share import ShareSpec, TooManyDeadLetters
from stream.telemetry import MemoryTelemetry
from tests.sinks.test_triage_worker import ByFirstWord
from tests.sinks.windows import FixedBackend, day_of

DETECT = Topics("windows", "verdicts", "alerts", "alert-memory", "dead-letters", 1)
TRIAGE = TriageTopics("windows", "labels", "alerts", "dead-letters", 1, 1)
NAMES = ("windows", "labels", "verdicts", "alerts", "alert-memory", "dead-letters", "operations")
AT = TopicPartition("windows", 0)


def told_to(*, stops: bool) -> Operations:
    return Operations("operations", 1, encode_operation, ShareSpec(share=0.2, records=10), stops=stops)


def detector(log: MemoryLog, *, stops: bool, telemetry: MemoryTelemetry | None = None) -> DetectWorker:
    how, clock = DetectSettings(batch_windows=4, until_done=True), ManualClock()
    return DetectWorker(
        MemorySource(log, ["windows"]), MemoryOutlet(log), MemoryPast(log), FixedBackend(), DETECT, how, clock, lambda _: None,
        telemetry or MemoryTelemetry(), operations=told_to(stops=stops),
    )  # fmt: skip


def classifier(log: MemoryLog, *, stops: bool, telemetry: MemoryTelemetry | None = None) -> TriageWorker:
    how, clock = TriageSettings(batch_lines=4, until_done=True), ManualClock()
    return TriageWorker(
        MemorySource(log, ["windows"]), MemoryOutlet(log), MemoryPast(log), ByFirstWord(), TRIAGE, how, clock, lambda _: None,
        telemetry or MemoryTelemetry(), operations=told_to(stops=stops),
    )  # fmt: skip


def filled(junk: int, good: int, *, lines: bool) -> MemoryLog:
    log = MemoryLog(NAMES, 1)
    for _ in range(junk):
        log.append(AT, b"ana", b"\xff\xfe")
    for number in range(good):
        log.append(AT, b"ana", b"Normal line" if lines else day_of("ana", number, 0.1))
    return log


Make = Callable[..., Any]
WORKERS = pytest.mark.parametrize(("make", "results"), [(detector, "verdicts"), (classifier, "labels")])


def told(log: MemoryLog) -> list[str]:
    return [json.loads(value)["activity_name"] for value in log.values("operations")]


@WORKERS
def test_a_live_worker_tells_of_it_once_goes_on_and_tells_when_it_is_over(make: Make, results: str) -> None:
    log, telemetry = filled(5, 20, lines=make is classifier), MemoryTelemetry()
    make(log, stops=False, telemetry=telemetry).run(lambda: False)
    assert told(log) == ["Create", "Close"]
    assert len(log.values(results)) == 20
    assert telemetry.value(FINDINGS, about="dead_letters") == 1
    [opened, _] = [json.loads(value) for value in log.values("operations")]
    assert opened["unmapped"]["source"] == {"topic": "windows", "partition": 0}


@WORKERS
def test_a_run_over_recorded_data_stops_and_the_next_one_goes_on_behind_it(make: Make, results: str) -> None:
    log = filled(5, 20, lines=make is classifier)
    with pytest.raises(TooManyDeadLetters, match="windows, partition 0: .* more than 20% were refused"):
        make(log, stops=True).run(lambda: False)
    assert len(log.values("dead-letters")) == 4
    make(log, stops=True).run(lambda: False)
    assert len(log.values("dead-letters")) == 5
    assert len(log.values(results)) == 20
    assert told(log) == ["Create", "Close"]


def test_what_was_counted_goes_with_the_commit_so_that_an_heir_counts_on() -> None:
    log = filled(2, 0, lines=False)
    detector(log, stops=False).run(lambda: False)
    assert sum(Note.decode(log.committed[AT].note).share.refused.values()) == 2
    log.append(AT, b"ana", b"junk")
    detector(log, stops=False).run(lambda: False)
    assert told(log) == ["Create"]


def test_few_dead_letters_are_no_finding() -> None:
    log = filled(2, 20, lines=False)
    detector(log, stops=True).run(lambda: False)
    assert told(log) == []


class _Slow:
    """A model that does not come to an end."""

    provenance = ByFirstWord.provenance

    def __init__(self) -> None:
        self.begun, self.go = Event(), Event()

    def labels(self, lines: Any) -> Any:
        self.begun.set()
        self.go.wait(120)
        return ByFirstWord().labels(lines)


def test_a_worker_that_is_asked_to_stop_leaves_a_slow_model_and_loses_nothing() -> None:
    log, slow = filled(0, 8, lines=True), _Slow()
    how = TriageSettings(batch_lines=4, until_done=True)
    worker = TriageWorker(
        MemorySource(log, ["windows"]), MemoryOutlet(log), MemoryPast(log), slow, TRIAGE, how, ManualClock(), lambda _: None
    )
    try:
        worker.run(slow.begun.is_set)
        assert worker.left_labelling
        assert log.values("labels") == []
    finally:
        slow.go.set()
    classifier(log, stops=False).run(lambda: False)
    assert len(log.values("labels")) == 8
