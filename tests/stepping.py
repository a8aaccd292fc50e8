"""A Kafka producer that tells of its steps, for tests that let a worker die between two of them: wrapped from outside."""

from collections.abc import Callable
from typing import Any

from confluent_kafka import Producer


class SteppingProducer:
    """confluent-kafka's producer; `on_step` is told `begun`, `produced`, `offsets` and `committed` of each transaction."""

    def __init__(self, properties: dict[str, Any], on_step: Callable[[str], None]) -> None:
        self._producer, self._on_step, self._produced = Producer(properties), on_step, False

    def begin_transaction(self) -> None:
        self._producer.begin_transaction()
        self._produced = False
        self._on_step("begun")

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        if not self._produced:
            self._produced = True
            self._on_step("produced")
        self._producer.send_offsets_to_transaction(*arguments)
        self._on_step("offsets")

    def commit_transaction(self, *arguments: Any) -> None:
        if not self._produced:
            self._on_step("produced")
            self._on_step("offsets")
        self._producer.commit_transaction(*arguments)
        self._on_step("committed")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


def stepping(on_step: Callable[[str], None] | None) -> Any:
    """What `TransactionalProducer` makes its producer with."""
    return (lambda properties: SteppingProducer(properties, on_step)) if on_step is not None else Producer
