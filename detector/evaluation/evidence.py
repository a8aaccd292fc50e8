"""How good the citations are, against the answer key. Frames in, figures out; knows no windows, models or files.

A citation is right when the key lists that event, by (kind, id), for the day of the account it was cited on. Figures come in two
readings: over the alerts that are right, and end to end (a missed day's key events count as not cited, a false alarm's citations
as wrong).
"""

from dataclasses import dataclass

import polars as pl

from detector.evaluation.metrics import Floats

DAY = ["user", "day"]
EVENT = ["user", "day", "kind", "id"]


@dataclass(frozen=True, slots=True)
class CitationFigures:
    """Counts over a set of user/days and what follows from them; ratios of nothing are 0.

    `precision`, `recall` and `f1` are over the pooled events (micro); `f1_per_day` is the mean of each day's own F1 (macro), so
    that a few days with hundreds of events do not speak for all. `complete` is the share of days whose key events are all cited.
    """

    days: int
    cited: int
    right: int
    key: int
    precision: float
    recall: float
    f1: float
    f1_per_day: float
    complete: float


def citation_figures(cited: pl.DataFrame, key: pl.DataFrame, days: pl.DataFrame) -> CitationFigures:
    """Figures over `days` (`user, day`, one row each): both `cited` and `key` (`user, day, kind, id`) are held to them."""
    table = day_counts(cited, key, days)
    sums = table.select(pl.sum("cited", "right", "key")).row(0)
    n_cited, n_right, n_key = (int(total) for total in sums)
    per_day = table.select(
        pl.when(pl.col("cited") + pl.col("key") > 0).then(2 * pl.col("right") / (pl.col("cited") + pl.col("key"))).otherwise(0.0)
    ).to_series()
    with_key = table.filter(pl.col("key") > 0)
    return CitationFigures(
        days=table.height,
        cited=n_cited,
        right=n_right,
        key=n_key,
        precision=n_right / n_cited if n_cited else 0.0,
        recall=n_right / n_key if n_key else 0.0,
        f1=2 * n_right / (n_cited + n_key) if n_cited + n_key else 0.0,
        f1_per_day=float(per_day.sum()) / table.height if table.height else 0.0,
        complete=with_key.filter(pl.col("right") == pl.col("key")).height / with_key.height if with_key.height else 0.0,
    )


def day_counts(cited: pl.DataFrame, key: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """`user, day, cited, right, key` for each of `days`, sorted."""
    unique_days = days.select(DAY).unique()
    said = cited.select(EVENT).unique()
    truth = key.select(EVENT).unique()
    return (
        unique_days.join(said.group_by(DAY).agg(pl.len().alias("cited")), on=DAY, how="left")
        .join(said.join(truth, on=EVENT, how="semi").group_by(DAY).agg(pl.len().alias("right")), on=DAY, how="left")
        .join(truth.group_by(DAY).agg(pl.len().alias("key")), on=DAY, how="left")
        .with_columns(pl.col("cited", "right", "key").fill_null(0).cast(pl.Int64))
        .sort(DAY)
    )


@dataclass(frozen=True, slots=True)
class EvidenceFigures:
    """Citations over the alerts that are right, and end to end; and how often label and evidence are both right.

    `label_and_complete`: share of the positive user/days labelled `malicious` with every key event among the cited ones (as FEVER
    counts a claim, Thorne et al. 2018).
    """

    right_alerts: CitationFigures
    end_to_end: CitationFigures
    label_and_complete: float


def evidence_figures(judged: pl.DataFrame, cited: pl.DataFrame, key: pl.DataFrame) -> EvidenceFigures:
    """Judge the citations of user/days.

    Args:
        judged: `user, day, alert, label`, one row a user/day.
        cited: `user, day, kind, id`; only citations on alerting days count.
        key: the key's events, with at least `user, day, kind, id`.
    """
    alerts = judged.filter("alert").select(DAY)
    positive = key.select(DAY).unique()
    right = alerts.join(positive, on=DAY, how="semi")
    everything = pl.concat([alerts, positive]).unique()
    labelled = judged.filter(pl.col("label") == "malicious").select(DAY).join(positive, on=DAY, how="semi")
    on_alerts = cited.join(alerts, on=DAY, how="semi")
    counts = day_counts(cited, key, labelled)
    complete = counts.filter((pl.col("key") > 0) & (pl.col("right") == pl.col("key"))).height
    return EvidenceFigures(
        right_alerts=citation_figures(on_alerts, key, right),
        end_to_end=citation_figures(on_alerts, key, everything),
        label_and_complete=complete / positive.height if positive.height else 0.0,
    )


def invalid_citations(cited: pl.DataFrame, windows: pl.DataFrame) -> int:
    """How many cited events are not in the window they were cited for; both frames hold `user, day, kind, id`. Must be 0."""
    return cited.select(EVENT).unique().join(windows.select(EVENT), on=EVENT, how="anti").height


def survival(kept: pl.DataFrame, key: pl.DataFrame) -> dict[str, float]:
    """Share of the key's events that are among `kept` (`user, day, kind, id`): `all`, and by `kind:…` and `scenario:…`."""
    marked = key.join(kept.select(EVENT).unique().with_columns(pl.lit(True).alias("kept")), on=EVENT, how="left").with_columns(
        pl.col("kept").fill_null(False)
    )
    shares = {"all": _mean(marked["kept"])}
    for column in ("kind", "scenario"):
        for (name,), part in sorted(marked.group_by(column), key=lambda group: str(group[0][0])):
            shares[f"{column}:{name}"] = _mean(part["kept"])
    return shares


def user_sums(counts: pl.DataFrame, users: list[str]) -> tuple[Floats, Floats]:
    """For a bootstrap of micro F1: twice the right citations, and cited + key events, summed over each of `users` in order."""
    table = (
        pl.DataFrame({"user": users})
        .join(counts.group_by("user").agg(pl.sum("cited", "right", "key")), on="user", how="left", maintain_order="left")
        .fill_null(0)
    )
    return (2 * table["right"]).cast(pl.Float64).to_numpy(), (table["cited"] + table["key"]).cast(pl.Float64).to_numpy()


def _mean(flags: pl.Series) -> float:
    return float(flags.sum()) / len(flags) if len(flags) else float("nan")
