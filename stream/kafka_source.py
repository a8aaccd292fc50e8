"""A group member that reads several topics from Kafka, partition p of all of them together, from positions it is given.

The `Source` seam on confluent-kafka. It commits nothing, and reads nothing before `start` says where from. While a batch is worked on,
a thread of its own fetches the next one: of that much and no more, so a slow worker slows consumption down and memory stays as it is.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Assigned

from stream.errors import PendingError, TransientError
from stream.forget_request import is_forget_request
from stream.inheriting import signed
from stream.kafka_access import KafkaDoor
from stream.kafka_consumer import (
    Place,
    assign_at,
    bounds,
    committed_when_stable,
    common_partitions,
    group_config,
    last_writers,
)
from stream.kafka_fetched import Fetched
from stream.kafka_tail import newest_records
from stream.kafka_transactions import Outgoing, TransactionalProducer
from stream.kinds import Millis
from stream.log import Commit, Headers, Newest, Out, Polled, TopicPartition
from stream.notes import logger_of, note
from stream.parts import Part

_T = TypeVar("_T")
_LOG: Final = logger_of("kafka")
_TELL_EVERY_S: Final = 60.0
_AT_ONCE: Final = 1_000
"""Messages taken from librdkafka in one go; more of them leave the processor's cache before they are freed."""
_MOST_BYTES: Final = 64 << 20
"""Values that may wait here, whatever their number; one batch may overshoot it."""
_IDLE_S: Final = 0.05
_TRICKLE: Final = 2_000
_TRICKLE_WAITS_S: Final = 0.025
"""Fewer records than a trickle are handed over this soon after the first of them: waiting would bring few more, and costs latency."""


