import numpy as np
import pytest

from detector.groups.exam import figures, reports
from detector.groups.splits import Fold

NONE = np.zeros(0, np.int64)


def one_fold(count: int) -> Fold:
    return Fold(NONE, np.arange(count), NONE)


def test_figures_by_hand() -> None:
    truth = np.array([0, 0, 1, 1])
    scores = np.array([[3, 1, 0, 0, 0, 0, 0], [1, 2, 0, 0, 0, 0, 0], [0, 5, 0, 0, 0, 0, 0], [9, 1, 8, 7, 6, 5, 4]], np.float32)
    found = figures(scores, truth, [one_fold(4)])
    assert found.accuracy == 0.5
    assert found.macro_f1 == pytest.approx(0.5)  # both groups: one hit, two chosen, two true
    assert found.top_5 == 0.75
    assert (found.n, found.n_reports) == (4, 0)


def test_a_report_is_five_texts_of_one_group_and_one_fold() -> None:
    truth = np.array([0] * 11 + [1] * 4)
    scores = np.zeros((15, 2), np.float32)
    scores[:, 0] = 1
    sums, groups = reports(scores, truth, one_fold(15), seed=0)
    assert sums.tolist() == [[5, 0], [5, 0]]
    assert groups.tolist() == [0, 0]
    halves = [Fold(NONE, np.arange(0, 3), NONE), Fold(NONE, np.arange(3, 15), NONE)]
    assert figures(scores, truth, halves).n_reports == 1


def test_a_report_may_be_right_where_no_single_text_is() -> None:
    truth = np.zeros(5, np.int64)
    scores = np.full((5, 6), 0.0, np.float32)
    scores[:, 0] = 1
    scores[np.arange(5), np.arange(1, 6)] = 2
    found = figures(scores, truth, [one_fold(5)])
    assert (found.accuracy, found.reports) == (0.0, 1.0)


def test_only_tested_texts_count() -> None:
    truth = np.array([0, 1])
    scores = np.array([[1, 0], [1, 0]], np.float32)
    assert figures(scores, truth, [Fold(np.array([1]), np.array([0]), NONE)]).accuracy == 1.0
