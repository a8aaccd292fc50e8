"""What must come out, computed from the logs as a whole: the oracle of the fault harness.

Which events are late, dead or double, and which windows there are, in plain Python, which shares no code with the engine but the
arithmetic of the calendar. The windows' bytes come from describing each whole window at once, in the order of windows, as the offline
reading does; verdicts and alerts from one detect worker in memory that nothing disturbs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from detector.backend import Backend
from sinks.cycle import MemoryPast
from sinks.detect_worker import DetectSettings, DetectWorker, Topics
from stream.clock import ManualClock
from stream.kinds import KINDS, Kind, frame_schema
from stream.log import MemoryLog, MemoryOutlet, MemorySource, TopicPartition
from tests.windowing.logs import DISORDER, HOUR, LATENESS, SPEC
from windowing.calendar import Calendar
from windowing.describe import DescribeSettings, describe
from windowing.profiles import Profiles

TOLERANCE = HOUR // 6
_LONG_AGO = -(10**18)


@dataclass(frozen=True, slots=True)
class Record:
    """A record as a reader of committed records sees it."""

    offset: int
    stamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()

    def header(self, name: str) -> bytes | None:
        return dict(self.headers).get(name)


Log = Sequence[Record]
Logs = Mapping[int, Log]
"""By partition."""
Window = tuple[str, int]
"""User, and number of the window."""


@dataclass(slots=True)
class Truth:
    """What must come of the logs."""

    counts: dict[Window, dict[str, int]] = field(default_factory=dict)
    values: dict[Window, bytes] = field(default_factory=dict)
    dead: list[tuple[str, int, int]] = field(default_factory=list)
    """Kind, partition, offset."""
    due_ms: dict[tuple[int, int], int] = field(default_factory=dict)
    """When a window was due: by partition and window number, the time at which the last record was written that made it so."""
    late: int = 0
    duplicates: int = 0


@dataclass(frozen=True, slots=True)
class _Placed:
    first: int
    partition: int
    event: dict[str, object]


def truth(logs: Mapping[Kind, Logs], calendar: Calendar, settings: DescribeSettings) -> Truth:
    """What must come of five topics' logs."""
    found = Truth()
    placed: dict[tuple[str, int, Kind, str], _Placed] = {}
    clocks: dict[int, list[list[tuple[int, int]]]] = {}
    for kind in KINDS:
        for partition, log in logs[kind].items():
            steps = _place(kind, partition, log, calendar, placed, found)
            clocks.setdefault(partition, []).append(steps)
    span = calendar.spec.span
    by_window: dict[int, dict[Kind, list[dict[str, object]]]] = {}
    for (user, pane, kind, _), one in placed.items():
        for window in range(max(one.first, pane - span + 1), pane + 1):
            due_ms = _due(clocks[one.partition], calendar.window_end(window) + LATENESS)
            if due_ms is not None:
                found.due_ms[one.partition, window] = due_ms
                found.counts.setdefault((user, window), dict.fromkeys(map(str, KINDS), 0))[kind] += 1
                by_window.setdefault(window, {}).setdefault(kind, []).append(one.event)
    panes: dict[int, dict[Kind, list[dict[str, object]]]] = {}
    for (_, pane, kind, _), one in placed.items():
        panes.setdefault(pane, {}).setdefault(kind, []).append(one.event)
    profiles = Profiles(calendar)
    for window in range(min(by_window, default=0), max(by_window, default=-1) + 1):
        if window in by_window:
            described = describe(_frames(by_window[window]), window, calendar, profiles, None, settings)
            found.values |= {(user, window): value.encode() for user, value in described.select("user", "value").iter_rows()}
        if window in panes:
            profiles.fold(_frames(panes[window]), window)
    found.dead.sort()
    return found


