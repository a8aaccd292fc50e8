"""A group member that reads several topics from Kafka, partition p of all of them together, from positions it is given.

The `Source` seam on confluent-kafka. It commits nothing, and reads nothing before `start` says where from.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Assigned

from stream.errors import TransientError
from stream.kafka_consumer import Place, assign_at, bounds, check_polled, committed_when_stable, common_partitions, group_config, is_end
from stream.kafka_transactions import Outgoing, TransactionalProducer
from stream.kinds import Millis
from stream.log import Commit, Out, Polled, Raw, Records, TopicPartition
from stream.notes import logger_of, note

_LOG: Final = logger_of("kafka")
_TELL_EVERY_S: Final = 60.0


class KafkaSource:
    """Reads `topics` as a member of `group`.

    Raises:
        RefusedError: a topic is missing, or partition counts differ.
        TransientError: the broker cannot be reached, from any method.
    """

    def __init__(self, client: Mapping[str, Any], group: str, topics: Sequence[str], **more: Any) -> None:
        self._client, self._topics = dict(client), list(topics)
        self.partitions = common_partitions(client, topics)
        """Partition count of every topic."""
        self._generation, self._held, self._group = 0, frozenset[int](), None
        self._joined = False
        self._away = False
        self._tell_again_at = 0.0
        self._consumer = Consumer({**group_config(client, group, **more), "error_cb": self._on_error})
        self._consumer.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def _on_assign(self, consumer: Consumer, assigned: list[Assigned]) -> None:
        # nothing is fetched before the owner has claimed and said where from
        consumer.assign([])
        self._generation += 1
        self._held = frozenset(place.partition for place in assigned)
        self._joined = True
        # kept from this moment: a later generation's metadata would let a zombie commit
        self._group = consumer.consumer_group_metadata()

    def _on_revoke(self, consumer: Consumer, _revoked: list[Assigned]) -> None:
        self._generation += 1
        self._held = frozenset()
        self._joined = False
        consumer.unassign()

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):  # noqa: SLF001 - librdkafka's own names
            self._away = True
        if error.code() == KafkaError._ALL_BROKERS_DOWN and time.monotonic() >= self._tell_again_at:  # noqa: SLF001
            self._tell_again_at = time.monotonic() + _TELL_EVERY_S
            note(_LOG, logging.WARNING, "away", "no broker answers any more; waiting for one, nothing is lost")

    def poll(self, limit: int, timeout_ms: Millis) -> Polled:
        """Up to `limit` records, gathered for at most `timeout_ms`."""
        self._away = False
        try:
            messages = self._consumer.consume(limit, timeout_ms / 1000)
        except KafkaException as error:
            raise TransientError(f"Kafka: {error.args[0].name()}") from error
        ended: dict[TopicPartition, int] = {}
        if any(message.error() for message in messages):
            messages = self._without_errors(messages, ended)
        logs: dict[tuple[str | None, int | None], list[Message]] = {}
        for message in messages:
            log = (message.topic(), message.partition())
            if log in logs:
                logs[log].append(message)
            else:
                logs[log] = [message]
        records = [_records(TopicPartition(*log), found) for log, found in logs.items()]  # type: ignore[arg-type]
        return Polled(records, ended, answered=not self._away)

    def _without_errors(self, messages: list[Message], ended: dict[TopicPartition, int]) -> list[Message]:
        data = []
        for message in messages:
            error = message.error()
            if error is None:
                data.append(message)
                ended.pop(TopicPartition(message.topic(), message.partition()), None)  # type: ignore[arg-type]
            elif is_end(error):
                ended[TopicPartition(message.topic(), message.partition())] = message.offset() or 0  # type: ignore[arg-type]
            else:
                check_polled(error)
        return data

    def assignment(self) -> tuple[int, frozenset[int]]:
        """How often the assignment has changed, and the partitions held."""
        return self._generation, self._held

    def joined(self) -> bool:
        """Whether the group has said what this member holds."""
        return self._joined

    def _places(self, partitions: Iterable[int]) -> list[Place]:
        return [Place(topic, partition) for topic in self._topics for partition in sorted(partitions)]

    def committed(self, partitions: Iterable[int]) -> dict[TopicPartition, Commit]:
        """What the group has committed, once stable."""
        found = committed_when_stable(self._consumer, self._places(partitions))
        return {TopicPartition(*place): Commit(commit.offset, commit.metadata) for place, commit in found.items()}

    def bounds(self, partitions: Iterable[int]) -> dict[TopicPartition, tuple[int, int]]:
        """First and end offset of each log."""
        found = bounds(self._client, self._places(partitions))
        return {TopicPartition(*place): (bound.start, bound.end) for place, bound in found.items()}

    def start(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets."""
        assign_at(self._consumer, {Place(*at): offset for at, offset in positions.items()})
        # a log that was paused before must not stay so
        self._consumer.resume([Assigned(*at) for at in positions])

    def pause(self, logs: Iterable[TopicPartition]) -> None:
        """Deliver nothing of these until they are resumed."""
        self._consumer.pause([Assigned(*at) for at in logs])

    def resume(self, logs: Iterable[TopicPartition]) -> None:
        """Deliver these again."""
        self._consumer.resume([Assigned(*at) for at in logs])

    def group(self) -> object:
        """The group's metadata as of the assignment."""
        return self._group

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()


def _records(at: TopicPartition, messages: list[Message]) -> Records:
    return Records(
        at,
        [message.value() for message in messages],
        [message.key() for message in messages],
        [message.timestamp()[1] for message in messages],
        cast("Sequence[Raw]", messages),
        (messages[-1].offset() or 0) + 1,
    )


class KafkaOutlet:
    """The `Outlet` seam on a transactional producer."""

    def __init__(self, producer: TransactionalProducer) -> None:
        self._producer = producer

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        """One transaction."""
        outgoing = [Outgoing(r.at.topic, r.key, r.value, r.at.partition, r.headers) for r in records]
        offsets = [Assigned(at.topic, at.partition, commit.offset, commit.note) for at, commit in commits.items()]
        self._producer.transact(outgoing, offsets, group)

    def close(self) -> None:
        """Let go of the producer."""
        self._producer.discard()
