"""How long a log is used to being silent, by the hour of the week, and when a silence goes beyond that. Knows no clock and no broker.

Learned from the gaps between its own records, by their timestamps (when they arrived). For every hour of the week the longest gap
that reached into that hour is kept, for each of the last eight weeks: a night's gap reaches into every hour of the night and into the
first of the morning. What a log is used to at an hour is the second longest of those weeks (of less than four weeks, the longest), the
hours before and after counted in, since nobody begins on the dot:

    Mon 08-09   62 h  62 h  61 h 110 h  62 h      -> 62 h   (a holiday is one week of many)
    Tue 10-11    2 m   3 m   1 m   2 m   2 m      ->  2 m

A silence goes beyond that when it has lasted one and a half times as long, and a least time in any case. So a quiet night is no finding,
and neither is a weekend; a morning on which nobody comes is one, by the next hour. Until a log has been heard for two weeks at an
hour, nothing is said of that hour.
"""

import base64
import json
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stream.kinds import Millis
from windowing.clocks import LONG_AGO, Longs

HOUR_MS: Millis = 3_600_000
_MINUTE_MS: Millis = 60_000
_HOURS = 168
_WEEKS = 8
_LEAST_WEEKS = 2
_FACTOR = 1.5
_UNHEARD = 0
"""No gap has reached into that hour in that week; a heard one counts at least a minute."""
_NO_WEEK = -1

Gaps = npt.NDArray[np.uint16]


def _nothing() -> Gaps:
    return np.zeros((_WEEKS, _HOURS), np.uint16)


@dataclass(frozen=True, slots=True)
class Broken:
    """A silence that went beyond habit: last heard, too long from when on, heard again, and what was usual then (all ms).

    `place` is that of the record with which it ended.
    """

    since_ms: Millis
    due_ms: Millis
    end_ms: Millis
    habit_ms: Millis
    place: int


@dataclass(slots=True)
class Habits:
    """One log's gaps. `gaps` is (week, hour of the week) in minutes; row w belongs to the week `weeks[w]`. Weeks begin as 1970 did."""

    last_ms: Millis = LONG_AGO
    """When it was last heard."""
    gaps: Gaps = field(default_factory=_nothing)
    weeks: list[int] = field(default_factory=lambda: [_NO_WEEK] * _WEEKS)
    changed: bool = False
    """Whether gaps or weeks have changed since somebody set this to False."""
    _due: tuple[Millis, Millis, Millis | None] | None = None

    def hear(self, stamps: Longs, least_ms: Millis) -> list[Broken]:
        """Learn from records that arrived at these times; returns the silences among them that went beyond habit.

        Times may be out of order: the newest so far counts.
        """
        if not len(stamps):
            return []
        known = [self.last_ms] if self.last_ms != LONG_AGO else [int(stamps[0])]
        times = np.maximum.accumulate(np.concatenate((np.array(known, np.int64), stamps)))
        beyond = []
        long = np.flatnonzero(np.diff(times) >= least_ms).tolist()
        begin = 0
        for place in long:
            # one after the other: what a log was used to when it fell silent is what was learned up to then
            self._learn(times[begin : place + 1])
            start, end = int(times[place]), int(times[place + 1])
            due = self._due_from(start, least_ms)
            if due is not None and end >= due:
                beyond.append(Broken(start, due, end, self.habit_ms(due), place))
            self._learn(times[place : place + 2])
            begin = place + 1
        self._learn(times[begin:])
        self.last_ms = int(times[-1])
        return beyond

    def _learn(self, times: Longs) -> None:
        """Take down every gap in each hour that it reaches into."""
        if len(times) < 2:
            return
        starts, ends = times[:-1] // HOUR_MS, times[1:] // HOUR_MS
        minutes = np.clip(-(-np.diff(times) // _MINUTE_MS), 1, np.iinfo(np.uint16).max).astype(np.uint16)
        for hours in (starts, ends):
            self._raise(hours, minutes)
        for place in np.flatnonzero(ends - starts > 1).tolist():
            between = np.arange(max(int(starts[place]) + 1, int(ends[place]) - _WEEKS * _HOURS), int(ends[place]), dtype=np.int64)
            self._raise(between, np.full(len(between), minutes[place], np.uint16))

    def _raise(self, hours: Longs, minutes: Gaps) -> None:
        weeks = hours // _HOURS
        for week in np.unique(weeks).tolist():
            row = week % _WEEKS
            if self.weeks[row] > week:
                continue  # longer ago than is kept
            if self.weeks[row] != week:
                self.weeks[row], self.gaps[row], self.changed = week, _UNHEARD, True
            mine = weeks == week
            before = self.gaps[row].copy()
            np.maximum.at(self.gaps[row], hours[mine] % _HOURS, minutes[mine])
            self.changed = self.changed or bool((self.gaps[row] != before).any())

    def used_to(self) -> npt.NDArray[np.int64]:
        """For each hour of the week how long it is used to being silent then, ms; 0 where that is not known yet."""
        around = np.maximum(self.gaps, np.maximum(np.roll(self.gaps, 1, axis=1), np.roll(self.gaps, -1, axis=1)))
        heard = self.gaps != _UNHEARD
        ranked = np.sort(np.where(heard, around, _UNHEARD), axis=0)[::-1]
        weeks = heard.sum(axis=0)
        found: npt.NDArray[np.int64] = np.where(weeks >= 2 * _LEAST_WEEKS, ranked[1], ranked[0]).astype(np.int64) * _MINUTE_MS
        found[weeks < _LEAST_WEEKS] = 0
        return found

    def due_ms(self, least_ms: Millis) -> Millis | None:
        """When its silence, if it goes on, goes beyond habit; None when nothing can be said for the next weeks."""
        if self.last_ms == LONG_AGO:
            return None
        if self._due is None or self._due[:2] != (self.last_ms, least_ms):
            self._due = (self.last_ms, least_ms, self._due_from(self.last_ms, least_ms))
        return self._due[2]

    def _due_from(self, since_ms: Millis, least_ms: Millis) -> Millis | None:
        used_to = self.used_to()
        if not used_to.any():
            return None
        hours = since_ms // HOUR_MS + np.arange(2 * _HOURS + int(_FACTOR * used_to.max()) // HOUR_MS, dtype=np.int64)
        known = used_to[hours % _HOURS]
        allowed = np.maximum((_FACTOR * known).astype(np.int64), least_ms)
        at = np.maximum(hours * HOUR_MS, since_ms + allowed)
        crossed = np.flatnonzero((known > 0) & (at < (hours + 1) * HOUR_MS))
        return int(at[crossed[0]]) if len(crossed) else None

    def habit_ms(self, at_ms: Millis) -> Millis:
        """How long it is used to being silent at the hour of this instant; 0 where that is not known yet."""
        return int(self.used_to()[at_ms // HOUR_MS % _HOURS])

    def encode(self) -> str:
        """The gaps as text, for the store; `last_ms` is not among them."""
        return json.dumps([self.weeks, base64.b64encode(zlib.compress(self.gaps.astype("<u2").tobytes(), 1)).decode()])

    @classmethod
    def decode(cls, text: str, last_ms: Millis = LONG_AGO) -> "Habits":
        """Read what `encode` gave."""
        found: Any = json.loads(text)
        weeks, packed = found
        gaps = np.frombuffer(zlib.decompress(base64.b64decode(packed)), "<u2").astype(np.uint16).reshape(_WEEKS, _HOURS)
        return cls(last_ms, gaps, [int(week) for week in weeks])
