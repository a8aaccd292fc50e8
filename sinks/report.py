"""The page people open: a self-contained HTML report of a scorecard or an evaluation. Knows no broker, model or record format.

Everything on the page is in the file: no script, no font, no picture from elsewhere. Event text was written by strangers: it is
escaped, stripped of control and bidirectional characters and cut to a length.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import polars as pl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from detector.evaluation.evidence import DAY, EVENT
from detector.evaluation.figures import Figures, Judged, truth_of
from detector.evaluation.metrics import Bools, Floats, curve
from detector.evaluation.truth import AnswerKey
from sinks.charts import Day, Line, recall_precision, timeline, unit_chart
from sinks.scorecard import Scorecard

BEFORE_DAYS, AFTER_DAYS = 10, 7
"""How much of an insider's life around the malicious days a timeline shows."""
MOST_EVENTS = 80
MOST_TEXT = 160
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline figure."""

    name: str
    value: str
    mood: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with its title."""

    title: str
    drawing: Markup
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; a strong one stands out."""

    cells: Sequence[str]
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the first column is text, the others are figures."""

    columns: Sequence[str]
    rows: Sequence[Row]
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; `paired` tables stand side by side where there is room."""

    title: str
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    note: str = ""
    paired: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """One account's timeline within a story."""

    name: str
    drawing: Markup


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """One event of a story."""

    when: str
    kind: str
    detail: str
    in_key: bool
    cited: bool


@dataclass(frozen=True, slots=True)
class Story:
    """What one insider did and what was made of it."""

    title: str
    note: str
    caught: bool
    lanes: Sequence[Lane]
    events: Sequence[ToldEvent]
    reasons: Sequence[str]
    summary: str


@dataclass(frozen=True, slots=True)
class Page:
    """All that the template shows."""

    title: str
    subtitle: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    stories: Sequence[Story] = field(default_factory=tuple)
    footer: str = ""


class Told(Protocol):
    """What stories are told from: a scorecard, or anything that has these."""

    @property
    def judged(self) -> Judged:
        """Scores, alerts and citations of user/days."""
        ...

    @property
    def key(self) -> AnswerKey:
        """What really happened."""
        ...

    @property
    def zone(self) -> str:
        """The zone of its days."""
        ...

    @property
    def cited_events(self) -> pl.DataFrame:
        """`user, day, kind, id, ts, detail, alert` of what alerts cite."""
        ...

    @property
    def reasons(self) -> Mapping[str, str]:
        """Alert to its reason in words."""
        ...


def render(page: Page) -> str:
    """The page as HTML."""
    text = files("sinks").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(text).render(page=page)


def write_report(card: Scorecard, path: Path) -> None:
    """Write the scorecard's page (`report.html`)."""
    path.write_text(render(scorecard_page(card)), encoding="utf-8")


def scorecard_page(card: Scorecard) -> Page:
    """The page of a scorecard: headline figures, curves, tables, and a timeline for each insider."""
    found = card.figures
    truth, score = truth_of(card.judged.days, card.key), card.judged.days["score"].to_numpy()
    triage = card.judged.days["triage_score"].to_numpy()
    lines = [curve_line(f"score, PR-AUC {found['pr_auc']:.3f}", "a", truth, score, found)]
    if not (triage == score).all():
        lines.append(Line(f"triage alone, PR-AUC {found['triage_pr_auc']:.3f}", "b", recall_precision(curve(truth, triage))))
    return Page(
        title="Daywatch scorecard",
        subtitle=(
            f"{found['users']:,} users, {found['user_days']:,} user/days in zone {card.zone}; "
            f"{found['positive_days']:,} of them hold one of the key's {found['key_events']:,} malicious events"
        ),
        tiles=tiles(found),
        sections=[
            Section(
                "Ranking",
                charts=[ranking_chart(lines, found), reliability_chart({"a": ("score", found)})],
                tables=[operating_points(found)],
            ),
            Section("Evidence", tables=[evidence_table({"": found})]),
            Section(
                "Insiders and what their windows kept",
                tables=[scenarios(found), survival_table(found["evidence"]["survival"])],
                paired=True,
            ),
        ],
        stories=stories(card),
        footer=(
            "A user/day is malicious when it holds an event of the answer key. Its score is that of the window equal to the day; "
            "alerts count on the days of the events they cite."
        ),
    )


