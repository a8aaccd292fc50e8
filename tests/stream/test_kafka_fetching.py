"""The thread that fetches ahead: bounded, silent about changes of assignment until the worker polls, and alone in the library.

The library's consumer is a twin in memory here; what the source promises on real brokers is in `test_kafka_source.py`.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Assigned

import stream.kafka_source
from stream.errors import TransientError
from stream.kafka_source import KafkaSource
from stream.log import TopicPartition

LOG, OTHER = TopicPartition("a", 0), TopicPartition("b", 0)


def record(offset: int, at: TopicPartition = LOG, value: bytes = b"v") -> Message:
    return Message(topic=at.topic, partition=at.partition, offset=offset, key=b"k", value=value, timestamp=(1, 5))


class Library:
    """The library's consumer: what was put in comes out by `consume`, which also tells of changes of assignment."""

    def __init__(self, _config: object = None) -> None:
        self.turn = threading.Condition()
        self.arriving: deque[Message | KafkaException] = deque()
        self.changes: deque[Callable[[], None]] = deque()
        self.handed_out = self.told = 0
        self.calls: list[tuple[str, Any]] = []
        self.owner: int | None = None

    def subscribe(self, _topics: object, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        del on_lost
        self.on_assign, self.on_revoke = on_assign, on_revoke

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        me, before = threading.get_ident(), self.owner
        assert before in (None, me), "two threads in one consumer"
        self.owner = me
        try:
            yield
        finally:
            self.owner = before

    def consume(self, n: int, timeout_s: float) -> list[Message]:
        with self.alone():
            if self.changes:
                with self.turn:
                    self.told += 1
                    self.turn.notify_all()
                self.changes.popleft()()
            with self.turn:
                if timeout_s and not self.arriving:
                    self.turn.wait(0.002)
                if self.arriving and isinstance(self.arriving[0], KafkaException):
                    raise self.arriving.popleft()  # type: ignore[misc]
                found = [self.arriving.popleft() for _ in range(min(n, len(self.arriving)))]
                self.handed_out += len(found)
                self.turn.notify_all()
            return found  # type: ignore[return-value]

    def _called(self, name: str, argument: Any = None) -> None:
        with self.alone():
            self.calls.append((name, argument))

    def assign(self, logs: list[Assigned]) -> None:
        self.arriving.clear()
        self._called("assign", [(log.topic, log.partition, log.offset) for log in logs])

    def unassign(self) -> None:
        self.arriving.clear()
        self._called("unassign")

    def pause(self, logs: list[Assigned]) -> None:
        self._called("pause", [(log.topic, log.partition) for log in logs])

    def resume(self, logs: list[Assigned]) -> None:
        self._called("resume", [(log.topic, log.partition) for log in logs])

    def committed(self, logs: list[Assigned], timeout: float) -> list[Assigned]:
        del timeout
        self._called("committed")
        return [Assigned(log.topic, log.partition, 7) for log in logs]

    def consumer_group_metadata(self) -> str:
        self._called("metadata")
        return "member"

    def close(self) -> None:
        with self.alone():
            self.on_revoke(self, [])

    def put(self, *messages: Message | KafkaException) -> None:
        with self.turn:
            self.arriving.extend(messages)
            self.turn.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self.turn:
            assert self.turn.wait_for(condition, 20)

    def give(self) -> None:
        self.changes.append(lambda: self.on_assign(self, [Assigned(LOG.topic, 0), Assigned(OTHER.topic, 0)]))

    def take_away(self) -> None:
        self.changes.append(lambda: self.on_revoke(self, []))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    monkeypatch.setattr(stream.kafka_source, "Consumer", lambda _config: library)
    monkeypatch.setattr(stream.kafka_source, "KafkaDoor", lambda _client: None)
    monkeypatch.setattr(stream.kafka_source, "common_partitions", lambda _door, _topics: 1)
    return library


@pytest.fixture
def source(library: Library) -> Iterator[KafkaSource]:
    """A source that has its partition and reads it from offset 0."""
    source = KafkaSource({}, "group", ["a", "b"])
    library.give()
    while not source.assignment()[1]:
        source.poll(1, 10)
    source.start({LOG: 0, OTHER: 0})
    yield source
    source.close()


def offsets(source: KafkaSource, limit: int = 100) -> list[int | None]:
    return [raw.offset() for found in source.poll(limit, 200).records for raw in found.raw]


def resting(source: KafkaSource) -> None:
    """The fetching thread is out of the library: a call of the worker's gets in."""
    source.pause([])


def test_one_batch_is_fetched_ahead_and_no_more(library: Library, source: KafkaSource) -> None:
    library.put(*map(record, range(1000)))
    assert offsets(source, 100) == list(range(100))
    library.until(lambda: library.handed_out >= 200)
    for _ in range(5):
        resting(source)
        assert library.handed_out == 200
    assert offsets(source, 100) == list(range(100, 200))
    library.until(lambda: library.handed_out == 300)


def test_many_bytes_are_not_fetched_ahead(library: Library, source: KafkaSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream.kafka_source, "_MOST_BYTES", 5_000)
    monkeypatch.setattr(stream.kafka_source, "_AT_ONCE", 1)
    library.put(*(record(n, value=b"x" * 1_000) for n in range(50)))
    assert len(offsets(source)) == 5
    library.until(lambda: library.handed_out >= 10)
    resting(source)
    assert library.handed_out == 10


def test_partitions_change_only_while_the_worker_polls(library: Library, source: KafkaSource) -> None:
    before = source.assignment()
    library.put(*map(record, range(10)))
    assert len(offsets(source)) == 10
    library.take_away()
    library.until(lambda: library.told == 2)
    # the group has asked for them back: what the worker does with them now, it still does as their owner
    assert (source.assignment(), source.group(), ("unassign", None) in library.calls) == (before, "member", False)
    library.put(record(10))
    assert source.poll(100, 200).records == []
    assert source.assignment() == (before[0] + 1, frozenset())
    assert not source.joined()
    assert ("unassign", None) in library.calls


def test_a_worker_that_claims_is_answered_while_its_partitions_are_asked_back(library: Library, source: KafkaSource) -> None:
    library.take_away()
    library.until(lambda: library.told == 2)
    assert source.committed([0])[LOG].offset == 7
    assigned = [call for call in library.calls if call[0] == "assign"]
    source.start({LOG: 5})
    source.pause([LOG])
    # nothing is read from partitions that are on their way to others
    assert [call for call in library.calls if call[0] == "assign"] == assigned
    assert source.poll(100, 200).records == []
    assert source.assignment()[1] == frozenset()


def test_nothing_of_an_assignment_that_is_gone_is_delivered_in_the_next(library: Library, source: KafkaSource) -> None:
    library.put(*map(record, range(300)))
    assert offsets(source, 100) == list(range(100))
    library.until(lambda: library.handed_out == 200)
    library.take_away()
    library.give()
    while source.assignment()[0] < 3:
        source.poll(1, 10)
    assert source.poll(100, 10).records == []
    source.start({LOG: 400})
    library.put(record(400))
    assert offsets(source) == [400]


def test_starting_again_forgets_what_was_fetched(library: Library, source: KafkaSource) -> None:
    library.put(*map(record, range(4)))
    assert offsets(source, 2) == [0, 1]
    library.until(lambda: library.handed_out == 4)
    source.start({LOG: 1})
    assert library.calls[-2:] == [("assign", [("a", 0, 1)]), ("resume", [("a", 0)])]
    library.put(*map(record, range(1, 4)))
    assert offsets(source) == [1, 2, 3]


def test_what_was_fetched_of_a_paused_log_waits_and_others_go_on(library: Library, source: KafkaSource) -> None:
    library.put(*map(record, range(4)))
    assert offsets(source, 2) == [0, 1]
    library.until(lambda: library.handed_out == 4)
    source.pause([LOG])
    library.put(record(0, OTHER))
    assert [found.at for found in source.poll(100, 200).records] == [OTHER]
    source.resume([LOG])
    assert offsets(source) == [2, 3]


def test_a_failure_reaches_the_worker_once_and_reading_goes_on(library: Library, source: KafkaSource) -> None:
    library.put(KafkaException(KafkaError(KafkaError._TRANSPORT)))
    with pytest.raises(TransientError, match="_TRANSPORT"):
        source.poll(10, 20_000)
    library.put(record(0))
    assert offsets(source) == [0]


def test_a_closed_source_leaves_no_thread(library: Library) -> None:
    source = KafkaSource({}, "group", ["a", "b"])
    library.give()
    source.poll(1, 10)
    thread = source._thread
    assert thread is not None
    library.take_away()
    source.close()
    assert not thread.is_alive()


def test_a_trickle_is_handed_over_before_its_time(library: Library, source: KafkaSource) -> None:
    library.put(record(0))
    polled = source.poll(100, 60_000)  # would hang for a minute
    assert [raw.offset() for raw in polled.records[0].raw] == [0]
