"""Wall-clock time, handed to whoever needs it. The only module that may ask the system."""

import time
from typing import Protocol

from stream.kinds import Millis


class Clock(Protocol):
    """Where the current time comes from."""

    def now_ms(self) -> Millis:
        """Return the wall-clock time in UTC epoch milliseconds."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> Millis:
        """Return the wall-clock time in UTC epoch milliseconds."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until it is told to move; the in-memory twin."""

    def __init__(self, now_ms: Millis = 0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> Millis:
        """Return the time that was last set, in UTC epoch milliseconds."""
        return self._now_ms

    def advance(self, by_ms: Millis) -> None:
        """Move the clock forward by some milliseconds."""
        self._now_ms += by_ms
