"""What every Kafka consumer group here has in common: its properties, its committed offsets, the bounds of its logs.

Knows nothing of what the records hold, nor of when a worker reads, pauses or commits.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from stream.errors import RefusedError, TransientError
from stream.inheriting import signers
from stream.kafka_access import KafkaDoor, forbidden, is_forbidden

_T = TypeVar("_T")

# a pending transaction is ended by its time-out (10 s), which the broker looks for every 10 s
STABLE_WITHIN_S = 30.0

_MISSING = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - librdkafka's own codes begin with an underscore
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
        KafkaError._NOENT,  # noqa: SLF001
    }
)

_MOVED = frozenset({KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.NOT_LEADER_FOR_PARTITION})
"""A log has another leader, or the same one anew; the library's admin client does not look for it by itself (2.16)."""

_ANSWERS_WITHIN_S = 30.0

_MADE_JUST_NOW_S = 3.0
"""So long may a topic that was made a moment ago be unknown."""

_AWAY = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE})  # noqa: SLF001

# what does not mend itself, and would otherwise look like silence
_REFUSALS = frozenset(
    {
        KafkaError.INVALID_SESSION_TIMEOUT,
        KafkaError.INVALID_GROUP_ID,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.GROUP_MAX_SIZE_REACHED,
    }
)