def tiles(found: Figures) -> list[Tile]:
    """The figures most people ask for first."""
    insiders, evidence, alerts = found["insiders"], found["evidence"], found["alerts"]
    invalid = evidence.get("invalid")
    listed = [
        Tile("insiders caught", f"{number(insiders['caught'])} of {number(insiders['total'])}"),
        Tile("PR-AUC", f"{found['pr_auc']:.3f}"),
        Tile("evidence F1, right alerts", f"{evidence['f1']:.3f}"),
        Tile("alerts that cite malicious events", f"{number(alerts['findings_citing_key_events'])} of {number(alerts['findings'])}"),
        Tile("alerts a day per 1,000 users", f"{alerts['per_day_per_1000_users']:.1f}"),
        Tile("median delay", hours(insiders["delay_h"]["median"])),
    ]
    if invalid is not None:
        listed.append(Tile("citations outside their window", number(invalid), "good" if not invalid else "bad"))
    return listed


def curve_line(name: str, style: str, truth: Bools, score: Floats, found: Figures) -> Line:
    """A precision-recall line with its points at the usual false-positive rates marked."""
    marks = [
        (
            point["recall"],
            point["precision"],
            f"{float(rate):.1%} false positives: precision {point['precision']:.2f}, recall {point['recall']:.2f}",
        )
        for rate, point in found["recall_at_fpr"].items()
        if point["alerts"]
    ]
    return Line(name, style, recall_precision(curve(truth, score)), marks)


def ranking_chart(lines: Sequence[Line], found: Figures) -> Chart:
    """Precision against recall, with the share of malicious days as the line that chance draws."""
    chance = Line(f"chance, {percent(found['prevalence'])}", "grey", [(0, found["prevalence"]), (1, found["prevalence"])])
    drawing = unit_chart([*lines, chance], "recall", "precision", "Precision-recall curve")
    return Chart("Precision and recall", drawing, "Points: 0.1 %, 0.2 %, 0.5 % and 1 % false positives.")


def reliability_chart(several: Mapping[str, tuple[str, Figures]]) -> Chart:
    """How often days turned out malicious, against the score they were given; style class to (name, figures)."""
    lines = [
        Line(
            f"{name}, expected calibration error {found['ece']:.3f}",
            style,
            points := list(zip(found["reliability"]["said"], found["reliability"]["seen"], strict=True)),
            [
                (x, y, f"said {x:.2f}, seen {y:.2f}: {rows:,} days")
                for (x, y), rows in zip(points, found["reliability"]["rows"], strict=True)
            ],
        )
        for style, (name, found) in several.items()
    ]
    drawing = unit_chart([*lines, Line("perfect", "grey", [(0, 0), (1, 1)])], "score", "share malicious", "Reliability diagram")
    return Chart("Calibration", drawing, "Bins of equal width.")


def operating_points(found: Figures, title: str = "Operating points") -> Table:
    """Precision, recall, F1 and insiders at each false-positive rate and alert budget, and at the run's own threshold."""
    rows = [Row(["own threshold", *_point_cells(found["alerts"], found["insiders"])], strong=True)]
    rows += [Row([f"{percent(float(rate))} FPR", *_point_cells(each, each["insiders"])]) for rate, each in found["recall_at_fpr"].items()]
    rows += [Row([f"{budget} a day / 1,000", *_point_cells(each, each["insiders"])]) for budget, each in found["at_alert_budget"].items()]
    columns = ["alerting at", "alerts", "precision", "recall", "F1", "FPR", "insiders", "delay"]
    return Table(
        columns,
        rows,
        title,
        (
            "Alerts are user/days. FPR: share of the innocent user/days that alert. n a day / 1,000: an alert budget of n a day per 1,000 "
            "users, that is n in 1,000 active user/days. All rows but the first are read off the curve. The delay is the median."
        ),
    )


