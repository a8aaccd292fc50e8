"""Looks at topics and makes them on a Kafka broker. The adapter behind `TopicAdmin`; knows nothing of namespaces or roles."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from stream.errors import PipelineError, TransientError
from stream.kafka_access import KafkaDoor, forbidden, is_forbidden
from stream.topics import FoundTopic, TopicSpec

_PATIENCE_S = 20.0


class KafkaTopicAdmin:
    """An admin client; `client` are librdkafka properties such as `bootstrap.servers`."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._address = str(client.get("bootstrap.servers", ""))
        self._door = KafkaDoor(client)
        self._admin = self._door.admin
        self._known = any(name in client for name in ("sasl.username", "ssl.certificate.location"))

    def find(self, names: Sequence[str]) -> dict[str, FoundTopic]:
        """Those of the topics that exist.

        Raises:
            ConfigurationError: the broker does not let us in, or not look at one of them.
            TransientError: the broker does not answer.
        """
        known = self._metadata()
        if missing := [name for name in names if name not in known]:
            self._may_look(missing)
        here = {name: len(known[name].partitions) for name in names if name in known and known[name].error is None}
        configs = self._configs(list(here))
        return {
            name: FoundTopic(
                name, partitions, configs.get(name, {}).get("cleanup.policy"), _number(configs.get(name, {}).get("retention.ms"))
            )
            for name, partitions in here.items()
        }

    def settings(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """All settings of topics that exist, in Kafka's names; topics of which the broker tells nothing are left out.

        Raises:
            ConfigurationError: the broker does not let us in.
            TransientError: the broker does not answer.
        """
        return self._configs([name for name in names if name in self._metadata()])

    def _may_look(self, names: Sequence[str]) -> None:
        """The list leaves out what is forbidden: only who asks for a topic by name learns whether it is that, or missing."""
        if not self._known:
            return  # to nobody in particular nothing is forbidden; and the embedded broker makes a topic of each name it is asked for
        for name, answer in self._admin.describe_topics(TopicCollection(list(names)), request_timeout=_PATIENCE_S).items():
            try:
                answer.result(_PATIENCE_S)
            except KafkaException as error:
                if is_forbidden(error.args[0]):
                    raise forbidden(error.args[0], name) from error

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics and wait until the broker shows them.

        Raises:
            TransientError: the broker does not answer, or does not show them.
            PipelineError: the broker refuses one; the text is its own.
        """
        wanted = [
            NewTopic(spec.name, num_partitions=spec.partitions, replication_factor=spec.replication_factor, config=spec.config())
            for spec in specs
        ]
        for name, made in self._admin.create_topics(wanted, operation_timeout=_PATIENCE_S, request_timeout=_PATIENCE_S).items():
            try:
                made.result(_PATIENCE_S)
            except KafkaException as error:
                if is_forbidden(error.args[0]):
                    raise forbidden(error.args[0], f"making {name}") from error
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise PipelineError(f"topic {name} cannot be created: {error.args[0].str()}") from error
        self._await([spec.name for spec in specs])

    def _await(self, names: Sequence[str]) -> None:
        """A broker answers that a topic is made before it tells everybody that there is one."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            known = self._metadata()
            missing = [name for name in names if name not in known or known[name].error is not None or not known[name].partitions]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise TransientError(f"broker {self._address}: topic {missing[0]} was created but does not appear")
            time.sleep(0.05)

    def count_records(self, names: Sequence[str]) -> dict[str, int]:
        """How many records lie between the first and the end offset of each topic, marks and transaction markers included.

        Raises:
            TransientError: the broker does not answer.
        """
        known = self._metadata()
        logs = [TopicPartition(name, number) for name in names for number in known[name].partitions]
        total = dict.fromkeys(names, 0)
        for spec, sign in ((OffsetSpec.latest(), 1), (OffsetSpec.earliest(), -1)):  # type: ignore[no-untyped-call]
            for log, answer in self._admin.list_offsets(dict.fromkeys(logs, spec), request_timeout=_PATIENCE_S).items():
                try:
                    total[log.topic] += sign * answer.result(_PATIENCE_S).offset
                except KafkaException as error:
                    raise TransientError(f"broker {self._address}: {error.args[0].str()}") from error
        return total

    def cluster_id(self) -> str:
        """What the broker calls its cluster; empty when it does not say.

        Raises:
            TransientError: the broker does not answer.
        """
        try:
            found: str | None = self._door.list_topics(within_s=_PATIENCE_S).cluster_id
        except KafkaException as error:
            raise self._silent(error) from error
        return found or ""

    def _silent(self, error: KafkaException) -> TransientError:
        return TransientError(
            f"no Kafka broker answers at {self._address} ({error.args[0].str()}); start one or set kafka.bootstrap_servers"
        )

    def _metadata(self) -> dict[str, Any]:
        try:
            topics: dict[str, Any] = self._door.list_topics(within_s=_PATIENCE_S).topics
        except KafkaException as error:
            raise self._silent(error) from error
        return topics

    def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Settings of topics; none of a broker that does not tell them."""
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        found: dict[str, dict[str, str]] = {}
        for resource, answer in self._admin.describe_configs(resources, request_timeout=_PATIENCE_S).items():
            try:
                found[resource.name] = {name: entry.value for name, entry in answer.result(_PATIENCE_S).items()}
            except KafkaException:
                continue  # the embedded broker need not know this request; partition counts are checked all the same
        return found


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdigit() else None
