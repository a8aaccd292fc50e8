import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.evaluation.metrics import at_budget, at_false_positive_rate, average_precision, curve, reliability
from detector.evaluation.weighted import (
    inverse_probability,
    weighted_at_budget,
    weighted_at_false_positive_rate,
    weighted_average_precision,
    weighted_curve,
    weighted_reliability,
)

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 7), st.integers(1, 4)), min_size=2, max_size=40)


def _arrays(rows: list[tuple[bool, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth = np.array([truth for truth, _, _ in rows], bool)
    return truth, np.array([score for _, score, _ in rows], np.float64) / 7, np.array([weight for _, _, weight in rows])


@given(ROWS, st.sampled_from([0.3, 0.5, 1.0]), st.integers(4, 60))
def test_a_row_with_a_weight_counts_as_so_many_rows(rows: list[tuple[bool, int, int]], rate: float, alerts: int) -> None:
    truth, score, weight = _arrays(rows)
    if truth.all() or not truth.any():
        return
    weighted, whole = weighted_curve(truth, score, weight.astype(np.float64)), curve(np.repeat(truth, weight), np.repeat(score, weight))
    assert weighted_average_precision(weighted) == pytest.approx(average_precision(whole))
    found, expected = weighted_at_false_positive_rate(weighted, rate), at_false_positive_rate(whole, rate)
    if rate >= weighted.resolution:
        assert (found.alerts, found.recall, found.threshold) == (expected.alerts, pytest.approx(expected.recall), expected.threshold)
    at = weighted_at_budget(weighted, alerts)
    assert at.recall == pytest.approx(at_budget(whole, alerts).recall)
    assert weighted_reliability(truth, score, weight).error == pytest.approx(
        reliability(np.repeat(truth, weight), np.repeat(score, weight)).error
    )


def test_each_judged_row_stands_for_its_share_of_its_class() -> None:
    truth = np.array([True, True, False, False, False, False])
    judged = np.array([True, True, False, True, True, False])
    assert inverse_probability(truth, judged).tolist() == [1.0, 1.0, 2.0, 2.0]


def test_a_rate_finer_than_one_judged_row_has_no_figure() -> None:
    truth = np.arange(110) < 10
    ranking = weighted_curve(truth, np.linspace(1, 0, 110), np.where(truth, 1.0, 50.0))
    assert ranking.resolution == pytest.approx(0.01)
    assert weighted_at_false_positive_rate(ranking, 0.01).recall == 1.0
    assert np.isnan(weighted_at_false_positive_rate(ranking, 0.005).recall)
    assert np.isnan(weighted_at_budget(ranking, 49).recall)
    assert weighted_at_budget(ranking, 50).alerts == 10


def test_on_average_over_samples_the_estimate_is_close_to_the_figure_of_the_whole_and_a_little_high() -> None:
    chance = np.random.default_rng(1)
    truth = np.arange(4000) < 40
    score = np.where(truth, chance.normal(2, 1, 4000), chance.normal(0, 1, 4000))
    whole = average_precision(curve(truth, score))
    found = []
    for _ in range(60):
        judged = truth.copy()
        judged[chance.choice(np.flatnonzero(~truth), 800, replace=False)] = True
        ranking = weighted_curve(truth[judged], score[judged], inverse_probability(truth, judged))
        found.append(weighted_average_precision(ranking))
    # a ratio whose denominator is estimated comes out a little high; the smaller the sample the more
    assert 0 < np.mean(found) - whole < 0.1 * whole
