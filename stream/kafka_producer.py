"""Sends records to Kafka outside of transactions: idempotent, in order, with bounded memory. The adapter behind `EventSink`.

Record timestamps are the wall clock of the moment of sending (librdkafka sets them). Knows nothing of events.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from stream.errors import TransientError
from stream.kafka_access import forbidden, is_forbidden, quiet_logger
from stream.kafka_transactions import producer_config
from stream.log import Headers

_GIVE_UP_AFTER_S = 120.0


class KafkaEventSink:
    """A producer for topics that all have `partitions` partitions; `client` are librdkafka properties."""

    def __init__(self, client: Mapping[str, Any], partitions: int) -> None:
        self._partitions = partitions
        self._failure: KafkaError | None = None
        self._producer = Producer(
            {
                **producer_config(client),
                "linger.ms": 20,
                "batch.size": 1_000_000,
                # what may wait in memory; when it is full, sending waits
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 98_304,
                "message.timeout.ms": int(_GIVE_UP_AFTER_S * 1000),
                "delivery.report.only.error": True,
                "on_delivery": self._on_delivery,
            },
            logger=quiet_logger(),
        )

    def send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes], headers: Iterable[Headers] | None) -> None:
        """Queue records; waits while the queue is full.

        Raises:
            TransientError: an earlier record could not be delivered.
            ConfigurationError: the broker does not allow it.
        """
        produce: Any = self._producer.produce  # its annotation wants a union as the headers' element type
        if headers is None:
            for key, value in zip(keys, values, strict=True):
                try:
                    produce(topic, value, key)
                except BufferError:
                    self._retry(topic, value, key, None)
        else:
            for key, value, own in zip(keys, values, headers, strict=True):
                try:
                    produce(topic, value, key, headers=own)
                except BufferError:
                    self._retry(topic, value, key, own)
        self._serve(0)

    def send_empty(self, topic: str, key: bytes, headers: Headers) -> None:
        """Queue a record without a value."""
        try:
            self._producer.produce(topic, None, key, headers=list(headers or ()))
        except BufferError:
            self._retry(topic, None, key, headers)

    def mark(self, topic: str, headers: Headers) -> None:
        """Queue a clock mark for every partition of a topic."""
        for partition in range(self._partitions):
            try:
                self._producer.produce(topic, None, None, partition, headers=list(headers or ()))
            except BufferError:
                self._retry(topic, None, None, headers, partition)

    def flush(self) -> None:
        """Wait until the broker has acknowledged everything.

        Raises:
            TransientError: it has not for two minutes, or did not take a record.
            ConfigurationError: the broker does not allow it.
        """
        deadline = time.monotonic() + _GIVE_UP_AFTER_S
        left = len(self._producer)
        while left:
            before, left = left, self._watched(self._producer.flush, 1.0)
            self._check()
            if left < before:
                deadline = time.monotonic() + _GIVE_UP_AFTER_S
            elif time.monotonic() > deadline:
                raise TransientError(f"the broker has not acknowledged {left} records for {_GIVE_UP_AFTER_S:.0f} s")
        self._check()

    def abandon(self) -> None:
        """Forget what has not been sent."""
        self._producer.purge()

    def _retry(self, topic: str, value: bytes | None, key: bytes | None, headers: Headers | None, partition: int = -1) -> None:
        while True:
            self._serve(0.05)
            try:
                self._producer.produce(topic, value, key, partition, headers=list(headers or ()))
            except BufferError:
                continue
            return

    def _serve(self, timeout_s: float) -> None:
        self._watched(self._producer.poll, timeout_s)
        self._check()

    def _watched(self, call: Callable[[float], int], timeout_s: float) -> int:
        """Poll or flush. What ends a producer for good (not being allowed to write, say) the library raises from within any call."""
        try:
            return call(timeout_s)
        except (KafkaException, SystemError) as error:
            # and when a record's own bad news comes at the same time, as the cause of an error of Python's
            found = error if isinstance(error, KafkaException) else error.__cause__
            if not isinstance(found, KafkaException):
                raise
            self._failure = found.args[0]
            return len(self._producer)

    def _check(self) -> None:
        if self._failure is not None:
            if is_forbidden(self._failure):
                raise forbidden(self._failure)
            raise TransientError(f"the broker did not take a record: {self._failure.str()}") from KafkaException(self._failure)

    def _on_delivery(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None and self._failure is None:
            self._failure = error
