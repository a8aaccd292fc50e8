"""Taking one person out of a partition's state while workers run. Talks to a store through the seam `ForgettingStore` alone.

A worker that holds the partition has the person in memory, too. The last step raises the partition's epoch together with the change,
as a new owner would: the worker's next write is refused, it drops what it has in memory and reads the state anew, without the person.
What it had sent by then stays sent; nothing of anybody else is lost or sent twice.
"""

from dataclasses import dataclass, field
from typing import Final

from stream.errors import StaleError, TransientError
from windowing.clocks import LONG_AGO, TopicClock
from windowing.ledger import Place, decode_clocks, decode_watch, encode_state, is_fresh
from windowing.panes import decode_blobs, encode_blob
from windowing.partition import Closed
from windowing.store import Claimed, Erasure, ForgettingStore

_MOST_TRIES: Final = 1_000
_MOST_BYTES: Final = 8_000_000
"""Of blobs in one script: the server does nothing else meanwhile."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What a partition's state held of somebody: a profile, and events of open windows."""

    profile: bool = False
    events: int = 0
    epoch: int = 0
    """Of the partition after the erasure; a larger one later means that a worker has read the state anew. 0: nothing was there."""


@dataclass(slots=True)
class _Seen:
    """What has been read of the panes so far."""

    lengths: dict[int, int] = field(default_factory=dict)
    replaced: dict[tuple[int, int], bytes] = field(default_factory=dict)
    written: set[tuple[int, int]] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    events: int = 0


def forget(store: ForgettingStore, partition: int, user: str) -> Forgotten:
    """Take a person out of the state of the partition that their records belong to, and wait until that is on disk.

    Doing it again is harmless; when it is cut off, do it again.

    Raises:
        TransientError: the store cannot be reached, or moved on a thousand times meanwhile.
    """
    profile = store.knows(partition, user)
    seen, epoch = _Seen(), -1
    for _ in range(_MOST_TRIES):
        found = store.peek(partition)
        if not found.at:
            return Forgotten()
        if found.epoch != epoch:
            # another erasure may have replaced blobs; an owner's moves alone only append and drop
            seen, epoch = _Seen(events=seen.events), found.epoch
        _read_on(store, partition, found, user, seen)
        change = _change(partition, found, user, seen)
        try:
            store.erase(change)
        except StaleError:
            continue
        seen.written.update((pane, place) for pane, place, _ in change.blobs)
        if change.last:
            store.settle()
            return Forgotten(profile, seen.events, found.epoch + 1)
    raise TransientError(f"partition {partition}: its workers were too busy to forget somebody meanwhile; try again, or stop them for it")


def _read_on(store: ForgettingStore, partition: int, found: Claimed, user: str, seen: _Seen) -> None:
    """Read what has been appended to the panes since the last look, and make anew what holds the person."""
    for pane in found.panes:
        start = seen.lengths.get(pane, 0)
        blobs = store.tail(partition, pane, start)
        for place, blob in enumerate(blobs, start):
            frames = decode_blobs([blob])
            for frame in frames.values():
                seen.others.update(frame["user"].unique().to_list())
            mine = sum(int((frame["user"] == user).sum()) for frame in frames.values())
            if mine:
                seen.events += mine
                seen.replaced[pane, place] = encode_blob({kind: frame.filter(frame["user"] != user) for kind, frame in frames.items()})
        seen.lengths[pane] = start + len(blobs)


def _change(partition: int, found: Claimed, user: str, seen: _Seen) -> Erasure:
    """The next step: as many blobs as one script may carry, and all the rest with the last of them."""
    blobs: list[tuple[int, int, bytes]] = []
    size = 0
    waiting = sorted(key for key in seen.replaced.keys() - seen.written if key[0] in found.panes)
    for pane, place in waiting:
        if blobs and size + len(seen.replaced[pane, place]) > _MOST_BYTES:
            break
        blobs.append((pane, place, seen.replaced[pane, place]))
        size += len(blobs[-1][2])
    at, state = _nameless(Place.decode(found.at), user, seen.others).encode(), _unpending(found.state, user)
    return Erasure(partition, found.epoch, found.at, at, state, blobs, [user], last=len(blobs) == len(waiting))


def _nameless(place: Place, user: str, others: set[str]) -> Place:
    """The same place, told by somebody else's name.

    Windows of a number close in the order of names, up to and with the one in the place. Whoever stands before it in that order and
    still has events is as good: nobody stands between the two.
    """
    if place.closed.user != user:
        return place
    before = max((other for other in others if other < user), default="")
    return Place(place.positions, Closed(place.closed.window, place.closed.stage, before))


def _unpending(state: str, user: str) -> str:
    """The state without a leap of the clock that waits for a second user: it has to be seen anew."""
    clocks = {
        kind: TopicClock(clock.at_ms, LONG_AGO, "", clock.marked, clock.last_ms) if clock.pending_user == user else clock
        for kind, clock in decode_clocks(state).items()
    }
    return encode_state(clocks, fresh=is_fresh(state), watch=decode_watch(state))
