"""A broker that dies between acknowledging a commit and writing its markers forgets it: nothing rests on it, and nothing is left open."""

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from stream.errors import PendingError, TakenBackError, TransientError
from stream.kafka_access import KafkaDoor
from stream.kafka_consumer import Place, committed_when_stable, ends_of, group_config
from stream.kafka_reader import read_all
from stream.kafka_source import KafkaOutlet, KafkaSource
from stream.kafka_transactions import Outgoing, TransactionalProducer, still_open
from stream.log import Commit, Out
from stream.log import TopicPartition as LogAt
from tests.servers import ApacheKafka, create_topics, kafka_launcher
from tests.stepping import stepping

MOST_KILLS = 5
"""The markers are written within milliseconds of the acknowledgement: a kill may come too late, but hardly ever does."""


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[ApacheKafka]:
    """A broker that this test may kill."""
    launcher = kafka_launcher()
    if launcher is None:
        pytest.skip("needs Apache Kafka")
    kafka = ApacheKafka(launcher, tmp_path / "kafka")
    try:
        kafka.start()
        yield kafka
    finally:
        kafka.kill()


def kill(kafka: ApacheKafka) -> None:
    assert kafka.pid is not None
    os.kill(kafka.pid, signal.SIGKILL)


def settle(producer: TransactionalProducer) -> None:
    """Wait until what was sent is out, as soon as the broker can be asked."""
    deadline = time.monotonic() + 90
    while True:
        try:
            producer.settle()
        except TransientError:
            assert time.monotonic() < deadline, "it is never known"
        else:
            return


