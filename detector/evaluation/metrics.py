"""How well a ranking, a set of labels and a set of probabilities match the truth. Arrays in, numbers out; knows no users or windows.

Rankings: rows with equal scores stand or fall together (a threshold cannot tell them apart), so every figure is one that a
threshold on the score really reaches. Each figure is tested against scikit-learn where it has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]

FALSE_POSITIVE_RATES: tuple[float, ...] = (0.001, 0.002, 0.005, 0.01)
ALERT_BUDGETS: tuple[int, ...] = (1, 2, 5, 10)
"""Alerts a day per 1,000 users."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What each threshold on a score reaches, from the strictest to the laxest.

    `thresholds[i]` alerts on every row with score >= it: `hits[i]` positive and `false_alarms[i]` negative rows. All arrays
    have one entry for each distinct score.
    """

    thresholds: Floats
    hits: Ints
    false_alarms: Ints
    positives: int
    negatives: int


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One threshold and what it reaches. `threshold` is None when even the strictest one alerts too often: no alert at all."""

    threshold: float | None
    alerts: int
    hits: int
    precision: float
    recall: float
    f1: float
    false_positive_rate: float


def curve(truth: Bools, score: Floats) -> Curve:
    """Rank the rows by falling score; ties share one threshold."""
    order = np.argsort(-score, kind="stable")
    ranked, sorted_score = truth[order], score[order]
    ends = np.flatnonzero(np.append(np.diff(sorted_score) != 0, True)) if len(score) else np.empty(0, np.int64)
    hits = np.cumsum(ranked, dtype=np.int64)[ends] if len(score) else np.empty(0, np.int64)
    positives = int(truth.sum())
    return Curve(sorted_score[ends], hits, ends + 1 - hits, positives, len(truth) - positives)


def average_precision(ranking: Curve) -> float:
    """PR-AUC as average precision: the sum of precision over the steps of recall (no interpolation). NaN without positives."""
    if not ranking.positives:
        return float("nan")
    precision = ranking.hits / (ranking.hits + ranking.false_alarms)
    return float(np.sum(np.diff(ranking.hits, prepend=0) * precision) / ranking.positives)


def at_false_positive_rate(ranking: Curve, rate: float) -> OperatingPoint:
    """The laxest threshold whose share of false alarms among the negatives is at most `rate` (0..1).

    >>> at_false_positive_rate(curve(np.array([True, False, True]), np.array([0.9, 0.8, 0.7])), 0.0).recall
    0.5
    """
    # the small slack keeps 0.001 x 5000 at 5 false alarms, whatever the floating point says
    return _at(ranking, int(np.searchsorted(ranking.false_alarms, rate * ranking.negatives + 1e-9, side="right")))


def at_budget(ranking: Curve, alerts: float) -> OperatingPoint:
    """The laxest threshold that raises at most `alerts` alerts."""
    return _at(ranking, int(np.searchsorted(ranking.hits + ranking.false_alarms, alerts + 1e-9, side="right")))


def at_threshold(ranking: Curve, threshold: float) -> OperatingPoint:
    """What a threshold fixed beforehand reaches: an alert for every score >= threshold."""
    return _at(ranking, int(np.searchsorted(-ranking.thresholds, -threshold, side="right")))


def point(hits: int, false_alarms: int, positives: int, negatives: int, threshold: float | None = None) -> OperatingPoint:
    """An operating point from its counts; ratios of nothing are 0."""
    alerts = hits + false_alarms
    precision, recall = _ratio(hits, alerts), _ratio(hits, positives)
    return OperatingPoint(threshold, alerts, hits, precision, recall, _ratio(2 * hits, alerts + positives), _ratio(false_alarms, negatives))


def _at(ranking: Curve, thresholds: int) -> OperatingPoint:
    if thresholds == 0:
        return point(0, 0, ranking.positives, ranking.negatives)
    last = thresholds - 1
    return point(
        int(ranking.hits[last]), int(ranking.false_alarms[last]), ranking.positives, ranking.negatives, float(ranking.thresholds[last])
    )


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """How good the labels are. Truth is malicious or normal, so `suspicious` is wrong for either."""

    rows: int
    accuracy: float
    macro_f1: float
    malicious_precision: float
    malicious_recall: float
    malicious_f1: float
    normal_f1: float
    suspicious: int


def label_figures(truth: Bools, labels: npt.NDArray[np.str_]) -> LabelFigures:
    """Accuracy and F1 of the labels `normal`, `suspicious`, `malicious`; macro F1 is over the two true labels."""
    said_malicious, said_normal = labels == "malicious", labels == "normal"
    hits, right_normal = int((said_malicious & truth).sum()), int((said_normal & ~truth).sum())
    positives, rows = int(truth.sum()), len(truth)
    malicious_f1 = _ratio(2 * hits, int(said_malicious.sum()) + positives)
    normal_f1 = _ratio(2 * right_normal, int(said_normal.sum()) + rows - positives)
    return LabelFigures(
        rows=rows,
        accuracy=_ratio(hits + right_normal, rows),
        macro_f1=(malicious_f1 + normal_f1) / 2,
        malicious_precision=_ratio(hits, int(said_malicious.sum())),
        malicious_recall=_ratio(hits, positives),
        malicious_f1=malicious_f1,
        normal_f1=normal_f1,
        suspicious=int((labels == "suspicious").sum()),
    )


@dataclass(frozen=True, slots=True)
class Reliability:
    """Said against seen, by equal-width bins of the score; bins without rows are left out."""

    error: float
    said: tuple[float, ...]
    seen: tuple[float, ...]
    rows: tuple[int, ...]


def reliability(truth: Bools, score: Floats, bins: int = 15) -> Reliability:
    """Expected calibration error with equal-width bins (Naeini et al. 2015; 15 bins as in Guo et al. 2017)."""
    if not len(score):
        return Reliability(float("nan"), (), (), ())
    place = np.clip(np.ceil(score * bins).astype(np.int64) - 1, 0, bins - 1)
    rows = np.bincount(place, minlength=bins)
    full = rows > 0
    said = np.bincount(place, weights=score, minlength=bins)[full] / rows[full]
    seen = np.bincount(place, weights=truth, minlength=bins)[full] / rows[full]
    error = float(np.sum(rows[full] * np.abs(said - seen)) / len(score))
    return Reliability(error, tuple(said.tolist()), tuple(seen.tolist()), tuple(rows[full].tolist()))


def balanced_sample(truth: Bools, each: int, seed: int) -> Ints:
    """Row numbers of `each` positive and `each` negative rows drawn without replacement; fewer where there are fewer."""
    chance = np.random.default_rng(seed)
    pools = (np.flatnonzero(truth), np.flatnonzero(~truth))
    return np.concatenate([chance.choice(rows, size=min(each, len(rows)), replace=False) for rows in pools]).astype(np.int64)


def summary(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 for a single value)."""
    found = np.asarray(values, np.float64)
    return float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else 0.0
