"""How well scores find the group of a text, and of a report of several. Scores in, figures out; knows no model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from detector.groups.splits import Fold

Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]
REPORT: Final = 5
"""Texts of one group that make a report."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of 0 to 1; `n` counts texts, `n_reports` reports of five texts of one group, of one fold's test texts."""

    accuracy: float
    macro_f1: float
    top_5: float
    reports: float
    reports_top_5: float
    n: int
    n_reports: int

    def plain(self) -> dict[str, Any]:
        """As JSON values, rounded to four decimals."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


def figures(scores: Floats, truth: Ints, folds: Sequence[Fold], seed: int = 0) -> Figures:
    """Figures of scores (n, groups) that were given out of fold; a report's score is the sum of its texts'. Shapes (n,) and (n, groups).

    Only texts that stand in a fold's test part count, so that one fold may be looked at alone.
    """
    tested = np.concatenate([fold.test for fold in folds])
    held = scores[tested]
    chosen, right = held.argmax(axis=1), truth[tested]
    alone = _top(held, right)
    together = [reports(scores, truth, fold, seed + number) for number, fold in enumerate(folds)]
    sums, groups = np.concatenate([one[0] for one in together]), np.concatenate([one[1] for one in together])
    return Figures(
        accuracy=float(np.mean(chosen == right)),
        macro_f1=_macro_f1(chosen, right),
        top_5=alone,
        reports=float(np.mean(sums.argmax(axis=1) == groups)) if len(groups) else 0.0,
        reports_top_5=_top(sums, groups) if len(groups) else 0.0,
        n=len(tested),
        n_reports=len(groups),
    )


def reports(scores: Floats, truth: Ints, fold: Fold, seed: int) -> tuple[Floats, Ints]:
    """Summed scores (n, groups) and groups (n,) of reports: a fold's test texts of each group, shuffled, five by five; the rest is left."""
    random = np.random.default_rng(seed)
    sums, groups = [], []
    for group in np.unique(truth[fold.test]):
        places = random.permutation(fold.test[truth[fold.test] == group])
        for start in range(0, len(places) - REPORT + 1, REPORT):
            sums.append(scores[places[start : start + REPORT]].sum(axis=0))
            groups.append(int(group))
    return np.asarray(sums, np.float32).reshape(-1, scores.shape[1]), np.asarray(groups, np.int64)


def _top(scores: Floats, truth: Ints, most: int = 5) -> float:
    best = np.argsort(-scores, axis=1, kind="stable")[:, :most]
    return float(np.mean((best == truth[:, None]).any(axis=1)))


def _macro_f1(chosen: Ints, truth: Ints) -> float:
    """Mean over the groups that occur in the truth."""
    found = []
    for group in np.unique(truth):
        hits = int(np.sum((chosen == group) & (truth == group)))
        found.append(2 * hits / (int(np.sum(chosen == group)) + int(np.sum(truth == group))))
    return float(np.mean(found))
