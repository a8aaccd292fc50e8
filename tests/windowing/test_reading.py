"""Reading: when the store learns of what was read, and what it never needs to learn of."""

from collections.abc import Sequence
from typing import Any

import pytest

from stream.errors import FencedError
from stream.kinds import KINDS, Kind
from stream.log import MemorySource, Polled
from tests.windowing.test_worker import EVENTS, HOUR, T0, Bench
from windowing.calendar import DAY_MS
from windowing.ledger import Place
from windowing.store import Advance, MemoryStore
from windowing.worker import WindowWorker

DAY = T0 // DAY_MS


class WatchedStore(MemoryStore):
    """Remembers to which panes something was appended."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[int] = []

    def advance(self, changes: Sequence[Advance]) -> None:
        self.appended += [pane for change in changes for pane, _ in change.appends]
        super().advance(changes)

    @property
    def positions(self) -> tuple[int, ...]:
        return Place.decode(self.look(0)[0]).positions


def bench_of(*times: int) -> tuple[Bench, WatchedStore]:
    """One event of every kind at each of these times."""
    bench, store = Bench(), WatchedStore()
    bench.store = store
    for ts in times:
        for kind in KINDS:
            bench.event(kind, ts, f"{kind}-{ts}")
    return bench, store


def test_events_of_a_pane_that_closes_at_once_are_not_packed_for_the_store() -> None:
    found = {}
    for write_after_ms in (0, HOUR):
        bench, store = bench_of(T0 + HOUR, T0 + 2 * HOUR, T0 + DAY_MS + HOUR)
        worker = bench.worker(idle_after_ms=None, write_after_ms=write_after_ms)
        for _ in range(4):
            worker.step()
        found[write_after_ms] = sorted(set(store.appended)), bench.log.values("x.windows"), store.positions
    assert found[0][0] == [DAY, DAY + 1]
    assert found[HOUR][0] == [DAY + 1]
    assert found[0][1:] == found[HOUR][1:]
    assert len(found[0][1]) == 1


def begun(**settings: Any) -> tuple[Bench, WatchedStore, WindowWorker]:
    """A worker that has read one event of each kind; the mark that goes with that has been sent."""
    bench, store = bench_of(T0 + HOUR)
    worker = bench.worker(idle_after_ms=None, write_after_ms=HOUR, **settings)
    worker.step()
    worker.step()
    assert store.positions == (1,) * 5
    return bench, store, worker


def test_what_was_read_is_written_when_nothing_more_comes_and_counts_only_then() -> None:
    bench, store, worker = begun()
    bench.event(Kind.LOGON, T0 + HOUR + 1, "more")
    worker.step()
    assert store.positions == (1,) * 5
    assert worker.totals.read[Kind.LOGON] == 1
    worker.step()
    assert store.positions == (2, 1, 1, 1, 1)
    assert worker.totals.read[Kind.LOGON] == 2


def test_what_was_read_is_written_after_a_while_though_more_keeps_coming() -> None:
    bench, store, worker = begun()
    for n in range(3):
        bench.event(Kind.LOGON, T0 + HOUR + n, f"more-{n}")
        worker.step()
        assert store.positions == (1,) * 5
        bench.clock.advance(HOUR // 3)
    bench.event(Kind.LOGON, T0 + HOUR + 3, "last")
    worker.step()
    assert store.positions == (5, 1, 1, 1, 1)


def test_what_was_read_is_written_when_much_of_it_waits() -> None:
    bench, store, worker = begun(write_after_records=3)
    for n in range(2):
        bench.event(Kind.LOGON, T0 + HOUR + n, f"more-{n}")
        worker.step()
        assert store.positions == (1,) * 5
    bench.event(Kind.LOGON, T0 + HOUR + 2, "third")
    worker.step()
    assert store.positions == (4, 1, 1, 1, 1)


def test_dead_letters_are_not_kept_waiting() -> None:
    bench, store = bench_of(T0 + HOUR)
    bench.event(Kind.LOGON, T0 - 400 * DAY_MS, "late")
    bench.event(Kind.FILE, 0, "impossible")
    worker = bench.worker(idle_after_ms=None, write_after_ms=HOUR)
    worker.step()
    assert len(bench.log.values("x.dead-letters")) > 0
    assert store.positions == (2, 1, 2, 1, 1)


def test_a_worker_that_runs_until_done_leaves_nothing_unwritten() -> None:
    bench, store = bench_of(T0 + HOUR, T0 + DAY_MS + HOUR)
    bench.worker(until_done=True, idle_after_ms=None, write_after_ms=HOUR).run(lambda: False)
    assert store.positions == tuple(len(bench.log.values(EVENTS[kind])) for kind in KINDS)


def closing(bench: Bench, windows: int, **settings: Any) -> WindowWorker:
    """A worker that has just closed, and sent, this many windows in all."""
    worker = bench.worker(idle_after_ms=None, write_after_ms=HOUR, **settings)
    while len(bench.log.values("x.windows")) < windows:
        worker.step()
    return worker


def test_live_a_closing_is_written_at_once() -> None:
    bench, store = bench_of(T0 + HOUR, T0 + DAY_MS + HOUR)
    closing(bench, 1)
    assert store.positions == (2,) * 5


def test_in_a_backlog_a_closing_waits_for_the_store_and_what_is_out_stays_out() -> None:
    bench, store = bench_of(T0 + HOUR, T0 + DAY_MS + HOUR)
    closing(bench, 1, backlog_records=1)
    assert store.positions == (0,) * 5
    # it dies here; who comes next reads and closes all of it again, and sends nothing twice
    for kind in KINDS:
        bench.event(kind, T0 + 2 * DAY_MS + HOUR, f"{kind}-next")
    worker = bench.worker(idle_after_ms=None, write_after_ms=HOUR, backlog_records=1)
    while len(bench.log.values("x.windows")) < 2:
        worker.step()
    assert store.positions == (0,) * 5
    for _ in range(3):
        bench.clock.advance(HOUR)
        worker.step()
    assert store.positions == (3,) * 5
    assert store.appended == [DAY + 2]
    assert len(bench.log.values("x.windows")) == 2


class MovingSource(MemorySource):
    """Its partitions are dealt anew when it is polled the next time."""

    moved, moves = 0, False

    def poll(self, limit: int, timeout_ms: int) -> Polled:
        if self.moves:
            self.moves, self.moved = False, self.moved + 1
        return super().poll(limit, timeout_ms)

    def assignment(self) -> tuple[int, frozenset[int]]:
        generation, partitions = super().assignment()
        return generation + self.moved, frozenset(partitions)


def test_windows_that_are_made_as_the_partitions_go_to_others_are_not_sent() -> None:
    bench, _ = bench_of(T0 + HOUR, *(T0 + DAY_MS + n * HOUR for n in range(1, 8)))
    source = MovingSource(bench.log, list(EVENTS.values()))
    worker = bench.worker(source=source, idle_after_ms=None, backlog_records=1, batch_records=5)
    while not any(partition.due() for partition in worker.partitions.values()):
        worker.step()
    assert not bench.log.values("x.windows")
    source.moves = True
    worker.step()
    assert source.moved
    assert not bench.log.values("x.windows")
    for _ in range(12):
        worker.step()
    assert len(bench.log.values("x.windows")) == 1


def test_in_a_backlog_a_batch_is_decoded_while_the_one_before_it_is_placed() -> None:
    bench, store = bench_of(T0 + HOUR, T0 + 2 * HOUR, T0 + DAY_MS + HOUR)
    worker = bench.worker(idle_after_ms=None, backlog_records=5, batch_records=5)
    worker.step()
    # polled, and on its way through the decoder; nothing of it is known to anybody
    assert worker._reader.waiting
    assert not worker.done()
    assert (store.positions, worker.totals.read[Kind.LOGON]) == ((0,) * 5, 0)
    worker.step()
    assert sum(store.positions) == 5
    for _ in range(4):
        worker.step()
    # the last one, too, behind which there is nothing
    assert store.positions == (3,) * 5
    assert not worker._reader.waiting


def test_what_was_decoded_ahead_is_dropped_when_the_partitions_are_claimed_anew() -> None:
    bench, store = bench_of(T0 + HOUR, T0 + 2 * HOUR)
    worker = bench.worker(idle_after_ms=None, backlog_records=5, batch_records=5)
    worker.step()
    worker.step()
    assert worker._reader.waiting
    worker._forget()
    assert not worker._reader.waiting
    for _ in range(4):
        worker.step()
    assert store.positions == (2,) * 5
    assert {kind: worker.totals.read[kind] for kind in KINDS} == dict.fromkeys(KINDS, 2)


def test_decoding_ahead_changes_no_window() -> None:
    times = [T0 + n * HOUR for n in range(60)]
    found = []
    for backlog_records in (1, 10**9):
        bench, store = bench_of(*times)
        worker = bench.worker(idle_after_ms=None, until_done=True, backlog_records=backlog_records, batch_records=17)
        worker.run(lambda: False)
        found.append((bench.log.values("x.windows"), store.positions, worker.totals.read))
    assert found[0] == found[1]
    assert len(found[0][0]) >= 2


def test_before_windows_go_out_the_store_is_asked_whether_the_partition_is_still_ours_if_reading_has_not_asked() -> None:
    bench, store = bench_of(T0 + HOUR)
    worker = bench.worker(idle_after_ms=None, write_after_ms=HOUR)
    worker.step()
    worker.step()
    for kind in KINDS:
        bench.event(kind, T0 + DAY_MS + HOUR, f"{kind}-next")
    worker.step()
    store.claim(0, "")  # somebody changes what is known of people, and makes all workers look at it anew
    with pytest.raises(FencedError):
        worker.step()
    assert bench.log.values("x.windows") == []
