"""Calibration and thresholds of an adapter, from windows of users that it has not learned from. Knows no torch and no files.

Rows stand for more or fewer windows, by their weights, so that everything holds at natural rates though half of the sample is suspect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detector.budget import BUDGETS, REVIEWED
from detector.narrative.calibrated import Combination, log_odds, model_logits
from detector.narrative.lessons import Lesson
from detector.narrative.seam import NarrativeModel
from detector.trees import Flags, Floats, sigmoid
from stream.errors import ConfigurationError

_BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the notes of an adapter hold of numbers; see `detector.narrative.notes.Notes`. `figures` say how well it went."""

    calibration: tuple[float, float]
    decision: float
    combination: tuple[float, float, float]
    thresholds: Mapping[str, float]
    figures: Mapping[str, float]


def fitted(model: NarrativeModel, lessons: Sequence[Lesson], reach: float, default_budget: float = 5.0) -> Fitted:
    """Fit on windows that stand for a whole population.

    Args:
        model: reads the prompts.
        lessons: the windows, with weights.
        reach: triage score from which on a window is judged by both; below, triage's word stands.
        default_budget: alerts a day per 1,000 users whose double begins `suspicious`.

    Raises:
        ConfigurationError: the windows are all of one kind.
    """
    truth: Flags = np.array([one.answer.risk == "malicious" for one in lessons], np.bool_)
    if not truth.any() or truth.all():
        raise ConfigurationError("there is nothing to calibrate on: the held-out users' windows are all malicious, or none is")
    weight = np.array([one.weight for one in lessons])
    triage = np.array([one.triage for one in lessons])
    logits = model_logits(model.label([one.prompt for one in lessons]))
    alone = Combination.fit(np.zeros(len(truth)), logits, truth, weight)
    seen = triage >= reach
    both = Combination.fit(log_odds(triage[seen]), logits[seen], truth[seen], weight[seen]) if truth[seen].any() else Combination()
    score = np.where(seen, both.probability(log_odds(triage), logits), triage)
    thresholds = {f"alert@{budget:g}": _share_above(score, weight, budget / 1_000) for budget in BUDGETS}
    thresholds["malicious"] = _best_f1(score, truth, weight)
    thresholds["suspicious"] = _share_above(score, weight, default_budget * REVIEWED / 1_000)
    thresholds["suspicious"] = min(thresholds["suspicious"], thresholds["malicious"])
    own = sigmoid(alone.model * logits + alone.shift)
    decision = _evenly(logits, truth, weight)
    return Fitted(
        (alone.model, alone.shift),
        decision,
        (both.model, both.triage, both.shift),
        thresholds,
        {
            "windows": float(len(lessons)),
            "malicious": float(truth.sum()),
            "ece": round(_ece(own, truth, weight), 4),
            "balanced_accuracy": round(_balanced(logits, truth, weight, decision), 4),
        },
    )


def _evenly(logits: Floats, truth: Flags, weight: Floats) -> float:
    """The log-odds from which on calling windows malicious is right most often where as many are malicious as not.

    Half of what it learned from was malicious, but a part of the rest were look-alikes: its own middle lies elsewhere. Smoothed, so that
    it rests on more than the two windows beside it: a logistic regression with both kinds weighing the same.
    """
    even = np.where(truth, weight / weight[truth].sum(), weight / weight[~truth].sum()) * len(truth) / 2
    found = Combination.fit(np.zeros(len(truth)), logits, truth, even)
    return round(-found.shift / found.model, 4) if found.model > 0 else 0.0


def _balanced(logits: Floats, truth: Flags, weight: Floats, decision: float) -> float:
    called = logits > decision
    hit = float(weight[truth & called].sum() / weight[truth].sum())
    return (hit + float(weight[~truth & ~called].sum() / weight[~truth].sum())) / 2


def _share_above(score: Floats, weight: Floats, share: float) -> float:
    """The score above which that share of the weight lies."""
    order = np.argsort(-score, kind="stable")
    passed = np.cumsum(weight[order]) / weight.sum()
    return round(float(score[order[min(int(np.searchsorted(passed, share)), len(order) - 1)]]), 6)


def _best_f1(score: Floats, truth: Flags, weight: Floats) -> float:
    """The score from which on calling everything malicious has the highest F1."""
    order = np.argsort(-score, kind="stable")
    hits, called = np.cumsum((weight * truth)[order]), np.cumsum(weight[order])
    f1 = 2 * hits / (called + float((weight * truth).sum()))
    return round(float(score[order[int(np.argmax(f1))]]), 6)


def _ece(score: Floats, truth: Flags, weight: Floats) -> float:
    """Expected calibration error over bins of equal weight (Naeini and others 2015, with weights)."""
    order = np.argsort(score, kind="stable")
    place = np.minimum((np.cumsum(weight[order]) / weight.sum() * _BINS).astype(int), _BINS - 1)
    total = 0.0
    for one in range(_BINS):
        rows = order[place == one]
        if len(rows):
            total += abs(float((weight[rows] * (score[rows] - truth[rows])).sum()))
    return total / float(weight.sum())
