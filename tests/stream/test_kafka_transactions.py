"""Promises of the transactional producer, kept on Apache Kafka; the embedded broker where it can."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from stream.errors import FencedError, RefusedError, TransientError
from stream.kafka_consumer import (
    Committed,
    Place,
    assign_at,
    bounds,
    check_polled,
    committed_when_stable,
    group_config,
    is_end,
    partitions_of,
)
from stream.kafka_transactions import Outgoing, TransactionalProducer, _watched
from tests.servers import ApacheKafka, EmbeddedBroker, create_topics
from tests.stepping import stepping


@pytest.fixture
def client(apache_kafka: ApacheKafka) -> dict[str, str]:
    return {"bootstrap.servers": apache_kafka.bootstrap_servers}


@pytest.fixture
def topic(client: dict[str, str], namespace: str) -> str:
    create_topics(client["bootstrap.servers"], [f"{namespace}.t"], partitions=2)
    return f"{namespace}.t"


@pytest.fixture
def member(client: dict[str, str], topic: str) -> Iterator[tuple[Consumer, Any]]:
    """A group member that holds both partitions of the topic, and its group metadata of that moment."""
    consumer = Consumer(group_config(client, f"{topic}.group"))
    assigned: list[TopicPartition] = []

    def on_assign(who: Consumer, partitions: list[TopicPartition]) -> None:
        assigned.extend(partitions)
        assign_at(who, {Place(p.topic, p.partition): 0 for p in partitions})

    consumer.subscribe([topic], on_assign=on_assign)
    deadline = time.monotonic() + 30
    while not assigned:
        assert time.monotonic() < deadline
        consumer.poll(0.1)
    yield consumer, consumer.consumer_group_metadata()
    consumer.close()


def values(client: dict[str, str], place: Place) -> list[bytes | None]:
    consumer = Consumer(group_config(client, "unused"))
    assign_at(consumer, {place: 0})
    found: list[bytes | None] = []
    while True:
        message = consumer.poll(10)
        assert message is not None
        if is_end(message.error()):
            consumer.close()
            return found
        assert message.error() is None
        found.append(message.value())


class Dies(BaseException):
    pass


def dying_at(step: str) -> Any:
    def on_step(name: str) -> None:
        if name == step:
            raise Dies

    return on_step


def test_records_and_offsets_are_there_together(client: dict[str, str], topic: str, member: tuple[Consumer, Any]) -> None:
    consumer, group = member
    producer = TransactionalProducer(client, f"{topic}.a")
    producer.transact([Outgoing(topic, b"k", b"v", 1, [("h", b"1")])], [TopicPartition(topic, 0, 7, "how far")], group)
    assert committed_when_stable(consumer, [Place(topic, 0), Place(topic, 1)]) == {Place(topic, 0): Committed(7, "how far")}
    assert values(client, Place(topic, 1)) == [b"v"]


@pytest.mark.parametrize("step", ["begun", "produced", "offsets"])
def test_what_dies_before_the_commit_was_never_there(client: dict[str, str], topic: str, member: tuple[Consumer, Any], step: str) -> None:
    consumer, group = member
    producer = TransactionalProducer(client, f"{topic}.a", make=stepping(dying_at(step)))
    with pytest.raises(Dies):
        producer.transact([Outgoing(topic, b"k", b"lost", 0)], [TopicPartition(topic, 0, 7)], group)
    TransactionalProducer(client, f"{topic}.a").transact([Outgoing(topic, b"k", b"kept", 0)])
    assert values(client, Place(topic, 0)) == [b"kept"]
    assert committed_when_stable(consumer, [Place(topic, 0)]) == {}


def test_a_refused_record_fails_the_whole_transaction_and_the_next_one_works(client: dict[str, str], topic: str) -> None:
    producer = TransactionalProducer(client, f"{topic}.a")
    with pytest.raises(TransientError):
        producer.transact([Outgoing(topic, b"k", b"whole", 0), Outgoing(topic, b"k", b"nowhere", 99)])
    producer.transact([Outgoing(topic, b"k", b"next", 0)])
    assert values(client, Place(topic, 0)) == [b"next"]


def test_the_older_of_two_with_one_name_is_fenced(client: dict[str, str], topic: str) -> None:
    old, new = TransactionalProducer(client, f"{topic}.a"), TransactionalProducer(client, f"{topic}.a")
    old.transact([Outgoing(topic, b"k", b"old", 0)])
    new.transact([Outgoing(topic, b"k", b"new", 0)])
    with pytest.raises(FencedError):
        old.transact([Outgoing(topic, b"k", b"zombie", 0)])
    assert values(client, Place(topic, 0)) == [b"old", b"new"]


def test_a_member_of_an_older_generation_commits_nothing(client: dict[str, str], topic: str, member: tuple[Consumer, Any]) -> None:
    consumer, group = member
    consumer.close()
    producer = TransactionalProducer(client, f"{topic}.a")
    with pytest.raises(TransientError):
        producer.transact([Outgoing(topic, b"k", b"zombie", 0)], [TopicPartition(topic, 0, 7)], group)
    producer.transact([Outgoing(topic, b"k", b"new owner", 0)])
    assert values(client, Place(topic, 0)) == [b"new owner"]


def test_a_pending_commit_is_waited_for(client: dict[str, str], topic: str, member: tuple[Consumer, Any]) -> None:
    consumer, group = member
    producer = TransactionalProducer(client, f"{topic}.a")
    producer.transact([], [TopicPartition(topic, 0, 3)], group)
    hanging = TransactionalProducer(client, f"{topic}.b", make=stepping(dying_at("offsets")))
    with pytest.raises(Dies):
        hanging.transact([], [TopicPartition(topic, 0, 9)], group)
    with pytest.raises(TransientError):
        committed_when_stable(consumer, [Place(topic, 0)], within_s=1)
    hanging.reopen()
    assert committed_when_stable(consumer, [Place(topic, 0)]) == {Place(topic, 0): Committed(3)}


def test_transactions_back_to_back_take_milliseconds(client: dict[str, str], topic: str) -> None:
    producer = TransactionalProducer(client, f"{topic}.a")
    producer.transact([Outgoing(topic, b"k", b"warm", 0)])
    times = []
    for _ in range(20):
        began = time.monotonic()
        producer.transact([Outgoing(topic, b"k", b"v", 0)])
        times.append(time.monotonic() - began)
    # with librdkafka's defaults not even the fastest stays below; the quickest quarter is little moved by a busy machine
    assert sorted(times)[5] < 0.09


def test_bounds_count_what_is_not_committed(client: dict[str, str], topic: str) -> None:
    producer = TransactionalProducer(client, f"{topic}.a")
    producer.transact([Outgoing(topic, b"k", b"v", 0)])
    found = bounds(client, [Place(topic, 0), Place(topic, 1)])
    assert (found[Place(topic, 0)].start, found[Place(topic, 0)].end) == (0, 2)  # the commit marker takes an offset too
    assert found[Place(topic, 1)].end == 0


def test_a_missing_topic_is_named_with_its_cure(client: dict[str, str], namespace: str) -> None:
    with pytest.raises(RefusedError, match="topics create"):
        partitions_of(client, f"{namespace}.nothing")
    with pytest.raises(RefusedError, match="topics create"):
        bounds(client, [Place(f"{namespace}.nothing", 0)])


def test_a_member_that_the_broker_will_never_let_in_is_told_so(client: dict[str, str], topic: str) -> None:
    consumer = Consumer(group_config(client, f"{topic}.group", session_timeout_ms=200, heartbeat_interval_ms=50))
    consumer.subscribe([topic])
    deadline = time.monotonic() + 30
    error = None
    while error is None and time.monotonic() < deadline:
        error = next((found for message in consumer.consume(10, 0.5) if (found := message.error()) is not None), None)
    consumer.close()
    assert error is not None
    with pytest.raises(RefusedError, match="session timeout"):
        check_polled(error)


def test_the_embedded_broker_takes_transactions_too(embedded_broker: EmbeddedBroker, namespace: str) -> None:
    client = {"bootstrap.servers": embedded_broker.bootstrap_servers}
    create_topics(client["bootstrap.servers"], [namespace], partitions=1)
    producer = TransactionalProducer(client, f"{namespace}.a")
    producer.transact([Outgoing(namespace, b"k", b"one", 0)])
    producer.transact([Outgoing(namespace, b"k", b"two", 0)])
    assert values(client, Place(namespace, 0)) == [b"one", b"two"]


def test_the_end_is_told_from_an_error() -> None:
    assert is_end(KafkaError(KafkaError._PARTITION_EOF))
    assert not is_end(KafkaError(KafkaError._TRANSPORT))
    assert not is_end(None)


def test_a_call_that_never_returns_is_given_up() -> None:
    forever = threading.Event()
    began = time.monotonic()
    with pytest.raises(KafkaException) as caught:
        _watched(lambda _: forever.wait(60), 0.1)
    assert caught.value.args[0].code() == KafkaError._TIMED_OUT
    assert time.monotonic() - began < 30
    forever.set()