def _place(
    kind: Kind, partition: int, log: Log, calendar: Calendar, placed: dict[tuple[str, int, Kind, str], _Placed], found: Truth
) -> list[tuple[int, int]]:
    """Read one log; where its clock rose, and when those records had been written."""
    clock, span, steps = _LONG_AGO, calendar.spec.span, []

    def rise(to: int, record: Record) -> int:
        if to > clock:
            steps.append((to, record.stamp))
        return max(clock, to)

    for record in log:
        if record.value is None:
            clock = rise(int(record.header("daywatch-clock") or b""), record)
            continue
        event = _parsed(record)
        if event is None or event["ts"] > record.stamp + TOLERANCE:  # type: ignore[operator]
            found.dead.append((kind, partition, record.offset))
            continue
        ts = int(str(event["ts"]))
        pane = calendar.pane_of(ts)
        first = next((w for w in range(pane - span + 1, pane + 1) if clock < calendar.window_end(w) + LATENESS), None)
        if first is None:
            found.dead.append((kind, partition, record.offset))
            found.late += 1
        else:
            key = (str(event["user"]), pane, kind, str(event["id"]))
            found.duplicates += key in placed
            placed.setdefault(key, _Placed(first, partition, event))
        clock = rise(ts - DISORDER, record)
    return steps


def _parsed(record: Record) -> dict[str, object] | None:
    try:
        event: dict[str, object] = json.loads(record.value or b"")
    except ValueError:
        return None
    if record.key != str(event["user"]).encode():
        return None
    return event | {"ts": round(datetime.fromisoformat(str(event["ts"])).timestamp() * 1000)}


def _due(clocks: Sequence[Sequence[tuple[int, int]]], at_ms: int) -> int | None:
    """When the last of five clocks came to a time; None when one has not."""
    reached = [next((stamp for clock, stamp in steps if clock >= at_ms), None) for steps in clocks]
    return None if None in reached or len(reached) < len(KINDS) else max(stamp for stamp in reached if stamp is not None)


def _frames(events: Mapping[Kind, list[dict[str, object]]]) -> dict[Kind, pl.DataFrame]:
    return {
        kind: pl.DataFrame([[each.get(name) for name in frame_schema(kind)] for each in found], schema=frame_schema(kind), orient="row")
        for kind, found in events.items()
    }


ROLES = ("windows", "verdicts", "alerts", "alert-memory", "dead-letters")


def judged(windows: Logs, namespace: str, backend: Backend) -> Mapping[str, Mapping[int, list[bytes | None]]]:
    """What one detect worker, in memory and undisturbed, makes of the windows: by role and partition, values; None for a mark."""
    names = {role: f"{namespace}.{role}" for role in ROLES}
    memory = MemoryLog(names.values(), len(windows), ManualClock())
    for partition, log in windows.items():
        at = TopicPartition(names["windows"], partition)
        for record in log:
            memory.append(at, record.key, record.value, list(record.headers), record.stamp)
            # alerts name the offset of their window
            memory.logs[at][-1] = memory.logs[at][-1]._replace(place=record.offset)
    topics = Topics(names["windows"], names["verdicts"], names["alerts"], names["alert-memory"], names["dead-letters"], len(windows))
    worker = DetectWorker(
        MemorySource(memory, [topics.windows]), MemoryOutlet(memory), MemoryPast(memory), backend, topics,
        DetectSettings(batch_windows=100), ManualClock(), wait=_never,
    )  # fmt: skip
    total = sum(record.value is not None for log in windows.values() for record in log)
    worker.run(_stop_when(lambda: worker.totals.windows >= total and _all_marks(memory, topics)))
    return {
        role: {partition: [kept.value for kept in memory.logs[TopicPartition(names[role], partition)]] for partition in windows}
        for role in ("verdicts", "alerts")
    }


def _never(_seconds: float) -> None:
    raise AssertionError("nothing fails here")


def _all_marks(memory: MemoryLog, topics: Topics) -> bool:
    marks = [sum(kept.value is None for kept in memory.records(topic)) for topic in (topics.windows, topics.verdicts)]
    return marks[0] == marks[1]


def _stop_when(done: Callable[[], bool], turns: int = 100_000) -> Callable[[], bool]:
    left = turns

    def stop() -> bool:
        nonlocal left
        left -= 1
        assert left > 0, "the detect worker in memory does not come to an end"
        return done()

    return stop


def calendar() -> Calendar:
    """Days of 24 hours, a window every 6."""
    return Calendar(SPEC)
