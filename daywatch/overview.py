"""How a namespace stands: facts of store, groups and logs put together, as values for people and for scripts. Knows no server.

Times are UTC epoch milliseconds, None where a log has shown nothing yet. A lag counts offsets, so transactions' markers, which no
worker gets to see, are in it: a log that ends in one has a lag of 1 though nothing is left to read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from stream.groups import Group
from stream.kinds import KINDS, Kind, Millis
from stream.log import TopicPartition
from windowing.calendar import Calendar
from windowing.clocks import LONG_AGO
from windowing.ledger import Place, decode_clocks
from windowing.upkeep import Held

Bounds = Mapping[TopicPartition, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class LogState:
    """One of the five logs of a partition: how far it has been read, how far that is committed, and where it ends."""

    kind: str
    topic: str
    clock_ms: Millis | None
    position: int | None
    committed: int | None
    end: int
    lag: int


@dataclass(frozen=True, slots=True)
class PartitionState:
    """A partition as the store has it; epoch 0 is one that no worker has ever claimed."""

    partition: int
    epoch: int
    owner: str | None
    watermark_ms: Millis | None
    closed_to_ms: Millis | None
    """End of the newest window that is closed."""
    logs: tuple[LogState, ...]
    panes: int
    open_windows: int | None
    """Of single users; None where they were not counted."""
    profiles: int
    bytes: int | None
    lag: int


@dataclass(frozen=True, slots=True)
class GroupState:
    """A consumer group: who is in it, and how much of what it reads is still to be read, by partition."""

    group: str
    role: str
    state: str
    members: tuple[str, ...]
    topics: tuple[str, ...]
    lag: int
    lag_by_partition: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Letters:
    """What lies in the topic of dead letters: how many records, by reason where they were counted one by one."""

    records: int
    exact: bool
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Overview:
    """A namespace at one moment."""

    namespace: str
    at_ms: Millis
    partitions: tuple[PartitionState, ...]
    groups: tuple[GroupState, ...]
    dead_letters: Letters
    operations_open: int
    operations: int
    store_used: int | None
    store_most: int | None

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, with totals."""
        found = asdict(self)
        found["totals"] = {
            "partitions": len(self.partitions),
            "owned": sum(one.owner is not None for one in self.partitions),
            "lag": sum(one.lag for one in self.partitions),
            "panes": sum(one.panes for one in self.partitions),
            "open_windows": _sum(one.open_windows for one in self.partitions),
            "profiles": sum(one.profiles for one in self.partitions),
            "bytes": _sum(one.bytes for one in self.partitions),
            "watermark_ms": self.watermark_ms,
        }
        return found

    @property
    def watermark_ms(self) -> Millis | None:
        """The least of all partitions' watermarks; None while one has none."""
        marks = [one.watermark_ms for one in self.partitions]
        return min((mark for mark in marks if mark is not None), default=None) if None not in marks else None


def _sum(values: Iterable[int | None]) -> int | None:
    found = list(values)
    return None if None in found else sum(value for value in found if value is not None)


def partition_state(
    held: Held,
    topics: Mapping[Kind, str],
    calendar: Calendar | None,
    group: Group,
    bounds: Bounds,
    open_windows: int | None,
) -> PartitionState:
    """A partition of the window worker: what the store holds of it, what is committed, and what there is to read.

    Args:
        held: the store's facts.
        topics: names of the event topics.
        calendar: what its state was made with, None where there is none.
        group: the window workers' group.
        bounds: start and end of the event logs.
        open_windows: as counted from its panes.
    """
    place = Place.decode(held.at) if held.at else None
    clocks = decode_clocks(held.state) if held.state else None
    logs = []
    for number, kind in enumerate(KINDS):
        at = TopicPartition(topics[kind], held.number)
        start, end = bounds[at]
        position = place.positions[number] if place else None
        commit = group.commits.get(at)
        clock_ms = _known(clocks[kind].at_ms) if clocks else None
        lag = max(0, end - (start if position is None else max(start, position)))
        logs.append(LogState(kind.value, at.topic, clock_ms, position, commit.offset if commit else None, end, lag))
    marks = [log.clock_ms for log in logs]
    closed = place.closed.window if place else LONG_AGO
    return PartitionState(
        held.number,
        held.epoch,
        owner_of(group, TopicPartition(topics[KINDS[0]], held.number)),
        None if None in marks else min(mark for mark in marks if mark is not None),
        calendar.window_end(closed) if calendar is not None and closed != LONG_AGO else None,
        tuple(logs),
        len(held.panes),
        open_windows,
        held.profiles,
        held.bytes,
        sum(log.lag for log in logs),
    )


def _known(ms: Millis) -> Millis | None:
    return None if ms == LONG_AGO else ms


def owner_of(group: Group, at: TopicPartition) -> str | None:
    """Who of a group holds a log: what its client calls itself, and where it runs."""
    return next((f"{member.client}@{member.host}" for member in group.members if at in member.logs), None)


def group_state(group: Group, role: str, reads: Sequence[str], bounds: Bounds, positions: Mapping[TopicPartition, int]) -> GroupState:
    """A group and its lag over the topics it reads; `positions` are known better than by its commits, for workers that have a store."""
    lag: dict[int, int] = {}
    for at, (start, end) in sorted(bounds.items()):
        if at.topic in reads:
            commit = group.commits.get(at)
            position = positions.get(at, commit.offset if commit else start)
            lag[at.partition] = lag.get(at.partition, 0) + max(0, end - max(start, position))
    members = tuple(sorted(f"{member.client}@{member.host}" for member in group.members))
    return GroupState(group.name, role, group.state, members, tuple(reads), sum(lag.values()), lag)
