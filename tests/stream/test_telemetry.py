import threading

import pytest

from stream.errors import FencedError, TransientError
from stream.kinds import KINDS
from stream.log import Commit, MemoryLog, MemoryOutlet, Out, TopicPartition
from stream.measured import MeasuredOutlet
from stream.metrics import (
    DEAD_LETTERS,
    EVENTS,
    LABELS,
    LAG,
    METRICS,
    RECORDS_SENT,
    TRANSACTION_SECONDS,
    TRANSACTIONS,
    WINDOWS_CLOSED,
    Counter,
    Gauge,
    Histogram,
)
from stream.telemetry import MOST_SERIES, NO_TELEMETRY, Beat, MemoryTelemetry


def test_counts_add_up_and_levels_replace_one_another() -> None:
    heard = MemoryTelemetry()
    heard.count(EVENTS, 3, kind="logon")
    heard.count(EVENTS, 2, kind="logon")
    heard.count(EVENTS, 1, kind="http")
    assert heard.numbers(EVENTS) == {("logon",): 5, ("http",): 1}
    heard.levels(LAG, {("t", "0"): 7, ("t", "1"): 8})
    heard.levels(LAG, {("t", "1"): 9})
    assert heard.numbers(LAG) == {("t", "1"): 9}  # partition 0 has moved away: nothing speaks of it any more


def test_a_counter_is_known_from_the_moment_when_it_is_first_told_of() -> None:
    heard = MemoryTelemetry()
    assert heard.numbers(WINDOWS_CLOSED) == {}
    heard.count(WINDOWS_CLOSED, 0)
    assert heard.numbers(WINDOWS_CLOSED) == {(): 0}


def test_a_value_lies_in_the_first_bucket_whose_bound_it_does_not_exceed() -> None:
    metric = Histogram("daywatch_x_seconds", "x", (), (1.0, 2.0))
    heard = MemoryTelemetry([metric])
    for value in (0.5, 1.0, 1.5, 2.0, 3.0):
        heard.observe(metric, value)
    spread = heard.spreads(metric)[()]
    assert (spread.counts, spread.total, spread.count) == ((2, 2, 1), 8.0, 5)


@pytest.mark.parametrize("value", ["ANA0001", "ana@example.com", "C:\\secret.doc", "http://x/", "", "9" * 6, "Ä", "a\nb"])
def test_a_label_value_that_is_not_foreseen_becomes_other(value: str) -> None:
    heard = MemoryTelemetry()
    heard.count(EVENTS, kind=value)
    heard.count(DEAD_LETTERS, topic="daywatch.logon", reason=value)
    heard.levels(LAG, {("daywatch.logon", value): 1})
    assert heard.numbers(EVENTS) == {("other",): 1}
    assert heard.numbers(DEAD_LETTERS) == {("daywatch.logon", "other"): 1}
    assert heard.numbers(LAG) == {("daywatch.logon", "other"): 1}


def test_no_metric_grows_without_bound() -> None:
    heard = MemoryTelemetry()
    letters = [f"{a}{b}{c}" for a in "abcdefghijklmnopq" for b in "abcdefghijklm" for c in "abcdefghijklm"]
    for reason in letters:
        heard.count(DEAD_LETTERS, topic="t", reason=reason)
    held = heard.numbers(DEAD_LETTERS)
    assert len(letters) > MOST_SERIES
    assert len(held) == MOST_SERIES + 1
    assert sum(held.values()) == len(letters)


def test_wrong_labels_are_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="daywatch_events_total"):
        MemoryTelemetry().count(EVENTS)
    with pytest.raises(KeyError):
        MemoryTelemetry().count(EVENTS, user="ana")


def test_signs_of_life_grow_old() -> None:
    now = [100.0]
    heard = MemoryTelemetry(timer=lambda: now[0])
    heard.beat(Beat.LOOP)
    now[0] = 103.5
    heard.beat(Beat.BROKER)
    assert heard.ages() == {Beat.LOOP: 3.5, Beat.BROKER: 0.0}


def test_several_threads_lose_no_count() -> None:
    heard = MemoryTelemetry()
    threads = [threading.Thread(target=lambda: [heard.count(EVENTS, kind="file") for _ in range(2_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard.value(EVENTS, kind="file") == 8_000


def test_nobody_listening_costs_nothing_and_breaks_nothing() -> None:
    assert not NO_TELEMETRY.wanted
    NO_TELEMETRY.count(EVENTS, 1, kind="logon")
    NO_TELEMETRY.levels(LAG, {})
    NO_TELEMETRY.observe(TRANSACTION_SECONDS, 1.0)
    NO_TELEMETRY.beat(Beat.LOOP)


# the table -------------------------------------------------------------------------------------------------------------


def test_the_table_keeps_prometheus_conventions() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) > 30
    for metric in METRICS:
        assert metric.name.startswith("daywatch_")
        assert metric.help.endswith(".")
        assert set(metric.labels) <= set(LABELS)
        assert not {"user", "pc", "host", "file", "url", "window", "id", "instance", "job", "le"} & set(metric.labels)
        assert metric.name.endswith("_total") == isinstance(metric, Counter)
        assert not metric.name.endswith(("_ms", "_milliseconds", "_minutes", "_hours", "_percent", "_count", "_sum", "_bucket"))
        if isinstance(metric, Histogram):
            assert metric.name.endswith("_seconds")
            assert metric.buckets
            assert list(metric.buckets) == sorted(set(metric.buckets))
        if isinstance(metric, Gauge) and "timestamp" in metric.name:
            assert metric.name.endswith("_timestamp_seconds")
    assert set(KINDS) == LABELS["kind"]


# an outlet that is measured --------------------------------------------------------------------------------------------


def test_transactions_are_counted_by_how_they_end() -> None:
    log, heard = MemoryLog(["t"], 1), MemoryTelemetry()
    log.generation = 1
    at = TopicPartition("t", 0)
    outlet = MeasuredOutlet(MemoryOutlet(log), heard, timer=iter([0.0, 0.2, 5.0, 6.0]).__next__)
    assert heard.numbers(TRANSACTIONS) == {("committed",): 0, ("failed",): 0, ("fenced",): 0}
    outlet.transact([Out(at, b"k", b"v"), Out(at, b"k", b"w")], {at: Commit(1)}, 1)
    with pytest.raises(FencedError):
        outlet.transact([], {}, 0)
    with pytest.raises(TransientError):
        outlet.transact([Out(TopicPartition("t", 9), b"k", b"v")], {}, 1)
    assert heard.numbers(TRANSACTIONS) == {("committed",): 1, ("failed",): 1, ("fenced",): 1}
    assert heard.numbers(RECORDS_SENT) == {("t",): 2}
    assert heard.spreads(TRANSACTION_SECONDS)[()].total == pytest.approx(0.2)
    assert log.committed == {at: Commit(1)}
    assert set(heard.ages()) == {Beat.BROKER}
