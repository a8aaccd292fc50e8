"""Closing what is due: the records of several partitions are made in one go, sent in one transaction, and the store moves on.

Making records costs a fixed amount a call besides what each user costs, so partitions that stand at the same window number close it
together. What a record holds depends on its user alone, so that does not show in any byte.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import polars as pl

from stream.kinds import KINDS
from stream.log import Headers, Out, TopicPartition
from stream.marks import encode_mark
from stream.metrics import DUPLICATES, STEP_SECONDS, WINDOWS_CLOSED
from windowing.cycle import Cycle
from windowing.describe import describe
from windowing.ledger import Place
from windowing.listening import Listener
from windowing.panes import Events
from windowing.partition import NO_WINDOWS, Closing, Due, Partition
from windowing.reading import Reader


def close_together(partitions: Sequence[Partition], limit: int) -> list[tuple[Partition, Closing]]:
    """Close the next windows of partitions that share their profiles: at most `limit` users of one window number.

    Those that are furthest behind close first; empty when none of them is due. Each partition's windows come in the order of
    (end, user); what comes of several calls may go out together.
    """
    taken = _taken(partitions, limit)
    steps = [(partition, due) for partition, due in taken if due is not None]
    windows, folded = NO_WINDOWS, _joined([due.folded for _, due in steps])
    if steps:
        rules, window, profiles = steps[0][0].rules, steps[0][1].window, steps[0][0].profiles
        shown = folded if all(due.shown is due.folded for _, due in steps) else _joined([due.shown for _, due in steps])
        if shown:
            windows = describe(shown, window, rules.calendar, profiles, rules.directory, rules.describe)
        profiles.fold(folded, window)
    return [(partition, partition.settle(due, _of(due, windows, alone=len(steps) == 1))) for partition, due in taken]


def _of(due: Due | None, windows: pl.DataFrame, *, alone: bool) -> pl.DataFrame:
    """Those of the windows that are of this partition's users."""
    if due is None:
        return NO_WINDOWS
    if alone:
        return windows
    users = set(due.users)
    return windows.filter(pl.Series([user in users for user in windows["user"]], dtype=pl.Boolean))


def _taken(partitions: Sequence[Partition], limit: int) -> list[tuple[Partition, Due | None]]:
    """What each partition closes next, as far as it is of the lowest window number; marks that are due where nothing else is."""
    due = [(partition.next_window(), partition) for partition in partitions if partition.due()]
    numbers = [number for number, _ in due if number is not None]
    marks: list[tuple[Partition, Due | None]] = [(partition, None) for number, partition in due if number is None]
    taken: list[tuple[Partition, Due | None]] = []
    for number, partition in due:
        if number is not None and number == min(numbers) and limit > 0:
            found = partition.take(limit)
            taken.append((partition, found))
            limit -= len(found.users) if found is not None else 0
    return taken + marks


def _joined(parts: Sequence[Events]) -> Events:
    """Events of several partitions as one; those of a single one as they are."""
    if len(parts) == 1:
        return parts[0]
    frames = {kind: [events[kind] for events in parts if kind in events] for kind in KINDS}
    return {kind: found[0] if len(found) == 1 else pl.concat(found) for kind, found in frames.items() if found}


LIVE_WINDOWS: Final = 250
"""Windows in a step where events are live: the first ones are judged while the next are made. A backlog is done in larger steps."""


class Closer:
    """The closing half of a worker's cycle."""

    def __init__(self, cycle: Cycle, listener: Listener, reader: Reader) -> None:
        self._cycle, self._listener, self._reader = cycle, listener, reader
        self._maker = ThreadPoolExecutor(1, "daywatch-close")

    def close(self, assignment: int) -> bool:
        """Send the next due windows of every partition in one transaction, then move on, and the store too. False when nothing is due."""
        cycle = self._cycle
        if not self._is_time():
            return False
        began = time.perf_counter()
        if behind := cycle.unwritten():
            # reading has not asked the store for a while: a newer owner may have changed what these windows are held against
            cycle.store.confirm({held.number: held.epoch for held in behind})
        if self._listener.behind:
            made = self._maker.submit(self._closings)
            # they take a while; what comes next is fetched and decoded meanwhile
            self._reader.read_ahead(assignment)
            closings, records = made.result()
            if cycle.source.assignment()[0] != assignment:
                return True  # others may own them by now, and close them; this worker will claim anew
        else:
            closings, records = self._closings()
        closed = [cycle.held[number] for number in closings]
        if records:
            cycle.transact(records, closed)
        for held in closed:
            cycle.reach(held, Place(held.place.positions, held.partition.closed), closings[held.number])
        # now the least is open, so that the least is packed for nothing; in a backlog even more will have closed a little later
        if not self._listener.behind or not cycle.may_wait(closed, cycle.settings.write_after_ms):
            cycle.write(closed)
        for closing in (closing for each in closings.values() for closing in each):
            self._count(closing)
        cycle.telemetry.observe(STEP_SECONDS, time.perf_counter() - began, step="close")
        return True

    def _is_time(self) -> bool:
        """Whether to close now what is due; in a backlog, partitions wait for each other a little, to close together."""
        due = [held.partition for held in self._cycle.held.values() if held.partition.due()]
        if not self._listener.behind or len(due) == len(self._cycle.held):
            return bool(due)
        return any(partition.is_overdue() for partition in due)

    def _closings(self) -> tuple[dict[int, list[Closing]], list[Out]]:
        """As many steps of closing as are due, for less than twice as many windows as a step may make: one transaction carries them."""
        # a step is not cut down to what is left: a window number that is closed in pieces costs more
        limit = self._cycle.settings.close_windows
        if not self._listener.behind:
            limit = min(limit, LIVE_WINDOWS)
        most = limit
        closings = dict[int, list[Closing]]()
        held = list(self._cycle.held.values())
        numbers = {id(each.partition): each.number for each in held}
        records: list[Out] = []
        while most > 0:
            step = close_together([each.partition for each in held], limit)
            if not step:
                break
            for partition, closing in step:
                number = numbers[id(partition)]
                closings.setdefault(number, []).append(closing)
                records += self._outgoing(number, closing)
                most -= max(1, len(closing.folded), closing.windows.height)
        return closings, records

    def _outgoing(self, number: int, closing: Closing) -> list[Out]:
        at = TopicPartition(self._cycle.topics.windows, number)
        users, values = (closing.windows[name].cast(pl.Binary).to_list() for name in ("user", "value"))
        ids = closing.windows["id"].to_list()
        out = [Out(at, user, value, _cloud_headers(name)) for user, name, value in zip(users, ids, values, strict=True)]
        if closing.mark_ms is not None:
            out.append(Out(at, None, None, encode_mark(closing.mark_ms, last=closing.last)))
        return out

    def _count(self, closing: Closing) -> None:
        totals, telemetry = self._cycle.totals, self._cycle.telemetry
        totals.windows += closing.windows.height
        telemetry.count(WINDOWS_CLOSED, closing.windows.height)
        for kind, n in closing.duplicates.items():
            totals.duplicates[kind] += n
            telemetry.count(DUPLICATES, n, kind=kind)


def _cloud_headers(window_id: str) -> Headers:
    return [
        ("ce_specversion", b"1.0"), ("ce_id", window_id.encode()), ("ce_type", b"daywatch.window"),
        ("ce_source", b"daywatch/window"), ("content-type", b"application/json"),
    ]  # fmt: skip
