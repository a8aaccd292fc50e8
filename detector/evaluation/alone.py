"""A model asked about chosen user/days, each once, however many figures need the answer. Knows the `Backend` seam, no model.

Language models are slow, so that not every user/day can be asked about: the draws of the balanced figures are, and for the ranking
every malicious day with a sample of the innocent ones. An answer that cannot be used is an answer too: the label "".
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl

from detector.backend import Backend
from detector.evaluation import bootstrap
from detector.evaluation.balanced import ANSWER_SCHEMA, NO_ANSWER, Answers
from detector.evaluation.caught import insiders_caught
from detector.evaluation.evidence import DAY, EVENT
from detector.evaluation.figures import CITED_SCHEMA, Figures, insider_figures
from detector.evaluation.metrics import ALERT_BUDGETS, FALSE_POSITIVE_RATES, Bools, Ints
from detector.evaluation.truth import AnswerKey
from detector.evaluation.weighted import (
    WeightedPoint,
    inverse_probability,
    weighted_at_budget,
    weighted_at_false_positive_rate,
    weighted_average_precision,
    weighted_curve,
    weighted_reliability,
)
from detector.verdict import EventRef, Verdict
from stream.errors import PoisonError
from windowing.record import Window

MODEL_ALONE = "one-pass language model without triage"
BATCH = 32


@runtime_checkable
class ShowsEvents(Protocol):
    """A backend that can say which of a window's events its model gets to read."""

    def shown(self, window: Window) -> Sequence[EventRef]:
        """The events in the prompt."""
        ...


def judged(backend: Backend, windows: Sequence[Window]) -> list[Verdict | None]:
    """One verdict for each window, None where the answer cannot be used: one bad answer does not spoil those beside it."""
    try:
        return list(backend.judge(windows))
    except PoisonError:
        if len(windows) == 1:
            return [None]
    half = len(windows) // 2
    return [*judged(backend, windows[:half]), *judged(backend, windows[half:])]


