"""The promises of the seams `Source` and `Outlet`, kept by the in-memory log, Apache Kafka and the embedded broker."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka import Producer

from stream.errors import FencedError, PipelineError, RefusedError
from stream.kafka_source import KafkaOutlet, KafkaSource
from stream.kafka_transactions import TransactionalProducer
from stream.log import Commit, MemoryLog, MemoryOutlet, MemorySource, Out, Outlet, Records, Source, TopicPartition
from tests.servers import create_topics

TOPICS = ("a", "b", "out")
PARTITIONS = 2


@dataclass
class Place:
    """One implementation, with what a test does besides."""

    name: str
    append: Callable[[TopicPartition, bytes | None, bytes | None], None]
    member: Callable[[], Source]
    outlet: Callable[[], Outlet]
    read_out: Callable[[], list[bytes]]
    topic: Callable[[str], str]


@pytest.fixture(params=["memory", "apache", "embedded"])
def place(request: pytest.FixtureRequest, namespace: str) -> Iterator[Place]:
    if request.param == "memory":
        log = MemoryLog(TOPICS, PARTITIONS)
        yield Place(
            "memory", log.append, lambda: MemorySource(log, ["a", "b"]), lambda: MemoryOutlet(log),
            lambda: log.values("out"), str,
        )  # fmt: skip
        return
    broker = request.getfixturevalue("apache_kafka" if request.param == "apache" else "embedded_broker")
    client = {"bootstrap.servers": broker.bootstrap_servers}
    create_topics(broker.bootstrap_servers, [f"{namespace}.{topic}" for topic in TOPICS], PARTITIONS)
    producer = Producer(client)
    opened: list[Source | Outlet] = []

    def append(at: TopicPartition, key: bytes | None, value: bytes | None) -> None:
        producer.produce(at.topic, key=key, value=value, partition=at.partition)
        producer.flush(10)

    def kept(made: Source | Outlet) -> Source | Outlet:
        opened.append(made)
        return made

    def read_out() -> list[bytes]:
        from stream.kafka_reader import read_all

        embedded = request.param == "embedded"
        found = [m.value() for batch in read_all(client, [f"{namespace}.out"], embedded=embedded) for m in batch]
        return [value for value in found if value is not None]

    yield Place(
        request.param, append,
        lambda: kept(KafkaSource(client, f"{namespace}.group", [f"{namespace}.{t}" for t in ("a", "b")], session_timeout_ms=6_000)),  # type: ignore[arg-type, return-value]
        lambda: kept(KafkaOutlet(TransactionalProducer(client, f"{namespace}.{len(opened)}"))),  # type: ignore[arg-type, return-value]
        read_out, lambda name: f"{namespace}.{name}",
    )  # fmt: skip
    for each in opened:
        each.close()


def joined(source: Source) -> None:
    """Poll until the group has given this member its partitions."""
    for _ in range(600):
        if source.assignment()[1]:
            return
        source.poll(10, 100)
    raise AssertionError("never assigned")


def gather(source: Source, n: int) -> dict[TopicPartition, list[bytes | None]]:
    found: dict[TopicPartition, list[bytes | None]] = {}
    for _ in range(600):
        for records in source.poll(100, 100).records:
            found.setdefault(records.at, []).extend(records.values)
        if sum(map(len, found.values())) >= n:
            return found
    raise AssertionError(f"only {found} came")


def at(place: Place, topic: str, partition: int) -> TopicPartition:
    return TopicPartition(place.topic(topic), partition)


def begin(place: Place) -> Source:
    source = place.member()
    joined(source)
    source.start({log: low for log, (low, _) in source.bounds([0, 1]).items()})
    return source


def test_nothing_comes_before_it_is_said_from_where(place: Place) -> None:
    place.append(at(place, "a", 0), b"k", b"1")
    source = place.member()
    joined(source)
    assert source.assignment()[1] == {0, 1}
    assert source.poll(10, 300).records == []


def test_records_come_in_order_by_log_with_key_stamp_and_offset(place: Place) -> None:
    for i in range(3):
        place.append(at(place, "a", 0), b"k%d" % i, b"%d" % i)
    place.append(at(place, "b", 1), None, None)
    source = begin(place)
    found: dict[TopicPartition, Records] = {}
    for _ in range(600):
        found |= {records.at: records for records in source.poll(100, 100).records}
        if len(found) == 2:
            break
    records = found[at(place, "a", 0)]
    assert (records.keys, records.values, records.next_offset) == ([b"k0", b"k1", b"k2"], [b"0", b"1", b"2"], 3)
    assert [raw.offset() for raw in records.raw] == [0, 1, 2]
    assert found[at(place, "b", 1)].values == [None]
    assert len(records.stamps) == 3


def test_starting_again_goes_back_and_starting_later_skips(place: Place) -> None:
    for i in range(5):
        place.append(at(place, "a", 0), b"k", b"%d" % i)
    source = begin(place)
    gather(source, 5)
    source.start({at(place, "a", 0): 3})
    assert gather(source, 2) == {at(place, "a", 0): [b"3", b"4"]}


def test_the_end_of_a_log_is_told(place: Place) -> None:
    place.append(at(place, "a", 0), b"k", b"1")
    source = begin(place)
    ended: dict[TopicPartition, int] = {}
    for _ in range(600):
        ended |= source.poll(10, 100).ended
        if len(ended) == 4:
            break
    assert ended == {at(place, "a", 0): 1, at(place, "a", 1): 0, at(place, "b", 0): 0, at(place, "b", 1): 0}


def test_a_paused_log_waits(place: Place) -> None:
    source = begin(place)
    source.pause([at(place, "a", 0)])
    place.append(at(place, "a", 0), b"k", b"paused")
    place.append(at(place, "a", 1), b"k", b"goes on")
    assert gather(source, 1) == {at(place, "a", 1): [b"goes on"]}
    assert source.poll(10, 300).records == []
    source.resume([at(place, "a", 0)])
    assert gather(source, 1) == {at(place, "a", 0): [b"paused"]}


def test_a_transaction_sends_and_commits_together(place: Place) -> None:
    source, outlet = begin(place), place.outlet()
    assert source.committed([0, 1]) == {}
    outlet.transact([Out(at(place, "out", 1), b"k", b"v", [("h", b"1")])], {at(place, "a", 0): Commit(7, '{"n":1}')}, source.group())
    outlet.transact([Out(at(place, "out", 0), b"k", b"w")], {at(place, "a", 0): Commit(9, '{"n":2}')}, source.group())
    committed = source.committed([0, 1])
    assert {log: commit.offset for log, commit in committed.items()} == {at(place, "a", 0): 9}
    if place.name != "embedded":  # it drops the notes
        assert json.loads(committed[at(place, "a", 0)].note)["n"] == 2
    assert sorted(place.read_out()) == [b"v", b"w"]


def test_a_member_of_an_older_generation_commits_nothing(place: Place) -> None:
    if place.name == "embedded":
        pytest.skip("the embedded broker does not fence old generations")
    first = begin(place)
    stale, outlet = first.group(), place.outlet()
    second = place.member()
    for _ in range(600):
        if second.assignment()[1]:
            break
        second.poll(10, 100)
        if place.name != "memory":
            first.poll(10, 100)
    with pytest.raises((FencedError, PipelineError)):
        outlet.transact([Out(at(place, "out", 0), b"k", b"zombie")], {at(place, "a", 0): Commit(1)}, stale)
    assert place.read_out() == []


def test_a_missing_topic_is_refused_with_the_cure(apache_kafka, namespace: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RefusedError, match="daywatch topics create"):
        KafkaSource({"bootstrap.servers": apache_kafka.bootstrap_servers}, "g", [f"{namespace}.none"])


def test_topics_of_unequal_partition_counts_are_refused(apache_kafka, namespace: str) -> None:  # type: ignore[no-untyped-def]
    create_topics(apache_kafka.bootstrap_servers, [f"{namespace}.a"], 1)
    create_topics(apache_kafka.bootstrap_servers, [f"{namespace}.b"], 2)
    with pytest.raises(RefusedError, match="equal partition counts"):
        KafkaSource({"bootstrap.servers": apache_kafka.bootstrap_servers}, "g", [f"{namespace}.a", f"{namespace}.b"])
