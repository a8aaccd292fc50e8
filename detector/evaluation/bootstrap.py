"""How far figures would move with other people: bootstrap over users. Arrays in, intervals out; knows no files or models.

Days of one user resemble each other, so whole users are drawn, with replacement (cluster bootstrap; Davison & Hinkley 1997,
ch. 3.8). Drawing a user k times is the same as giving each of that user's days the weight k, which makes a replicate one weighted
sum and all replicates a few matrix operations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.evaluation.metrics import Bools, Floats, Ints

REPLICATES = 1000
_CELLS = 4_000_000  # replicates x rows worked on at once: bounds the memory at some tens of MB


@dataclass(frozen=True, slots=True)
class Interval:
    """The middle 95 % of the replicates (percentile method). NaN where no replicate had a value."""

    low: float
    high: float


def draw_users(users: int, replicates: int, seed: int) -> Ints:
    """How often each user is drawn, shape (replicates, users); every row sums to `users`."""
    chance = np.random.default_rng(seed)
    return chance.multinomial(users, np.full(users, 1 / users), size=replicates).astype(np.int64)


def interval(values: Floats, level: float = 0.95) -> Interval:
    """The middle `level` of the values; NaN values (a replicate without any positive) are left out."""
    kept = values[~np.isnan(values)]
    if not len(kept):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


@dataclass(frozen=True, slots=True)
class RankingReplicates:
    """Figures of a ranking in each replicate: `average_precision` (replicates,), `recall` (replicates, rates)."""

    average_precision: Floats
    recall: Floats


def ranking_replicates(
    truth: Bools, score: Floats, user: Ints, drawn: Ints, rates: Sequence[float] = (), weight: Floats | None = None
) -> RankingReplicates:
    """Average precision, and recall at false-positive rates, in each replicate.

    Args:
        truth: whether the row is malicious, one entry a row.
        score: likewise.
        user: the number of the row's user, 0 .. users - 1.
        drawn: how often each user is drawn, shape (replicates, users), from `draw_users`.
        rates: false-positive rates, 0..1.
        weight: for how many rows each stands, where they are a sample; 1 by default.
    """
    if not len(score):
        return RankingReplicates(np.full(len(drawn), np.nan), np.full((len(drawn), len(rates)), np.nan))
    order = np.argsort(-score, kind="stable")
    truth, score, user = truth[order], score[order], user[order]
    stands_for = weight[order] if weight is not None else np.ones(len(order), np.int64)
    ends = np.flatnonzero(np.append(np.diff(score) != 0, True))
    precision_sums, recalls = [], []
    step = max(1, _CELLS // max(1, len(score)))
    for first in range(0, len(drawn), step):
        weights = drawn[first : first + step][:, user] * stands_for
        hits = np.cumsum(weights * truth, axis=1)[:, ends].astype(np.float64)
        alerts = np.cumsum(weights, axis=1)[:, ends].astype(np.float64)
        positives, negatives = hits[:, -1], alerts[:, -1] - hits[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(alerts > 0, hits / alerts, 0.0)
            precision_sums.append(np.sum(np.diff(hits, axis=1, prepend=0) * precision, axis=1) / positives)
            recalls.append(
                np.stack(
                    [np.max(np.where(alerts - hits <= rate * negatives[:, None] + 1e-9, hits, 0.0), axis=1) / positives for rate in rates]
                )
                if len(rates)
                else np.empty((0, len(weights)))
            )
    return RankingReplicates(np.concatenate(precision_sums), np.concatenate(recalls, axis=1).T)


def ratio_replicates(numerator: npt.NDArray[np.float64], denominator: npt.NDArray[np.float64], drawn: Ints) -> Floats:
    """A ratio of sums over users in each replicate, e.g. cited key events over cited events; inputs hold one entry a user."""
    above, below = drawn @ numerator, drawn @ denominator
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = above / below
    return found
