"""A Kafka producer whose every write is one whole transaction: records and consumer offsets together, or nothing.

Each transaction has three outcomes, and the caller does something different about each: it is committed (`transact` returns);
it failed or nobody knows (`TransientError`: drop what is in memory and recover from what is committed); a newer owner of the
transactional id exists (`FencedError`: stop). After either error the old producer is gone: librdkafka lacks KIP-890, so one whose
EndTxn timed out may commit late or hang. `reopen` makes a new one, whose start ends whatever the old one left pending.

And a commit that was acknowledged may still be forgotten. The coordinator acknowledges it before it writes the end of the transaction
(a marker) into each log. Dies it in between, it writes them when it is back, but passes over logs that have no leader at that moment and
calls the transaction complete all the same (Apache Kafka 4.3, "likely deleted already"; a single broker that comes back soon after
`kill -9` does so every time). What was written then lies open, unreadable, until the next transaction of this id ends it, its own way.
So nothing may rest on a transaction before it has ended in its logs: `settle` looks, and takes one back that does not end.

Knows nothing of windows, verdicts, or where the offsets come from.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from stream.errors import ConfigurationError, FencedError, TakenBackError, TransientError
from stream.kafka_access import KafkaDoor, forbidden, is_forbidden, quiet_logger
from stream.kafka_consumer import STABLE_WITHIN_S, Place, ends_of
from stream.notes import logger_of, note

TRANSACTION_TIMEOUT_MS = 10_000
_GRACE_S = 3.0
_REOPEN_AT_ONCE_S = 5.0
_ENDS_WITHIN_S = 3.0
_LOG = logger_of("kafka")

# what the broker says to a producer whose transactional id somebody else has taken - or whose transaction it has timed out itself
_FENCING = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 - librdkafka's own codes begin with an underscore
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
    }
)


class Outgoing(NamedTuple):
    """A record to write. Without a partition its key decides (murmur2_random); a timestamp is wall clock, and the broker's if 0."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int = -1
    headers: Sequence[tuple[str, bytes]] = ()


def producer_config(client: Mapping[str, Any]) -> dict[str, Any]:
    """Properties of every producer here: the project's partitioner, all acknowledgements, larger records than the default allows."""
    return {
        "partitioner": "murmur2_random",  # librdkafka's default agrees with Java's for a third of keys only
        "enable.idempotence": True,
        "message.max.bytes": 16_000_000,
        "compression.type": "lz4",
        **client,
    }


def transactional_config(client: Mapping[str, Any], transactional_id: str) -> dict[str, Any]:
    """Properties of a transactional producer: short time-out, and no waiting that a short transaction would feel."""
    return {
        **producer_config(client),
        "transactional.id": transactional_id,
        # an open transaction of a dead worker holds up every reader and its successor's recovery for this long
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        # after a commit the broker answers CONCURRENT_TRANSACTIONS until its markers are written; the default waits 100 ms each time
        "retry.backoff.ms": 2,
        "linger.ms": 0,
    }


