"""A windowing worker that is stopped, or meets a fault, between every two effects of its write path: all of them, one by one.

Whatever goes wrong at whichever effect, what is on the log afterwards is what a plain function of the logs says, byte for byte what an
undisturbed run leaves.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from stream.clock import ManualClock
from stream.errors import FencedError
from stream.kinds import KINDS, Kind
from stream.log import MemoryLog, TopicPartition
from stream.marks import parse_mark
from tests.twins import Died, TwinSource, TwinStore, World, Wrong, every_wrong, twin_outlet
from tests.windowing.logs import (
    EVENTS,
    HOUR,
    PARTITIONS,
    RULES,
    T0,
    TOPICS,
    append,
    complaints,
    mark,
    parsed_windows,
    sent_dead,
    sent_windows,
)
from windowing.ledger import Place, decode_clocks
from windowing.worker import WindowWorker, WorkerSettings


def make_log() -> MemoryLog:
    """A day of four users: marks, a repeated event, one that is late for all windows, and records that cannot be read."""
    log = MemoryLog([*EVENTS.values(), TOPICS.windows, TOPICS.dead_letters], PARTITIONS, ManualClock(T0 + 10**12))
    for kind in (Kind.LOGON, Kind.HTTP):
        for number, user in enumerate(("ana", "bo", "cy", "di")):
            append(log, (kind, f"e{number}", user, T0 + HOUR + number))
    append(log, (Kind.HTTP, "e0", "ana", T0 + HOUR))
    log.append(TopicPartition(EVENTS[Kind.FILE], 1), b"ana", b"{broken", stamp=T0)
    for kind in KINDS:
        mark(log, kind, T0 + 40 * HOUR)
    append(log, (Kind.LOGON, "late", "bo", T0 + 2 * HOUR))
    for kind in KINDS:
        mark(log, kind, T0 + 72 * HOUR, last=True)
    return log


def life(world: World, number: int, stop: Callable[[WindowWorker], bool] = lambda _: False) -> bool:
    """One process's work; whether everything is done at its end."""
    settings = WorkerSettings(batch_records=30, close_windows=6, idle_after_ms=None, until_done=True)
    effects = TwinSource(world, list(EVENTS.values())), twin_outlet(world, f"x.window.{number}"), TwinStore(world)
    worker = WindowWorker(*effects, TOPICS, RULES, settings, world.log.clock, wait=lambda _: None)
    try:
        worker.run(lambda: stop(worker))
    except Died:
        return False
    except FencedError:
        assert number == 0, "only a worker that another one took over from is fenced"
        return False
    return worker.done()


def run(place: int = -1, wrong: Wrong | None = None) -> World:
    """Work everything off, with one thing going wrong."""
    world = World(make_log(), place=place, wrong=wrong)
    over = False

    def heir() -> None:
        nonlocal over
        over = life(world, 99)
        assert over

    world.heir = heir
    assert finish(world, lambda: over)
    # and whoever comes next finds all done, whatever the store has forgotten meanwhile
    sent, effects = len(world.log.records(TOPICS.windows)), list(world.effects)
    world.wrong = None
    assert life(world, 50)
    assert len(world.log.records(TOPICS.windows)) == sent
    world.effects = effects
    return world


def finish(world: World, over: Callable[[], bool]) -> bool:
    steps = itertools.count()
    # one that was taken over from finds that out in a few steps, and would then wait for partitions for ever
    return any(life(world, number, lambda _: over() and next(steps) > 5) or over() for number in range(5))


def advances(world: World, number: int) -> Place:
    return Place.decode(world.store.look(number)[0])


CALM = run()
EXPECTED = [value for _, _, value in sent_windows(CALM.log)]


def test_the_undisturbed_run_is_what_the_logs_dictate_and_has_every_kind_of_effect() -> None:
    assert complaints(sent_windows(CALM.log), sent_dead(CALM.log), CALM.log, EXPECTED) == ""
    assert len(EXPECTED) > 12
    assert len(sent_dead(CALM.log)) == 2
    found = Counter(name for name, _ in CALM.effects)
    assert set(found) == {"claim", "begin", "fsync", "init", "produce", "offsets", "commit", "advance", "confirm"}
    assert found["commit"] > 5
    assert found["advance"] > 6


@pytest.mark.parametrize("wrong", list(Wrong), ids=lambda wrong: wrong.name.lower())
def test_whatever_goes_wrong_at_whichever_effect_every_window_is_there_once_and_whole(wrong: Wrong) -> None:
    places = [place for place, each in every_wrong(CALM.effects) if each is wrong]
    if wrong is Wrong.DIES_AFTER:
        places = places[-1:]  # after an effect is before the next
    assert places
    for place in places:
        world = run(place, wrong)
        where = f"{wrong.value}: effect {place}, {CALM.effects[place][0]}"
        assert complaints(sent_windows(world.log), sent_dead(world.log), world.log, EXPECTED) == "", where
        assert world.backwards == [], where
        assert marks_are_right(world), where
        for partition in range(PARTITIONS):
            assert advances(world, partition).closed == advances(CALM, partition).closed, where
            assert clocks(world, partition) == clocks(CALM, partition), where


def marks_are_right(world: World) -> bool:
    """Each partition's marks grow, the last one comes once and at the end, and no window stands behind a mark that says it was closed."""
    for partition in range(PARTITIONS):
        reached, lasts = -1, []
        for kept in world.log.logs[TopicPartition(TOPICS.windows, partition)]:
            if kept.value is None:
                mark = parse_mark(kept.key, kept.headers())
                if mark.at_ms <= reached:
                    return False
                reached, lasts = mark.at_ms, [*lasts, mark.last]
            elif parsed_windows([kept.value])[0][0][1] <= reached:
                return False
        if lasts.count(True) != 1 or not lasts[-1]:
            return False
    return True


def clocks(world: World, partition: int) -> Any:
    return decode_clocks(world.store.look(partition)[1])
