import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from detector.evaluation.bootstrap import draw_users, interval, ranking_replicates, ratio_replicates
from detector.evaluation.metrics import at_false_positive_rate, curve


def test_a_replicate_equals_the_figure_over_the_rows_of_the_drawn_users() -> None:
    chance = np.random.default_rng(1)
    user, truth, score = chance.integers(0, 6, 90), chance.random(90) < 0.3, chance.integers(0, 20, 90) / 20
    drawn = draw_users(6, replicates=25, seed=2)
    found = ranking_replicates(truth, score, user, drawn, rates=(0.05, 0.2))
    for replicate, weights in enumerate(drawn):
        rows = np.repeat(np.arange(90), weights[user])
        assert found.average_precision[replicate] == pytest.approx(average_precision_score(truth[rows], score[rows]))
        for place, rate in enumerate((0.05, 0.2)):
            expected = at_false_positive_rate(curve(truth[rows], score[rows]), rate).recall
            assert found.recall[replicate, place] == pytest.approx(expected)


def test_every_replicate_draws_as_many_users_as_there_are() -> None:
    assert (draw_users(7, 50, seed=0).sum(axis=1) == 7).all()
    assert np.array_equal(draw_users(7, 50, seed=5), draw_users(7, 50, seed=5))


def test_a_ratio_is_taken_of_the_sums_not_averaged_over_users() -> None:
    drawn = np.array([[2, 0], [1, 1]])
    assert ratio_replicates(np.array([1.0, 9.0]), np.array([2.0, 10.0]), drawn).tolist() == [0.5, 10 / 12]


def test_the_interval_is_the_middle_of_the_replicates_and_leaves_out_those_without_value() -> None:
    values = np.append(np.arange(101) / 100, np.nan)
    assert interval(values).low == pytest.approx(0.025)
    assert interval(values).high == pytest.approx(0.975)
    assert np.isnan(interval(np.array([np.nan])).low)


def test_a_row_of_a_sample_counts_for_as_many_as_it_stands_for() -> None:
    chance = np.random.default_rng(3)
    user, truth, score = np.arange(20) % 5, np.arange(20) < 6, chance.random(20)
    weight, drawn = chance.integers(1, 4, 20), draw_users(5, replicates=10, seed=1)
    found = ranking_replicates(truth, score, user, drawn, weight=weight.astype(np.float64))
    rows = np.repeat(np.arange(20), weight)
    whole = ranking_replicates(truth[rows], score[rows], user[rows], drawn)
    assert found.average_precision == pytest.approx(whole.average_precision, nan_ok=True)
