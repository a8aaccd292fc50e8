"""A few schedules of faults that show each kind once; `make faults` runs as many as one likes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.run import Run
from tests.faults.schedule import Fault, schedule
from tests.faults.world import World
from tests.servers import kafka_launcher, redis_program

SEEDS = (1, 36, 38, 53)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A broker of its own: it is killed again and again."""
    if kafka_launcher() is None or redis_program() is None:
        pytest.skip("needs Apache Kafka and redis-server")
    made = World(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


def test_these_schedules_show_each_kind_of_fault() -> None:
    assert {step.fault for seed in SEEDS for step in schedule(seed).steps} == set(Fault)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_dies_every_window_verdict_and_alert_comes_out_once_and_as_the_logs_dictate(world: World, seed: int) -> None:
    faults = [fault for fault in Fault if world.own_disk or fault is not Fault.FULL_DISK]
    result = Run(schedule(seed, faults), world).run()
    assert result.complaints == []


def test_a_results_file_names_what_was_tested(tmp_path: Path) -> None:
    from tests.faults.__main__ import append, read, version

    append(tmp_path / "results.jsonl", {**version(), "seed": 1})
    (line,) = read(tmp_path / "results.jsonl")
    assert line["seed"] == 1
    assert line["commit"]
    assert isinstance(line["changed"], bool)
