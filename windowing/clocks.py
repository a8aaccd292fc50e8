"""How far a topic-partition has come in event time: a function of its log alone, in offset order. Knows no wall clock.

The clock before a record is the larger of the newest event time less the out-of-orderness and the newest clock mark, over
the records before it. Two kinds of event do not raise it: one that claims to be later than its own record was written
(`future`, refused), and one that jumps ahead of the clock by more than `max_jump`, until a second user or a mark confirms it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream.errors import ConfigurationError
from stream.kinds import Millis

LONG_AGO: Millis = -(2**62)

Longs = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ClockSpec:
    """How much disorder and how large a leap a topic-partition's clock believes, in milliseconds.

    Raises:
        ConfigurationError: a value is negative.
    """

    out_of_orderness_ms: Millis = 0
    max_jump_ms: Millis = 86_400_000
    future_tolerance_ms: Millis = 3_600_000

    def __post_init__(self) -> None:
        for name in ("out_of_orderness_ms", "max_jump_ms", "future_tolerance_ms"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name.removesuffix('_ms')} must not be negative")


@dataclass(frozen=True, slots=True)
class Mark:
    """A clock mark found in a log: nothing older than `at_ms` follows it."""

    row: int
    at_ms: Millis
    last: bool = False
    idle: bool = False
    """Written by a worker into a silent log; says nothing of whether a replay is under way."""


@dataclass(frozen=True, slots=True)
class TopicClock:
    """The clock of one topic-partition, with what it must remember between batches."""

    at_ms: Millis = LONG_AGO
    pending_ms: Millis = LONG_AGO
    pending_user: str = ""
    marked: bool = False
    last_ms: Millis = LONG_AGO
    """Time of the newest mark that said it was the last; LONG_AGO when events followed it."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A batch of one topic-partition seen by its clock; arrays have one element per event."""

    before: Longs
    future: Flags
    after: TopicClock


def read_clock(
    clock: TopicClock, rows: Longs, ts: Longs, stamps: Longs, users: Sequence[str], marks: Sequence[Mark], spec: ClockSpec
) -> ClockReading:
    """Say for each event of a batch where the clock stood before it, and where it stands after all.

    Args:
        clock: where it stood before the batch.
        rows: each event's place in the batch, ascending; marks name theirs. Shape (n,), like `ts`, `stamps` and `users`.
        ts: event times, UTC ms.
        stamps: the records' own Kafka timestamps, UTC ms.
        users: who did it; looked at only when an event leaps.
        marks: clock marks, in order.
        spec: the limits.
    """
    future = ts > stamps + spec.future_tolerance_ms
    raises = np.where(future, LONG_AGO, ts - spec.out_of_orderness_ms)
    before, after_ms = _running(clock.at_ms, rows, raises, marks)
    leaps = (ts > before + spec.max_jump_ms) & (before != LONG_AGO) & ~future
    pending_ms, pending_user = clock.pending_ms, clock.pending_user
    if leaps.any():
        before, after_ms, pending_ms, pending_user = _one_by_one(clock, rows, ts, raises, users, marks, spec)
    marked, last_ms = clock.marked or any(not mark.idle for mark in marks), clock.last_ms
    lasts = [mark for mark in marks if mark.last]
    if lasts:
        last_ms = lasts[-1].at_ms
    if len(rows) and (not lasts or rows[-1] > lasts[-1].row):
        last_ms = LONG_AGO  # somebody went on after the last mark: a second replay, or a live source
    return ClockReading(before, future, TopicClock(after_ms, pending_ms, pending_user, marked, last_ms))


def _running(start_ms: Millis, rows: Longs, raises: Longs, marks: Sequence[Mark]) -> tuple[Longs, Millis]:
    """Clock before each event and after all, when nothing leaps."""
    at = np.maximum.accumulate(np.concatenate((np.array([start_ms], np.int64), raises)))
    if not marks:
        return at[:-1], int(at[-1])
    # a mark counts for the events behind it: its running maximum, looked up by place
    mark_rows = np.array([mark.row for mark in marks], np.int64)
    mark_at = np.maximum.accumulate(np.array([LONG_AGO, *(mark.at_ms for mark in marks)], np.int64))
    before = np.maximum(at[:-1], mark_at[np.searchsorted(mark_rows, rows)])
    return before, max(int(at[-1]), int(mark_at[-1]))


def _one_by_one(
    clock: TopicClock, rows: Longs, ts: Longs, raises: Longs, users: Sequence[str], marks: Sequence[Mark], spec: ClockSpec
) -> tuple[Longs, Millis, Millis, str]:
    """The same with leaps in the batch: rare, so a plain loop that reads like the rule."""
    at, pending_ms, pending_user = clock.at_ms, clock.pending_ms, clock.pending_user
    before = np.empty(len(ts), np.int64)
    waiting = list(marks)
    for i, (row, when, to) in enumerate(zip(rows.tolist(), ts.tolist(), raises.tolist(), strict=True)):
        while waiting and waiting[0].row < row:
            at = max(at, waiting.pop(0).at_ms)
        before[i] = at
        if to == LONG_AGO or at == LONG_AGO or when <= at + spec.max_jump_ms:
            at = max(at, to)
        elif pending_ms == LONG_AGO or pending_user == users[i]:
            pending_ms, pending_user = max(when, pending_ms), users[i]
        else:
            # two users have come at least as far as the nearer of the two; the farther one goes on waiting
            at = max(at, min(when, pending_ms) - spec.out_of_orderness_ms)
            if when > pending_ms:
                pending_ms, pending_user = when, users[i]
    for mark in waiting:
        at = max(at, mark.at_ms)
    return before, at, pending_ms, pending_user
