"""Looks at consumer groups from outside, and puts them back: who is in them, what they have committed, deleting them.

For operators' commands; a worker knows its own group through `stream/kafka_consumer.py`. Knows nothing of what a group is for.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Asked

from stream.errors import RefusedError, TransientError
from stream.groups import Group, Member
from stream.kafka_access import KafkaDoor, forbidden, is_forbidden
from stream.kafka_consumer import Place, bounds
from stream.log import Commit, TopicPartition

_T = TypeVar("_T")
_WITHIN_S = 20.0
_NOT_YET = frozenset({KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS})
_GONE = frozenset({KafkaError.GROUP_ID_NOT_FOUND, KafkaError._UNKNOWN_GROUP})  # noqa: SLF001 - librdkafka's own name


class KafkaGroups:
    """The groups of one broker; `client` are librdkafka properties.

    Raises:
        TransientError: the broker does not answer, from any method.
        ConfigurationError: it does not let us in, or forbids it, from any method.
    """

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._client = dict(client)
        self._door = KafkaDoor(client)
        self._inside = False

    @property
    def _admin(self) -> Any:
        """The client, once it has been let in: what is asked of a broker that does not would only time out."""
        if not self._inside:
            try:
                self._door.list_topics(within_s=_WITHIN_S)
            except KafkaException as error:
                raise _failed(error) from error
            self._inside = True
        return self._door.admin

    def names(self) -> list[str]:
        """Names of all groups that the broker knows, sorted."""
        answer = self._answer(self._admin.list_consumer_groups(request_timeout=_WITHIN_S))
        return sorted(listing.group_id for listing in answer.valid)

    def look(self, name: str) -> Group:
        """A group's members and commits now; a commit that a pending transaction holds is not among them."""
        found = self._asked(lambda: self._admin.describe_consumer_groups([name], request_timeout=_WITHIN_S)[name])
        members = tuple(
            Member(
                str(member.client_id),
                str(member.host).lstrip("/"),
                frozenset(
                    TopicPartition(at.topic, at.partition) for at in (member.assignment.topic_partitions if member.assignment else ())
                ),
            )
            for member in found.members
        )
        state = str(found.state.name).lower()
        return Group(name, state, members, {} if state == "dead" else self._commits(name))

    def _commits(self, name: str) -> dict[TopicPartition, Commit]:
        wanted = [ConsumerGroupTopicPartitions(name)]
        answers = self._asked(lambda: self._admin.list_consumer_group_offsets(wanted, request_timeout=_WITHIN_S)[name]).topic_partitions
        return {TopicPartition(at.topic, at.partition): Commit(at.offset, at.metadata or "") for at in answers if at.offset >= 0}

    def commit(self, name: str, commits: Mapping[TopicPartition, Commit]) -> None:
        """Commit for a group that nobody is in.

        Raises:
            RefusedError: somebody is.
        """
        # without a subscription no generation goes with it, which the broker takes from an empty group only
        consumer = Consumer({**self._client, "group.id": name, "enable.auto.commit": False})
        try:
            offsets = [Asked(at.topic, at.partition, commit.offset, commit.note) for at, commit in commits.items()]
            answers = consumer.commit(offsets=offsets, asynchronous=False)
            failed = [at.error for at in answers or () if at.error is not None]
            if failed:
                raise KafkaException(failed[0])
        except KafkaException as error:
            if error.args[0].code() in (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS):
                raise RefusedError(f"group {name} has members; stop its workers first") from error
            raise _failed(error) from error
        finally:
            consumer.close()

    def delete(self, name: str) -> bool:
        """Delete a group with all it has committed; False when there is none.

        Raises:
            RefusedError: somebody is in it; the broker itself sees to that.
        """
        try:
            self._answer(self._admin.delete_consumer_groups([name], request_timeout=_WITHIN_S)[name])
        except _AnsweredError as error:
            if error.code == KafkaError.NON_EMPTY_GROUP:
                raise RefusedError(f"group {name} has members; stop its workers first") from error
            if error.code in _GONE:
                return False
            raise
        return True

    def delete_records(self, logs: Iterable[TopicPartition]) -> int:
        """Delete everything that these logs hold now; returns how many offsets that were."""
        before = bounds(self._client, [Place(*at) for at in logs])
        full = {place: bound for place, bound in before.items() if bound.start < bound.end}
        if not full:
            return 0
        asked = [Asked(place.topic, place.partition, bound.end) for place, bound in full.items()]
        for answer in self._admin.delete_records(asked, request_timeout=_WITHIN_S).values():
            self._answer(answer)
        return sum(bound.end - bound.start for bound in full.values())

    def _asked(self, ask: "Callable[[], Future[_T]]") -> _T:
        """Ask again while the broker is still finding out who coordinates the group: on a new one that takes a moment."""
        deadline = time.monotonic() + _WITHIN_S
        while True:
            try:
                return self._answer(ask())
            except _AnsweredError as error:
                if error.code not in _NOT_YET or time.monotonic() >= deadline:
                    raise
                time.sleep(0.2)

    @staticmethod
    def _answer(future: "Future[_T]") -> _T:
        try:
            return future.result(_WITHIN_S + 5)
        except TimeoutError as error:
            raise TransientError(f"the broker has not answered for {_WITHIN_S:.0f} s") from error
        except KafkaException as error:
            if is_forbidden(error.args[0]):
                raise forbidden(error.args[0]) from error
            raise _failed(error) from error


class _AnsweredError(TransientError):
    """The broker answered with an error; `code` is Kafka's."""

    code: int = 0


def _failed(error: KafkaException) -> _AnsweredError:
    cause: KafkaError = error.args[0]
    away = cause.code() == KafkaError._TRANSPORT  # noqa: SLF001 - librdkafka's own name
    text = "no Kafka broker answers ({}); start one or set kafka.bootstrap_servers" if away else "Kafka: {}"
    found = _AnsweredError(text.format(f"{cause.name()}: {cause.str()}"))
    found.code = cause.code()
    return found
