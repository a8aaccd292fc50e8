import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from detector.evaluation.metrics import (
    at_budget,
    at_false_positive_rate,
    at_threshold,
    average_precision,
    balanced_sample,
    curve,
    label_figures,
    point,
    reliability,
    summary,
)

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 7)), min_size=2, max_size=60)


def _arrays(rows: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([truth for truth, _ in rows], bool), np.array([score for _, score in rows], np.float64) / 7


@given(ROWS)
def test_average_precision_equals_scikit_learns_ties_included(rows: list[tuple[bool, int]]) -> None:
    truth, score = _arrays(rows)
    if truth.any():
        assert average_precision(curve(truth, score)) == pytest.approx(reference.average_precision_score(truth, score))
    else:
        assert np.isnan(average_precision(curve(truth, score)))


@given(ROWS, st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]))
def test_recall_at_a_false_positive_rate_is_the_best_point_of_scikit_learns_roc_curve(rows: list[tuple[bool, int]], rate: float) -> None:
    truth, score = _arrays(rows)
    if truth.all() or not truth.any():
        return
    fpr, tpr, _ = reference.roc_curve(truth, score, drop_intermediate=False)
    found = at_false_positive_rate(curve(truth, score), rate)
    assert found.recall == pytest.approx(tpr[fpr <= rate + 1e-12].max())
    assert found.false_positive_rate <= rate + 1e-12


@given(ROWS, st.integers(0, 7))
def test_a_fixed_threshold_gives_scikit_learns_precision_recall_and_f1(rows: list[tuple[bool, int]], level: int) -> None:
    truth, score = _arrays(rows)
    alerts = score >= level / 7
    found = at_threshold(curve(truth, score), level / 7)
    assert found.alerts == alerts.sum()
    assert found.precision == pytest.approx(reference.precision_score(truth, alerts, zero_division=0))
    assert found.recall == pytest.approx(reference.recall_score(truth, alerts, zero_division=0))
    assert found.f1 == pytest.approx(reference.f1_score(truth, alerts, zero_division=0))


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["normal", "suspicious", "malicious"])), min_size=1, max_size=50))
def test_label_figures_equal_scikit_learns_with_suspicious_wrong_for_either(rows: list[tuple[bool, str]]) -> None:
    truth, labels = np.array([t for t, _ in rows]), np.array([said for _, said in rows])
    words = np.where(truth, "malicious", "normal")
    found = label_figures(truth, labels)
    assert found.accuracy == pytest.approx(reference.accuracy_score(words, labels))
    f1 = reference.f1_score(words, labels, labels=["normal", "malicious"], average="macro", zero_division=0)
    assert found.macro_f1 == pytest.approx(f1)
    recall = reference.recall_score(words, labels, labels=["malicious"], average="macro", zero_division=0)
    assert found.malicious_recall == pytest.approx(recall)


def test_tied_rows_stand_or_fall_together() -> None:
    ranking = curve(np.array([True, False, True, False]), np.array([0.9, 0.5, 0.5, 0.1]))
    assert at_budget(ranking, 2).alerts == 1
    assert at_budget(ranking, 3).alerts == 3
    assert at_false_positive_rate(ranking, 0.4).alerts == 1
    assert at_false_positive_rate(ranking, 0.5).alerts == 3


def test_a_rate_that_allows_exactly_so_many_false_alarms_allows_them() -> None:
    truth = np.zeros(5001, bool)
    truth[5] = True  # five false alarms come before the one malicious row; 0.001 x 5000 = 5
    score = np.linspace(1, 0, 5001)
    assert at_false_positive_rate(curve(truth, score), 0.001).recall == 1.0
    assert at_false_positive_rate(curve(truth, score), 0.00099).recall == 0.0


def test_no_alert_at_all_is_a_point_too() -> None:
    ranking = curve(np.array([False, True]), np.array([0.9, 0.1]))
    assert at_budget(ranking, 0) == point(0, 0, 1, 1)
    assert at_false_positive_rate(ranking, 0.0) == point(0, 0, 1, 1)


def test_calibration_error_is_the_mean_gap_between_said_and_seen() -> None:
    truth = np.array([True, True, False, False, True])
    score = np.array([0.95, 0.95, 0.05, 0.05, 0.05])
    found = reliability(truth, score, bins=10)
    # two rows said 0.95 and all were malicious: gap 0.05; three said 0.05 and a third were: gap 0.2833
    assert found.error == pytest.approx(2 / 5 * 0.05 + 3 / 5 * (1 / 3 - 0.05))
    assert found.rows == (3, 2)


def test_the_ends_of_the_scale_have_a_bin() -> None:
    assert reliability(np.array([False, True]), np.array([0.0, 1.0])).error == 0.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=40))
def test_the_calibration_error_and_the_bins_agree_with_a_plain_loop(rows: list[tuple[bool, float]]) -> None:
    truth, score = np.array([t for t, _ in rows]), np.array([s for _, s in rows])
    total = 0.0
    for place in range(15):
        inside = [(t, s) for t, s in rows if (place < np.ceil(s * 15) <= place + 1) or (place == 0 and s == 0)]
        if inside:
            total += abs(sum(t for t, _ in inside) - sum(s for _, s in inside)) / len(rows)
    assert reliability(truth, score).error == pytest.approx(total)


def test_a_balanced_sample_has_as_many_of_each_and_depends_on_the_seed_alone() -> None:
    truth = np.arange(200) % 5 == 0
    rows = balanced_sample(truth, 25, seed=3)
    assert truth[rows].sum() == 25
    assert len(set(rows.tolist())) == 50
    assert np.array_equal(rows, balanced_sample(truth, 25, seed=3))
    assert not np.array_equal(rows, balanced_sample(truth, 25, seed=4))
    assert len(balanced_sample(np.array([True, False, False]), 25, seed=0)) == 3


def test_a_summary_is_mean_and_sample_deviation() -> None:
    assert summary([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))
    assert summary([4.0]) == (4.0, 0.0)