def test_what_a_writer_that_died_with_its_broker_left_open_is_ended_by_its_heir(
    own_kafka: ApacheKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    # none of these transactions is pending when it is asked: so nobody needs to wait for a time-out
    monkeypatch.setattr("stream.kafka_source.committed_when_stable", partial(committed_when_stable, within_s=4.0))
    client = {"bootstrap.servers": own_kafka.bootstrap_servers}
    create_topics(own_kafka.bootstrap_servers, ["in", "out"], partitions=1)
    log, at = LogAt("out", 0), LogAt("in", 0)
    source = KafkaSource(client, "readers", ["in"])
    deadline = time.monotonic() + 60
    while not source.joined():
        source.poll(1, 100)
        assert time.monotonic() < deadline
    first = KafkaOutlet(TransactionalProducer(client, "first", still_open=still_open(client)))
    first.transact([Out(log, b"k", b"kept")], {at: Commit(1, '{"v":1}')}, source.group())
    first.settle()
    for attempt in range(MOST_KILLS):
        killing = stepping(lambda step: kill(own_kafka) if step == "committed" else None)
        dying = TransactionalProducer(client, "first", make=killing, still_open=still_open(client))
        KafkaOutlet(dying).transact([Out(log, b"k", b"%d" % attempt)], {at: Commit(2 + attempt, '{"v":1}')}, source.group())
        dying.discard()
        own_kafka.restart()
        # another one comes in its place, under another name: a worker's is random unless it is told one
        heir = KafkaOutlet(TransactionalProducer(client, "second", still_open=still_open(client)))
        try:
            found = committed(source)
        except PendingError as error:
            writers = error.writers
            heir.end_left_open(writers, [log], [at], source.group())
            break
        assert found[at].offset == 2 + attempt
    else:
        pytest.fail("the broker was never killed in time")
    assert writers == {"first"}
    found = committed(source)
    assert found[at].offset == 1 + attempt
    assert json.loads(found[at].note) == {"v": 1, "by": "first"}
    heir.transact([Out(log, b"k", b"again")], {}, None)
    heir.settle()
    source.close()
    values = [message.value() for batch in read_all(client, ["out"]) for message in batch]
    assert values == [b"kept", *(b"%d" % kept for kept in range(attempt)), b"again"]


def committed(source: KafkaSource) -> dict[LogAt, Commit]:
    deadline = time.monotonic() + 90
    while True:
        try:
            return source.committed([0])
        except PendingError:
            raise
        except TransientError:
            if time.monotonic() > deadline:
                raise


def test_a_commit_that_was_acknowledged_and_forgotten_is_taken_back_and_sent_again_where_it_is_gone(
    own_kafka: ApacheKafka, caplog: pytest.LogCaptureFixture
) -> None:
    client = {"bootstrap.servers": own_kafka.bootstrap_servers}
    # a broker that is killed may have told some of the logs, mostly all of a topic's
    logs = [Place(topic, number) for topic in ("windows", "verdicts", "alerts") for number in range(2)]
    for topic in ("in", "windows", "verdicts", "alerts"):
        create_topics(own_kafka.bootstrap_servers, [topic], partitions=2)
    consumer = Consumer(group_config(client, "readers"))
    group = consumer.consumer_group_metadata()
    expected: list[bytes] = []
    for attempt in range(MOST_KILLS):
        value, offset = b"%d" % attempt, 10 * (attempt + 1)
        killing = stepping(lambda step: kill(own_kafka) if step == "committed" else None)
        producer = TransactionalProducer(client, "writer", make=killing, still_open=still_open(client))
        out = [Outgoing(topic, b"k", value, number) for topic, number in logs]
        producer.transact(out, [TopicPartition("in", 0, offset, "note")], group)
        producer._make = Producer  # the next one is to live
        own_kafka.restart()
        settle(producer)
        producer.discard()
        expected.append(value)
        assert ends_of(KafkaDoor(client), logs) == ends_of(KafkaDoor(client), logs, committed=True)
        for topic, number in logs:
            found = [m.value() for batch in read_all(client, [topic]) for m in batch if m.partition() == number]
            assert found == expected, (topic, number)
        assert committed_when_stable(consumer, [Place("in", 0)])[Place("in", 0)].offset == offset
        if "taken back" in caplog.text:
            break
    else:
        pytest.fail("the broker was never killed in time")
    consumer.close()


def test_of_a_transaction_that_has_ended_in_some_logs_only_the_others_are_sent_again(apache_kafka: ApacheKafka, namespace: str) -> None:
    client = {"bootstrap.servers": apache_kafka.bootstrap_servers}
    windows, alerts, read = (f"{namespace}.{name}" for name in ("windows", "alerts", "in"))
    for topic in (windows, alerts, read):
        create_topics(apache_kafka.bootstrap_servers, [topic], partitions=1)
    consumer = Consumer(group_config(client, namespace))

    def pretended(written: Mapping[Place, int | None]) -> Mapping[Place, int]:
        # this broker forgets nothing: what is sent again stands there twice, which shows what was
        return {Place(alerts, 0): 1} if Place(windows, 0) in written else {}

    producer = TransactionalProducer(client, namespace, still_open=pretended)
    out = [Outgoing(topic, b"k", b"sent", 0) for topic in (windows, alerts)]
    producer.transact(out, [TopicPartition(read, 0, 7, "note")], consumer.consumer_group_metadata())
    producer.settle()
    producer.discard()
    assert [[m.value() for batch in read_all(client, [topic]) for m in batch] for topic in (windows, alerts)] == [[b"sent"], [b"sent"] * 2]
    assert committed_when_stable(consumer, [Place(read, 0)])[Place(read, 0)].offset == 7
    consumer.close()


def test_what_is_forgotten_again_is_told_as_taken_back(apache_kafka: ApacheKafka, namespace: str) -> None:
    client, topic, read = {"bootstrap.servers": apache_kafka.bootstrap_servers}, f"{namespace}.windows", f"{namespace}.in"
    for each in (topic, read):
        create_topics(apache_kafka.bootstrap_servers, [each], partitions=1)
    consumer = Consumer(group_config(client, namespace))
    producer = TransactionalProducer(client, namespace, still_open=lambda written: dict.fromkeys(written, 1))
    producer.transact([Outgoing(topic, b"k", b"sent", 0)], [TopicPartition(read, 0, 7, "note")], consumer.consumer_group_metadata())
    with pytest.raises(TakenBackError):
        producer.settle()
    producer.discard()
    consumer.close()
    assert [m.value() for batch in read_all(client, [topic]) for m in batch] == [b"sent"] * 2  # this broker keeps all the same
