"""Pane arithmetic in the organisation's time zone. Integers in, integers out. Knows nothing of Redis, Kafka or the clock.

Panes are numbered: day number since 1970-01-01 in local time, times panes a day, plus the pane's place in the day.
Window `w` covers panes `w .. w + span - 1`; its start is `edge(w)`, its end `edge(w + span)`.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from stream.errors import ConfigurationError
from stream.kinds import Millis

DAY_MS: Millis = 86_400_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local wall time has no zone
_CHUNK_DAYS = 64


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """Size and hop of the sliding windows, in milliseconds of local wall time.

    Raises:
        ConfigurationError: the hop does not divide both the day and the size.
    """

    size_ms: Millis = DAY_MS
    hop_ms: Millis = 6 * 3_600_000
    allowed_lateness_ms: Millis = 0

    def __post_init__(self) -> None:
        if self.hop_ms <= 0 or self.size_ms <= 0 or self.size_ms % self.hop_ms:
            raise ConfigurationError(f"window hop {self.hop_ms} ms must divide window size {self.size_ms} ms")
        if DAY_MS % self.hop_ms:
            raise ConfigurationError(f"window hop {self.hop_ms} ms must divide the day ({DAY_MS} ms)")
        if self.allowed_lateness_ms < 0:
            raise ConfigurationError(f"allowed lateness {self.allowed_lateness_ms} ms must not be negative")

    @property
    def span(self) -> int:
        """Panes in a window."""
        return self.size_ms // self.hop_ms

    @property
    def panes_a_day(self) -> int:
        """Panes in a calendar day."""
        return DAY_MS // self.hop_ms


def wall_to_utc_ms(wall: datetime, zone: ZoneInfo) -> Millis:
    """Map a naive local time to UTC: a doubled one to its first, one that does not exist to the instant of the change.

    >>> from zoneinfo import ZoneInfo
    >>> wall_to_utc_ms(datetime(2026, 3, 29, 2, 30), ZoneInfo("Europe/Berlin")) == wall_to_utc_ms(
    ...     datetime(2026, 3, 29, 3, 0), ZoneInfo("Europe/Berlin")
    ... )
    True
    """
    first = _utc_ms(wall.replace(tzinfo=zone, fold=0))
    second = _utc_ms(wall.replace(tzinfo=zone, fold=1))
    if second >= first:
        return first  # an ordinary time, or the first of a doubled one
    before, after = second, first  # in a gap the two readings lie on either side of the change
    offset = datetime.fromtimestamp(before / 1000, UTC).astimezone(zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle / 1000, UTC).astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def _utc_ms(moment: datetime) -> Millis:
    return round(moment.timestamp() * 1000)


@dataclass(slots=True)
class Calendar:
    """Where panes begin, for one window specification and one zone; edges are worked out once and kept."""

    spec: WindowSpec
    zone: str = "UTC"
    _first: int = 0
    _edges: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _zone: ZoneInfo = field(init=False)

    def __post_init__(self) -> None:
        try:
            self._zone = ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as error:
            raise ConfigurationError(f"zone: unknown time zone {self.zone!r}; use an IANA name such as Europe/Berlin") from error

    def edge(self, pane: int) -> Millis:
        """Start of a pane (and end of the one before) in UTC milliseconds."""
        self._cover(pane, pane)
        return int(self._edges[pane - self._first])

    def window_start(self, window: int) -> Millis:
        """Start of a window in UTC milliseconds."""
        return self.edge(window)

    def window_end(self, window: int) -> Millis:
        """End of a window in UTC milliseconds, exclusive."""
        return self.edge(window + self.spec.span)

    def pane_of(self, ts: int) -> int:
        """The pane that holds an instant; empty panes hold nothing."""
        return int(self.panes_of(np.array([ts], np.int64))[0])

    def panes_of(self, ts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The pane of each instant (UTC milliseconds), same shape."""
        if not len(ts):
            return np.empty(0, np.int64)
        if self.zone == "UTC":
            return ts // self.spec.hop_ms
        # a local day is never more than a day away from the UTC day of the same instant
        low, high = int(ts.min()) // DAY_MS - 2, int(ts.max()) // DAY_MS + 2
        self._cover(low * self.spec.panes_a_day, high * self.spec.panes_a_day)
        found: npt.NDArray[np.int64] = np.searchsorted(self._edges, ts, side="right") - 1 + self._first
        return found

    def _cover(self, low: int, high: int) -> None:
        """Extend the kept edges, whole chunks of days at a time, to hold panes low..high."""
        a_day = self.spec.panes_a_day
        first_day, last_day = low // a_day, high // a_day + 1
        if len(self._edges):
            kept_first = self._first // a_day
            kept_last = kept_first + len(self._edges) // a_day - 1
            if kept_first <= first_day and last_day <= kept_last:
                return
            first_day, last_day = min(first_day, kept_first), max(last_day, kept_last)
        first_day -= first_day % _CHUNK_DAYS
        last_day += _CHUNK_DAYS - last_day % _CHUNK_DAYS
        if self.zone == "UTC":
            edges = np.arange(first_day * a_day, (last_day + 1) * a_day, dtype=np.int64) * self.spec.hop_ms
        else:
            hop = timedelta(milliseconds=self.spec.hop_ms)
            walls = (_EPOCH + timedelta(days=day) + place * hop for day in range(first_day, last_day + 1) for place in range(a_day))
            edges = np.fromiter((wall_to_utc_ms(wall, self._zone) for wall in walls), np.int64)
        self._first, self._edges = first_day * a_day, edges
