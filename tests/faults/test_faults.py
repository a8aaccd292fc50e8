"""Two schedules of faults; `make faults` runs as many as one likes, and if not told otherwise four that show each kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.__main__ import EACH_KIND, append, read, seeds_of, version
from tests.faults.run import Run
from tests.faults.schedule import Fault, schedule
from tests.faults.world import World
from tests.servers import kafka_launcher, redis_program

SEEDS = (1, 36)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A broker of its own: it is killed again and again."""
    if kafka_launcher() is None or redis_program() is None:
        pytest.skip("needs Apache Kafka and redis-server")
    made = World(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


def test_the_schedules_that_are_run_when_none_are_named_show_each_kind_of_fault() -> None:
    assert {step.fault for seed in seeds_of(EACH_KIND) for step in schedule(seed).steps} == set(Fault)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_dies_every_window_verdict_and_alert_comes_out_once_and_as_the_logs_dictate(world: World, seed: int) -> None:
    faults = [fault for fault in Fault if world.own_disk or fault is not Fault.FULL_DISK]
    result = Run(schedule(seed, faults), world).run()
    assert result.complaints == []


def test_a_results_file_names_what_was_tested(tmp_path: Path) -> None:
    append(tmp_path / "results.jsonl", {**version(), "seed": 1})
    (line,) = read(tmp_path / "results.jsonl")
    assert line["seed"] == 1
    assert line["commit"]
    assert isinstance(line["changed"], bool)
