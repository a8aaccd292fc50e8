"""Gradient-boosted trees as a value: grown from numbers, kept as text, asked for scores and contributions. Knows no windows.

LightGBM (Ke et al. 2017) does the work, on one thread and in its deterministic mode, so that the same rows give the same trees and
a row's answer does not depend on its neighbours. Contributions are its exact TreeSHAP values (Lundberg et al. 2020).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detector.openmp import load_lightgbm
from stream.errors import PipelineError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class BrokenTrees(PipelineError):
    """This text is no forest that can be read."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How trees are grown; LightGBM's own words."""

    rounds: int = 260
    learning_rate: float = 0.04
    num_leaves: int = 15
    min_data_in_leaf: int = 12
    feature_fraction: float = 0.5
    bagging_fraction: float = 0.8
    lambda_l2: float = 5.0

    def settings(self, seed: int) -> dict[str, Any]:
        """Parameters for one growth; every source of chance is fixed."""
        return {
            "objective": "binary",
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_data_in_leaf,
            "feature_fraction": self.feature_fraction,
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": 1,
            "lambda_l2": self.lambda_l2,
            "max_bin": 127,
            "seed": seed,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


_ONE_THREAD: Final[Mapping[str, Any]] = {"num_threads": 1}


class Trees:
    """Grown trees over a fixed number of columns."""

    def __init__(self, text: str) -> None:
        """Read what `text` of other trees gave.

        Raises:
            BrokenTrees: it is something else.
        """
        lightgbm = load_lightgbm()

        # LightGBM's reader crashes on texts that merely begin well, so the frame is looked at first
        if not text.startswith("tree\nversion=") or "\nend of trees\n" not in text:
            raise BrokenTrees("the trees of a model are cut short or are none")
        try:
            self._booster = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as error:
            raise BrokenTrees("the trees of a model cannot be read") from error
        self.text = text
        self.columns = int(self._booster.num_feature())

    @classmethod
    def grow(cls, rows: Floats, truth: Flags, growth: Growth, seed: int) -> "Trees":
        """Fit trees to rows, shape (n, columns), and their truth, shape (n,)."""
        lightgbm = load_lightgbm()

        data = lightgbm.Dataset(rows, truth.astype(np.float64), params={"verbosity": -1, "max_bin": 127, "num_threads": 1})
        booster = lightgbm.train(growth.settings(seed), data, num_boost_round=growth.rounds)
        text: str = booster.model_to_string()
        # what follows the trees repeats the settings, and says nothing that is needed to ask them
        return cls(text[: text.index("\nend of trees\n") + len("\nend of trees\n")])

    def score(self, rows: Floats) -> Floats:
        """Log-odds of each row, shape (n,)."""
        if not len(rows):
            return np.zeros(0)
        found: Floats = np.asarray(self._booster.predict(rows, raw_score=True, **_ONE_THREAD), np.float64)
        return found

    def contributions(self, rows: Floats) -> Floats:
        """How much each column adds to each row's log-odds, shape (n, columns); what is left is the same for all rows."""
        if not len(rows):
            return np.zeros((0, self.columns))
        found: Floats = np.asarray(self._booster.predict(rows, pred_contrib=True, **_ONE_THREAD), np.float64)[:, :-1]
        return found


def sigmoid(logits: Floats) -> Floats:
    """Log-odds as probabilities."""
    odds: Floats = 1.0 / (1.0 + np.exp(-np.clip(logits, -35.0, 35.0)))
    return odds


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt's scaling: probability = sigmoid(slope * log-odds + shift) (Platt 1999). It keeps the order of scores."""

    slope: float = 1.0
    shift: float = 0.0

    @classmethod
    def fit(cls, logits: Floats, truth: Flags) -> "Calibration":
        """From log-odds given by trees that never saw those rows, by Newton's method on Platt's smoothed targets."""
        positives = int(truth.sum())
        negatives = len(truth) - positives
        if not positives or not negatives:
            return cls()
        target = np.where(truth, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
        columns = np.stack([logits, np.ones(len(logits))], axis=1)
        weights = np.array([1.0, 0.0])
        for _ in range(50):
            said = sigmoid(columns @ weights)
            gradient = columns.T @ (said - target) + 1e-6 * weights
            curvature = (columns * (said * (1 - said))[:, None]).T @ columns + 1e-6 * np.eye(2)
            step = np.linalg.solve(curvature, gradient)
            weights = weights - np.clip(step, -2.0, 2.0)
            if float(np.abs(step).max()) < 1e-9:
                break
        # a slope that is not positive would turn the ranking round: there was nothing to calibrate with
        return cls(round(float(weights[0]), 9), round(float(weights[1]), 9)) if weights[0] > 0 else cls()

    def probability(self, logits: Floats) -> Floats:
        """Calibrated probabilities, rounded to six decimals, shape (n,)."""
        found: Floats = np.round(sigmoid(self.slope * logits + self.shift), 6)
        return found
