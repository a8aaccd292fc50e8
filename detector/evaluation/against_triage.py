"""What a language model adds to the triage before it, alert for alert. Frames in, figures out; knows no model.

A cascade is worth its model only if it finds more at the same number of alerts than its triage would have found by itself.
"""

from dataclasses import asdict

import numpy as np

from detector.evaluation import bootstrap
from detector.evaluation.caught import insiders_caught
from detector.evaluation.evidence import DAY
from detector.evaluation.figures import Figures, Judged, insider_figures, truth_of
from detector.evaluation.metrics import ALERT_BUDGETS, Bools, Floats, Ints, at_budget, average_precision, curve, point
from detector.evaluation.truth import AnswerKey


def against_triage(judged: Judged, key: AnswerKey, seed: int, replicates: int) -> Figures:
    """PR-AUC of both with the interval of the difference, and both at the cascade's own number of alerts and at each budget.

    The interval is by bootstrap over users, the same draws for both, so that it is of the difference itself.
    """
    days = judged.days
    truth, score, triage = truth_of(days, key), days["score"].to_numpy(), days["triage_score"].to_numpy()
    ours, theirs = curve(truth, score), curve(truth, triage)
    both = {"cascade": average_precision(ours), "triage": average_precision(theirs)}
    found: Figures = {"pr_auc": both | {"gain": both["cascade"] - both["triage"]}}
    if replicates:
        low, high = _gain(truth, score, triage, days["user"].to_numpy(), replicates, seed)
        found["pr_auc"]["gain_interval"] = [low, high]
    alerts = days["alert"].to_numpy().astype(bool)
    hits = int((alerts & truth).sum())
    own = point(hits, int(alerts.sum()) - hits, int(truth.sum()), int((~truth).sum()))
    same = at_budget(theirs, int(alerts.sum()))
    by_triage = triage >= same.threshold if same.threshold is not None else np.zeros(len(truth), np.bool_)

    def insiders(which: Bools) -> Figures:
        return insider_figures(insiders_caught(days.select(*DAY, "end_ms").filter(which), key.events))

    found["same_alerts"] = {
        "cascade": asdict(own) | {"insiders": insiders(alerts)},
        "triage": asdict(same) | {"insiders": insiders(by_triage)},
    }
    found["at_alert_budget"] = {
        f"{budget}": {
            "cascade": at_budget(ours, budget * len(truth) / 1000).recall,
            "triage": at_budget(theirs, budget * len(truth) / 1000).recall,
        }
        for budget in ALERT_BUDGETS
    }
    return found


def _gain(
    truth: Bools, score: Floats, triage: Floats, users: "np.ndarray[tuple[int], np.dtype[np.object_]]", replicates: int, seed: int
) -> tuple[float, float]:
    names, number = np.unique(users, return_inverse=True)
    user: Ints = number.astype(np.int64)
    drawn = bootstrap.draw_users(len(names), replicates, seed)
    one, other = (bootstrap.ranking_replicates(truth, each, user, drawn).average_precision for each in (score, triage))
    spread = bootstrap.interval(one - other)
    return spread.low, spread.high