class Place(NamedTuple):
    """One topic-partition."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed for one topic-partition: the next offset to read, and the text that went with it."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """First offset that a topic-partition still has, and the one that its next record would get; uncommitted records count."""

    start: int
    end: int


def group_config(client: Mapping[str, Any], group: str, **more: Any) -> dict[str, Any]:
    """Properties of a group consumer: reads only what is committed, commits nothing by itself, never guesses a position.

    `more` adds properties, `_` for `.`. The `range` assignor gives partition p of every subscribed topic to one member.
    """
    return {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "range",
        "enable.partition.eof": True,
        "session.timeout.ms": 10_000,
        "fetch.queue.backoff.ms": 5,
        "fetch.message.max.bytes": 1_000_000,
        "queued.max.messages.kbytes": 32_768,
        **{name.replace("_", "."): value for name, value in more.items()},
        **client,
    }


def committed_when_stable(consumer: Consumer, places: Iterable[Place], within_s: float = STABLE_WITHIN_S) -> dict[Place, Committed]:
    """What the group has committed, once no transaction that would change it is pending. Places without a commit are left out.

    The consumer must be `read_committed`: otherwise a pending commit is answered with the value before it.

    Raises:
        TransientError: not stable, or no answer, in time.
    """
    asked = [TopicPartition(*place) for place in places]
    answers = _patiently(lambda left_s: _without_errors(consumer.committed(asked, timeout=left_s)), within_s, "committed offsets")
    return {Place(a.topic, a.partition): Committed(a.offset, a.metadata or "") for a in answers if a.offset >= 0}


def last_writers(door: KafkaDoor, group: str, places: Iterable[Place], within_s: float = 5.0) -> set[str] | None:
    """Who signed what the group committed last for these topic-partitions, pending transactions apart; None when nobody answers."""
    wanted, answers = set(places), list[TopicPartition]()
    try:
        asked = door.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=within_s)
        answers = asked[group].result(within_s + 1).topic_partitions
    except (KafkaException, TimeoutError):
        return None
    return signers(answer.metadata or "" for answer in answers if Place(answer.topic, answer.partition) in wanted)


def bounds(
    client: Mapping[str, Any] | KafkaDoor, places: Iterable[Place], within_s: float = 30.0, *, known: bool = False
) -> dict[Place, Bounds]:
    """Where each topic-partition begins and ends now. Who asks more than once gives a door, which stays connected.

    `known`: they have been seen before. A broker that starts takes connections before it knows its topics: it is asked again for longer.

    Raises:
        RefusedError: there is no such topic or partition.
        ConfigurationError: the broker does not let us in, or not look at a topic.
        TransientError: no answer in time.
    """
    door, places, missing_s = _door(client), list(places), within_s if known else _MADE_JUST_NOW_S
    earliest, latest = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
    starts = _patiently(lambda left_s: _offsets(door, places, earliest, left_s), within_s, "start of a log", door, missing_s)
    ends = _patiently(lambda left_s: _offsets(door, places, latest, left_s), within_s, "end of a log", door, missing_s)
    return {place: Bounds(max(starts[place], 0), max(ends[place], 0)) for place in starts}


def ends_of(door: KafkaDoor, places: Iterable[Place], within_s: float = 5.0, *, committed: bool = False) -> dict[Place, int]:
    """Where each topic-partition ends now; `committed`: where that ends which readers of committed records may see.

    Raises:
        RefusedError, ConfigurationError, TransientError: as `bounds`.
    """
    latest, places = OffsetSpec.latest(), list(places)  # type: ignore[no-untyped-call]
    isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    # who asks this has seen these logs: only waiting can help
    return _patiently(lambda left_s: _offsets(door, places, latest, left_s, isolation), within_s, "end of a log", door, math.inf)


def _offsets(
    door: KafkaDoor,
    places: Iterable[Place],
    spec: OffsetSpec,
    left_s: float,
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[Place, int]:
    asked, deadline = {TopicPartition(*place): spec for place in places}, time.monotonic() + left_s
    # the library was seen to end the process (2.16: refcnt > 0) when its own time-out met a broker's late answer: leave it time
    found = door.admin.list_offsets(asked, isolation_level=isolation, request_timeout=_ANSWERS_WITHIN_S)
    try:
        return {Place(at.topic, at.partition): future.result(max(deadline - time.monotonic(), 0.0)).offset for at, future in found.items()}
    except TimeoutError as error:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "not answered")) from error  # noqa: SLF001


def partitions_of(client: Mapping[str, Any] | KafkaDoor, topic: str, within_s: float = 30.0) -> int:
    """How many partitions a topic has.

    Raises:
        RefusedError: there is no such topic.
        ConfigurationError: the broker does not let us in, or not look at that topic.
        TransientError: no answer in time.
    """
    door = _door(client)
    found = _patiently(lambda left_s: door.list_topics(topic, left_s), within_s, f"topic {topic}", door).topics.get(topic)
    if found is not None and is_forbidden(found.error):
        raise forbidden(found.error, topic)
    if found is None or found.error is not None or not found.partitions:
        raise RefusedError(f"there is no topic {topic}; create the topics with `daywatch topics create`")
    return len(found.partitions)


def common_partitions(client: Mapping[str, Any] | KafkaDoor, topics: Iterable[str], cure: str = "use a new namespace") -> int:
    """How many partitions each of these topics has; `cure` says what to do where they differ.

    Raises:
        RefusedError: partition counts differ, or a topic is missing.
        ConfigurationError: the broker does not let us in, or not look at a topic.
        TransientError: no answer in time.
    """
    door = _door(client)
    counts = {topic: partitions_of(door, topic) for topic in topics}
    if len(set(counts.values())) > 1:
        raise RefusedError(f"topics must have equal partition counts, but they have {counts}; {cure}")
    return next(iter(counts.values()))


def _door(client: Mapping[str, Any] | KafkaDoor) -> KafkaDoor:
    if not isinstance(client, KafkaDoor):
        return KafkaDoor(client)
    client.ask_anew()
    return client


def assign_at(consumer: Consumer, positions: Mapping[Place, int]) -> None:
    """Read these topic-partitions, each from its offset on, and nothing else; what had been fetched before is dropped.

    Works in `on_assign`, and later as a seek of everything at once.
    """
    consumer.assign([TopicPartition(place.topic, place.partition, offset) for place, offset in positions.items()])


def is_end(error: KafkaError | None) -> bool:
    """Whether a polled message only says that its topic-partition has been read to its end."""
    return error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's name for it


def check_polled(error: KafkaError) -> None:
    """Sort out an error that came from polling (not the end of a partition); return when it mends itself.

    Raises:
        RefusedError: the position lies outside the log, or a topic is missing.
        ConfigurationError: the broker does not allow it.
        TransientError: anything else that does not.
    """
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
        raise RefusedError(
            "a position lies before the start or beyond the end of its log (records expired, or a topic was made anew); "
            "use a new namespace, or raise the retention"
        )
    if error.code() in _MISSING:
        raise RefusedError("a topic is missing; create the topics with `daywatch topics create`")
    if is_forbidden(error):
        raise forbidden(error)
    if error.code() in _REFUSALS:
        raise RefusedError(f"the broker refuses: {error.str()}")
    if error.fatal():
        raise TransientError(f"Kafka consumer ended: {error.name()} ({error.str()})")


def _without_errors(answers: list[TopicPartition]) -> list[TopicPartition]:
    for answer in answers:
        if answer.error is not None:
            raise KafkaException(answer.error)
    return answers


def _patiently(
    ask: Callable[[float], _T], within_s: float, what: str, door: KafkaDoor | None = None, missing_s: float = _MADE_JUST_NOW_S
) -> _T:
    """Ask again while the broker says that it cannot answer yet, and for `missing_s` while it does not know a topic.

    `door`: the client that asks, to be asked why there is no answer.
    """
    began = time.monotonic()
    while True:
        gone_s = time.monotonic() - began
        try:
            answer = ask(max(within_s - gone_s, 0.5))
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if is_forbidden(cause):
                raise forbidden(cause) from error
            if door is not None:
                door.check()
                if cause.code() in _MOVED:
                    door.look_again()
                elif cause.code() == KafkaError._NOENT and gone_s < within_s:  # noqa: SLF001
                    time.sleep(0.4)
                    door.begin_anew()
            if cause.code() in _MISSING and gone_s >= missing_s:
                raise RefusedError("a topic is missing; create the topics with `daywatch topics create`") from error
            if gone_s >= within_s and cause.code() in _AWAY:
                asked = f"asked for {what} for {within_s:.0f} s: {cause.name()}"
                raise TransientError(f"no Kafka broker answers ({asked}); start one or set kafka.bootstrap_servers") from error
            if gone_s >= within_s:
                raise TransientError(f"no {what} from Kafka within {within_s:.0f} s: {cause.name()}") from error
            time.sleep(0.1)
        else:
            if door is not None:
                door.met = True
            return answer