def _point_cells(point: Mapping[str, Any], insiders: Mapping[str, Any]) -> list[str]:
    return [
        number(point["alerts"]),
        f"{point['precision']:.3f}",
        f"{point['recall']:.3f}",
        f"{point['f1']:.3f}",
        f"{100 * point['false_positive_rate']:.2f} %",
        f"{number(insiders['caught'])} of {number(insiders['total'])}",
        hours(insiders["delay_h"]["median"]),
    ]


def scenarios(found: Figures, title: str = "Caught, by scenario") -> Table:
    """Insiders caught, by scenario."""
    insiders = found["insiders"]
    rows = [
        Row([f"scenario {name}", number(each["caught"]), number(each["total"]), percent(each["caught"] / each["total"])])
        for name, each in insiders["by_scenario"].items()
    ]
    rows.append(Row(["all", number(insiders["caught"]), number(insiders["total"]), percent(insiders["share"])], strong=True))
    delay = insiders["delay_h"]
    spread = f"median {hours(delay['median'])}, mean {hours(delay['mean'])}, longest {hours(delay['worst'])}"
    note = f"From the first malicious event to the first right alert: {spread}."
    return Table(["", "caught", "insiders", "share"], rows, title, note)


def evidence_table(several: Mapping[str, Figures]) -> Table:
    """Citations against the key, over right alerts and end to end; name to figures."""
    rows = []
    for name, found in several.items():
        for reading, cited in (("right", found["evidence"]), ("end to end", found["evidence"]["end_to_end"])):
            label = f"{name}, {reading}" if name else reading
            counts = [number(cited[each]) for each in ("days", "cited", "right", "key")]
            rows.append(Row([label, *counts, *(f"{cited[each]:.3f}" for each in ("precision", "recall", "f1", "complete"))]))
    columns = ["over", "days", "cited", "right", "key", "precision", "recall", "F1", "complete"]
    note = (
        "Right: over alerting days that are malicious. "
        "End to end: missed days' key events count as not cited, false alarms' citations as wrong."
    )
    return Table(columns, rows, "Citations against the key", note)


def survival_table(survival: Mapping[str, float]) -> Table:
    """Share of the key's events that the salient-event cap keeps."""
    named = {"all": "all"} | {name: name.replace(":", " ") for name in survival if name != "all"}
    rows = [Row([named[name], percent(share)], strong=name == "all") for name, share in survival.items()]
    return Table(["key events", "kept in the window"], rows, "Key events that survive the cap")


def stories(card: Told) -> list[Story]:
    """One story an insider, in the order of scenario and first event."""
    order = card.key.events.group_by("scenario", "insider").agg(pl.min("ts")).sort("scenario", "ts")
    return [_story(card, int(scenario), str(insider)) for scenario, insider, _ in order.iter_rows()]


def _story(card: Told, scenario: int, insider: str) -> Story:
    key = card.key.events.filter((pl.col("insider") == insider) & (pl.col("scenario") == scenario))
    positive = key.select(DAY).unique()
    accounts = [insider, *sorted(set(key["user"]) - {insider})]
    on_days = card.cited_events.join(positive, on=DAY, how="semi")
    alert_days = card.judged.alert_days.join(positive, on=DAY, how="semi").height
    lanes = [
        Lane(f"under the account {account}" if account != insider else "", _lane(card, key, account))
        for account in accounts
        if account == insider or account in set(key["user"])
    ]
    reasons = [text for uid in on_days["alert"].unique(maintain_order=True) if (text := clean(card.reasons.get(uid, ""), 400))]
    told = _told(key, on_days, ZoneInfo(card.zone))
    cited = on_days.select(EVENT).unique().join(key.select(EVENT), on=EVENT, how="semi").height
    return Story(
        title=f"{insider} · scenario {scenario}",
        note=f"{positive.height} malicious days, {alert_days} with an alert; {key.height} key events, {cited} cited",
        caught=alert_days > 0,
        lanes=lanes,
        events=told[:MOST_EVENTS],
        reasons=reasons[:3],
        summary=f"What was cited and what was missed{f' (first {MOST_EVENTS} of {len(told)} events)' if len(told) > MOST_EVENTS else ''}",
    )


