"""One partition's windows: what arrives, what is due, what closing changes. Pure memory; knows no broker and no store.

The worker around it reads records, sends windows and saves state; whatever goes wrong there, it throws this object away and
builds it anew from the store, so nothing here needs to be undone.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from stream.kinds import KINDS, Kind, Millis
from windowing.calendar import Calendar
from windowing.clocks import LONG_AGO, ClockSpec, Longs, Mark, TopicClock, read_clock
from windowing.describe import DescribeSettings
from windowing.directory import Directory
from windowing.panes import Between, Events, Pane, encode_blob, inside, users_between, users_of
from windowing.profiles import Profiles


class Closed(NamedTuple):
    """How far closing has come: everything up to and with this is done. Ordered as windows go out.

    `stage` is 0 for a user's window, 1 for the clock mark behind all windows of that number, 2 for the last mark.
    """

    window: int = LONG_AGO
    stage: int = 0
    user: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides the content of windows; the same for all partitions of a namespace."""

    calendar: Calendar
    clocks: ClockSpec = field(default_factory=ClockSpec)
    describe: DescribeSettings = field(default_factory=DescribeSettings)
    directory: Directory | None = None
    pseudonyms: str | None = None
    """The id of the key that people's names are replaced with on the way out, if they are."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Data records of one topic-partition: `frame` has `row` and the event columns, `stamps` the records' timestamps by row."""

    kind: Kind
    frame: pl.DataFrame
    stamps: Longs
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Rows of a batch that belong to no window, in ascending order."""

    late: list[int]
    future: list[int]


@dataclass(frozen=True, slots=True)
class Closing:
    """One step of closing: what goes out, and what changes in the state."""

    windows: pl.DataFrame
    closed: Closed
    folded: list[str]
    """Whose profiles changed."""
    done_pane: int | None
    mark_ms: Millis | None
    last: bool = False
    duplicates: Mapping[Kind, int] = field(default_factory=dict)


NO_WINDOWS: Final = pl.DataFrame(schema={"user": pl.String, "id": pl.String, "value": pl.String})
MOST_ROWS: Final = 250_000
"""About so many events are described at a time, however many each user has: what bounds the memory that it takes."""


@dataclass(frozen=True, slots=True)
class Due:
    """What one partition closes next.

    Attributes:
        window: its number.
        users: whose windows close; sorted, the next in the order of closing.
        rest: whether others of this window number are left for later.
        shown: the events of those whose records go out.
        folded: the events that become part of what is usual.
        folders: whose profiles may change by that.
    """

    window: int
    users: Sequence[str]
    rest: bool
    shown: Events
    folded: Events
    folders: list[str]


class Partition:
    """The windows of one partition's users, from events in to windows out."""

    def __init__(self, rules: Rules, profiles: Profiles | None = None) -> None:
        """Partitions of one worker share their `profiles`, and can be closed together: each user lives in one of them."""
        self.rules = rules
        self.clocks: dict[Kind, TopicClock] = {kind: TopicClock() for kind in KINDS}
        self.closed = Closed()
        self.sent = Closed()
        """What readers of the output have seen already, from an earlier life: closed again, not sent again."""
        self.profiles = profiles if profiles is not None else Profiles(rules.calendar)
        self.panes: dict[int, Pane] = {}
        self._staged: dict[int, dict[Kind, list[pl.DataFrame]]] = {}
        self._users: tuple[int, list[str]] | None = None

    # reading ---------------------------------------------------------------------------------------------------------

    def read(self, arrivals: Arrivals) -> Unplaced:
        """Place a batch of one topic-partition into panes and move its clock; say which rows found no place."""
        frame, kind, calendar = arrivals.frame, arrivals.kind, self.rules.calendar
        rows = frame["row"].to_numpy().astype(np.int64)
        ts = frame["ts"].to_numpy()
        reading = read_clock(self.clocks[kind], rows, ts, arrivals.stamps[rows], _Lazy(frame["user"]), arrivals.marks, self.rules.clocks)
        self.clocks[kind] = reading.after
        if not len(rows):
            return Unplaced([], [])
        panes = calendar.panes_of(ts)
        first = self._first_windows(ts, panes, reading.before)
        late = (first > panes) & ~reading.future
        keep = ~(late | reading.future)
        placed = pl.DataFrame([*(column for column in frame if column.name != "row"), pl.Series("first", first)])
        if not keep.all():
            placed, panes = placed.filter(pl.Series(keep)), panes[keep]
        for pane, part in _by_pane(placed, panes):
            self._append(pane, kind, part)
        return Unplaced(rows[late].tolist(), rows[reading.future].tolist())

    def _first_windows(self, ts: Longs, panes: Longs, before: Longs) -> Longs:
        """The earliest window over each event that its own clock had not closed; beyond the event's pane when it is late.

        A picture with hop 10 and size 40:

        pane at 40           |=|
        windows       [10-----------50)
                         [20-----------60)
                            [30-----------70)
                               [40-----------80)   the last to close
        """
        spec = self.rules.calendar.spec
        earliest: Longs = panes - (spec.span - 1)
        # a window has closed once the clock less the lateness has left its last pane; long-ago clocks have closed nothing
        at = np.maximum(before - spec.allowed_lateness_ms, int(ts.min()) - spec.size_ms - spec.hop_ms)
        open_from = self.rules.calendar.panes_of(at) - (spec.span - 1)
        return np.maximum(earliest, open_from)

    def _append(self, pane: int, kind: Kind, frame: pl.DataFrame) -> None:
        self.panes.setdefault(pane, Pane()).append(kind, frame)
        self._staged.setdefault(pane, {}).setdefault(kind, []).append(frame)
        self._users = None

    def restore(self, pane: int, events: Events) -> None:
        """Put back a pane that the store held."""
        whole = self.panes.setdefault(pane, Pane())
        for kind, frame in events.items():
            whole.append(kind, frame)
        self._users = None

    def take_staged(self) -> list[tuple[int, bytes]]:
        """Blobs for what was placed since the last call, one a pane; of panes that closing has done away with meanwhile, none."""
        staged, self._staged = self._staged, {}
        return [
            (pane, encode_blob({kind: frames[0] if len(frames) == 1 else pl.concat(frames) for kind, frames in events.items()}))
            for pane, events in sorted(staged.items())
            if pane in self.panes
        ]

    # closing ---------------------------------------------------------------------------------------------------------

    @property
    def watermark_ms(self) -> Millis:
        """The least of the five clocks; LONG_AGO while a topic has none."""
        return min(clock.at_ms for clock in self.clocks.values())

    @property
    def oldest_ms(self) -> Millis:
        """Start of the oldest pane that is still held; LONG_AGO when none is."""
        return self.rules.calendar.edge(min(self.panes)) if self.panes else LONG_AGO

    @property
    def open_windows(self) -> int:
        """Windows (number and user) that hold events and have not been closed."""
        span = self.rules.calendar.spec.span
        numbers = {w for pane in self.panes for w in range(pane - span + 1, pane + 1) if w >= self.closed.window}
        total = 0
        for window in numbers:
            users = users_of(self._panes_under(window))
            if window > self.closed.window:
                total += len(users)
            elif not self.closed.stage:
                total += len(users) - bisect_right(users, self.closed.user)
        return total

    def _passed(self) -> int | None:
        """The newest window whose end, with the allowed lateness, all five clocks have reached."""
        if self.watermark_ms == LONG_AGO:
            return None
        spec = self.rules.calendar.spec
        return self.rules.calendar.pane_of(self.watermark_ms - spec.allowed_lateness_ms) - spec.span

    def due(self) -> bool:
        """Whether there is anything to close: a window, or a mark to pass on."""
        passed = self._passed()
        if passed is None:
            return False
        return self.closed < Closed(passed, 1) or (self._all_last() and self.closed < Closed(passed, 2))

    def is_overdue(self) -> bool:
        """Whether more than one window number is due."""
        passed, window = self._passed(), self.next_window()
        return passed is not None and window is not None and passed > window

    def _all_last(self) -> bool:
        return all(clock.last_ms != LONG_AGO for clock in self.clocks.values())

    def take(self, limit: int) -> "Due | None":
        """What closes next: at most `limit` users of one window number, in the order of (end, user); None when only a mark is due.

        Call it only while `due()`, and `settle` what it returns before the next call.
        """
        window = self.next_window()
        if window is None:
            return None
        under = self._panes_under(window)
        users = self._users_of(window, under)
        begin = bisect_right(users, self.closed.user) if self.closed.window == window else 0
        rows = sum(pane.height for pane in under)
        limit = max(1, min(limit, len(users) * MOST_ROWS // max(rows, 1)))
        chunk = users[begin : begin + limit]
        rest = begin + limit < len(users)
        only = Between(chunk[0], chunk[-1]) if len(chunk) and (rest or begin) else None
        pane = self.panes.get(window)
        shown = self._shown(window, under, chunk, only)
        if pane is None:
            folded: Events = {}
        elif len(under) == 1 and shown:
            # a window of one pane holds what is folded: read once, used twice
            folded = shown if self._all_shown(window) else inside([pane], window, only)
        else:
            folded = inside([pane], window, only)
        return Due(window, chunk, rest, shown, folded, users_between(pane, only) if pane is not None else [])

    def _all_shown(self, window: int) -> bool:
        return self.sent.window < window

    def _shown(self, window: int, under: Sequence[Pane], chunk: Sequence[str], only: Between | None) -> Events:
        """The events of those whose records go out; not of those whose records went out in an earlier life."""
        if self.sent.window > window or (self.sent.window == window and self.sent.stage):
            return {}
        if self.sent.window == window:
            unsent = chunk[bisect_right(chunk, self.sent.user) :]
            if not unsent:
                return {}
            only = Between(unsent[0], unsent[-1])
        return inside(under, window, only)

    def settle(self, due: "Due | None", windows: pl.DataFrame) -> Closing:
        """Move on behind what was taken, with the records made of it. They must reach the output and the store before the next `take`."""
        passed = self._passed()
        if passed is None:
            raise ValueError("nothing is due")
        if due is None:
            stage = 2 if self._all_last() else 1
            self.closed = Closed(passed, stage)
            mark_ms = None if self.closed <= self.sent else self.rules.calendar.window_end(passed)
            return Closing(NO_WINDOWS, self.closed, [], None, mark_ms, stage == 2)
        window = due.window
        if due.rest:
            self.closed = Closed(window, 0, due.users[-1])
            return Closing(windows, self.closed, due.folders, None, None)
        last = window == passed and self._all_last()
        self.closed = Closed(window, 2 if last else 1)
        mark_ms = None if self.closed <= self.sent else self.rules.calendar.window_end(window)
        pane, self._users = self.panes.pop(window, None), None
        return Closing(windows, self.closed, due.folders, window if pane else None, mark_ms, last, pane.duplicates if pane else {})

    def next_window(self) -> int | None:
        """The number of the next window that may hold events, if it is due."""
        passed = self._passed()
        if passed is None or not self.panes:
            return None
        span = self.rules.calendar.spec.span
        from_window = self.closed.window + (1 if self.closed.stage else 0)
        for pane in sorted(self.panes):
            if pane >= from_window:
                window = max(pane - span + 1, from_window)
                return window if window <= passed else None
        return None

    def _panes_under(self, window: int) -> list[Pane]:
        span = self.rules.calendar.spec.span
        return [self.panes[pane] for pane in range(window, window + span) if pane in self.panes]

    def _users_of(self, window: int, under: Sequence[Pane]) -> list[str]:
        if self._users is None or self._users[0] != window:
            self._users = (window, users_of(under))
        return self._users[1]


def _by_pane(placed: pl.DataFrame, panes: Longs) -> Iterator[tuple[int, pl.DataFrame]]:
    """The events of each pane, in their order; slices where the panes follow each other, as they do when times rise."""
    if not len(panes):
        return
    changes = np.flatnonzero(np.diff(panes)) + 1
    numbers = panes[np.concatenate((np.zeros(1, np.int64), changes))].tolist()
    if len(set(numbers)) == len(numbers):
        bounds = [0, *changes.tolist(), len(panes)]
        for pane, low, high in zip(numbers, bounds[:-1], bounds[1:], strict=True):
            yield pane, placed.slice(low, high - low)
    else:
        for pane in sorted(set(numbers)):
            yield pane, placed.filter(pl.Series(panes == pane))


class _Lazy(Sequence[str]):
    """Users of a batch, turned into Python strings only when an event leaps and somebody asks."""

    def __init__(self, users: pl.Series) -> None:
        self._users = users

    def __len__(self) -> int:
        return len(self._users)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return str(self._users[index])
