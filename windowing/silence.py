"""How long logs have been silent, and which clock marks that calls for. Knows no broker; time is handed in.

Silence is made visible in the log: a silent topic follows the newest clock of its partition, and when all five are silent at
the present time, their clocks go on with the time that passes. So no clock is anybody's private affair that a crash could forget.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from stream.kinds import KINDS, Kind, Millis
from windowing.calendar import Calendar
from windowing.clocks import LONG_AGO

_MARK_EVERY_MS: Millis = 60_000


@dataclass(slots=True)
class Silence:
    """One partition's five logs: since when each has stood at its end with nothing new. Times in ms."""

    polled_ms: Millis = 0
    """Time in which polls were answered; what the other times here are counted in."""
    at_end: dict[Kind, Millis | None] = field(default_factory=lambda: dict.fromkeys(KINDS))
    """Per kind since when; None while there is something to read."""
    _calm: tuple[Millis, Millis] | None = None
    """Newest clock, and `polled_ms`, when all five had fallen silent."""
    _marked_at_ms: Millis = LONG_AGO

    def listen(self, passed_ms: Millis, spoke: Collection[Kind], ended: Collection[Kind], unheard: Collection[Kind]) -> None:
        """Note one poll.

        Args:
            passed_ms: time since the last one.
            spoke: kinds of which events came; clock marks do not end a silence.
            ended: kinds whose log was found to end.
            unheard: kinds of which nothing could have come, paused ones, or all when the broker was away: that is no silence.
        """
        self.polled_ms += max(0, passed_ms)
        for kind in KINDS:
            if kind in spoke:
                self.at_end[kind] = self._calm = None
            elif self.at_end[kind] is not None and kind in unheard:
                self.at_end[kind], self._calm = self.polled_ms, None
            if kind in ended and self.at_end[kind] is None:
                self.at_end[kind] = self.polled_ms

    def for_ms(self, kind: Kind) -> Millis:
        """For how long a log has stood at its end with nothing new; 0 while there is something to read."""
        since = self.at_end[kind]
        return 0 if since is None else self.polled_ms - since

    def marks(
        self,
        clocks: Mapping[Kind, Millis],
        paused: Collection[Kind],
        idle_after_ms: Millis,
        now_ms: Millis,
        max_jump_ms: Millis,
        calendar: Calendar,
    ) -> dict[Kind, Millis]:
        """Clock marks to write: the kind of log, and the time they say. Empty while nothing has been silent for long enough."""
        newest = max(clocks.values())
        silent = [kind for kind in KINDS if kind not in paused and self.at_end[kind] is not None and self.for_ms(kind) >= idle_after_ms]
        if newest == LONG_AGO or not silent:
            return {}
        to = self._time_goes_on(newest, now_ms, max_jump_ms) if len(silent) == len(KINDS) else newest
        # a mark now and then is enough to be seen, but one where a window ends must not wait
        seldom = self.polled_ms - self._marked_at_ms >= min(idle_after_ms, _MARK_EVERY_MS)
        found = {kind: to for kind in silent if clocks[kind] < to and (seldom or _crosses(clocks[kind], to, calendar))}
        if found:
            self._marked_at_ms = self.polled_ms
        return found

    def _time_goes_on(self, newest: Millis, now_ms: Millis, max_jump_ms: Millis) -> Millis:
        if self._calm is None:
            self._calm = (newest, max(since or 0 for since in self.at_end.values()))
        if abs(now_ms - newest) > max_jump_ms:
            return newest  # an interrupted replay, not a quiet hour
        start_ms, began_ms = self._calm
        return max(newest, start_ms + self.polled_ms - began_ms)


def _crosses(clock_ms: Millis, to_ms: Millis, calendar: Calendar) -> bool:
    """Whether a window ends between the two."""
    lateness = calendar.spec.allowed_lateness_ms
    return clock_ms == LONG_AGO or calendar.pane_of(clock_ms - lateness) < calendar.pane_of(to_ms - lateness)
