"""Random streams are independent of order, and scrambling loses nothing."""

import numpy as np
import pytest

from stream.synth.chance import Chance, mix64, skewed, within_runs


def test_a_stream_depends_on_its_purpose_alone() -> None:
    chance = Chance(5)
    first = chance.stream(1, 2).random(4)
    chance.stream(9).random(100)
    assert chance.stream(1, 2).random(4).tolist() == first.tolist()
    assert chance.stream(2, 1).random(4).tolist() != first.tolist()
    assert Chance(6).stream(1, 2).random(4).tolist() != first.tolist()


def test_scrambling_is_one_to_one_on_neighbours_and_far_apart() -> None:
    values = np.concatenate([np.arange(100_000, dtype=np.uint64), np.arange(100_000, dtype=np.uint64) << np.uint64(40)])
    values = np.unique(values)
    assert len(np.unique(mix64(values))) == len(values)


@pytest.mark.parametrize("runs", [[], [0], [3], [2, 0, 3], [0, 0, 1]])
def test_positions_within_runs_start_anew(runs: list[int]) -> None:
    assert within_runs(np.array(runs, np.int64)).tolist() == [k for length in runs for k in range(length)]


def test_skewed_indexes_stay_inside_and_prefer_low_ones() -> None:
    drawn = skewed(np.random.default_rng(1), 10, 5_000)
    assert drawn.min() == 0
    assert drawn.max() == 9
    assert (drawn < 3).mean() > 0.5
