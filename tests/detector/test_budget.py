import numpy as np
import pytest

from detector.budget import BUDGETS, Thresholds


def test_a_threshold_lets_through_as_many_training_windows_as_the_budget_allows() -> None:
    score = np.random.default_rng(1).random(20_000)
    fitted = Thresholds.fit(score, score > 2, 20_000)
    for budget in BUDGETS:
        assert int((score >= fitted.at(budget)).sum()) == pytest.approx(budget * 20, rel=0.02, abs=1)


def test_a_larger_budget_never_has_a_higher_threshold() -> None:
    score = np.random.default_rng(1).random(500)
    fitted = Thresholds.fit(score, score > 0.9, 500)
    found = [fitted.at(budget) for budget in np.geomspace(0.1, 500, 60)]
    assert found == sorted(found, reverse=True)


def test_malicious_begins_where_f1_is_highest() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1])
    truth = np.array([True, True, True, False, False, False])
    assert Thresholds.fit(score, truth, 6).malicious == 0.5


def test_nothing_is_malicious_where_nothing_was() -> None:
    assert Thresholds.fit(np.array([0.1, 0.2]), np.array([False, False]), 2).malicious == 1.0


def test_scores_that_tie_stay_on_one_side() -> None:
    score = np.array([0.5, 0.5, 0.5, 0.1])
    assert Thresholds.fit(score, np.array([True, False, True, False]), 4).malicious == pytest.approx(0.3)
