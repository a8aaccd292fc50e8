"""Read topics from their start to their end, and on if wanted, outside of any consumer group: only what is committed.

Knows nothing of what the records hold. Commits nothing, so any number of readers may look at the same topics.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from stream.errors import TransientError
from stream.kafka_consumer import Place, assign_at, bounds, check_polled, group_config, is_end, partitions_of
from stream.log import TopicPartition

_BATCH = 5_000
_POLL_S = 0.2
# a transaction whose writer died ends by its time-out (10 s), which the broker looks for every 10 s
_PENDING_S = 40.0
_STANDS_S = 2.0
_ANSWER_S = 30.0


def read_all(
    client: Mapping[str, Any], topics: Iterable[str], *, embedded: bool = False, stop: Callable[[], bool] = lambda: False
) -> Iterator[list[Message]]:
    """All committed records of the topics, marks included, in batches; those of one topic-partition in order.

    Ends where the logs ended when reading began; records written meanwhile may be among them. The embedded broker misstates the
    end to readers of committed records (measured: 0 while a transaction is open), and is asked for that of all records; should a
    log's end lie before that all the same, it counts there when polls have found it for 2 s (`embedded`).

    Raises:
        RefusedError: there is no such topic.
        TransientError: the broker cannot be reached, or a transaction stays open.
    """
    places = [Place(topic, number) for topic in topics for number in range(partitions_of(client, topic))]
    yield from read_places(client, places, embedded=embedded, stop=stop)


def read_places(
    client: Mapping[str, Any], places: Sequence[Place], *, embedded: bool = False, stop: Callable[[], bool] = lambda: False
) -> Iterator[list[Message]]:
    """As `read_all`, for some topic-partitions that are known to exist: one that a starting broker does not know yet is waited for."""
    found = bounds(client, places, known=True)
    wanted = {place: bound for place, bound in found.items() if bound.start < bound.end}
    if not wanted:
        return
    consumer = Consumer(group_config(client, "daywatch-reader"))
    try:
        assign_at(consumer, {place: bound.start for place, bound in wanted.items()})
        waiting = {place: bound.end for place, bound in wanted.items()}
        stands_s = _STANDS_S if embedded else _PENDING_S
        yield from _to_the_end(consumer, waiting, stands_s, embedded, stop)
    finally:
        consumer.close()


def read_one(client: Mapping[str, Any], topic: str, partition: int, offset: int) -> bytes | None:
    """The value of one committed record; None where none lies at that offset, or any more.

    Raises:
        RefusedError: there is no such topic.
        TransientError: the broker cannot be reached, or has not answered for 30 s.
    """
    if not 0 <= partition < partitions_of(client, topic):
        return None
    place = Place(topic, partition)
    # the embedded broker says nothing at all of what lies beyond the end; where the end is, it may misstate: so it gets a moment
    beyond = offset >= bounds(client, [place])[place].end
    consumer = Consumer(group_config(client, "daywatch-reader"))
    try:
        assign_at(consumer, {place: offset})
        deadline = time.monotonic() + (_STANDS_S if beyond else _ANSWER_S)
        while time.monotonic() < deadline:
            for message in _consume(consumer, 1):
                error = message.error()
                if error is None:
                    # at an offset that holds no record of ours, a marker say, comes the next one
                    return message.value() if message.offset() == offset else None
                if is_end(error) or error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's name for it
                    return None
                check_polled(error)
    finally:
        consumer.close()
    if beyond:
        return None
    raise TransientError(f"{topic}: nothing came from offset {offset} within {_ANSWER_S:.0f} s; is the broker well, and the log that long?")


def _to_the_end(
    consumer: Consumer, waiting: dict[Place, int], stands_s: float, embedded: bool, stop: Callable[[], bool]
) -> Iterator[list[Message]]:
    """Poll until every place in `waiting` has come to its end offset, or has stood at an earlier end for too long."""
    since: dict[Place, float] = {}
    silent_since = time.monotonic()
    while waiting and not stop():
        batch = []
        for message in _consume(consumer):
            place = Place(message.topic() or "", message.partition() or 0)
            error = message.error()
            if error is None:
                batch.append(message)
                since.pop(place, None)
                if (message.offset() or 0) + 1 >= waiting.get(place, 0):
                    waiting.pop(place, None)
            elif is_end(error):
                since.setdefault(place, time.monotonic())
                if (message.offset() or 0) >= waiting.get(place, 0):
                    waiting.pop(place, None)
            else:
                check_polled(error)
        if batch:
            silent_since = time.monotonic()
            yield batch
        now = time.monotonic()
        standing = [place for place, began in since.items() if place in waiting and now - began >= stands_s]
        if standing and not embedded:
            raise TransientError(f"{standing[0].topic}: a transaction has been open for over {stands_s:.0f} s; is its writer alive?")
        for place in standing:
            del waiting[place]
        if now - silent_since > 2 * _PENDING_S:
            raise TransientError("Kafka has sent nothing for a long time; is the broker well?")


class Followed(NamedTuple):
    """Records that have come, and whether every log has been read to its end at least once."""

    messages: list[Message]
    caught_up: bool


def follow(client: Mapping[str, Any], topics: Sequence[str], *, stop: Callable[[], bool] = lambda: False) -> Iterator[Followed]:
    """All committed records of the topics and then those that come, until told to stop. Yields empty batches while none come.

    Raises:
        RefusedError: there is no such topic.
        TransientError: the consumer broke down.
    """
    places = [Place(topic, number) for topic in topics for number in range(partitions_of(client, topic))]
    found = bounds(client, places, known=True)
    behind = {place for place, bound in found.items() if bound.start < bound.end}
    consumer = Consumer(group_config(client, "daywatch-reader", topic_metadata_refresh_interval_ms=30_000))
    try:
        assign_at(consumer, {place: bound.start for place, bound in found.items()})
        while not stop():
            batch = []
            for message in _consume(consumer):
                error = message.error()
                if error is None:
                    batch.append(message)
                elif is_end(error):
                    behind.discard(Place(message.topic() or "", message.partition() or 0))
                else:
                    check_polled(error)
            yield Followed(batch, not behind)
    finally:
        consumer.close()


def _consume(consumer: Consumer, most: int = _BATCH) -> list[Message]:
    try:
        return consumer.consume(most, _POLL_S)
    except KafkaException as error:
        raise TransientError(f"Kafka: {error.args[0].name()}") from error


class KafkaPast:
    """Committed records of single topic-partitions: a compacted one as a mapping, and whether one holds anything."""

    def __init__(self, client: Mapping[str, Any], *, embedded: bool = False) -> None:
        """Say how to connect; each question is asked with a consumer of its own."""
        self._client, self._embedded = client, embedded

    def latest(self, logs: Iterable[TopicPartition]) -> dict[TopicPartition, dict[bytes, bytes]]:
        """The newest value of each key, each log read to its end; keys whose newest value is null are left out."""
        newest: dict[TopicPartition, dict[bytes, bytes]] = {at: {} for at in logs}
        for batch in read_places(self._client, [Place(*at) for at in newest], embedded=self._embedded):
            for message in batch:
                at = TopicPartition(message.topic() or "", message.partition() or 0)
                key, value = message.key(), message.value()
                if key is not None and value is not None:
                    newest[at][key] = value
                elif key is not None:
                    newest[at].pop(key, None)
        return newest

    def holding(self, logs: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those of the logs that hold a committed record."""
        return {at for at in logs if any(True for _ in read_places(self._client, [Place(*at)], embedded=self._embedded))}
