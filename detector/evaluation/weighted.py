"""Figures of a ranking that only a sample of the user/days was put through. Arrays in, numbers out; knows no users or models.

A language model is too slow for every innocent user/day, and there are hardly any others. So the malicious ones are judged and a
simple random sample of the innocent; each judged row then stands for as many as its weight says, the inverse of the probability
that it was drawn (Horvitz & Thompson 1952). With all weights 1 every figure is that of `metrics`.

What the sample cannot tell apart is not said: with m innocent rows, one of them is 1 / m of all, so a false-positive rate below that
has no figure.
"""

from dataclasses import dataclass

import numpy as np

from detector.evaluation.metrics import Bools, Floats, Reliability


@dataclass(frozen=True, slots=True)
class WeightedCurve:
    """As `metrics.Curve`, with weights for rows: `hits` and `false_alarms` are estimates of counts over the whole."""

    thresholds: Floats
    hits: Floats
    false_alarms: Floats
    positives: float
    negatives: float
    resolution: float
    """The smallest false-positive rate that the sample can tell from none."""


@dataclass(frozen=True, slots=True)
class WeightedPoint:
    """One threshold and what it is estimated to reach; NaN throughout where the sample cannot tell."""

    threshold: float | None
    alerts: float
    hits: float
    precision: float
    recall: float
    f1: float
    false_positive_rate: float


_UNKNOWN = WeightedPoint(None, *[float("nan")] * 6)


def inverse_probability(truth: Bools, judged: Bools) -> Floats:
    """Weights of the judged rows: in each class, how many there are for each that was judged.

    Args:
        truth: of all rows, shape (n,).
        judged: which of them were judged, shape (n,).

    >>> inverse_probability(np.array([True, False, False, False]), np.array([True, True, False, True]))
    array([1. , 1.5, 1.5])
    """
    weights = np.empty(len(truth))
    for of_class in (truth, ~truth):
        drawn = int((of_class & judged).sum())
        weights[of_class] = of_class.sum() / drawn if drawn else np.nan
    return weights[judged]


def weighted_curve(truth: Bools, score: Floats, weight: Floats) -> WeightedCurve:
    """Rank the judged rows by falling score; ties share one threshold."""
    order = np.argsort(-score, kind="stable")
    ranked, sorted_score, sorted_weight = truth[order], score[order], weight[order]
    ends = np.flatnonzero(np.append(np.diff(sorted_score) != 0, True)) if len(score) else np.empty(0, np.int64)
    hits, alerts = np.cumsum(sorted_weight * ranked)[ends], np.cumsum(sorted_weight)[ends]
    innocent = weight[~truth]
    negatives = float(innocent.sum())
    finest = float(innocent.max(initial=0.0)) / negatives if negatives else float("nan")
    return WeightedCurve(sorted_score[ends], hits, alerts - hits, float(weight[truth].sum()), negatives, finest)


def weighted_average_precision(ranking: WeightedCurve) -> float:
    """PR-AUC as average precision, estimated. NaN without positives."""
    if not ranking.positives:
        return float("nan")
    precision = ranking.hits / (ranking.hits + ranking.false_alarms)
    return float(np.sum(np.diff(ranking.hits, prepend=0.0) * precision) / ranking.positives)


def weighted_at_false_positive_rate(ranking: WeightedCurve, rate: float) -> WeightedPoint:
    """The laxest threshold with at most that share of false alarms, estimated; unknown where the sample is too small to tell."""
    if not rate * (1 + 1e-9) >= ranking.resolution:
        return _UNKNOWN
    return _at(ranking, int(np.searchsorted(ranking.false_alarms, rate * ranking.negatives * (1 + 1e-9) + 1e-9, side="right")))


def weighted_at_budget(ranking: WeightedCurve, alerts: float) -> WeightedPoint:
    """The laxest threshold with at most `alerts` alerts over the whole, estimated; unknown where one innocent row weighs more."""
    if not alerts * (1 + 1e-9) >= ranking.resolution * ranking.negatives:
        return _UNKNOWN
    return _at(ranking, int(np.searchsorted(ranking.hits + ranking.false_alarms, alerts * (1 + 1e-9) + 1e-9, side="right")))


def _at(ranking: WeightedCurve, thresholds: int) -> WeightedPoint:
    last = thresholds - 1
    hits, false_alarms = (float(ranking.hits[last]), float(ranking.false_alarms[last])) if thresholds else (0.0, 0.0)
    alerts = hits + false_alarms
    return WeightedPoint(
        float(ranking.thresholds[last]) if thresholds else None,
        alerts,
        hits,
        hits / alerts if alerts else 0.0,
        hits / ranking.positives if ranking.positives else 0.0,
        2 * hits / (alerts + ranking.positives) if alerts + ranking.positives else 0.0,
        false_alarms / ranking.negatives if ranking.negatives else 0.0,
    )


def weighted_reliability(truth: Bools, score: Floats, weight: Floats, bins: int = 15) -> Reliability:
    """Expected calibration error at the natural rate, estimated; `rows` are the rows that were really judged."""
    if not len(score):
        return Reliability(float("nan"), (), (), ())
    place = np.clip(np.ceil(score * bins).astype(np.int64) - 1, 0, bins - 1)
    rows, weights = np.bincount(place, minlength=bins), np.bincount(place, weights=weight, minlength=bins)
    full = rows > 0
    said = np.bincount(place, weights=weight * score, minlength=bins)[full] / weights[full]
    seen = np.bincount(place, weights=weight * truth, minlength=bins)[full] / weights[full]
    error = float(np.sum(weights[full] * np.abs(said - seen)) / weights.sum())
    return Reliability(error, tuple(said.tolist()), tuple(seen.tolist()), tuple(rows[full].tolist()))
