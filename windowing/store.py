"""Where a partition's state rests between cycles: the seam, and its in-memory twin. Knows nothing of events or features.

Every write is a compare-and-set on where the cycle began, so that a repeated call is harmless and a store that came back
older, or a second owner, is noticed before anything is mixed.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stream.errors import FencedError, RefusedError, StaleError


@dataclass(frozen=True, slots=True)
class Claimed:
    """What the store holds of a partition when an owner claims it.

    `at` and `state` are empty for a partition that nobody has begun to read.
    """

    epoch: int
    layout: str
    at: str
    state: str
    panes: tuple[int, ...]
    habits: str = ""
    """What has been learned of its logs (`windowing/watch.py`); empty for nothing."""


@dataclass(frozen=True, slots=True)
class Advance:
    """One cycle's change to one partition: from where it began to where it ends.

    Attributes:
        partition: its number.
        epoch: the owner's, from its claim.
        begin: where the store must stand; compared byte by byte.
        end: where it stands afterwards.
        state: clocks and whatever else goes with the position.
        appends: (pane, blob) to add behind what the pane holds.
        drops: panes that are done with.
        profiles: (user, blob) that replace what was there.
        habits: replaces what has been learned of the logs; None leaves it as it is.
    """

    partition: int
    epoch: int
    begin: str
    end: str
    state: str
    appends: Sequence[tuple[int, bytes]] = ()
    drops: Sequence[int] = ()
    profiles: Sequence[tuple[str, bytes]] = ()
    habits: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Where a partition that nobody has read yet begins; fields as in `Advance`."""

    partition: int
    epoch: int
    at: str
    state: str


@dataclass(frozen=True, slots=True)
class Erasure:
    """What forgetting somebody changes in one partition.

    Attributes:
        partition: its number.
        epoch: where the store must stand, with `at`; any other owner's move in between refuses the change.
        at: as in `Claimed`.
        new_at: what takes its place, with no name in it.
        new_state: what takes the state's place.
        blobs: (pane, place in the pane's list, blob) that replace what is there.
        users: whose profiles go.
        last: whether this ends it: names and profiles go, and the owner is fenced; before that only blobs are replaced.
    """

    partition: int
    epoch: int
    at: str
    new_at: str
    new_state: str
    blobs: Sequence[tuple[int, int, bytes]]
    users: Sequence[str]
    last: bool = True


class ForgettingStore(Protocol):
    """What forgetting somebody asks of a store."""

    def peek(self, partition: int) -> Claimed:
        """As `WindowStore.claim`, without becoming the owner; of a partition that nobody has claimed, an epoch of 0."""
        ...

    def tail(self, partition: int, pane: int, start: int) -> list[bytes]:
        """The blobs of a pane from a place in its list on; a blob that was appended never changes, but by an erasure."""
        ...

    def knows(self, partition: int, user: str) -> bool:
        """Whether there is a profile of this user."""
        ...

    def erase(self, change: Erasure) -> None:
        """Carry out the change, if the partition stands where it says.

        Raises:
            StaleError: it stands elsewhere; nothing was written.
        """
        ...

    def settle(self) -> None:
        """Return when what was written is on disk, where the server keeps a file of its writes."""
        ...


def check_eviction(policy: str) -> None:
    """Refuse a store that may forget state under pressure; `policy` is its `maxmemory-policy`.

    Raises:
        RefusedError: the policy can drop keys.
    """
    if policy != "noeviction":
        raise RefusedError(
            f"store: the server may evict keys (maxmemory-policy is {policy}), and windows would lose events",
            "Set it to noeviction: CONFIG SET maxmemory-policy noeviction, and in its configuration file",
        )


class WindowStore(Protocol):
    """Durable state of the partitions of one namespace."""

    def claim(self, partition: int, layout: str) -> Claimed:
        """Become the owner: raise the epoch and say where the partition stands."""
        ...

    def look(self, partition: int) -> tuple[str, str]:
        """Where a partition stands and its state, without becoming its owner; both empty where nobody has begun to read."""
        ...

    def confirm(self, epochs: Mapping[int, int]) -> None:
        """Return if these are still the newest owners of these partitions.

        Raises:
            FencedError: a newer owner exists.
        """
        ...

    def begin(self, starts: Sequence[Start]) -> None:
        """Write the starting positions of partitions that have none, and return once that survives a crash.

        Raises:
            FencedError: a newer owner exists.
        """
        ...

    def panes(self, partition: int, panes: Sequence[int]) -> Iterator[tuple[int, list[bytes]]]:
        """The blobs of these panes, in the order in which they were appended, page by page."""
        ...

    def profiles(self, partition: int) -> Iterator[list[tuple[str, bytes]]]:
        """All profiles of the partition, in pages."""
        ...

    def advance(self, changes: Sequence[Advance]) -> None:
        """Carry out each change if its partition stands at `begin`, or has just been moved to `end` by this epoch.

        Raises:
            FencedError: a newer owner exists; nothing of that partition was written.
            StaleError: the partition stands elsewhere; nothing of it was written.
        """
        ...


