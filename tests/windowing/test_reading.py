"""Reading: when the store learns of what was read, and what it never needs to learn of."""

from collections.abc import Sequence
from typing import Any

from stream.kinds import KINDS, Kind
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