class TransactionalProducer:
    """One transactional id and the producer that holds it at the moment.

    Not for several threads. `make` makes the library's producer from its properties.
    """

    def __init__(
        self,
        client: Mapping[str, Any],
        transactional_id: str,
        *,
        make: Callable[[dict[str, Any]], Producer] = Producer,
        on_log: Any = None,
        still_open: "StillOpen | None" = None,
    ) -> None:
        """Say how to connect; `reopen` (or the first `transact`) does it.

        `on_log` is a `logging.Logger` for librdkafka's messages. Without `still_open`, as for a broker that is never restarted, no
        transaction is looked after once it has been acknowledged.
        """
        self.transactional_id = transactional_id
        self._client = client
        self._config = transactional_config(client, transactional_id)
        # otherwise the library writes what ends a producer to standard error, besides the exception that says it
        self._config["logger"] = on_log if on_log is not None else quiet_logger()
        self._make = make
        self._producer: Producer | None = None
        self._failures: list[KafkaError] = []
        self._still_open = still_open
        self._written: dict[Place, int | None] = {}
        """Where the last transaction has written, and the offset of its last record there once that is known."""
        self._offsets: tuple[Sequence[TopicPartition], Any] = ((), None)
        self._sent: Sequence[Outgoing] | None = None
        """What the last transaction sent, once it has been acknowledged and until it has ended everywhere."""

    def reopen(self, within_s: float = 60.0) -> None:
        """Put a new producer in the place of the old one. On return no transaction of this transactional id is pending.

        Raises:
            TransientError: the broker did not answer in time.
            FencedError: the id was taken by another in that very moment.
            ConfigurationError: the broker does not allow this transactional id.
        """
        self.discard()
        producer = self._make(self._config)
        try:
            _until_answered(producer.init_transactions, within_s)
        except KafkaException as error:
            raise _sorted_out(error, "cannot begin", fenced=True) from error
        self._producer = producer

    def discard(self) -> None:
        """Drop the producer with whatever it had not written. A pending transaction ends by `reopen` or by its time-out."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaException):
                producer.purge(blocking=False)
            # not close(): that aborts and flushes, for ever when the broker is away. The object's end does neither.
            del producer
        self._failures = []

    def transact(
        self,
        records: Iterable[Outgoing],
        offsets: Sequence[TopicPartition] = (),
        group: Any = None,
        within_s: float = 2 * TRANSACTION_TIMEOUT_MS / 1000,
    ) -> None:
        """Write the records and commit the offsets (next offsets to read, metadata included) as one transaction.

        `group` is what `Consumer.consumer_group_metadata()` gave when the partitions were assigned: kept from then, it is a stale
        member's mark, and its commit is refused.

        Raises:
            TransientError: failed or uncertain; there is a new producer, or will be with the next call. Recover and go on.
            FencedError: another producer has taken this transactional id.
            ConfigurationError: the broker does not allow it.
        """
        self.settle()
        if self._producer is None:
            self.reopen()
        producer = self._producer
        assert producer is not None  # noqa: S101 - for the type checker: reopen raises or sets it
        began = time.monotonic()
        try:
            self._attempt(producer, records, offsets, group, within_s)
        except KafkaException as error:
            # a transaction that outlived its time-out was ended by the broker, which then answers as it does to a fenced producer
            young = time.monotonic() - began < TRANSACTION_TIMEOUT_MS / 1000
            # why a record was not taken is told before what that did to the transaction
            refused = [KafkaException(each) for each in self._failures if is_forbidden(each)]
            failure = _sorted_out(refused[0] if refused else error, "failed or uncertain", fenced=young)
            self.discard()
            if isinstance(failure, TransientError):
                # what is left pending would hold up the recovery of this very worker until its time-out
                with contextlib.suppress(TransientError):
                    self.reopen(_REOPEN_AT_ONCE_S)
            raise failure from error
        except BaseException:
            self.discard()
            raise

    def settle(self) -> None:
        """Return when the last transaction has ended in its logs: committed for good, or gone if it had failed.

        Where a broker has forgotten the end of what it had called committed, what lies open is taken back and sent again: the other
        logs have got the end, and keep what they hold.

        Raises:
            TakenBackError: it could not be sent again, so some of it is gone; recover.
            TransientError: nobody could be asked.
            FencedError, ConfigurationError: as `transact`.
        """
        self._settle(again=True)

    def _settle(self, *, again: bool) -> None:
        """As `settle`; without `again` what was taken back is not sent again."""
        if self._still_open is None or not self._written:
            return
        if self._producer is None:
            self.reopen(_REOPEN_AT_ONCE_S)  # what was pending ends by this
        deadline, pause_s = None, 0.002
        while places := self._still_open(self._written):
            now = time.monotonic()
            deadline = deadline or now + _ENDS_WITHIN_S
            if now >= deadline:
                break
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.1)
        else:
            self._written, self._sent = {}, None
            return
        self._take_back(places, *self._offsets)
        sent, self._written, self._sent = self._sent, {}, None
        told = "the broker has forgotten the end of a transaction that it had called committed; taken back, it goes again"
        note(_LOG, logging.WARNING, "taken-back", told, topics=sorted({place.topic for place in places}))
        if sent is None or not again:
            # who recovers looks at the logs, and does not rest on what is committed alone
            raise TakenBackError(told)
        try:
            self.transact([each for each in sent if Place(each.topic, each.partition) in places], *self._offsets)
            self._settle(again=False)
        except (TransientError, FencedError) as error:
            raise TakenBackError(told) from error

    def lying_open(self, places: Iterable[Place]) -> Sequence[Place]:
        """Those of the logs in which a transaction from before this call still lies open when its time-out must have ended it.

        Raises:
            TransientError: the broker cannot be asked.
        """
        if self._still_open is None:
            return ()
        left, deadline = self._still_open(dict.fromkeys(places)), time.monotonic() + STABLE_WITHIN_S
        while left and time.monotonic() < deadline:
            time.sleep(0.1)
            left = self._still_open({place: end - 1 for place, end in left.items()})
        return list(left)

    def end_left_open(self, writers: Iterable[str], places: Iterable[Place], offsets: Sequence[TopicPartition], group: Any) -> None:
        """End what a writer that is gone has left open: only one with its transactional id can.

        Among the writers may be some that live and have nothing open; they are fenced, and begin anew.

        Raises:
            TransientError: the broker cannot be asked.
        """
        if self._still_open is None:
            return
        left = self._still_open(dict.fromkeys(places))
        self._written = {}
        for writer in sorted({self.transactional_id, *writers}):
            heir = self if writer == self.transactional_id else TransactionalProducer(self._client, writer, make=self._make)
            note(_LOG, logging.WARNING, "left-open", "ending what a writer that is gone has left open", writer=writer, logs=len(left))
            try:
                heir._take_back(left, offsets, group)  # noqa: SLF001 - one of ours
            except FencedError:
                continue  # somebody lives under that name, and ends it
            finally:
                if heir is not self:
                    heir.discard()

    def _take_back(self, places: Iterable[Place], offsets: Sequence[TopicPartition], group: Any) -> None:
        """End what lies open in these logs, and in that of the offsets, by aborting a transaction of this id that wrote to all of them."""
        self.reopen()
        producer = self._producer
        assert producer is not None  # noqa: S101 - as above
        try:
            producer.begin_transaction()
            for place in places:
                producer.produce(place.topic, key=b"taken-back", value=None, partition=place.partition)
            if producer.flush(TRANSACTION_TIMEOUT_MS / 1000):
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "a log takes no record"))  # noqa: SLF001
            with contextlib.suppress(KafkaException):
                # whatever the group thinks of the commit, its log is part of the transaction from here on
                _watched(lambda left_s: producer.send_offsets_to_transaction(list(offsets), group, left_s), TRANSACTION_TIMEOUT_MS / 1000)
            _watched(producer.abort_transaction, TRANSACTION_TIMEOUT_MS / 1000)
        except KafkaException as error:
            self.discard()
            raise _sorted_out(error, "does not end", fenced=True) from error

    def _attempt(
        self, producer: Producer, records: Iterable[Outgoing], offsets: Sequence[TopicPartition], group: Any, within_s: float
    ) -> None:
        producer.begin_transaction()
        sent, self._sent, self._offsets = list(records), None, (offsets, group)
        for record in sent:
            self._produce(producer, record)
        producer.poll(0)
        if offsets:
            _until_answered(lambda left_s: producer.send_offsets_to_transaction(list(offsets), group, left_s), within_s)
        # commits only when every record has been delivered; never repeated after a time-out, see above
        _watched(producer.commit_transaction, within_s)
        if self._failures:
            raise KafkaException(self._failures[0])
        if self._still_open is not None and all(each.partition >= 0 for each in sent):
            self._sent = sent

    def _produce(self, producer: Producer, record: Outgoing) -> None:
        if record.partition >= 0:
            self._written[Place(record.topic, record.partition)] = None
        while True:
            try:
                producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    partition=record.partition,
                    headers=list(record.headers),
                    on_delivery=self._on_delivery,
                )
            except BufferError:
                producer.poll(0.1)
            else:
                return

    def _on_delivery(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._failures.append(error)
        else:
            self._written[Place(message.topic(), message.partition())] = message.offset()


StillOpen = Callable[[Mapping[Place, "int | None"]], Mapping[Place, int]]
"""Those of the logs in which a transaction lies open at or before that offset; None: anywhere. With each, the offset behind that."""


def still_open(client: Mapping[str, Any]) -> StillOpen:
    """Ask the broker, over a connection that is made with the first question and kept."""
    doors: list[KafkaDoor] = []

    def ask(written: Mapping[Place, int | None]) -> Mapping[Place, int]:
        if not doors:
            doors.append(KafkaDoor(client))
            doors[0].met = True  # by the producer
        # what was written since this end was read does no harm: the other one is read later
        ends = {place: offset + 1 if offset is not None else None for place, offset in written.items()}
        unknown = [place for place, end in ends.items() if end is None]
        known = {**ends, **ends_of(doors[0], unknown)} if unknown else ends
        stable = ends_of(doors[0], written, committed=True)
        return {place: end for place, end in known.items() if end is not None and stable[place] < end}

    return ask


def _until_answered(call: Callable[[float], object], within_s: float) -> None:
    """Repeat a call that may be repeated until it succeeds; librdkafka says which errors those are."""
    deadline = time.monotonic() + within_s
    while True:
        left_s = max(deadline - time.monotonic(), 0.1)
        try:
            _watched(call, left_s)
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() >= deadline:
                raise
        else:
            return


def _watched(call: Callable[[float], object], within_s: float) -> None:
    """Make a call that may never return although it was given a time-out.

    librdkafka's send_offsets_to_transaction was seen to wait for ever when its broker was killed in its midst. The call then stays
    behind in a thread of its own, which keeps its producer alive; a later producer of the same transactional id fences it.

    Raises:
        KafkaException: as the call does; a time-out when it has not returned a few seconds after its own.
    """
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            call(within_s)
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=run, name="daywatch-transaction", daemon=True)
    thread.start()
    thread.join(within_s + _GRACE_S)
    if not outcome:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "librdkafka has not returned"))  # noqa: SLF001
    if outcome[0] is not None:
        raise outcome[0]


def _sorted_out(error: KafkaException, what: str, *, fenced: bool) -> TransientError | FencedError | ConfigurationError:
    cause: KafkaError = error.args[0]
    if is_forbidden(cause):
        return forbidden(cause)
    if fenced and cause.code() in _FENCING:
        return FencedError("another process works under the same transactional id; give each its own `instance`")
    return TransientError(f"Kafka transaction {what}: {cause.name()} ({cause.str()})")