class Interview:
    """Answers of one backend by place, asked for when they are wanted; places are rows of `days` (`user, day, end_ms`)."""

    def __init__(self, backend: Backend, days: pl.DataFrame, windows: Callable[[Sequence[int]], Sequence[Window]]) -> None:
        """Ask `backend` about `windows` of places."""
        self.backend, self.seconds = backend, 0.0
        self._days, self._windows = days, windows
        self._answers: dict[int, tuple[object, ...]] = {}
        self._cited: list[tuple[str, int, str, str]] = []
        self._shown: dict[int, list[tuple[str, int, str, str]]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def ask(self, places: Ints, step: Callable[[int, int], None] = lambda _done, _total: None, instead: Backend | None = None) -> None:
        """Have answers for all of these places, of the backend or of another `instead`; those that there are stay."""
        wanted = sorted(set(places.tolist()) - set(self._answers))
        for first in range(0, len(wanted), BATCH):
            step(first, len(wanted))
            some = wanted[first : first + BATCH]
            windows = self._windows(some)
            began = perf_counter()
            verdicts = judged(instead or self.backend, windows)
            self.seconds += perf_counter() - began
            for place, window, verdict in zip(some, windows, verdicts, strict=True):
                self._take(place, window, verdict)

    def _take(self, place: int, window: Window, verdict: Verdict | None) -> None:
        user, day = str(self._days["user"][place]), int(self._days["day"][place])
        if verdict is None:
            self._answers[place] = (place, user, day, NO_ANSWER, 0.0, False, False, 0, 0, False)
            return
        held = {(str(event["kind"]), str(event["id"])) for event in window.events}
        said = {(str(ref.kind), ref.id) for ref in verdict.cited}
        self._answers[place] = (
            place, user, day, verdict.label, verdict.score, verdict.alert, True, len(said), len(said - held), bool(verdict.reason.strip()),
        )  # fmt: skip
        self._cited += [(user, day, kind, event_id) for kind, event_id in sorted(said)]

    def answers(self) -> Answers:
        """All that was answered so far, by place."""
        rows = [self._answers[place] for place in sorted(self._answers)]
        return Answers(pl.DataFrame(rows, ANSWER_SCHEMA, orient="row"), pl.DataFrame(self._cited, CITED_SCHEMA, orient="row"))

    def shown(self, places: Ints) -> pl.DataFrame | None:
        """The events of these places that the model gets to read, `user, day, kind, id`; None when the backend cannot say."""
        if not isinstance(self.backend, ShowsEvents):
            return None
        rows = [
            (str(self._days["user"][place]), int(self._days["day"][place]), str(ref.kind), ref.id)
            for place, window in zip(places.tolist(), self._windows(places.tolist()), strict=True)
            for ref in self.backend.shown(window)
        ]
        return pl.DataFrame(rows, CITED_SCHEMA, orient="row").unique(EVENT)


def sampled_ranking(answers: Answers, truth: Bools, days: pl.DataFrame, key: AnswerKey, seed: int, replicates: int) -> Figures:
    """What the asked user/days say of the ranking of all: PR-AUC, operating points, calibration, each row weighted by what it stands for.

    Args:
        answers: in each class of `truth`, a simple random sample.
        truth: of all user/days.
        days: all of them, `user, day, end_ms`.
        key: what really happened.
        seed: of the bootstrap.
        replicates: of the bootstrap; 0 leaves the interval out.
    """
    asked = np.zeros(len(truth), np.bool_)
    asked[answers.days["place"].to_numpy()] = True
    weight, score, positive = inverse_probability(truth, asked), answers.days["score"].to_numpy(), truth[asked]
    ranking = weighted_curve(positive, score, weight)
    rows = days.filter(pl.Series(asked))
    whole = bool(positive.sum() == truth.sum())

    def reached(found: WeightedPoint) -> Figures:
        alerts = rows.filter(pl.Series(score >= found.threshold)) if found.threshold is not None else rows.clear()
        known = whole and not np.isnan(found.recall)
        return asdict(found) | ({"insiders": insider_figures(insiders_caught(alerts, key.events))} if known else {})

    calibration = weighted_reliability(positive, score, weight)
    found: Figures = {
        "pr_auc": weighted_average_precision(ranking),
        "prevalence": float(truth.mean()) if len(truth) else float("nan"),
        "recall_at_fpr": {f"{rate:g}": reached(weighted_at_false_positive_rate(ranking, rate)) for rate in FALSE_POSITIVE_RATES},
        "at_alert_budget": {f"{budget}": reached(weighted_at_budget(ranking, budget * len(truth) / 1000)) for budget in ALERT_BUDGETS},
        "ece": calibration.error,
        "reliability": asdict(calibration),
        "sample": {
            "malicious": int(positive.sum()),
            "malicious_in_all": int(truth.sum()),
            "normal": int((~positive).sum()),
            "normal_in_all": int((~truth).sum()),
        },
    }
    if replicates:
        names, number = np.unique(rows["user"].to_numpy(), return_inverse=True)
        drawn = bootstrap.draw_users(len(names), replicates, seed)
        several = bootstrap.ranking_replicates(positive, score, number.astype(np.int64), drawn, weight=weight)
        spread = bootstrap.interval(several.average_precision)
        found["pr_auc_interval"] = [spread.low, spread.high]
    return found


def sample_of(truth: Bools, normal: int, seed: int) -> Ints:
    """Every malicious place, and so many of the others drawn without replacement."""
    innocent = np.flatnonzero(~truth)
    drawn = np.random.default_rng(seed).choice(innocent, size=min(normal, len(innocent)), replace=False)
    return np.sort(np.concatenate([np.flatnonzero(truth), drawn])).astype(np.int64)


def answers_of(days: pl.DataFrame, cited: pl.DataFrame, marks: pl.DataFrame) -> Answers:
    """Answers from verdicts on all user/days: `days` with `user, day, label, score, alert`, `marks` with the other columns, row by row."""
    table = pl.concat([days.select(*DAY, "label", "score", "alert"), marks], how="horizontal").with_row_index("place")
    return Answers(table.select([pl.col(name).cast(kind) for name, kind in ANSWER_SCHEMA.items()]), cited)
