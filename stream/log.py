"""What a worker sees of the logs: records by topic-partition, a group's positions, and one transaction at a time.

The seams `Source` and `Outlet`, and their in-memory twin `MemoryLog`. Knows no broker, no window and no event.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from stream.clock import Clock, ManualClock
from stream.errors import FencedError, TransientError
from stream.kinds import Millis

Headers: TypeAlias = list[tuple[str, bytes]]
NO_OFFSET = -1


class TopicPartition(NamedTuple):
    """One log."""

    topic: str
    partition: int


class Raw(Protocol):
    """What is asked of a single record only when something is special about it."""

    def offset(self) -> int | None:
        """Its place in its log; None for none."""
        ...

    def headers(self) -> list[tuple[str, bytes]] | None:
        """Its headers, None where it has none."""
        ...


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one topic-partition in offset order; the lists run in parallel, `stamps` in epoch ms."""

    at: TopicPartition
    values: list[bytes | None]
    keys: list[bytes | None]
    stamps: Sequence[int] | npt.NDArray[np.int64]
    raw: Sequence[Raw]
    next_offset: int


@dataclass(frozen=True, slots=True)
class Polled:
    """The answer to one poll: what came, and at which offset logs were found to end; `answered` unless the broker was away."""

    records: list[Records] = field(default_factory=list)
    ended: Mapping[TopicPartition, int] = field(default_factory=dict)
    answered: bool = True


class Out(NamedTuple):
    """A record to send."""

    at: TopicPartition
    key: bytes | None
    value: bytes | None
    headers: Headers = []  # noqa: RUF012 - never changed, and a tuple of fields cannot have a factory


class Commit(NamedTuple):
    """Where a group stands in one log, and a note that goes with it."""

    offset: int
    note: str = ""


class Newest(NamedTuple):
    """The last record of a log."""

    key: bytes | None
    value: bytes | None
    headers: Headers | None


