"""Which windows reach the model, and what triage and model come to together. Numbers and verdicts in, values out; knows no device.

    triage score < reach      triage's word stands; the model is not asked
    triage score >= reach     one score of both; label by thresholds; the model may raise it, numeric evidence sets a floor

How many windows may reach the model is a budget. It becomes a threshold on the scores of training users, once: a quota that is filled
as windows come would make a verdict depend on who came before.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detector.baseline import Baseline
from detector.budget import BUDGETS
from detector.narrative.calibrated import Combination
from detector.narrative.floor import floor_of, higher
from detector.trees import Calibration
from detector.verdict import Label, Verdict
from stream.errors import ConfigurationError

DEFAULT_SHARE: Final = 0.05
_ALL: Final = 1.0
_ALERT: Final = "alert@"


@dataclass(frozen=True, slots=True)
class Cascade:
    """Everything that is decided by numbers, fixed before the first window.

    Args:
        share: of all windows that may reach the model, by the training users' scores.
        reach: triage score from which on a window does.
        malicious, suspicious, alert: combined scores from which on the label is so, and an alert is raised.
        calibration: of the model's log-odds alone.
        combination: of triage and model.
        decision: log-odds of malicious from which on the model's own label is malicious.
    """

    share: float
    reach: float
    malicious: float
    suspicious: float
    alert: float
    calibration: Calibration
    combination: Combination
    decision: float = 0.0

    def reached(self, triage: Verdict) -> bool:
        """Whether the model is asked."""
        return triage.triage_score >= self.reach

    def label(self, score: float) -> Label:
        """What a combined score is called."""
        if score >= self.malicious:
            return "malicious"
        return "suspicious" if score >= self.suspicious else "normal"

    def judged(self, triage: Verdict, score: float, own: Label) -> "Judged":
        """A window that the model has seen.

        Args:
            triage: what the baseline says of it.
            score: of triage and model together, 0..1.
            own: the model's own label, the likeliest of the three.
        """
        label, floor = self.label(score), floor_of(triage)
        alert = label == "malicious" or (label == "suspicious" and score >= self.alert and not triage.learning)
        if alert:
            # what is alerted anyway may become graver by the model's word; its word alone raises no alert
            label = higher(label, own)
        final = higher(label, floor)
        if floor == "malicious":
            # whoever sorts by score finds what the floor holds up where its label says
            score = max(score, self.malicious)
        return Judged(final, score, alert or floor == "malicious", held=final != label)


@dataclass(frozen=True, slots=True)
class Judged:
    """Label, score and alert of a window; `held` when the floor kept the label up."""

    label: Label
    score: float
    alert: bool
    held: bool


def reach_of(share: float, known: Mapping[str, float], triage: Baseline) -> float:
    """The triage score above which that share of the training users' windows lies.

    Args:
        share: 0 < share <= 1; with 1 every window reaches the model.
        known: thresholds by share as an adapter's notes hold them; between two of them on a straight line of the share's logarithm.
        triage: asked where nothing is known: a budget of alerts a day per 1,000 users is a share of the windows, too.

    Raises:
        ConfigurationError: the share is none.
    """
    if not 0 < share <= _ALL:
        raise ConfigurationError(f"detect.share: {share:g} is no share of the windows; it is above 0 and at most 1")
    if share == _ALL:
        return 0.0
    if not known:
        known = {f"{budget / 1_000:g}": triage.threshold_at(budget) for budget in BUDGETS}
    points = sorted((float(text), threshold) for text, threshold in known.items())
    if points[-1][0] < _ALL:
        points.append((_ALL, 0.0))
    return round(_between(share, points), 6)


def share_of_seconds(seconds_a_day: float, windows_a_day: float, seconds_per_window: float) -> float:
    """The share of windows that a budget of machine time allows, at most all; what a window costs is measured by `make bench-detect`.

    >>> share_of_seconds(3_600, 100_000, 0.5)
    0.072
    """
    if min(seconds_a_day, windows_a_day, seconds_per_window) <= 0:
        raise ConfigurationError("detect.seconds_a_day, detect.windows_a_day and detect.seconds_per_window are all above 0")
    return min(_ALL, seconds_a_day / (windows_a_day * seconds_per_window))


def alert_at(budget: float, thresholds: Mapping[str, float], otherwise: float) -> float:
    """The combined score from which on a window alerts at a budget of alerts a day per 1,000 users.

    `thresholds` are those of an adapter's notes (`alert@5`); `otherwise` counts where they name no budget.

    >>> alert_at(5, {"malicious": 0.9, "alert@1": 0.8, "alert@10": 0.2}, 0.5)
    0.380618
    """
    points = sorted((float(name.removeprefix(_ALERT)), score) for name, score in thresholds.items() if name.startswith(_ALERT))
    return round(_between(budget, points), 6) if points else otherwise


def _between(at: float, points: Sequence[tuple[float, float]]) -> float:
    """A straight line of the logarithm between the two known points around; the outermost points hold beyond them."""
    known = np.log([where for where, _ in points])
    return float(np.interp(math.log(at), known, [value for _, value in points]))
