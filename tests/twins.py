"""Twins in memory of the store and of Kafka's producer that do wrong at one effect of the write path, for the tests of every worker.

An effect is whatever changes something outside the worker: a script of the store, a call of the producer. Each is counted; at the one
that was chosen, one thing goes wrong (`Wrong`), and never again. The worker's own code, and the transactional producer's, are real.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from stream.errors import StaleError, TransientError
from stream.kafka_source import KafkaOutlet
from stream.kafka_transactions import TransactionalProducer
from stream.log import Commit, MemoryLog, MemorySource, Out, TopicPartition
from windowing.store import Advance, Claimed, MemoryStore, Start

_Answer = TypeVar("_Answer")


class Wrong(StrEnum):
    """What may go wrong at an effect."""

    DIES_BEFORE = "the process ends before it"
    DIES_AFTER = "the process ends after it"
    FAILS = "it is not done, and an error comes"
    REPLY_LOST = "it is done, and an error comes"
    TWICE = "the reply is lost, and the client does it a second time"
    STALE = "the store answers that it stands elsewhere"
    OLDER = "the store comes back without its last writes before it"
    TAKEN_OVER = "another worker has taken over and done all the work before it"


STORE = frozenset(Wrong)
PRODUCER = frozenset(Wrong) - {Wrong.STALE, Wrong.OLDER}
# a commit is never repeated, and records are only put into memory until then
COMMIT, PRODUCE = PRODUCER - {Wrong.TWICE}, frozenset({Wrong.DIES_BEFORE, Wrong.FAILS})


class Died(BaseException):
    """The end of a process: nothing catches it."""


@dataclass(eq=False)
class Transaction:
    """One that is open at the broker, of the producer with this transactional id."""

    owner: str = ""
    records: list[Out] = field(default_factory=list)
    commits: dict[TopicPartition, Commit] = field(default_factory=dict)
    ended: bool = False


@dataclass
class World:
    """A broker and a store, the effects so far, and what is to go wrong at which."""

    log: MemoryLog
    store: MemoryStore = field(default_factory=MemoryStore)
    place: int = -1
    wrong: Wrong | None = None
    heir: Callable[[], None] = lambda: None
    """Lets another worker take over, and do all that is to be done."""
    effects: list[tuple[str, frozenset[Wrong]]] = field(default_factory=list)
    """Each effect so far, and what could have gone wrong at it."""
    older: list[Mapping[int, object]] = field(default_factory=list)
    """The store as it was before its last writes, since it was synced: the oldest is what may come back."""
    epochs: dict[str, int] = field(default_factory=dict)
    """Of the producers: by transactional id."""
    pending: list[Transaction] = field(default_factory=list)
    backwards: list[str] = field(default_factory=list)
    """Commits that went back, which none may."""

    def effect(self, name: str, may: frozenset[Wrong], act: Callable[[], _Answer], fails: Callable[[], Exception]) -> _Answer:
        """Do something, or do it wrong."""
        self.effects.append((name, may))
        wrong = self.wrong if len(self.effects) - 1 == self.place else None
        if wrong is Wrong.DIES_BEFORE:
            raise Died
        if wrong is Wrong.FAILS:
            raise fails()
        if wrong is Wrong.STALE:
            raise StaleError("not where this cycle began")
        if wrong is Wrong.OLDER and self.older:
            self.store.come_back_as(self.older[0])
        if wrong is Wrong.TAKEN_OVER:
            self.heir()
        answer = act()
        if wrong is Wrong.TWICE:
            answer = act()
        if wrong is Wrong.DIES_AFTER:
            raise Died
        if wrong is Wrong.REPLY_LOST:
            raise fails()
        return answer

    def commit(self, transaction: Transaction) -> None:
        """End a transaction: all of it is there."""
        self.end(transaction)
        for record in transaction.records:
            self.log.append(*record)
        for at, commit in transaction.commits.items():
            if at in self.log.committed and commit.offset < self.log.committed[at].offset:
                self.backwards.append(f"{at} went from {self.log.committed[at].offset} back to {commit.offset}")
        self.log.committed.update(transaction.commits)

    def end(self, transaction: Transaction) -> None:
        """Let a transaction be over."""
        transaction.ended = True
        if transaction in self.pending:
            self.pending.remove(transaction)


def _no_reply() -> Exception:
    return TransientError("no reply")


class TwinStore:
    """`WindowStore`: one effect for each script, which is one partition's."""

    def __init__(self, world: World) -> None:
        self._world = world

    def claim(self, partition: int, layout: str) -> Claimed:
        act: Callable[[], Claimed] = lambda: self._world.store.claim(partition, layout)  # noqa: E731
        return self._world.effect("claim", STORE - {Wrong.STALE}, act, _no_reply)

    def look(self, partition: int) -> tuple[str, str]:
        return self._world.store.look(partition)

    def confirm(self, epochs: Mapping[int, int]) -> None:
        may = frozenset({Wrong.DIES_BEFORE, Wrong.FAILS, Wrong.TAKEN_OVER})
        self._world.effect("confirm", may, lambda: self._world.store.confirm(epochs), _no_reply)

    def begin(self, starts: Sequence[Start]) -> None:
        for start in starts:
            self._world.effect("begin", STORE - {Wrong.STALE}, lambda start=start: self._world.store.begin([start]), _no_reply)  # type: ignore[misc]
        # what is on disk comes back
        self._world.effect("fsync", frozenset({Wrong.DIES_BEFORE, Wrong.DIES_AFTER, Wrong.FAILS}), self._synced, _no_reply)

    def _synced(self) -> None:
        self._world.older = []

    def panes(self, partition: int, panes: Sequence[int]) -> Iterator[tuple[int, list[bytes]]]:
        return self._world.store.panes(partition, panes)

    def profiles(self, partition: int) -> Iterator[list[tuple[str, bytes]]]:
        return self._world.store.profiles(partition)

    def advance(self, changes: Sequence[Advance]) -> None:
        for change in changes:
            self._world.effect("advance", STORE, lambda change=change: self._advance(change), _no_reply)  # type: ignore[misc]

    def _advance(self, change: Advance) -> None:
        before = self._world.store.snapshot()
        self._world.store.advance([change])
        self._world.older = [*self._world.older, before][-3:]