class Source(Protocol):
    """A member of a consumer group that reads several topics of equal partition count."""

    def poll(self, limit: int, timeout_ms: Millis) -> Polled:
        """Up to `limit` records; sooner than `timeout_ms` only when there are some. Assignments change only in here."""
        ...

    def assignment(self) -> tuple[int, frozenset[int]]:
        """A number that grows with every change of assignment, and the partitions held."""
        ...

    def joined(self) -> bool:
        """Whether the group has said what this member holds, be it nothing; False while it waits for that."""
        ...

    def committed(self, partitions: Iterable[int]) -> dict[TopicPartition, Commit]:
        """What the group has committed, once no transaction over it is pending; logs without a commit are left out."""
        ...

    def bounds(self, partitions: Iterable[int]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and end offset of each log."""
        ...

    def newest(self, logs: Iterable[TopicPartition]) -> dict[TopicPartition, Newest | None]:
        """The last committed record of each of any topics' logs, requests to forget somebody apart.

        None for a log that holds something, but no such record: what was written was taken back. Empty logs are left out.
        """
        ...

    def start(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets, and from these logs only."""
        ...

    def pause(self, logs: Iterable[TopicPartition]) -> None:
        """Deliver nothing of these until they are resumed."""
        ...

    def resume(self, logs: Iterable[TopicPartition]) -> None:
        """Deliver these again."""
        ...

    def group(self) -> object:
        """The group's metadata of the moment when the partitions were assigned."""
        ...

    def close(self) -> None:
        """Leave the group."""
        ...


class Outlet(Protocol):
    """Sends records and commits a group's offsets, both or neither."""

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        """One transaction. Returns when it is committed.

        Raises:
            TransientError: it failed, or nobody knows; recover from what is committed.
            FencedError: this group member no longer owns what it commits.
        """
        ...

    def settle(self) -> None:
        """Return when what was sent last is out for good; nothing else may rest on it before.

        Raises:
            TransientError: it is not, after all; recover from what is committed.
        """
        ...

    def lying_open(self, logs: Iterable[TopicPartition]) -> Sequence[TopicPartition]:
        """Those of the logs in which a transaction from before this call still lies open when its time-out must have ended it.

        Raises:
            TransientError: the broker cannot be asked.
        """
        ...

    def end_left_open(
        self, writers: Iterable[str], logs: Iterable[TopicPartition], commits: Iterable[TopicPartition], group: object
    ) -> None:
        """End what one of these writers has left open in these logs and in the group's commits, as if it had never been sent.

        Raises:
            TransientError: the broker cannot be asked.
        """
        ...

    def close(self) -> None:
        """Flush and let go."""
        ...


class OutletAround(Outlet):
    """An outlet around another one, which does what is not overridden."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        """One transaction."""
        self._outlet.transact(records, commits, group)

    def settle(self) -> None:
        """Return when what was sent last is out for good."""
        self._outlet.settle()

    def lying_open(self, logs: Iterable[TopicPartition]) -> Sequence[TopicPartition]:
        """Those of the logs in which a transaction lies open."""
        return self._outlet.lying_open(logs)

    def end_left_open(
        self, writers: Iterable[str], logs: Iterable[TopicPartition], commits: Iterable[TopicPartition], group: object
    ) -> None:
        """End what one of these writers has left open."""
        self._outlet.end_left_open(writers, logs, commits, group)

    def close(self) -> None:
        """Flush and let go."""
        self._outlet.close()


class _Kept(NamedTuple):
    key: bytes | None
    value: bytes | None
    stamp: int
    kept_headers: Headers
    place: int

    def offset(self) -> int:
        return self.place

    def headers(self) -> Headers | None:
        return self.kept_headers or None


class MemoryLog:
    """Topics in memory with one consumer group: the twin of a broker, with its transactions."""

    def __init__(self, topics: Iterable[str], partitions: int, clock: Clock | None = None) -> None:
        self.partitions = partitions
        self.clock = clock or ManualClock()
        self.logs: dict[TopicPartition, list[_Kept]] = {TopicPartition(t, p): [] for t in topics for p in range(partitions)}
        self.committed: dict[TopicPartition, Commit] = {}
        self.generation = 0

    def append(
        self, at: TopicPartition, key: bytes | None, value: bytes | None, headers: Headers | None = None, stamp: int | None = None
    ) -> None:
        """Write one record at the end of a log."""
        log = self.logs.setdefault(at, [])
        log.append(_Kept(key, value, self.clock.now_ms() if stamp is None else stamp, headers or [], len(log)))

    def values(self, topic: str) -> list[bytes]:
        """All data records of a topic, partition by partition."""
        return [kept.value for at in sorted(self.logs) if at.topic == topic for kept in self.logs[at] if kept.value is not None]

    def records(self, topic: str) -> list[_Kept]:
        """All records of a topic, marks included."""
        return [kept for at in sorted(self.logs) if at.topic == topic for kept in self.logs[at]]


class MemorySource:
    """Reads a `MemoryLog` as the newest member of its group; older members become zombies."""

    def __init__(self, log: MemoryLog, topics: Sequence[str], partitions: Iterable[int] | None = None) -> None:
        self._log, self._topics = log, list(topics)
        log.generation += 1
        self._generation = log.generation
        self._partitions = frozenset(range(log.partitions) if partitions is None else partitions)
        self._at: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    def _logs(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for topic in self._topics for partition in sorted(partitions)]

    def poll(self, limit: int, timeout_ms: Millis) -> Polled:
        """Records of all logs in turn, up to the limit."""
        del timeout_ms
        if self._generation != self._log.generation:
            self._partitions = frozenset()
            return Polled()
        found, ended = [], {}
        for at, position in self._at.items():
            if at in self._paused:
                continue
            kept = self._log.logs[at][position : position + limit]
            limit -= len(kept)
            if kept:
                self._at[at] = position + len(kept)
                found.append(
                    Records(at, [k.value for k in kept], [k.key for k in kept], [k.stamp for k in kept], kept, position + len(kept))
                )
            if self._at[at] == len(self._log.logs[at]):
                ended[at] = self._at[at]
        return Polled(found, ended)

    def assignment(self) -> tuple[int, frozenset[int]]:
        """The partitions it was made with, until a poll tells it that a newer member has them."""
        return (1, self._partitions) if self._partitions else (2, frozenset())

    def joined(self) -> bool:
        """A member from the start, until it is none any more."""
        return bool(self._partitions)

    def committed(self, partitions: Iterable[int]) -> dict[TopicPartition, Commit]:
        """What the group has committed."""
        return {at: self._log.committed[at] for at in self._logs(partitions) if at in self._log.committed}

    def bounds(self, partitions: Iterable[int]) -> dict[TopicPartition, tuple[int, int]]:
        """Logs begin at 0 here."""
        return {at: (0, len(self._log.logs[at])) for at in self._logs(partitions)}

    def newest(self, logs: Iterable[TopicPartition]) -> dict[TopicPartition, Newest | None]:
        """The last record of each log that holds one."""
        # imported here because it needs this module
        from stream.forget_request import is_forget_request

        kept = {at: [each for each in self._log.logs[at] if not is_forget_request(each.key, each.value, each.headers())] for at in logs}
        return {at: Newest(found[-1].key, found[-1].value, found[-1].headers()) for at, found in kept.items() if found}

    def start(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets."""
        self._at = dict(positions)
        self._paused.clear()

    def pause(self, logs: Iterable[TopicPartition]) -> None:
        """Deliver nothing of these."""
        self._paused.update(logs)

    def resume(self, logs: Iterable[TopicPartition]) -> None:
        """Deliver these again."""
        self._paused.difference_update(logs)

    def group(self) -> object:
        """The generation in which this member joined."""
        return self._generation

    def close(self) -> None:
        """Nothing to leave."""


class MemoryOutlet:
    """Sends to a `MemoryLog`, all or nothing."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        """Append the records and commit; refuse a member of an older generation."""
        if group != self._log.generation:
            raise FencedError("a newer member owns these partitions")
        for record in records:
            if record.at not in self._log.logs:
                raise TransientError(f"topic {record.at.topic} has no partition {record.at.partition}")
        for record in records:
            self._log.append(*record)
        self._log.committed.update(commits)

    def settle(self) -> None:
        """What is sent is out."""

    def lying_open(self, logs: Iterable[TopicPartition]) -> Sequence[TopicPartition]:
        """None of them."""
        del logs
        return ()

    def end_left_open(
        self, writers: Iterable[str], logs: Iterable[TopicPartition], commits: Iterable[TopicPartition], group: object
    ) -> None:
        """Nothing is ever left open."""

    def close(self) -> None:
        """Nothing to let go of."""
