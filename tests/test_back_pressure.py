"""A store or a detector that is slow slows consumption down: what waits in a worker's memory stays one batch in hand and one ahead."""

import json
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer

import stream.kafka_source
from daywatch.embedded import EmbeddedBroker
from detector.verdict import Verdict
from stream.clock import SystemClock
from stream.kafka_source import KafkaOutlet, KafkaSource
from stream.kafka_transactions import TransactionalProducer
from stream.kinds import KINDS
from stream.log import Polled
from stream.partitioner import partition_of
from tests.servers import create_topics
from tests.sinks.detect_process import detect_worker
from tests.sinks.test_detect_kafka import USERS, WINDOWS, fill
from tests.sinks.windows import FixedBackend
from tests.windowing.logs import PARTITIONS, RULES, T0
from windowing.intake import Topics
from windowing.record import Window
from windowing.store import Advance, MemoryStore
from windowing.worker import WindowWorker, WorkerSettings

BATCH = 100
SLOW_S = 0.05  # an answer of the store, a batch's judgement


class Counting(Consumer):
    """The library's consumer, counting the records that it hands over."""

    handed_over = 0

    def consume(self, *arguments: Any, **more: Any) -> list[Message]:
        messages = super().consume(*arguments, **more)
        type(self).handed_over += sum(message.error() is None for message in messages)
        return messages


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    monkeypatch.setattr(Counting, "handed_over", 0)
    monkeypatch.setattr(stream.kafka_source, "Consumer", Counting)
    return Counting


class SlowStore(MemoryStore):
    """Takes its time over every write."""

    def advance(self, changes: Sequence[Advance]) -> None:
        threading.Event().wait(SLOW_S)
        super().advance(changes)


class SlowBackend(FixedBackend):
    """Takes its time over every batch."""

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        threading.Event().wait(SLOW_S)
        return super().judge(windows)


def until(step: Callable[[], None], condition: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if condition():
            return
        step()
    raise AssertionError("it never came true")


def test_a_slow_store_slows_reading_down(embedded_broker: EmbeddedBroker, namespace: str, counted: type[Counting]) -> None:
    broker, n = embedded_broker.bootstrap_servers, 3_000
    client = {"bootstrap.servers": broker}
    topics = Topics({kind: f"{namespace}.{kind}" for kind in KINDS}, f"{namespace}.windows", f"{namespace}.dead-letters", PARTITIONS)
    create_topics(broker, [*topics.events.values(), topics.windows, topics.dead_letters], PARTITIONS)
    producer = Producer(client)
    for i in range(n):
        at = datetime.fromtimestamp(T0 / 1000 + i, UTC).isoformat()
        event = {"id": f"h{i}", "kind": "http", "ts": at, "user": "ana", "pc": "PC-1", "url": "http://a.com/x", "content": "w" * 500}
        producer.produce(f"{namespace}.http", json.dumps(event), b"ana", partition_of(b"ana", PARTITIONS))
    assert producer.flush(60) == 0
    source, outlet = (
        KafkaSource(client, f"{namespace}.g", list(topics.events.values())),
        KafkaOutlet(TransactionalProducer(client, namespace)),
    )
    settings = WorkerSettings(batch_records=BATCH, idle_after_ms=None, trust_bounds=False)
    worker = WindowWorker(source, outlet, SlowStore(), topics, RULES, settings, SystemClock())
    ahead = []

    def step() -> None:
        worker.step()
        ahead.append(counted.handed_over - sum(worker.totals.read.values()))

    try:
        until(step, lambda: sum(worker.totals.read.values()) >= n // 2)
        # it is fetched ahead, and never more than the next batch
        assert max(ahead) == BATCH
        assert counted.handed_over <= sum(worker.totals.read.values()) + BATCH
        until(step, lambda: sum(worker.totals.read.values()) == n)
        assert counted.handed_over == n
    finally:
        source.close()
        outlet.close()


def test_a_slow_detector_slows_reading_down(
    embedded_broker: EmbeddedBroker, namespace: str, counted: type[Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, batch, polled, ahead = embedded_broker.bootstrap_servers, 10, 0, []
    poll = KafkaSource.poll

    def counting_poll(self: KafkaSource, limit: int, timeout_ms: int) -> Polled:
        nonlocal polled
        found = poll(self, limit, timeout_ms)
        polled += sum(len(each.values) for each in found.records)
        return found

    monkeypatch.setattr(KafkaSource, "poll", counting_poll)
    fill(broker, namespace)
    worker, close = detect_worker(broker, namespace, trust_bounds=False, batch_windows=batch)
    worker._backend = SlowBackend()

    def step() -> None:
        worker.step()
        ahead.append(counted.handed_over - polled)

    try:
        until(step, lambda: worker.totals.windows >= WINDOWS * len(USERS) // 2)
        assert max(ahead) == batch
        assert polled <= counted.handed_over <= polled + batch
    finally:
        close()
