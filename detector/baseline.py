"""The baseline backend: calibrated boosted trees over features, profile and peers; no torch, no GPU. Knows no training.

    window -> columns -> log-odds -> probability -> label and alert
                  contributions by subject -> cited events, techniques, reason

A verdict depends on its window, the model, the track and the budget alone; not on the batch, and not on the machine's load.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np

from detector.budget import REVIEWED
from detector.matrix import rows_of
from detector.model_file import BadModel, Model, decode_model, read_model
from detector.reasons import NOTHING_UNUSUAL, reason_of
from detector.subjects import Subject, subject_of_event, subjects_of
from detector.techniques import Shown, techniques_of, traits_of
from detector.trees import Floats
from detector.verdict import EventRef, Label, Verdict, checked
from windowing.features import VERSION, names_of
from windowing.record import Window

DEFAULT_BUDGET: Final = 5.0
SHIPPED: Final = "baseline.json.gz"


class Baseline:
    """Judges windows with one track of a model."""

    name = "baseline"

    def __init__(self, model: Model, sha256: str, track: str = "all", budget: float = DEFAULT_BUDGET) -> None:
        """Use a model.

        Args:
            model: fitted for `track`.
            sha256: the model's identity, for provenance.
            track: `all` or `shortcut-free`.
            budget: alerts a day per 1,000 users that analysts can look at.

        Raises:
            BadModel: the model was not fitted for that track.
        """
        if track not in model.tracks:
            raise BadModel(f"the model was fitted for {', '.join(model.tracks) or 'no track'}, not for the track {track}")
        self._model, self._fitted, self._track = model, model.tracks[track], track
        self._names = names_of(track)
        self._shares = self._fitted.trees.shares(subjects_of(self._fitted.columns), len(Subject))
        thresholds = self._fitted.thresholds
        self.malicious_at, self.alert_at = thresholds.malicious, thresholds.at(budget)
        self.suspicious_at = thresholds.at(budget * REVIEWED)
        self._provenance = {
            "model": "baseline",
            "model_sha256": sha256,
            "features": VERSION,
            "budget": f"{budget:g}",
            "alert_threshold": f"{min(self.alert_at, self.malicious_at):.6f}",
            "malicious_threshold": f"{self.malicious_at:.6f}",
        }

    @classmethod
    def load(cls, path: Path | None = None, *, track: str = "all", budget: float = DEFAULT_BUDGET) -> "Baseline":
        """With the model in a file, or the one that comes with Daywatch.

        Raises:
            BadModel: there is no model that this version can use.
        """
        model, sha256 = read_model(path) if path is not None else shipped_model()
        return cls(model, sha256, track, budget)

    def threshold_at(self, budget: float) -> float:
        """The score above which so many windows a day per 1,000 users lay among the training users, whatever their label."""
        return self._fitted.thresholds.at(budget)

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        """One verdict for each window, in order.

        Raises:
            ForeignWindow: a window lacks a feature that the model was fitted to.
        """
        if not windows:
            return []
        rows = rows_of(windows, self._names)
        matrix = rows.matrix(self._track, self._model.peers)
        score = self._fitted.calibration.probability(self._fitted.trees.score(matrix))
        labels = [self._label(one) for one in score.tolist()]
        telling = np.array([place for place, label in enumerate(labels) if label != "normal"], np.int64)
        said = self._explained([windows[place] for place in telling.tolist()], rows.values[telling], matrix[telling])
        told = dict(zip(telling.tolist(), said, strict=True))
        return [
            self._verdict(window, label, one, told.get(place, _SILENT))
            for place, (window, label, one) in enumerate(zip(windows, labels, score.tolist(), strict=True))
        ]

    def _label(self, score: float) -> Label:
        if score >= self.malicious_at:
            return "malicious"
        return "suspicious" if score >= self.suspicious_at else "normal"

    def _explained(self, windows: Sequence[Window], values: Floats, matrix: Floats) -> "list[_Explanation]":
        if not windows:
            return []
        shares = self._fitted.trees.contributions(matrix, self._shares)
        chosen = self._fitted.chooser.choose(windows, shares)
        peers_at = range(len(self._names), len(self._fitted.columns))
        return [
            self._explanation(
                window,
                dict(zip(self._names, values[row].tolist(), strict=True)),
                shares[row].tolist(),
                chosen[row],
                {self._fitted.columns[place]: float(matrix[row, place]) for place in peers_at},
            )
            for row, window in enumerate(windows)
        ]

    def _explanation(
        self, window: Window, features: Mapping[str, float], shares: list[float], cited: tuple[EventRef, ...], peers: Mapping[str, float]
    ) -> "_Explanation":
        refs = {(ref.kind.value, ref.id) for ref in cited}
        events = [event for event in window.events if (event["kind"], event["id"]) in refs]
        shown = Shown.of(events, features)
        subjects = frozenset(subject_of_event(event) for event in events)
        reason = reason_of(features, shares, subjects, peers, known_role=window.context.get("role", "") in self._model.peers.roles)
        return _Explanation(cited, reason, traits_of(shown), techniques_of(shown))

    def _verdict(self, window: Window, label: Label, score: float, told: "_Explanation") -> Verdict:
        # somebody who is hardly known alerts only where the label itself does
        alert = label == "malicious" or (label == "suspicious" and score >= self.alert_at and not window.learning)
        return checked(
            Verdict(
                window_id=window.id,
                user=window.user,
                start=window.start,
                end=window.end,
                label=label,
                score=score,
                triage_score=score,
                cited=told.cited,
                reason=told.reason,
                traits=told.traits,
                techniques=told.techniques,
                alert=alert,
                learning=window.learning,
                track=self._track,
                by=self.name,
                provenance={**self._provenance, "window_digest": window.digest},
            ),
            window,
        )


@dataclass(frozen=True, slots=True)
class _Explanation:
    """What is said of a window besides its label."""

    cited: tuple[EventRef, ...]
    reason: str
    traits: tuple[str, ...]
    techniques: tuple[str, ...]


_SILENT: Final = _Explanation((), NOTHING_UNUSUAL, (), ())


def shipped_model() -> tuple[Model, str]:
    """The model that comes with Daywatch, and its SHA-256.

    Raises:
        BadModel: the installation lacks it, or holds one of another version.
    """
    place = files("detector") / "data" / SHIPPED
    try:
        packed = place.read_bytes()
    except OSError as error:
        raise BadModel("the model that comes with Daywatch is missing; install it anew or fit one with `daywatch train`") from error
    return decode_model(packed, f"the model that comes with Daywatch ({SHIPPED})")
