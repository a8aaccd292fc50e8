"""Where logs end, asked beside a worker and without it: for lag, and to see whether the broker answers. Touches no group."""

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException
from confluent_kafka import TopicPartition as Assigned
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from stream.errors import TransientError
from stream.log import TopicPartition


class LogEnds:
    """Asks one broker again and again, over one connection; may be used from a thread of its own."""

    def __init__(self, client: Mapping[str, Any], within_s: float = 5.0) -> None:
        self._admin, self._within_s = AdminClient(dict(client)), within_s

    def of(self, logs: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The end that a reader of committed records would come to; logs that are gone are left out.

        Raises:
            TransientError: no answer in time.
        """
        asked = {Assigned(*at): OffsetSpec.latest() for at in logs}  # type: ignore[no-untyped-call]
        if not asked:
            self._any_answer()
            return {}
        ends = {}
        try:
            found = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=self._within_s)
            for at, future in found.items():
                ends[TopicPartition(at.topic, at.partition)] = future.result(self._within_s + 1).offset
        except (KafkaException, TimeoutError) as error:
            raise TransientError("the broker does not say where logs end") from error
        return ends

    def _any_answer(self) -> None:
        try:
            self._admin.list_topics(timeout=self._within_s)
        except KafkaException as error:
            raise TransientError("the broker does not answer") from error
