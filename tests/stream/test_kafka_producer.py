"""Replay into real brokers: what is read back is what was written, where Kafka's own partitioner would have put it."""

import os
from pathlib import Path

import orjson
import pytest

from stream.clock import ManualClock, SystemClock
from stream.errors import TransientError
from stream.kafka_producer import KafkaEventSink
from stream.kafka_reader import read_all
from stream.kafka_tail import newest_time
from stream.kafka_topics import KafkaTopicAdmin
from stream.kinds import KINDS
from stream.log import MemoryLog
from stream.marks import encode_mark, parse_mark
from stream.partitioner import partition_of
from stream.replay import MemorySink, Replay, ReplayPlan
from stream.topics import TopicLayout, create_topics
from tests.servers import ApacheKafka, EmbeddedBroker
from tests.servers import create_topics as create_plain_topics
from tests.stream.cert_files import write_directory

PARTITIONS = 3


@pytest.fixture(params=["apache", "embedded"])
def broker(request: pytest.FixtureRequest) -> ApacheKafka | EmbeddedBroker:
    return request.getfixturevalue({"apache": "apache_kafka", "embedded": "embedded_broker"}[request.param])


def layout_on(broker: ApacheKafka | EmbeddedBroker, namespace: str) -> tuple[dict[str, str], TopicLayout]:
    client = {"bootstrap.servers": broker.bootstrap_servers}
    layout = TopicLayout(namespace, PARTITIONS)
    create_topics(layout, KafkaTopicAdmin(client))
    return client, layout


def test_a_broker_and_its_twin_are_told_the_same(broker: ApacheKafka | EmbeddedBroker, namespace: str, tmp_path: Path) -> None:
    write_directory(tmp_path, events=300)
    client, layout = layout_on(broker, namespace)
    plan, topics, clock = ReplayPlan(tmp_path), layout.event_topics(), ManualClock()
    log = MemoryLog(topics.values(), PARTITIONS)
    Replay(plan, topics, MemorySink(log), lambda newest: newest + 1, clock).run(clock.advance)
    before = SystemClock().now_ms()
    Replay(plan, topics, KafkaEventSink(client, PARTITIONS), lambda newest: newest + 1, clock).run(clock.advance)
    found: dict[tuple[str, int], list[tuple[bytes | None, bytes | None, object]]] = {}
    for batch in read_all(client, topics.values(), embedded=isinstance(broker, EmbeddedBroker)):
        for message in batch:
            place = (message.topic() or "", message.partition() or 0)
            found.setdefault(place, []).append((message.key(), message.value(), message.headers()))
            assert before - 60_000 <= message.timestamp()[1] <= SystemClock().now_ms() + 60_000, "record timestamps are wall clock"
    assert found == {at: [(kept.key, kept.value, kept.kept_headers) for kept in records] for at, records in log.logs.items()}


def test_kafka_puts_a_key_where_we_say_it_belongs(broker: ApacheKafka | EmbeddedBroker, namespace: str) -> None:
    client, layout = layout_on(broker, namespace)
    sink, topic = KafkaEventSink(client, PARTITIONS), layout.name("logon")
    keys = [f"USR{number:04}".encode() for number in range(200)] + ["böb".encode(), b"x", b"a-rather-long-user-name@example.com"]
    sink.send(topic, keys, keys, None)
    sink.flush()
    placed = {
        message.key(): message.partition()
        for batch in read_all(client, [topic], embedded=isinstance(broker, EmbeddedBroker))
        for message in batch
    }
    assert placed == {key: partition_of(key, PARTITIONS) for key in keys}


def test_the_newest_time_of_the_topics_is_found_at_their_ends(apache_kafka: ApacheKafka, namespace: str) -> None:
    client, layout = layout_on(apache_kafka, namespace)
    topics = layout.event_topics()
    assert newest_time(client, topics.values(), PARTITIONS, "UTC") is None
    sink = KafkaEventSink(client, PARTITIONS)
    sink.send(topics[KINDS[0]], [b"ana"], [orjson.dumps({"ts": "2010-01-04T08:12:33Z"})], None)
    sink.send(topics[KINDS[1]], [b"ana", b"bob"], [b"junk", b"[]"], None)
    sink.flush()
    assert newest_time(client, topics.values(), PARTITIONS, "UTC") == 1262592753000
    sink.mark(topics[KINDS[2]], encode_mark(1262592753001, last=True))
    sink.flush()
    assert newest_time(client, topics.values(), PARTITIONS, "UTC") == 1262592753001


def test_marks_reach_every_partition(broker: ApacheKafka | EmbeddedBroker, namespace: str) -> None:
    client, layout = layout_on(broker, namespace)
    sink, topic = KafkaEventSink(client, PARTITIONS), layout.name("http")
    sink.mark(topic, encode_mark(5, last=True))
    sink.flush()
    found = [message for batch in read_all(client, [topic], embedded=isinstance(broker, EmbeddedBroker)) for message in batch]
    assert sorted(message.partition() or 0 for message in found) == list(range(PARTITIONS))
    for message in found:
        assert message.value() is None
        assert parse_mark(message.key(), message.headers()) == (5, True, False)  # type: ignore[arg-type]


def test_more_records_than_the_queue_holds_are_all_delivered(apache_kafka: ApacheKafka, namespace: str) -> None:
    client, layout = layout_on(apache_kafka, namespace)
    topic = layout.name("http")
    sink = KafkaEventSink(client | {"queue.buffering.max.messages": "100"}, PARTITIONS)
    sink.send(topic, [b"ana"] * 5000, [b"%d" % number for number in range(5000)], None)
    for number in range(200):
        sink.mark(topic, encode_mark(number))
    sink.flush()
    found = [message.value() for batch in read_all(client, [topic]) for message in batch if message.value() is not None]
    assert found == [b"%d" % number for number in range(5000)], "in the order in which they were sent"


def test_a_record_that_the_broker_refuses_ends_the_replay(apache_kafka: ApacheKafka, namespace: str) -> None:
    topic = f"{namespace}.narrow"
    create_plain_topics(apache_kafka.bootstrap_servers, [topic], PARTITIONS, max_message_bytes="1000")
    sink = KafkaEventSink({"bootstrap.servers": apache_kafka.bootstrap_servers}, PARTITIONS)
    sink.send(topic, [b"ana"], [os.urandom(5000)], None)
    with pytest.raises(TransientError, match="did not take a record"):
        sink.flush()
