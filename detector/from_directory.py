"""Lessons from CERT directories with answers: their windows, and which of them hold events of the key. Knows no model."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from detector.evaluation.truth import AnswerKey, read_answers
from detector.training import Key, Lessons, instant_ms, lessons_of
from stream.cert import ReadCount
from stream.kinds import Millis
from windowing.calendar import DAY_MS, WindowSpec
from windowing.describe import DescribeSettings
from windowing.directory import Directory
from windowing.offline import windows_of
from windowing.record import Window, parse_window

USER_DAYS = WindowSpec(size_ms=DAY_MS, hop_ms=DAY_MS)


def lessons_of_directory(
    directory: Path,
    zone: str = "UTC",
    spec: WindowSpec = USER_DAYS,
    describe: DescribeSettings | None = None,
    progress: Callable[[ReadCount], None] | None = None,
) -> Lessons:
    """Read a directory once, with the same code that the windowing worker runs.

    Args:
        directory: CSV files, `answers/`, and `LDAP/` if roles are to be known.
        zone: of the organisation's days.
        spec: of the windows; user/days by default.
        describe: how much a window shows.
        progress: told how far reading has come.

    Raises:
        ConfigurationError: the directory cannot be used, or holds nothing malicious.
    """
    key_of = KeyByTime.of(read_answers(directory, zone))
    people = Directory.read(directory, zone) if (directory / "LDAP").is_dir() else None
    made = windows_of(directory, spec, zone, people=people, settings=describe, progress=progress)
    return lessons_of((parse_window(value.encode()) for batch in made for value in batch.windows["value"]), key_of)


@dataclass(frozen=True, slots=True)
class KeyByTime:
    """The key's events of each account in the order of time: which of them a window holds, whatever its size."""

    times: dict[str, list[Millis]]
    events: dict[str, list[tuple[str, str]]]

    @classmethod
    def of(cls, key: AnswerKey) -> "KeyByTime":
        """Sort a key."""
        times: dict[str, list[Millis]] = {}
        events: dict[str, list[tuple[str, str]]] = {}
        for user, ts, kind, event_id in key.events.sort("ts").select("user", "ts", "kind", "id").iter_rows():
            times.setdefault(user, []).append(ts)
            events.setdefault(user, []).append((kind, event_id))
        return cls(times, events)

    def __call__(self, window: Window) -> Key:
        """The key's events in a window, shown or not."""
        times = self.times.get(window.user)
        if times is None:
            return frozenset()
        begin, end = (bisect_left(times, instant_ms(text)) for text in (window.start, window.end))
        return frozenset(self.events[window.user][begin:end])
