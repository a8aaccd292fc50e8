"""How far windows are out, as their own topic tells: a partition's last record is its last window, or the mark behind those of a number.

Windows go out in the order of (end, user), a mark behind those of one number. Whoever recovers believes this before what the group has
committed: a broker that died at the wrong moment may have kept one of the two only (`stream.inheriting`). Bytes in, values out.
"""

from dataclasses import dataclass

from stream.errors import PoisonError
from stream.kinds import Millis
from stream.log import Newest
from stream.marks import ClockMark, parse_mark
from stream.times import instant
from windowing.calendar import Calendar
from windowing.partition import Closed
from windowing.record import parse_window


@dataclass(frozen=True, slots=True)
class Told:
    """The newest record of a partition of the windows topic: a window of a user, or a clock mark."""

    user: str = ""
    """The key under which the user's records go out; a pseudonym if people's names are replaced."""
    start_ms: Millis = 0
    end_ms: Millis = 0
    mark: ClockMark | None = None

    @classmethod
    def of(cls, record: Newest) -> "Told":
        """Read it.

        Raises:
            PoisonError: no worker of ours wrote it.
        """
        if record.value is None:
            return cls(mark=parse_mark(record.key, record.headers))
        window = parse_window(record.value)
        try:
            return cls(window.user, instant(window.start), instant(window.end))
        except ValueError as error:
            raise PoisonError("a window without a time") from error

    def closed(self, calendar: Calendar) -> Closed | None:
        """How far the partition was closed when it sent that; None when it is a window of another size, hop or zone."""
        if self.mark is not None:
            window = calendar.pane_of(self.mark.at_ms) - calendar.spec.span
            return Closed(window, 2 if self.mark.last else 1) if calendar.window_end(window) == self.mark.at_ms else None
        window = calendar.pane_of(self.start_ms)
        fits = (calendar.window_start(window), calendar.window_end(window)) == (self.start_ms, self.end_ms)
        return Closed(window, 0, self.user) if fits else None