def _lane(card: Told, key: pl.DataFrame, account: str) -> Markup:
    first, last = int(key["day"].to_numpy().min()) - BEFORE_DAYS, int(key["day"].to_numpy().max()) + AFTER_DAYS
    scores = dict(card.judged.days.filter(pl.col("user") == account).select("day", "score").iter_rows())
    alerts = set(card.judged.alert_days.filter(pl.col("user") == account)["day"])
    true_events = set(key.filter(pl.col("user") == account).select("day", "kind", "id").iter_rows())
    cited_events = set(card.judged.cited.filter(pl.col("user") == account).select("day", "kind", "id").iter_rows())
    found, missed, other = true_events & cited_events, true_events - cited_events, cited_events - true_events
    counts = [_count(events) for events in (found, missed, other)]
    width = last - first + 1
    every = max(7, 7 * round(width / 70 + 0.5))
    days = []
    for day in range(first, last + 1):
        when = _EPOCH + timedelta(days=day)
        right, absent, extra = (each.get(day, 0) for each in counts)
        score = scores.get(day)
        label = (
            f"{when:%a %d %b %Y}: " + (f"score {score:.2f}" if score is not None else "no activity") + (", alert" if day in alerts else "")
        )
        if right or absent or extra:
            label += f"; {right + absent} key events, {right} of them cited; {extra} others cited"
        tick = f"{when:%d %b}" if (day - first) % every == 0 and day + every // 2 <= last else ""
        days.append(Day(label, tick, score, day in alerts, right, absent, extra))
    return timeline(days, f"Scores and events of {account}, day by day")


def _count(events: Iterable[tuple[int, str, str]]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for day, _, _ in events:
        counts[day] = counts.get(day, 0) + 1
    return counts


def _told(key: pl.DataFrame, cited: pl.DataFrame, zone: ZoneInfo) -> list[ToldEvent]:
    columns = [*EVENT, "ts", "detail"]
    marked = (
        pl.concat([key.select(columns), cited.select(columns).unique(EVENT)])
        .unique(EVENT, keep="first", maintain_order=True)
        .join(key.select(*EVENT, pl.lit(value=True).alias("in_key")), on=EVENT, how="left")
        .join(cited.select(EVENT).unique().with_columns(pl.lit(value=True).alias("cited")), on=EVENT, how="left")
        .sort("ts", "kind", "id", nulls_last=True)
    )
    return [
        ToldEvent(
            f"{datetime.fromtimestamp(row['ts'] / 1000, zone):%d %b %Y %H:%M:%S}" if row["ts"] is not None else "",
            row["kind"],
            clean(row["detail"] or ""),
            bool(row["in_key"]),
            bool(row["cited"]),
        )
        for row in marked.iter_rows(named=True)
    ]


def clean(text: str, most: int = MOST_TEXT) -> str:
    r"""Event text fit to show: no control, format or bidirectional characters, cut to `most` characters.

    >>> clean("a\u202eb\x1b[31m")
    'ab[31m'
    """
    shown = "".join(letter for letter in text if unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def number(value: float) -> str:
    """A count; a mean of counts keeps one decimal.

    >>> number(12345), number(2.5)
    ('12,345', '2.5')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def percent(share: float) -> str:
    """A share as per cent; a dash when there is none.

    >>> percent(0.0123), percent(1.0), percent(float("nan"))
    ('1.2 %', '100 %', '–')
    """
    if share != share:  # NaN
        return "–"
    return f"{100 * share:.0f} %" if share in {0.0, 1.0} else f"{100 * share:.1f} %"


def hours(value: float) -> str:
    """A duration given in hours; a dash when there is none.

    >>> hours(5.25), hours(60.0), hours(float("nan"))
    ('5.2 h', '2.5 days', '–')
    """
    if value != value:  # NaN
        return "–"
    return f"{value:.1f} h" if value < 48 else f"{value / 24:.1f} days"
