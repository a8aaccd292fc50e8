"""Which insiders were caught, and how soon. Frames in, figures out; knows no scores or files."""

from dataclasses import dataclass

import numpy as np
import polars as pl

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Caught:
    """Insiders with at least one alert on one of their positive days.

    `by_scenario` maps a scenario to (caught, total). Delays run from the first malicious event to the first right alert, whose
    time is the end of its window, in hours, over the caught ones; NaN when nobody was caught.
    """

    caught: int
    total: int
    by_scenario: dict[int, tuple[int, int]]
    median_delay_h: float
    mean_delay_h: float
    worst_delay_h: float


def insiders_caught(alerts: pl.DataFrame, key: pl.DataFrame) -> Caught:
    """Match alerts with the key.

    Args:
        alerts: `user, day, end_ms`: the account and local day an alert counts for, and when its window ended (UTC ms).
        key: the key's events: `insider, scenario, user, day, ts`.
    """
    table = caught_table(alerts, key)
    found = table.filter(pl.col("delay_ms").is_not_null())
    by_scenario = {
        int(scenario): (int(hit), int(total))
        for scenario, hit, total in table.group_by("scenario")
        .agg(pl.col("delay_ms").is_not_null().sum().alias("hit"), pl.len().alias("total"))
        .sort("scenario")
        .iter_rows()
    }
    delays = found["delay_ms"].to_numpy() / HOUR_MS
    return Caught(
        caught=found.height,
        total=table.height,
        by_scenario=by_scenario,
        median_delay_h=float(np.median(delays)) if len(delays) else float("nan"),
        mean_delay_h=float(delays.mean()) if len(delays) else float("nan"),
        worst_delay_h=float(delays.max()) if len(delays) else float("nan"),
    )


def caught_table(alerts: pl.DataFrame, key: pl.DataFrame) -> pl.DataFrame:
    """`insider, scenario, first_ts, alert_ms, delay_ms`, one row an insider and scenario; the last two null when not caught."""
    story = ["insider", "scenario"]
    hits = key.select(*story, "user", "day").unique().join(alerts.select("user", "day", "end_ms"), on=["user", "day"], how="inner")
    return (
        key.group_by(story)
        .agg(pl.min("ts").alias("first_ts"))
        .join(hits.group_by(story).agg(pl.min("end_ms").alias("alert_ms")), on=story, how="left")
        .with_columns((pl.col("alert_ms") - pl.col("first_ts")).alias("delay_ms"))
        .sort(story)
    )
