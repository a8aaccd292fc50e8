"""Closing only goes forward: over restarts and hand-overs, with silent topics, and when an event claims to be from 2031."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from stream.kinds import KINDS, Kind
from stream.log import MemoryLog, MemorySource, TopicPartition
from tests.windowing.logs import iso
from tests.windowing.test_worker import EVENTS, HOUR, MINUTE, T0, TOPICS, Bench, step_for
from windowing.calendar import DAY_MS
from windowing.clocks import LONG_AGO
from windowing.ledger import Place, decode_clocks
from windowing.partition import Closed
from windowing.worker import WindowWorker

IN_2031 = int(datetime(2031, 5, 1, tzinfo=UTC).timestamp() * 1000)


def stands(bench: Bench) -> tuple[Closed, dict[Kind, int]]:
    """How far closing and the five clocks have come, as the store has it."""
    at, state = bench.store.look(0)
    if not at:
        return Closed(), dict.fromkeys(KINDS, LONG_AGO)
    return Place.decode(at).closed, {kind: clock.at_ms for kind, clock in decode_clocks(state).items()}


def filled(days: int = 4, users: tuple[str, ...] = ("ana", "bo", "cy")) -> Bench:
    """Days of events of every kind, some out of order by hours, with marks between, in the order in which they arrive."""
    bench = Bench()
    for day in range(days):
        for kind in KINDS:
            for number, user in enumerate(users):
                bench.event(kind, T0 + day * DAY_MS + 9 * HOUR + number * MINUTE, f"{kind}-{day}-{user}", user)
                bench.event(kind, T0 + day * DAY_MS + 5 * HOUR, f"{kind}-{day}-{user}-before", user)
            bench.mark(kind, T0 + day * DAY_MS + 10 * HOUR)
    for kind in KINDS:
        bench.mark(kind, T0 + days * DAY_MS, last=True)
    return bench


@pytest.mark.parametrize("every", [1, 2, 3])
def test_clocks_and_closing_never_go_back_over_restarts_and_hand_overs(every: int) -> None:
    calm, bench = filled(), filled()
    calm.worker(until_done=True).run(lambda: False)
    closed, clocks = stands(bench)
    old: list[WindowWorker] = []
    for _ in range(200):
        # the worker before is not dead: it goes on as a zombie
        worker = bench.worker(until_done=True, batch_records=10, close_windows=2)
        for _ in range(every):
            worker.step()
            before, at = (closed, clocks), stands(bench)
            closed, clocks = at
            assert closed >= before[0]
            assert all(clocks[kind] >= before[1][kind] for kind in KINDS)
        for zombie in old[-1:]:
            zombie.run(after_steps(2))
            assert stands(bench) == (closed, clocks), "a zombie moves nothing"
        old.append(worker)
        if worker.done():
            break
    assert worker.done()
    ends = [window["end"] for window in bench.windows()]
    assert ends == sorted(ends)
    assert bench.log.values(TOPICS.windows) == calm.log.values(TOPICS.windows)
    assert len(ends) == 12


def after_steps(steps: int) -> Callable[[], bool]:
    """Says stop after so many steps."""
    return iter([False] * steps + [True]).__next__


def test_a_window_closes_no_sooner_than_all_five_clocks_have_passed_it_whoever_reads_on() -> None:
    bench = filled(days=1)
    for kind in KINDS:
        bench.log.logs[TopicPartition(EVENTS[kind], 0)].pop()  # no last marks
    for kind in KINDS[:-1]:
        bench.mark(kind, T0 + 3 * DAY_MS)
        step_for(bench.worker(idle_after_ms=None), bench.clock, 2_000)
        assert bench.windows() == []
    bench.mark(KINDS[-1], T0 + DAY_MS - 1)
    step_for(bench.worker(idle_after_ms=None), bench.clock, 2_000)
    assert bench.windows() == []
    bench.mark(KINDS[-1], T0 + DAY_MS)
    step_for(bench.worker(idle_after_ms=None), bench.clock, 2_000)
    assert len(bench.windows()) == 3


# an event from 2031 ---------------------------------------------------------------------------------------------------------


def event_at(bench: Bench, ts: int, stamp: int, user: str) -> None:
    value = f'{{"id":"from-2031-{user}","kind":"http","ts":"{iso(ts)}","user":"{user}","pc":"PC-1","url":"http://a.com/x"}}'
    bench.log.append(TopicPartition(EVENTS[Kind.HTTP], 0), user.encode(), value.encode(), stamp=stamp)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("today", [False, True], ids=["its record says 2031 too", "written today"])
def test_an_event_from_2031_closes_nothing_and_holds_nothing_up(today: bool, restart: bool) -> None:
    """Written today it is refused. Where the source's clock is wrong for the record as well, it is kept, and moves no clock alone."""
    calm, bench = filled(), filled()
    calm.worker(until_done=True).run(lambda: False)
    # in the midst of the first day
    odd = Bench()
    event_at(odd, IN_2031, odd.clock.now_ms() if today else IN_2031, "ana")
    logs, http = bench.log.logs, TopicPartition(EVENTS[Kind.HTTP], 0)
    kept = [(each.key, each.value, each.headers(), each.stamp) for each in (*logs[http][:4], *odd.log.logs[http], *logs[http][4:])]
    logs[http].clear()
    for key, value, headers, stamp in kept:
        bench.log.append(http, key, value, headers, stamp)
    worker = bench.worker(until_done=True, batch_records=6)
    if restart:
        for _ in range(9):
            worker.step()
            worker = bench.worker(until_done=True, batch_records=6)
    worker.run(lambda: False)
    assert bench.log.values(TOPICS.windows) == calm.log.values(TOPICS.windows)
    assert stands(bench)[0].window < IN_2031 // DAY_MS - 1
    letters = bench.log.records(TOPICS.dead_letters)
    assert [dict(each.headers() or [])["daywatch-reason"] for each in letters] == ([b"future"] if today else [])


