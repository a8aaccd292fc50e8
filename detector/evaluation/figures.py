"""All figures of one set of judged user/days against the key. Frames in, one nested mapping of numbers out; knows no models.

The mapping is what JSON shows: names are stable, shares are 0..1, delays are in hours, NaN becomes null on the way out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from detector.evaluation import bootstrap
from detector.evaluation.caught import Caught, caught_table, insiders_caught
from detector.evaluation.evidence import DAY, EvidenceFigures, day_counts, evidence_figures, user_sums
from detector.evaluation.metrics import (
    ALERT_BUDGETS,
    FALSE_POSITIVE_RATES,
    Bools,
    Floats,
    Ints,
    OperatingPoint,
    at_budget,
    at_false_positive_rate,
    average_precision,
    balanced_sample,
    curve,
    label_figures,
    point,
    reliability,
)
from detector.evaluation.truth import AnswerKey

Figures: TypeAlias = dict[str, Any]

JUDGED_SCHEMA: dict[str, pl.DataType] = {
    "user": pl.String(),
    "day": pl.Int64(),
    "end_ms": pl.Int64(),
    "score": pl.Float64(),
    "triage_score": pl.Float64(),
    "label": pl.String(),
    "alert": pl.Boolean(),
    "learning": pl.Boolean(),
}
CITED_SCHEMA: dict[str, pl.DataType] = {"user": pl.String(), "day": pl.Int64(), "kind": pl.String(), "id": pl.String()}
BALANCED_EACH = 25
BALANCED_DRAWS = 5


@dataclass(frozen=True, slots=True)
class Judged:
    """Judged user/days and the citations of their alerts.

    Args:
        days: `JUDGED_SCHEMA`, one row a user/day.
        cited: `CITED_SCHEMA`; citations count on the day of the cited event.
        alert_days: `user, day, end_ms`: where alerts count, and when the alerting window ended; by default the alerting `days`.
    """

    days: pl.DataFrame
    cited: pl.DataFrame
    alert_days: pl.DataFrame

    @classmethod
    def of(cls, days: pl.DataFrame, cited: pl.DataFrame) -> "Judged":
        """User/days that are themselves the windows: an alert counts on its own day."""
        return cls(days, cited, days.filter("alert").select("user", "day", "end_ms"))


def with_missed_days(days: pl.DataFrame, key: AnswerKey, end_ms: Mapping[int, int]) -> tuple[pl.DataFrame, int]:
    """Add positive user/days that nobody judged as misses (score 0, normal); also return how many there were."""
    missing = key.days().join(days.select(DAY), on=DAY, how="anti").select(DAY)
    rows = missing.with_columns(
        pl.col("day").replace_strict(end_ms, return_dtype=pl.Int64(), default=0).alias("end_ms"),
        pl.lit(0.0).alias("score"),
        pl.lit(0.0).alias("triage_score"),
        pl.lit("normal").alias("label"),
        pl.lit(value=False).alias("alert"),
        pl.lit(value=False).alias("learning"),
    )
    return pl.concat([days.select(list(JUDGED_SCHEMA)), rows.select(list(JUDGED_SCHEMA))]).sort(DAY), missing.height


def truth_of(days: pl.DataFrame, key: AnswerKey) -> Bools:
    """Whether each row of `days` is positive, in the order of its rows."""
    marked = days.select(DAY).join(key.days().select(*DAY, pl.lit(value=True).alias("positive")), on=DAY, how="left", maintain_order="left")
    found: Bools = marked["positive"].fill_null(value=False).to_numpy().astype(bool)
    return found


def ranking_figures(truth: Bools, score: Floats, days: pl.DataFrame, key: AnswerKey) -> Figures:
    """PR-AUC, and what is reached at each false-positive rate and alert budget; `days` has `user, day, end_ms` in the same order.

    An alert budget of n a day per 1,000 users is n alerts in 1,000 user/days with any activity.
    """
    ranking = curve(truth, score)

    def reached(found: OperatingPoint) -> Figures:
        alerts = days.filter(pl.Series(score >= found.threshold)) if found.threshold is not None else days.clear()
        caught = insiders_caught(alerts.select("user", "day", "end_ms"), key.events)
        return asdict(found) | {"insiders": insider_figures(caught)}

    return {
        "pr_auc": average_precision(ranking),
        "prevalence": float(truth.mean()) if len(truth) else math.nan,
        "recall_at_fpr": {f"{rate:g}": reached(at_false_positive_rate(ranking, rate)) for rate in FALSE_POSITIVE_RATES},
        "at_alert_budget": {f"{budget}": reached(at_budget(ranking, budget * len(truth) / 1000)) for budget in ALERT_BUDGETS},
    }


def figures(judged: Judged, key: AnswerKey, seed: int = 0, replicates: int = bootstrap.REPLICATES) -> Figures:
    """Everything that follows from the judged days, the alerts and the key; `replicates` of 0 leaves the intervals out."""
    days = judged.days
    truth, score = truth_of(days, key), days["score"].to_numpy()
    labels = days["label"].to_numpy().astype(str)
    found = ranking_figures(truth, score, days, key)
    alert_days = judged.alert_days.select(DAY).unique()
    right = alert_days.join(key.days().select(DAY), on=DAY, how="semi").height
    own = point(right, alert_days.height - right, int(truth.sum()), int((~truth).sum()))
    caught = insiders_caught(judged.alert_days, key.events)
    marked = days.drop("alert").join(alert_days.with_columns(pl.lit(value=True).alias("alert")), on=DAY, how="left")
    evidence = evidence_figures(marked.with_columns(pl.col("alert").fill_null(value=False)), judged.cited, key.events)
    calibration = reliability(truth, score)
    said = label_figures(truth, labels)
    return {
        "users": days["user"].n_unique(),
        "user_days": days.height,
        "positive_days": int(truth.sum()),
        "key_events": key.events.height,
        **found,
        "triage_pr_auc": average_precision(curve(truth, days["triage_score"].to_numpy())),
        "alerts": asdict(own) | {"per_day_per_1000_users": 1000 * own.alerts / days.height if days.height else math.nan},
        "insiders": insider_figures(caught),
        "learning_days": int(days["learning"].sum()),
        "accuracy": said.accuracy,
        "macro_f1": said.macro_f1,
        "malicious_precision": said.malicious_precision,
        "malicious_recall": said.malicious_recall,
        "malicious_f1": said.malicious_f1,
        "suspicious": said.suspicious,
        "balanced": _balanced(truth, labels, seed),
        "ece": calibration.error,
        "reliability": asdict(calibration),
        "evidence": citations(evidence),
        "intervals": intervals([judged], key, seed, replicates) if replicates else {},
    }


def insider_figures(caught: Caught) -> Figures:
    """Insiders caught as JSON shows it."""
    return {
        "caught": caught.caught,
        "total": caught.total,
        "share": caught.caught / caught.total if caught.total else math.nan,
        "by_scenario": {str(number): {"caught": hit, "total": total} for number, (hit, total) in caught.by_scenario.items()},
        "delay_h": {"median": caught.median_delay_h, "mean": caught.mean_delay_h, "worst": caught.worst_delay_h},
    }


def citations(found: EvidenceFigures) -> Figures:
    """Evidence as JSON shows it: over right alerts under plain names, the other reading below `end_to_end`."""
    return asdict(found.right_alerts) | {"end_to_end": asdict(found.end_to_end), "label_and_complete": found.label_and_complete}


def _balanced(truth: Bools, labels: "np.ndarray[Any, np.dtype[np.str_]]", seed: int) -> Figures:
    """Label figures on samples with as many malicious as normal days, the mean of several draws."""
    draws = [
        label_figures(truth[rows], labels[rows])
        for rows in (balanced_sample(truth, BALANCED_EACH, seed + n) for n in range(BALANCED_DRAWS))
    ]
    return {
        "each": BALANCED_EACH,
        "draws": BALANCED_DRAWS,
        "accuracy": float(np.mean([draw.accuracy for draw in draws])),
        "macro_f1": float(np.mean([draw.macro_f1 for draw in draws])),
        "malicious_recall": float(np.mean([draw.malicious_recall for draw in draws])),
    }


def intervals(several: Sequence[Judged], key: AnswerKey, seed: int, replicates: int = bootstrap.REPLICATES) -> Figures:
    """95 % intervals by bootstrap over users, as [low, high], of the mean over repeats of the same user/days (seeds).

    Every repeat sees the same draws of users, so that the interval is of the mean and not of a single repeat.
    """
    users = sorted({*key.events["user"]}.union(*(judged.days["user"] for judged in several)))
    drawn = bootstrap.draw_users(len(users), replicates, seed)
    drawings = [_replicates(judged, key, users, drawn) for judged in several]

    def mean(name: str) -> list[float]:
        found = bootstrap.interval(np.mean([each[name] for each in drawings], axis=0))
        return [found.low, found.high]

    rates = {f"{rate:g}": mean(f"recall {rate:g}") for rate in FALSE_POSITIVE_RATES}
    plain = ("pr_auc", "insiders_caught", "evidence_f1", "evidence_f1_end_to_end")
    return {"replicates": replicates, "recall_at_fpr": rates} | {name: mean(name) for name in plain}


def _replicates(judged: Judged, key: AnswerKey, users: Sequence[str], drawn: Ints) -> dict[str, Floats]:
    number = judged.days["user"].replace_strict({user: n for n, user in enumerate(users)}, return_dtype=pl.Int64()).to_numpy()
    truth = truth_of(judged.days, key)
    ranked = bootstrap.ranking_replicates(truth, judged.days["score"].to_numpy(), number, drawn, FALSE_POSITIVE_RATES)
    alerts = judged.alert_days.select(DAY).unique()
    positive = key.days().select(DAY)
    spans = {"evidence_f1": alerts.join(positive, on=DAY, how="semi"), "evidence_f1_end_to_end": pl.concat([alerts, positive]).unique()}
    cited = judged.cited.join(alerts, on=DAY, how="semi")
    found = {"pr_auc": ranked.average_precision, "insiders_caught": _caught_share(judged.alert_days, key, users, drawn)}
    found |= {f"recall {rate:g}": ranked.recall[:, place] for place, rate in enumerate(FALSE_POSITIVE_RATES)}
    for name, span in spans.items():
        found[name] = bootstrap.ratio_replicates(*user_sums(day_counts(cited, key.events, span), list(users)), drawn)
    return found


def _caught_share(alert_days: pl.DataFrame, key: AnswerKey, users: Sequence[str], drawn: Ints) -> Floats:
    table = caught_table(alert_days, key.events)
    by_user = (
        pl.DataFrame({"insider": users})
        .join(
            table.group_by("insider").agg(pl.len().alias("total"), pl.col("delay_ms").is_not_null().sum().alias("hit")),
            on="insider",
            how="left",
            maintain_order="left",
        )
        .fill_null(0)
    )
    return bootstrap.ratio_replicates(by_user["hit"].cast(pl.Float64).to_numpy(), by_user["total"].cast(pl.Float64).to_numpy(), drawn)


def mean_of(several: Sequence[Figures]) -> Figures:
    """The mean of each number over repeats of the same figures; where a list or text differs, the first one's.

    >>> mean_of([{"a": 1, "b": {"c": 2.0}}, {"a": 2, "b": {"c": 4.0}}])
    {'a': 1.5, 'b': {'c': 3.0}}
    """
    return {name: _mean([each.get(name) for each in several]) for name in several[0]}


def _mean(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return mean_of([value for value in values if isinstance(value, dict)])
    if isinstance(first, bool) or not all(isinstance(value, int | float) for value in values):
        return first
    if all(value == first for value in values):
        return first  # whole numbers that never vary stay whole
    known = [float(value) for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def json_safe(value: Any) -> Any:
    """Replace what JSON cannot say (NaN, infinity) by null, throughout; floats are rounded to 6 decimals.

    >>> json_safe({"a": float("nan"), "b": [1.23456789]})
    {'a': None, 'b': [1.234568]}
    """
    if isinstance(value, Mapping):
        return {str(name): json_safe(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(each) for each in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