class TwinProducer:
    """What is used of `confluent_kafka.Producer`, on a `MemoryLog`: transactions, fencing by transactional id and by generation."""

    def __init__(self, world: World, properties: Mapping[str, Any]) -> None:
        self._world, self._id = world, str(properties["transactional.id"])
        self._epoch, self._open = 0, Transaction(self._id)

    def init_transactions(self, _timeout_s: float = 0.0) -> None:
        self._effect("init", PRODUCER, self._init)

    def _init(self) -> None:
        # whatever was pending under this id is over
        self._epoch = self._world.epochs[self._id] = self._world.epochs.get(self._id, 0) + 1
        for transaction in [each for each in self._world.pending if each.owner == self._id]:
            self._world.end(transaction)

    def begin_transaction(self) -> None:
        self._open = Transaction(self._id)

    def produce(
        self, topic: str, *, value: Any = None, key: Any = None, partition: int = -1, headers: Any = (), on_delivery: Any = None
    ) -> None:
        record = Out(TopicPartition(topic, partition), key, value, list(headers))
        if self._open.records:
            # records are only put into memory until the commit: what goes wrong at the first may as well at any other
            self._open.records.append(record)
        else:
            self._effect("produce", PRODUCE, lambda: self._open.records.append(record))

    def poll(self, _timeout_s: float = 0.0) -> int:
        return 0

    def flush(self, _timeout_s: float = 0.0) -> int:
        return 0

    def purge(self, **_how: Any) -> None: ...

    def send_offsets_to_transaction(self, offsets: Iterable[Any], group: Any, _timeout_s: float = 0.0) -> None:
        commits = {TopicPartition(at.topic, at.partition): Commit(at.offset, at.metadata or "") for at in offsets}
        self._effect("offsets", PRODUCER, lambda: self._offsets(commits, group))

    def _offsets(self, commits: dict[TopicPartition, Commit], group: Any) -> None:
        self._check()
        if group != self._world.log.generation:
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "an older generation", False, False, True))
        self._open.commits.update(commits)
        if self._open not in self._world.pending:
            self._world.pending.append(self._open)

    def commit_transaction(self, _timeout_s: float = 0.0) -> None:
        self._effect("commit", COMMIT, self._commit)

    def _commit(self) -> None:
        self._check()
        self._world.commit(self._open)

    def _check(self) -> None:
        if self._world.epochs.get(self._id) != self._epoch or self._open.ended:
            raise KafkaException(KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "timed out, or another has this id", False, False, True))

    def _effect(self, name: str, may: frozenset[Wrong], act: Callable[[], None]) -> None:
        # no error that a repetition mends: the library repeats those itself
        self._world.effect(name, may, act, lambda: KafkaException(KafkaError(KafkaError._TIMED_OUT, "no reply")))


class TwinSource(MemorySource):
    """Says what is committed when no transaction is pending any more: one that is open then has run into its time-out."""

    def __init__(self, world: World, topics: Sequence[str]) -> None:
        super().__init__(world.log, topics)
        self._world = world

    def committed(self, partitions: Iterable[int]) -> dict[TopicPartition, Commit]:
        for transaction in list(self._world.pending):
            self._world.end(transaction)
        return super().committed(partitions)


def twin_outlet(world: World, transactional_id: str) -> KafkaOutlet:
    """The real outlet and the real transactional producer on the twin of Kafka's."""
    made: Any = lambda properties: TwinProducer(world, properties)  # noqa: E731
    return KafkaOutlet(TransactionalProducer({"bootstrap.servers": "nowhere"}, transactional_id, make=made))


def every_wrong(effects: Sequence[tuple[str, frozenset[Wrong]]]) -> list[tuple[int, Wrong]]:
    """All that can go wrong in a run with these effects: at which effect, and what."""
    return [(place, wrong) for place, (_, may) in enumerate(effects) for wrong in Wrong if wrong in may]