class KafkaSource:
    """Reads `topics` as a member of `group`; with a `part` always the same partitions, whoever else reads: nobody takes or gives any.

    Two threads share it: the worker's, which calls the methods here, and one that fetches. The group takes and gives partitions only
    while the worker is in `poll`, as if it were the only thread: until then the fetching thread, which librdkafka tells of it, waits.

    Raises:
        RefusedError: a topic is missing, or partition counts differ.
        TransientError: the broker cannot be reached, from any method.
    """

    def __init__(self, client: Mapping[str, Any], group: str, topics: Sequence[str], part: Part | None = None, /, **more: Any) -> None:
        self._topics = list(topics)
        self._client, self._door, self._group_name = client, KafkaDoor(client), group
        self.partitions = common_partitions(self._door, topics)
        """Partition count of every topic."""
        self._generation, self._held, self._group = 0, frozenset[int](), None
        self._joined = False
        self._away = False
        self._tell_again_at = 0.0

        # everything from here on is looked at and changed with `_turn` held
        self._turn = threading.Condition()
        self._fetched = Fetched()
        self._since: float | None = None  # when the first of what is here came
        self._wanted = 0  # how much the worker takes at a time
        self._polling = False  # the worker is in `poll`
        self._inside = False  # the fetching thread is in the library
        self._keep_out = False  # the worker needs the library for itself
        self._changing = False  # and has been told there of a change of assignment
        self._question: Callable[[], None] | None = None  # something that it is to ask the library meanwhile
        self._failure: BaseException | None = None
        self._closing = False
        self._thread: threading.Thread | None = None

        self._consumer = Consumer({**group_config(client, group, **more), "error_cb": self._on_error})
        if part is None:
            self._consumer.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)
        else:
            self._generation, self._held, self._joined = 1, part.held(self.partitions), True
            self._group = self._consumer.consumer_group_metadata()

    # what the group decides ------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, assigned: list[Assigned]) -> None:
        with self._change():
            # nothing is fetched before the owner has claimed and said where from
            consumer.assign([])
            self._held = frozenset(place.partition for place in assigned)
            self._joined = True
            # kept from this moment: a later generation's metadata would let a zombie commit
            self._group = consumer.consumer_group_metadata()

    def _on_revoke(self, consumer: Consumer, _revoked: list[Assigned]) -> None:
        with self._change():
            self._held = frozenset()
            self._joined = False
            consumer.unassign()

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """Change the assignment, once the worker is between two batches: it finishes what it does with partitions it still holds."""
        with self._turn:
            self._changing = True
            self._turn.notify_all()
            while not (self._polling or self._closing):
                if self._question is not None:
                    self._question()
                    self._question = None
                    self._turn.notify_all()
                self._turn.wait()
            try:
                self._generation += 1
                self._drop()
                yield
            finally:
                self._changing = False
                self._turn.notify_all()

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):  # noqa: SLF001 - librdkafka's own names
            self._away = True
        if error.code() == KafkaError._ALL_BROKERS_DOWN and time.monotonic() >= self._tell_again_at:  # noqa: SLF001
            self._tell_again_at = time.monotonic() + _TELL_EVERY_S
            note(_LOG, logging.WARNING, "away", "no broker answers any more; waiting for one, nothing is lost")

    # fetching --------------------------------------------------------------------------------------------------------

    def _fetch(self) -> None:
        """Keep one batch ready. The body of the fetching thread."""
        while True:
            with self._turn:
                self._inside = False
                self._turn.notify_all()
                self._turn.wait_for(lambda: self._closing or self._has_room())
                if self._closing:
                    return
                self._inside = True
                generation, most = self._generation, min(_AT_ONCE, self._wanted - self._fetched.records)
            messages: list[Message] = []
            failure: BaseException | None = None
            try:
                messages = self._consumer.consume(most, 0) or self._consumer.consume(1, _IDLE_S)
            except KafkaException as error:
                failure = TransientError(f"Kafka: {error.args[0].name()}")
                failure.__cause__ = error
            except BaseException as error:  # noqa: BLE001 - raised again in the worker's thread
                failure = error
            with self._turn:
                # what came together with a change of assignment belongs to the one that is gone
                if failure is None and messages and generation == self._generation:
                    try:
                        self._fetched.add(messages)
                    except BaseException as error:  # noqa: BLE001 - as above
                        failure = error
                    if self._since is None and self._fetched.records:
                        self._since = time.monotonic()
                self._failure = failure

    def _has_room(self) -> bool:
        wanted = self._fetched.records < self._wanted and self._fetched.size < _MOST_BYTES
        return wanted and not self._keep_out and self._failure is None

    def _drop(self) -> None:
        """Forget what has been fetched."""
        self._fetched, self._since = Fetched(), None

    @contextlib.contextmanager
    def _apart(self) -> Iterator[bool]:
        """Keep the fetching thread out of the library; False when it waits there to change the assignment.

        confluent-kafka lets one thread at a time into a consumer, and others wait for as long as calls follow each other.
        """
        with self._turn:
            self._keep_out = True
            self._turn.wait_for(lambda: not self._inside or self._changing)
            try:
                yield not self._changing
            finally:
                self._keep_out = False
                self._turn.notify_all()

    def poll(self, limit: int, timeout_ms: Millis) -> Polled:
        """Up to `limit` records, gathered for at most `timeout_ms`; a trickle of them is handed over sooner."""
        with self._turn:
            generation, deadline = self._generation, time.monotonic() + timeout_ms / 1000
            self._wanted, self._polling = limit, True
            if self._thread is None:
                self._thread = threading.Thread(target=self._fetch, name="daywatch-fetch", daemon=True)
                self._thread.start()
            self._turn.notify_all()
            try:
                while (left_s := self._waits(deadline, generation)) > 0:
                    self._turn.wait(left_s)
                self._turn.wait_for(lambda: not self._changing)
            finally:
                self._polling = False
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            records, ended = self._fetched.take(limit)
            self._since = None if not self._fetched.records else time.monotonic()
            self._turn.notify_all()
            answered, self._away = not self._away, False
        return Polled(records, ended, answered=answered)

    def _waits(self, deadline: float, generation: int) -> float:
        """For how many seconds more to gather; 0 or less to stop."""
        here = self._fetched.records
        if self._failure is not None or generation != self._generation or here >= self._wanted or self._fetched.size >= _MOST_BYTES:
            return 0.0
        if self._since is not None and 0 < here < _TRICKLE:
            deadline = min(deadline, self._since + _TRICKLE_WAITS_S)
        return deadline - time.monotonic()

    def assignment(self) -> tuple[int, frozenset[int]]:
        """How often the assignment has changed, and the partitions held."""
        return self._generation, self._held

    def joined(self) -> bool:
        """Whether the group has said what this member holds."""
        return self._joined

    def _places(self, partitions: Iterable[int]) -> list[Place]:
        return [Place(topic, partition) for topic in self._topics for partition in sorted(partitions)]

    def committed(self, partitions: Iterable[int]) -> dict[TopicPartition, Commit]:
        """What the group has committed, once stable.

        Raises:
            PendingError: a transaction over it has been open for longer than any may be.
        """
        places = self._places(partitions)
        try:
            found = self._asked(lambda: committed_when_stable(self._consumer, places))
        except TransientError as error:
            writers = last_writers(self._door, self._group_name, places)
            if writers is None:
                raise
            raise PendingError("a transaction over the group's commits stays open; it is ended for whoever left it", writers) from error
        return {TopicPartition(*place): Commit(commit.offset, commit.metadata) for place, commit in found.items()}

    def _asked(self, ask: Callable[[], _T]) -> _T:
        """Ask the library something; by the fetching thread where that waits in it and lets nobody else in."""
        with self._apart() as alone:
            if alone:
                return ask()
            answer: Future[_T] = Future()

            def question() -> None:
                try:
                    answer.set_result(ask())
                except BaseException as error:  # noqa: BLE001 - raised again below
                    answer.set_exception(error)

            self._question = question
            self._turn.notify_all()
            self._turn.wait_for(answer.done)
        return answer.result()

    def bounds(self, partitions: Iterable[int]) -> dict[TopicPartition, tuple[int, int]]:
        """First and end offset of each log."""
        found = bounds(self._door, self._places(partitions), known=True)
        return {TopicPartition(*place): (bound.start, bound.end) for place, bound in found.items()}

    def newest(self, logs: Iterable[TopicPartition]) -> dict[TopicPartition, Newest | None]:
        """The last committed record of each of any topics' logs, requests to forget somebody apart; None where there is none any more."""
        places = [Place(*at) for at in logs]
        found = newest_records(self._client, places, lambda each: not is_forget_request(*_parts(each)))
        told: dict[TopicPartition, Newest | None] = {TopicPartition(*at): Newest(*_parts(each)) for at, each in found.items()}
        missing = bounds(self._door, [place for place in places if place not in found], known=True) if len(found) < len(places) else {}
        return told | {TopicPartition(*place): None for place, bound in missing.items() if bound.start < bound.end}

    def start(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets. Does nothing when the partitions are about to go to others: the next poll says so."""
        with self._apart() as still_ours:
            self._drop()
            if still_ours:
                assign_at(self._consumer, {Place(*at): offset for at, offset in positions.items()})
                # a log that was paused before must not stay so
                self._consumer.resume([Assigned(*at) for at in positions])

    def pause(self, logs: Iterable[TopicPartition]) -> None:
        """Deliver nothing of these until they are resumed; what has been fetched of them waits here."""
        logs = list(logs)
        with self._apart() as still_ours:
            self._fetched.held |= frozenset(logs)
            if logs and still_ours:
                self._consumer.pause([Assigned(*at) for at in logs])

    def resume(self, logs: Iterable[TopicPartition]) -> None:
        """Deliver these again."""
        logs = list(logs)
        with self._apart() as still_ours:
            self._fetched.held -= frozenset(logs)
            if logs and still_ours:
                self._consumer.resume([Assigned(*at) for at in logs])

    def group(self) -> object:
        """The group's metadata as of the assignment."""
        return self._group

    def close(self) -> None:
        """Leave the group."""
        with self._turn:
            self._closing = True
            self._turn.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._consumer.close()


def _parts(message: Message) -> tuple[bytes | None, bytes | None, Headers | None]:
    return message.key(), message.value(), message.headers()  # type: ignore[return-value]


class KafkaOutlet:
    """The `Outlet` seam on a transactional producer."""

    def __init__(self, producer: TransactionalProducer) -> None:
        self._producer = producer

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        """One transaction."""
        outgoing = [Outgoing(r.at.topic, r.key, r.value, r.at.partition, r.headers) for r in records]
        # who commits is told with it: whoever inherits the partition may have to end what this writer leaves open
        by = self._producer.transactional_id
        offsets = [Assigned(at.topic, at.partition, commit.offset, signed(commit.note, by)) for at, commit in commits.items()]
        self._producer.transact(outgoing, offsets, group)

    def settle(self) -> None:
        """Return when the last transaction has ended in its logs."""
        self._producer.settle()

    def lying_open(self, logs: Iterable[TopicPartition]) -> Sequence[TopicPartition]:
        """Those of the logs in which a transaction from before this call still lies open when its time-out must have ended it."""
        return [TopicPartition(*place) for place in self._producer.lying_open([Place(*at) for at in logs])]

    def end_left_open(
        self, writers: Iterable[str], logs: Iterable[TopicPartition], commits: Iterable[TopicPartition], group: object
    ) -> None:
        """End what one of these writers, or an earlier life of this one, has left open."""
        self._producer.end_left_open(writers, [Place(*at) for at in logs], [Assigned(*at, 0) for at in commits], group)

    def close(self) -> None:
        """Let go of the producer."""
        self._producer.discard()