# silence ----------------------------------------------------------------------------------------------------------------


def quiet() -> Bench:
    """A day that is over in three topics; the other two fell silent."""
    bench = Bench()
    for kind in KINDS[:3]:
        bench.event(kind, T0 + HOUR, "a")
        bench.event(kind, T0 + DAY_MS + HOUR, "b", "bo")
    bench.event(KINDS[3], T0 + HOUR, "a")
    return bench


@pytest.mark.parametrize("lives", [1, 2, 5])
def test_windows_do_not_hang_on_silent_topics_when_the_worker_changes(lives: int) -> None:
    bench = quiet()
    for _ in range(lives - 1):
        # each begins to listen anew, and dies before it has heard enough
        step_for(bench.worker(idle_after_ms=MINUTE), bench.clock, MINUTE // 2)
        assert bench.windows() == []
    step_for(bench.worker(idle_after_ms=MINUTE), bench.clock, 2 * MINUTE)
    assert [window["user"] for window in bench.windows()] == ["ana"]
    for kind in KINDS[3:]:
        assert bench.marks(EVENTS[kind]) == [T0 + DAY_MS + HOUR]


def test_marks_of_silence_never_go_back_when_the_worker_changes() -> None:
    bench = Bench(now_ms=T0 + 23 * HOUR)
    for kind in KINDS:
        bench.event(kind, T0 + 23 * HOUR - MINUTE, "a")
    for _ in range(6):
        step_for(bench.worker(idle_after_ms=MINUTE), bench.clock, 20 * MINUTE)
    for kind in KINDS:
        marks = bench.marks(EVENTS[kind])
        assert len(marks) > 20
        assert marks == sorted(marks)
        assert marks[-1] <= bench.clock.now_ms(), "no mark is ahead of the time that has passed"
    assert len(bench.windows()) == 1


def test_a_zombie_writes_no_marks() -> None:
    bench = quiet()
    old = bench.worker(idle_after_ms=MINUTE)
    step_for(old, bench.clock, MINUTE // 2)
    MemorySource(bench.log, list(EVENTS.values()))  # somebody else holds the partition from here on
    step_for(old, bench.clock, 5 * MINUTE)
    assert not any(bench.marks(EVENTS[kind]) for kind in KINDS)
    assert isinstance(bench.log, MemoryLog)
