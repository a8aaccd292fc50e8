"""From a budget of alerts to a threshold on the score. Numbers in, numbers out; knows no windows and no users by name.

A budget is what analysts can look at: alerts a day per 1,000 users. It is turned into a threshold on users whose scores come from
models that never saw them, and never looked at again on those that are judged.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detector.trees import Flags, Floats

BUDGETS: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)
REVIEWED: Final = 2.0
"""`suspicious` begins where a budget so many times as large would end; between there and the threshold nothing alerts."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores from which on something happens.

    Args:
        malicious: the label, which always alerts: the highest F1 on the training users.
        by_budget: for each of `BUDGETS`, the score above which that many alerts lay.
    """

    malicious: float
    by_budget: tuple[float, ...]

    @classmethod
    def fit(cls, score: Floats, truth: Flags, user_days: float) -> "Thresholds":
        """From out-of-fold scores of the training users.

        Args:
            score: calibrated, shape (n,).
            truth: likewise.
            user_days: active user/days that the scores cover; a budget counts in a thousand of them.
        """
        ranked = np.sort(score)[::-1]
        # a budget that no training score fills would alert on everything; a threshold is at least what the last window scored
        allowed = [min(max(int(budget * user_days / 1000), 1), len(ranked)) for budget in BUDGETS]
        return cls(_best_f1(score, truth), tuple(round(float(ranked[n - 1]), 6) for n in allowed))

    def at(self, budget: float) -> float:
        """The score from which on `budget` alerts a day per 1,000 users lie; between two known budgets on a straight line of logs."""
        known = np.log(np.array(BUDGETS))
        return float(np.interp(np.log(budget), known, np.array(self.by_budget)))

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {"malicious": self.malicious, "budgets": list(BUDGETS), "by_budget": list(self.by_budget)}


def _best_f1(score: Floats, truth: Flags) -> float:
    """The score from which on calling everything positive has the highest F1; halfway to the next lower score."""
    if not truth.any():
        return 1.0
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(truth[order])
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    f1 = 2 * hits[ends] / (ends + 1 + int(truth.sum()))
    best = int(ends[int(np.argmax(f1))])
    below = float(ranked[best + 1]) if best + 1 < len(ranked) else 0.0
    return round((float(ranked[best]) + below) / 2, 6)
