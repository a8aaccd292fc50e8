"""The rule that citations must beat: cite all removable-media, after-hours and flagged-domain events. Knows no model or verdict."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from detector.evaluation.figures import CITED_SCHEMA
from stream.kinds import Kind
from windowing.calendar import Calendar
from windowing.domains import FLAGGED, authority_of, category_of_host, host_of

OPENS_AT, CLOSES_AT = 7, 19
"""Office hours, Monday to Friday, local time; everything else is after hours."""


def cite_all(frames: Mapping[Kind, pl.DataFrame], calendar: Calendar) -> pl.DataFrame:
    """The events that the rule cites on every user/day, `user, day, kind, id`.

    Args:
        frames: event frames.
        calendar: its panes are the organisation's days.
    """
    parts = [_cited(kind, frame, calendar) for kind, frame in frames.items() if frame.height]
    return pl.concat(parts) if parts else pl.DataFrame(schema=CITED_SCHEMA)


def _cited(kind: Kind, frame: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    local = pl.from_epoch("ts", "ms").dt.replace_time_zone("UTC").dt.convert_time_zone(calendar.zone)
    after_hours = (local.dt.hour() < OPENS_AT) | (local.dt.hour() >= CLOSES_AT) | (local.dt.weekday() > 5)
    if kind in {Kind.DEVICE, Kind.FILE}:
        told = pl.lit(value=True)
    elif kind is Kind.HTTP:
        authority = authority_of(pl.col("url"))
        written = frame.select(authority.alias("authority"))["authority"].unique().drop_nulls().to_list()
        flagged = [text for text in written if category_of_host(host_of(text)) in FLAGGED]
        told = after_hours | authority.is_in(flagged).fill_null(value=False)
    else:
        told = after_hours
    kept = frame.filter(told)
    days = calendar.panes_of(kept["ts"].to_numpy().astype(np.int64))
    return kept.select("user", pl.Series("day", days), pl.lit(str(kind)).alias("kind"), "id")
