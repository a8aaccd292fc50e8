"""A detect worker that is stopped, or meets a fault, between every two effects of its write path: all of them, one by one."""

import itertools
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from sinks.cycle import MemoryPast
from sinks.detect_worker import DetectSettings, DetectWorker
from stream.clock import ManualClock
from stream.errors import FencedError
from stream.log import Commit, TopicPartition
from tests.sinks.test_detect_worker import TOPICS, filled, put, results
from tests.sinks.windows import FixedBackend
from tests.twins import Died, TwinSource, World, Wrong, every_wrong, twin_outlet


def life(world: World, number: int, prefetch: bool, stop: Any = lambda: False) -> bool:
    """One process's work; whether everything is done at its end."""
    settings = DetectSettings(batch_windows=7, until_done=True, prefetch=prefetch)
    source, outlet = TwinSource(world, [TOPICS.windows]), twin_outlet(world, f"detect.{number}")
    worker = DetectWorker(source, outlet, MemoryPast(world.log), FixedBackend(), TOPICS, settings, ManualClock(), lambda _: None)
    try:
        worker.run(stop)
    except Died:
        return False
    except FencedError:
        assert number == 0, "only a worker that another one took over from is fenced"
        return False
    return worker.done and bool(worker.partitions)


def run(prefetch: bool, place: int = -1, wrong: Wrong | None = None) -> World:
    """Judge everything, with one thing going wrong."""
    log = filled(windows=5)
    put(log, "ana", b"no json")
    world = World(log, place=place, wrong=wrong)
    over = False

    def heir() -> None:
        nonlocal over
        over = life(world, 99, prefetch)
        assert over

    world.heir = heir
    steps = itertools.count()
    assert any(life(world, number, prefetch, lambda: over and next(steps) > 5) or over for number in range(5))
    before = results(world.log)
    assert life(world, 50, prefetch)
    assert results(world.log) == before, "whoever comes next finds all done"
    return world


def unsigned(commits: Mapping[TopicPartition, Commit]) -> dict[TopicPartition, tuple[int, dict[str, Any]]]:
    """Commits without who made them."""
    return {at: (commit.offset, json.loads(commit.note) | {"by": ""}) for at, commit in commits.items()}


CALM = {prefetch: run(prefetch) for prefetch in (False, True)}


def test_an_undisturbed_run_has_every_kind_of_effect_and_prefetching_changes_nothing() -> None:
    found = Counter(name for name, _ in CALM[False].effects)
    assert set(found) == {"init", "produce", "offsets", "commit"}
    assert found["commit"] > 3
    assert results(CALM[True].log) == results(CALM[False].log)
    assert len(CALM[False].log.values("verdicts")) == 20
    assert CALM[False].log.values("alerts")


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("wrong", sorted(set(Wrong) - {Wrong.STALE, Wrong.OLDER}), ids=lambda wrong: wrong.name.lower())
def test_whatever_goes_wrong_at_whichever_effect_verdicts_and_alerts_are_there_once(wrong: Wrong, prefetch: bool) -> None:
    calm = CALM[prefetch]
    places = [place for place, each in every_wrong(calm.effects) if each is wrong]
    assert places
    for place in places:
        world = run(prefetch, place, wrong)
        where = f"{wrong.value}: effect {place}, {calm.effects[place][0]}"
        assert results(world.log) == results(calm.log), where
        assert unsigned(world.log.committed) == unsigned(calm.log.committed), where
        assert world.backwards == [], where
        memory = [MemoryPast(each.log).latest([at for at in each.log.logs if at.topic == "alert-memory"]) for each in (world, calm)]
        assert memory[0] == memory[1], where
