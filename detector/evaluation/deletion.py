"""Do the cited events carry the score? Remove them, judge again, and compare with removing as many others. Knows no windows or models.

After ERASER's comprehensiveness (DeYoung et al. 2020): a citation that matters lowers the score when it is gone, far more than
events drawn at random do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from detector.evaluation.metrics import Floats

DRAWS = 5


@dataclass(frozen=True, slots=True)
class Deletion:
    """Mean fall of the score over right alerts when events are removed.

    `fall_cited` and `fall_random` are mean differences (before - after); `cited_falls_more` is the share of alerts whose score falls
    more without the cited events than without random ones (mean of the draws); `silenced_*` the share that no longer alerts.
    """

    alerts: int
    fall_cited: float
    fall_random: float
    cited_falls_more: float
    silenced_cited: float
    silenced_random: float


def choose_random(events: Mapping[str, Sequence[str]], remove: int, seed: int) -> list[tuple[str, str]]:
    """Draw `remove` of a day's events (kind to ids) without replacement, all of them when there are fewer."""
    pool = sorted((kind, event_id) for kind, ids in events.items() for event_id in ids)
    drawn = np.random.default_rng(seed).permutation(len(pool))[:remove]
    return [pool[int(place)] for place in sorted(drawn)]


def deletion(before: Floats, without_cited: Floats, without_random: Floats, alerts_cited: Floats, alerts_random: Floats) -> Deletion:
    """Put the falls together.

    Args:
        before: score of each right alert's window, shape (alerts,).
        without_cited: score of the same windows without their cited events, shape (alerts,).
        without_random: likewise without random events, shape (draws, alerts).
        alerts_cited: 1.0 where the window without its cited events still alerts, else 0.0, shape (alerts,).
        alerts_random: likewise without random events, shape (draws, alerts).
    """
    if not len(before):
        nothing = float("nan")
        return Deletion(0, nothing, nothing, nothing, nothing, nothing)
    fall_cited, fall_random = before - without_cited, (before - without_random).mean(axis=0)
    return Deletion(
        alerts=len(before),
        fall_cited=float(fall_cited.mean()),
        fall_random=float(fall_random.mean()),
        cited_falls_more=float((fall_cited > fall_random + 1e-12).mean()),
        silenced_cited=float(1 - alerts_cited.mean()),
        silenced_random=float(1 - alerts_random.mean()),
    )


def day_events(frames: Mapping[str, pl.DataFrame], days: pl.DataFrame) -> pl.DataFrame:
    """`user, day, kind, id` of all events on the user/days of `days`; frames hold at least `user, day, id`."""
    wanted = days.select("user", "day").unique()
    parts = [
        frame.select("user", "day", "id").join(wanted, on=["user", "day"], how="semi").with_columns(pl.lit(kind).alias("kind"))
        for kind, frame in frames.items()
    ]
    return pl.concat(parts).select("user", "day", "kind", "id").unique().sort("user", "day", "kind", "id")
