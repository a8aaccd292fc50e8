"""Asks a Kafka broker for facts. An adapter: looks only, joins no group, commits nothing, and gives up in time."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Asked
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from daywatch.doctor.facts import Broker, Greeting, Group, Log, Logs, Missing, Topic, Topics, missing_for
from daywatch.doctor.kafka_hello import hello
from stream.errors import ConfigurationError
from stream.kafka_access import KafkaDoor, is_forbidden
from stream.kafka_consumer import Place, assign_at, group_config, is_end
from stream.kinds import Millis
from stream.log import TopicPartition
from stream.topics import TopicLayout

T = TypeVar("T")

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())
_log.propagate = False

_ABSENT: Final = (KafkaError.GROUP_ID_NOT_FOUND, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.INVALID_GROUP_ID)
_SOON: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
)
_MOST_WAITING: Final = 256
_TO_BE_LET_IN: Final = 3


def greet(client: Mapping[str, str], within_s: float) -> tuple[Greeting, ...]:
    """Say hello at every address, side by side."""
    addresses = client["bootstrap.servers"].split(",")
    with ThreadPoolExecutor(len(addresses)) as pool:
        return tuple(pool.map(lambda address: hello(address.strip(), client, within_s), addresses))


class KafkaFacts:
    """One client for all questions; `client` are librdkafka's properties, each question is given `within_s`."""

    def __init__(self, client: Mapping[str, Any], within_s: float) -> None:
        self._client: dict[str, Any] = {**client, "socket.timeout.ms": max(int(within_s * 1000), 1_000)}
        self._within_s = within_s
        self._door = KafkaDoor(self._client)
        self._admin = self._door.admin
        self._metadata: Any = None

    def broker(self) -> Broker | Missing:
        """The cluster, and the settings of the node that was asked."""
        try:
            # what refuses us mostly takes some seconds to be sure of
            self._metadata = self._door.list_topics(within_s=_TO_BE_LET_IN * self._within_s)
        except KafkaException as error:
            return _why(error.args[0])
        except ConfigurationError as error:
            return missing_for(str(error))
        node = min(self._metadata.brokers, default=0)
        found = self._configs([ConfigResource(ResourceType.BROKER, str(node))])
        return Broker(len(self._metadata.brokers), found if isinstance(found, Missing) else next(iter(found.values()), {}))

    def topics(self, layout: TopicLayout) -> Topics | Missing:
        """The topics of a namespace."""
        if self._metadata is None:
            return Missing("the broker told nothing of its topics")
        known = {name: topic for name, topic in self._metadata.topics.items() if topic.error is None and topic.partitions}
        ours = [spec.name for spec in layout.specs() if spec.name in known]
        configs = self._configs([ConfigResource(ResourceType.TOPIC, name) for name in ours]) if ours else {}
        told = {} if isinstance(configs, Missing) else configs
        others = sorted(
            name.removesuffix(".logon") for name in known if name.endswith(".logon") and f"{name.removesuffix('.logon')}.windows" in known
        )
        return Topics(
            {name: _topic(name, known[name].partitions, told.get(name, {})) for name in ours},
            tuple(name for name in others if name != layout.namespace),
        )

    def logs(self, topics: Topics) -> Logs | Missing:
        """Bounds of every log of these topics, and the time stamp of its newest record."""
        asked = [Asked(topic.name, number) for topic in topics.here.values() for number in range(topic.partitions)]
        if not asked:
            return {}
        try:
            starts = self._patiently(lambda: self._offsets(asked, OffsetSpec.earliest()))  # type: ignore[no-untyped-call]
            ends = self._patiently(lambda: self._offsets(asked, OffsetSpec.latest()))  # type: ignore[no-untyped-call]
        except KafkaException as error:
            return _why(error.args[0])
        try:
            newest = {at: found[1] for at, found in self._offsets(asked, OffsetSpec.max_timestamp()).items()}  # type: ignore[no-untyped-call]
        except KafkaException:
            newest = {}  # brokers before 3.0 and the embedded one do not tell
        return {at: Log(max(start, 0), max(ends[at][0], 0), _stamp(newest.get(at))) for at, (start, _) in starts.items()}

    def groups(self, names: Mapping[str, str]) -> Mapping[str, Group] | Missing:
        """Groups by role; `names` are their ids. One that does not exist is an empty one."""
        try:
            if self._no_group_ever():
                return dict.fromkeys(names, Group())
            return {role: self._patiently(lambda name=name: self._group(name)) for role, name in names.items()}  # type: ignore[misc]
        except KafkaException as error:
            return _why(error.args[0])

    def _no_group_ever(self) -> bool:
        """Whether this broker has had no group yet: asking it of one would make it create their topic, which takes a while."""
        if self._metadata is None or "__consumer_offsets" in self._metadata.topics:
            return False
        listed = self._admin.list_consumer_groups(request_timeout=self._within_s).result(2 * self._within_s)
        return not listed.valid and not listed.errors

    def waiting(self, positions: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, Millis] | Missing:
        """Those of the logs in which a committed record lies at the position or behind it, and when it was written."""
        places = {Place(*at): offset for at, offset in sorted(positions.items())[:_MOST_WAITING]}
        if not places:
            return {}
        small = {"fetch_message_max_bytes": 65_536, "queued_max_messages_kbytes": 4_096}
        consumer = Consumer({**group_config(self._client, "daywatch-doctor", **small), "logger": _log})
        try:
            assign_at(consumer, places)
            return self._first_records(consumer, set(places))
        except KafkaException as error:
            return _why(error.args[0])
        finally:
            consumer.close()

    def _first_records(self, consumer: Consumer, open_: set[Place]) -> Mapping[TopicPartition, Millis] | Missing:
        found: dict[TopicPartition, Millis] = {}
        deadline = time.monotonic() + 2 * self._within_s
        while open_:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return Missing("the broker was too slow to say which records wait", "run `daywatch doctor` again with a longer --patience")
            for message in consumer.consume(len(open_), min(left_s, 0.2)):
                place, error = Place(message.topic() or "", message.partition() or 0), message.error()
                if error is not None and not is_end(error):
                    # outside of its log: that is another check's finding
                    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
                        open_.discard(place)
                    continue
                if place in open_:
                    open_.discard(place)
                    consumer.pause([Asked(*place)])
                    if error is None:
                        found[TopicPartition(*place)] = message.timestamp()[1]
        return found

    def _offsets(self, asked: Sequence[Asked], spec: OffsetSpec) -> dict[TopicPartition, tuple[int, int]]:
        answers = self._admin.list_offsets(dict.fromkeys(asked, spec), request_timeout=self._within_s)
        results = {TopicPartition(at.topic, at.partition): future.result(2 * self._within_s) for at, future in answers.items()}
        return {at: (result.offset, result.timestamp) for at, result in results.items()}

    def _group(self, name: str) -> Group:
        try:
            described = self._admin.describe_consumer_groups([name], request_timeout=self._within_s)[name]
            found = described.result(2 * self._within_s)
            committed = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)], request_timeout=self._within_s)
            places = committed[name].result(2 * self._within_s).topic_partitions
        except KafkaException as error:
            if error.args[0].code() in _ABSENT:
                return Group()
            raise
        offsets = {TopicPartition(each.topic, each.partition): each.offset for each in places if each.error is None and each.offset >= 0}
        return Group(found.state.name, len(found.members), offsets)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask again while the broker says that it cannot tell yet: leaders and coordinators take a moment to be chosen."""
        deadline = time.monotonic() + self._within_s
        while True:
            try:
                return ask()
            except KafkaException as error:
                if error.args[0].code() not in _SOON or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _configs(self, resources: Sequence[ConfigResource]) -> Mapping[str, Mapping[str, str]] | Missing:
        try:
            answers = self._admin.describe_configs(list(resources), request_timeout=self._within_s)
            return {
                each.name: {name: entry.value for name, entry in answer.result(2 * self._within_s).items() if entry.value is not None}
                for each, answer in answers.items()
            }
        except KafkaException as error:
            return _why(error.args[0])


def _why(error: KafkaError) -> Missing:
    name = error.name().strip("_").lower()
    if is_forbidden(error):
        return Missing(f"the broker forbids this user to ask ({name})", "grant it what docs/security.md lists for `daywatch doctor`")
    if error.code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):  # noqa: SLF001 - librdkafka's own
        return Missing(
            f"somebody is there and does not answer as a broker ({name})",
            "do kafka.security_protocol and that port belong together, and can its advertised addresses be reached from here?",
        )
    return Missing(f"the broker does not tell ({name})", "see the broker's log")


def _topic(name: str, partitions: Mapping[int, Any], config: Mapping[str, str]) -> Topic:
    return Topic(
        name,
        len(partitions),
        min(len(each.replicas) for each in partitions.values()),
        tuple(sorted(number for number, each in partitions.items() if each.leader < 0)),
        tuple(sorted(number for number, each in partitions.items() if len(each.isrs) < len(each.replicas))),
        config,
    )


def _stamp(ms: int | None) -> Millis | None:
    return ms if ms is not None and ms > 0 else None
