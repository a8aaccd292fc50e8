"""A whole CERT directory to its windows, without servers: the same panes, profiles and records as the worker, in memory.

Reads the files in the order of time and describes each window number when its last pane is complete. Knows no broker and no store.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from stream.cert import ReadCount, read_merged
from stream.kinds import Kind
from windowing.calendar import Calendar, WindowSpec
from windowing.describe import DescribeSettings, describe
from windowing.directory import Directory
from windowing.profiles import Profiles

Events = dict[Kind, pl.DataFrame]
Progress = Callable[[ReadCount], None]


@dataclass(frozen=True, slots=True)
class Batch:
    """The windows of one number: `windows` is what `describe` returns."""

    window: int
    windows: pl.DataFrame


def windows_of(
    directory: Path,
    spec: WindowSpec,
    zone: str = "UTC",
    *,
    people: Directory | None = None,
    settings: DescribeSettings | None = None,
    progress: Progress | None = None,
) -> Iterator[Batch]:
    """The windows of a CERT directory in the order of their numbers, users sorted within each.

    Every window that holds an event is there, also those that end after the newest one.

    Args:
        directory: holds the CSV files; plain, gzip or zstd.
        spec: size and hop of the windows.
        zone: what the naive dates mean, and where days begin.
        people: who worked where; by default nobody knows.
        settings: how much a record shows.
        progress: told how far reading has come, once for each chunk read.

    Raises:
        ConfigurationError: the directory or the zone cannot be used.
    """
    calendar = Calendar(spec, zone)
    return batches(panes_of(directory, calendar, progress), calendar, people, settings or DescribeSettings())


def batches(
    panes: Iterator[tuple[int, Events]], calendar: Calendar, people: Directory | None, settings: DescribeSettings
) -> Iterator[Batch]:
    """Windows over panes that come in ascending order, each whole and settled."""
    profiles = Profiles(calendar)
    span = calendar.spec.span
    held: dict[int, Events] = {}
    window: int | None = None
    for pane, events in panes:
        if window is None:
            window = pane - span + 1
        while window + span <= pane:
            if not held:
                window = pane - span + 1
                break
            yield from _close(window, held, calendar, profiles, people, settings)
            window += 1
        held[pane] = events
    while held and window is not None:
        yield from _close(window, held, calendar, profiles, people, settings)
        window += 1


def _close(
    window: int,
    held: dict[int, Events],
    calendar: Calendar,
    profiles: Profiles,
    people: Directory | None,
    settings: DescribeSettings,
) -> Iterator[Batch]:
    inside = [held[pane] for pane in range(window, window + calendar.spec.span) if pane in held]
    if inside:
        yield Batch(window, describe(_joined(inside), window, calendar, profiles, people, settings))
    # the last window over this pane is out: now it becomes part of what is usual
    done = held.pop(window, None)
    if done is not None:
        profiles.fold(done, window)


def _joined(panes: list[Events]) -> Mapping[Kind, pl.DataFrame]:
    if len(panes) == 1:
        return panes[0]
    kinds = {kind for events in panes for kind in events}
    return {kind: pl.concat([events[kind] for events in panes if kind in events]) for kind in kinds}


def panes_of(directory: Path, calendar: Calendar, progress: Progress | None) -> Iterator[tuple[int, Events]]:
    """The panes of a directory, each once and whole, in ascending order; of two records of one event the first counts."""
    count = ReadCount()
    waiting: dict[int, dict[Kind, list[pl.DataFrame]]] = {}
    for chunk in read_merged(directory, calendar.zone, count=count):
        newest: int | None = None
        for kind, frame in chunk.items():
            numbered = frame.with_columns(pl.Series("pane", calendar.panes_of(frame["ts"].to_numpy())))
            for (pane,), part in numbered.partition_by("pane", as_dict=True, include_key=False, maintain_order=True).items():
                number = int(str(pane))
                waiting.setdefault(number, {}).setdefault(kind, []).append(part)
                newest = number if newest is None else max(newest, number)
        if progress is not None:
            progress(count)
        # chunks follow each other in time, so everything before the newest pane is complete
        for pane in sorted(pane for pane in waiting if newest is not None and pane < newest):
            yield pane, _settled(waiting.pop(pane))
    for pane in sorted(waiting):
        yield pane, _settled(waiting[pane])


def _settled(parts: Mapping[Kind, list[pl.DataFrame]]) -> Events:
    found = {}
    for kind, frames in parts.items():
        whole = frames[0] if len(frames) == 1 else pl.concat(frames)
        if whole["id"].n_unique() != whole.height:
            whole = whole.unique(["user", "id"], keep="first", maintain_order=True)
        found[kind] = whole
    return found
