"""What is fetched waits in order, with all that may be asked of it, and is given out up to a limit."""

import random

from confluent_kafka import KafkaError, Message
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka_fetched import Fetched
from stream.log import TopicPartition

A, B = TopicPartition("a", 0), TopicPartition("b", 1)


def record(
    at: TopicPartition, offset: int, value: bytes | None = b"v", headers: list[tuple[str, str | bytes | None]] | None = None
) -> Message:
    key, stamp = b"k%d" % offset, (1, 1000 + offset)
    return Message(topic=at.topic, partition=at.partition, offset=offset, key=key, value=value, headers=headers, timestamp=stamp)


def end(at: TopicPartition, offset: int) -> Message:
    return Message(topic=at.topic, partition=at.partition, offset=offset, error=KafkaError(KafkaError._PARTITION_EOF), timestamp=(0, -1))


def fetched(*batches: list[Message]) -> Fetched:
    waiting = Fetched()
    for batch in batches:
        waiting.add(batch)
    return waiting


def test_everything_of_a_record_can_be_asked_for() -> None:
    (found,), ended = fetched([record(A, 7), record(A, 8, None, [("h", b"1")])], [record(A, 9)]).take(10)
    assert (found.at, found.values, found.keys, found.next_offset) == (A, [b"v", None, b"v"], [b"k7", b"k8", b"k9"], 10)
    assert list(found.stamps) == [1007, 1008, 1009]
    assert [(raw.offset(), raw.headers()) for raw in found.raw] == [(7, None), (8, [("h", b"1")]), (9, None)]
    assert found.raw[-1].offset() == 9
    assert ended == {}


def test_offsets_are_right_where_some_are_missing() -> None:
    (found,), _ = fetched([record(A, 3), record(A, 5), record(A, 9)]).take(10)
    assert ([raw.offset() for raw in found.raw], found.next_offset) == ([3, 5, 9], 10)


def test_headers_of_every_record_are_kept() -> None:
    messages = [record(A, n, headers=[("n", b"%d" % n)]) for n in range(4)]
    (found,), _ = fetched(messages[:2], messages[2:]).take(10)
    assert [raw.headers() for raw in found.raw] == [[("n", b"%d" % n)] for n in range(4)]


def test_an_end_is_told_when_nothing_before_it_is_left() -> None:
    waiting = fetched([record(A, 0), record(A, 1), end(A, 2), end(B, 5)])
    assert [waiting.take(1)[1], waiting.take(1)[1], waiting.take(1)[1]] == [{B: 5}, {A: 2}, {}]


def test_an_end_with_records_behind_it_is_none() -> None:
    assert fetched([end(A, 0), record(A, 0)]).take(9)[1] == {}
    assert fetched([end(A, 0)], [record(A, 0)]).take(9)[1] == {}


def test_what_is_held_waits_and_does_not_count() -> None:
    waiting = fetched([record(A, 0, b"four"), end(A, 1), record(B, 0)])
    waiting.held = frozenset({A})
    assert (waiting.records, waiting.size) == (1, 1)
    found, ended = waiting.take(9)
    assert ([each.at for each in found], ended) == ([B], {})
    waiting.held = frozenset()
    assert (waiting.records, waiting.size) == (1, 4)
    found, ended = waiting.take(9)
    assert ([each.at for each in found], ended) == ([A], {A: 1})


@given(st.lists(st.sampled_from([A, B]), max_size=60), st.lists(st.integers(1, 30), min_size=1, max_size=9), st.integers(0, 9))
def test_however_it_comes_and_goes_each_log_is_whole_and_in_order(logs: list[TopicPartition], limits: list[int], seed: int) -> None:
    next_offset, messages = {A: 0, B: 0}, []
    chance = random.Random(seed)
    for at in logs:
        messages.append(record(at, next_offset[at], None if chance.random() < 0.2 else b"x" * next_offset[at]))
        next_offset[at] += chance.choice((1, 1, 1, 2))
    waiting = Fetched()
    came: dict[TopicPartition, list[tuple[int | None, bytes | None, int]]] = {A: [], B: []}
    taken: dict[TopicPartition, list[tuple[int | None, bytes | None, int]]] = {A: [], B: []}
    left, turn = list(messages), 0
    while left or waiting.records:
        n = chance.randrange(1, 20)
        waiting.add(left[:n])
        for message in left[:n]:
            at = A if message.topic() == A.topic else B
            came[at].append((message.offset(), message.value(), message.timestamp()[1]))
        left = left[n:]
        before, limit = waiting.records, limits[turn % len(limits)]
        found, _ = waiting.take(limit)
        turn += 1
        assert sum(len(each.values) for each in found) == min(limit, before)
        for each in found:
            rows = zip([raw.offset() for raw in each.raw], each.values, map(int, each.stamps), strict=True)
            taken[each.at] += rows
            assert each.next_offset - 1 == taken[each.at][-1][0]
    assert taken == came
    assert (waiting.records, waiting.size) == (0, 0)
