"""From a model's probabilities to a score that can be trusted, alone and together with triage. Numbers in, numbers out.

Platt's scaling of the model's log-odds is `detector.trees.Calibration`, fitted on training users. Triage and model are put together
by a logistic regression on both log-odds (stacking, Wolpert 1992): the outcome is a probability again, so that windows which the model
has seen and windows which it has not are ranked on one scale.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from detector.narrative.prompt import LABELS
from detector.trees import Flags, Floats, sigmoid
from detector.verdict import Label
from stream.errors import PoisonError

LEAST: Final = 1e-6
"""Probabilities are kept so far from 0 and 1 that their log-odds exist."""
_DECIMALS: Final = 2
_RIDGE: Final = 1e-3


class BadProbabilities(PoisonError):
    """A model's label probabilities are none."""

    code: ClassVar[str] = "bad_probabilities"


def sound(found: Floats, n_prompts: int) -> Floats:
    """The same probabilities, shape (n, 3), after a look at them.

    Raises:
        BadProbabilities: a number is missing, infinite or out of range, or a row does not add up to one.
    """
    if found.shape != (n_prompts, len(LABELS)):
        raise BadProbabilities(f"label probabilities have the shape {found.shape}, not {(n_prompts, len(LABELS))}")
    if not np.isfinite(found).all() or (found < 0).any() or (np.abs(found.sum(axis=1) - 1) > 1e-3).any():
        raise BadProbabilities("label probabilities are not finite, or do not add up to one")
    return found


def log_odds(probability: Floats) -> Floats:
    """Logits of probabilities, shape (n,), within what `LEAST` allows.

    >>> log_odds(np.array([0.5, 1.0])).round(2).tolist()
    [0.0, 13.82]
    """
    kept = np.clip(probability, LEAST, 1 - LEAST)
    found: Floats = np.log(kept) - np.log1p(-kept)
    return found


def model_logits(probabilities: Floats) -> Floats:
    """How malicious a model calls each window, as log-odds; shape (n, 3) in, (n,) out.

    Rounded to two decimals: what lies below that varies with the batch and the machine, and a score should not.
    """
    found: Floats = np.round(log_odds(probabilities[:, LABELS.index("malicious")]), _DECIMALS)
    return found


def own_labels(probabilities: Floats, decision: float) -> list[Label]:
    """The model's own label of each window: the likeliest, after malicious was moved by what its training users showed it to be off.

    Args:
        probabilities: over `LABELS`, shape (n, 3).
        decision: log-odds of malicious at which it weighs as much as the rest together; 0 leaves everything as it is.

    >>> own_labels(np.array([[0.3, 0.0, 0.7], [0.9, 0.0, 0.1]]), 1.0), own_labels(np.array([[0.3, 0.0, 0.7]]), 0.0)
    (['normal', 'normal'], ['malicious'])
    """
    moved = probabilities * np.where(np.arange(len(LABELS)) == LABELS.index("malicious"), math.exp(-decision), 1.0)
    return [LABELS[place] for place in moved.argmax(axis=1).tolist()]


@dataclass(frozen=True, slots=True)
class Combination:
    """Triage and model as one: probability = sigmoid(triage * its log-odds + model * its log-odds + shift)."""

    triage: float = 1.0
    model: float = 0.5
    shift: float = 0.0
    """Where nothing was fitted: what triage says, moved by what the model says, which has read the same events and so counts half."""

    @classmethod
    def fit(cls, triage: Floats, model: Floats, truth: Flags, weight: Floats | None = None) -> "Combination":
        """From windows of training users that both have scored without having learned from them.

        Args:
            triage: log-odds, shape (n,).
            model: log-odds, likewise; see `model_logits`.
            truth: whether the window is malicious, likewise.
            weight: how often a row counts, when rows were not drawn at their natural rates.
        """
        kept = np.ones(len(truth)) if weight is None else weight
        if not truth.any() or truth.all():
            return cls()
        columns = np.stack([triage, model, np.ones(len(truth))], axis=1)
        found = _logistic(columns, truth, kept)
        # a weight below zero would turn one of the rankings round: that one had nothing to say then
        for place in (1, 0):
            if found[place] < 0:
                columns[:, place] = 0
                found = _logistic(columns, truth, kept)
        return cls(*(round(float(one), 9) for one in found))

    def probability(self, triage: Floats, model: Floats) -> Floats:
        """Of being malicious, rounded to six decimals; log-odds of shape (n,) in."""
        found: Floats = np.round(sigmoid(self.triage * triage + self.model * model + self.shift), 6)
        return found

    def plain(self) -> dict[str, float]:
        """As JSON values."""
        return {"triage": self.triage, "model": self.model, "shift": self.shift}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Combination":
        """Read what `plain` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(float(plain["triage"]), float(plain["model"]), float(plain["shift"]))


def _logistic(columns: Floats, truth: Flags, weight: Floats) -> Floats:
    """Weights of a logistic regression with a little ridge, by Newton's method with halved steps."""
    ridge = _RIDGE * np.eye(columns.shape[1])

    def loss(at: Floats) -> float:
        drawn = columns @ at
        return float(np.sum(weight * (np.logaddexp(0.0, drawn) - truth * drawn)) + at @ ridge @ at / 2)

    found: Floats = np.zeros(columns.shape[1])
    for _ in range(100):
        said = sigmoid(columns @ found)
        gradient = columns.T @ (weight * (said - truth)) + ridge @ found
        curvature = (columns * (weight * said * (1 - said))[:, None]).T @ columns + ridge
        step, before = np.linalg.solve(curvature, gradient), loss(found)
        while loss(found - step) > before and float(np.abs(step).max()) > 1e-12:
            step = step / 2
        found = found - step
        if float(np.abs(step).max()) < 1e-9:
            break
    return found