@dataclass(slots=True)
class _Held:
    epoch: int = 0
    layout: str = ""
    at: str = ""
    by: int = 0
    state: str = ""
    habits: str = ""
    panes: dict[int, list[bytes]] = field(default_factory=dict)
    profiles: dict[str, bytes] = field(default_factory=dict)


class MemoryStore:
    """The in-memory twin: same promises, nothing survives the process."""

    def __init__(self) -> None:
        self._held: dict[int, _Held] = {}

    def claim(self, partition: int, layout: str) -> Claimed:
        """Become the owner of a partition."""
        held = self._held.setdefault(partition, _Held())
        held.epoch += 1
        held.layout = held.layout or layout
        return Claimed(held.epoch, held.layout, held.at, held.state, tuple(sorted(held.panes)), held.habits)

    def look(self, partition: int) -> tuple[str, str]:
        """Where a partition stands, and its state."""
        held = self._held.get(partition, _Held())
        return held.at, held.state

    def confirm(self, epochs: Mapping[int, int]) -> None:
        """Return if these are still the newest owners."""
        for partition, epoch in epochs.items():
            if self._held.get(partition, _Held()).epoch != epoch:
                raise FencedError(f"partition {partition} has a newer owner")

    def begin(self, starts: Sequence[Start]) -> None:
        """Write starting positions."""
        for start in starts:
            held = self._held[start.partition]
            if held.epoch != start.epoch:
                raise FencedError(f"partition {start.partition} has a newer owner")
            held.at, held.state, held.by = start.at, start.state, start.epoch

    def panes(self, partition: int, panes: Sequence[int]) -> Iterator[tuple[int, list[bytes]]]:
        """The blobs of these panes."""
        held = self._held.get(partition, _Held())
        return iter([(pane, list(held.panes.get(pane, ()))) for pane in panes])

    def profiles(self, partition: int) -> Iterator[list[tuple[str, bytes]]]:
        """All profiles, in one page."""
        held = self._held.get(partition, _Held())
        return iter([sorted(held.profiles.items())])

    def advance(self, changes: Sequence[Advance]) -> None:
        """Carry out each change as a compare-and-set."""
        for change in changes:
            held = self._held.get(change.partition, _Held())
            if held.epoch != change.epoch:
                raise FencedError(f"partition {change.partition} has a newer owner")
            if held.at == change.end and held.by == change.epoch:
                continue
            if held.at != change.begin:
                raise StaleError(f"partition {change.partition} is not where this cycle began")
            for pane, blob in change.appends:
                held.panes.setdefault(pane, []).append(blob)
            for pane in change.drops:
                held.panes.pop(pane, None)
            held.profiles.update(change.profiles)
            if change.habits is not None:
                held.habits = change.habits
            held.at, held.by, held.state = change.end, change.epoch, change.state

    def peek(self, partition: int) -> Claimed:
        """Where a partition stands, and whose it is."""
        held = self._held.get(partition, _Held())
        return Claimed(held.epoch, held.layout, held.at, held.state, tuple(sorted(held.panes)), held.habits)

    def tail(self, partition: int, pane: int, start: int) -> list[bytes]:
        """The blobs of a pane from a place on."""
        return self._held[partition].panes.get(pane, [])[start:]

    def knows(self, partition: int, user: str) -> bool:
        """Whether there is a profile of this user."""
        return user in self._held.get(partition, _Held()).profiles

    def erase(self, change: Erasure) -> None:
        """Carry out an erasure as a compare-and-set."""
        held = self._held[change.partition]
        if (held.epoch, held.at) != (change.epoch, change.at):
            raise StaleError(f"partition {change.partition} has moved on")
        for pane, place, blob in change.blobs:
            held.panes[pane][place] = blob
        if change.last:
            for user in change.users:
                held.profiles.pop(user, None)
            held.at, held.state, held.epoch = change.new_at, change.new_state, held.epoch + 1

    def settle(self) -> None:
        """Nothing is on disk here."""

    def snapshot(self) -> Mapping[int, object]:
        """A copy of everything, for a test that brings the store back older."""
        return copy.deepcopy(self._held)

    def come_back_as(self, snapshot: Mapping[int, object]) -> None:
        """Become what a snapshot was: what a crash with a late fsync does."""
        self._held = copy.deepcopy(dict(snapshot))  # type: ignore[arg-type]
