"""What verdicts and alerts are worth against the answer key. Records in, figures out; knows no broker, model or page.

Windows may overlap. A user/day's score is that of the window equal to the day; alerts count on the days of the events they
cite (several windows may have raised one). Records are read once, in the order verdicts, alerts, windows, and only what the figures
need of each window is kept, so that the windows of a large replay need not fit into memory.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import polars as pl

from detector.evaluation.evidence import EVENT, survival
from detector.evaluation.figures import CITED_SCHEMA, JUDGED_SCHEMA, Figures, Judged, figures, json_safe, with_missed_days
from detector.evaluation.truth import AnswerKey, day_calendar, read_answers
from sinks.line_alert import is_line_alert
from sinks.ocsf import kind_of
from stream.errors import ConfigurationError
from stream.kinds import Millis
from stream.times import instant
from windowing.calendar import Calendar

Record: TypeAlias = bytes | str | Mapping[str, Any]
"""One record: its JSON, or what the JSON says."""

SCHEMA = "daywatch.scorecard/1"


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The figures, and what the report draws: judged days, citations with their time, key."""

    figures: Figures
    judged: Judged
    key: AnswerKey
    zone: str
    cited_events: pl.DataFrame
    """`user, day, kind, id, ts, detail, alert`: what alerts cite; `alert` is the finding's uid."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Finding uid to the reason in words."""

    def as_dict(self) -> Figures:
        """The figures as JSON shows them (`scorecard.json`)."""
        found: Figures = json_safe({"schema": SCHEMA, "zone": self.zone} | self.figures)
        return found


def scorecard(
    directory: Path,
    windows: Iterable[Record],
    verdicts: Iterable[Record],
    alerts: Iterable[Record],
    zone: str = "UTC",
    *,
    seed: int = 0,
    replicates: int = 1000,
) -> Scorecard:
    """Score what a run left behind against `directory`'s answers.

    Args:
        directory: a CERT directory with `answers/`.
        windows: window records.
        verdicts: verdict records.
        alerts: OCSF Detection Findings, creations and updates alike.
        zone: the organisation's zone, the one that the windows were made with.
        seed: of the bootstrap and the balanced samples.
        replicates: of the bootstrap.

    Raises:
        ConfigurationError: no answers, a record that is none, or no verdict on a window equal to a day of this zone.
    """
    key, calendar = read_answers(directory, zone), day_calendar(zone)
    seen = _read_verdicts(verdicts, calendar)
    if not seen.days:
        raise ConfigurationError(
            f"none of the {seen.verdicts} verdicts is on a window from midnight to midnight in zone {zone}: is zone the one of the run?"
        )
    findings = _read_alerts(alerts)
    kept = _read_windows(windows, seen, findings, key, calendar)
    days = pl.DataFrame([row[1:] for row in seen.days.values()], schema=JUDGED_SCHEMA, orient="row")
    days, missed = with_missed_days(days, key, {day: calendar.edge(day + 1) for day in key.events["day"].unique()})
    cited = _cited_on_days(findings, kept, calendar)
    alert_days = cited.group_by("user", "day").agg(pl.min("time").alias("end_ms")).sort("user", "day")
    judged = Judged(days, cited.select(EVENT).unique(maintain_order=True), alert_days)
    found = figures(judged, key, seed, replicates)
    found["evidence"] |= {
        "cited_in_all": kept.checked,
        "invalid": kept.invalid + _cited_outside(findings, kept),
        "survival": survival(kept.key_events, key.events),
    }
    found |= {"verdicts": seen.verdicts, "windows": kept.windows, "missed_days": missed}
    found["alerts"] |= {"findings": len(findings), "updates": sum(each.updates for each in findings.values())}
    found["alerts"] |= _right_findings(cited, key)
    detailed = cited.drop("time").join(kept.details, on=["user", "kind", "id"], how="left").sort("user", "ts", "kind", "id")
    return Scorecard(found, judged, key, zone, detailed, {uid: each.reason for uid, each in findings.items()})


def json_lines(path: Path) -> Iterator[bytes]:
    """The records of a JSON-lines file, one line at a time.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        with path.open("rb") as lines:
            for line in lines:
                if line.strip():
                    yield line
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error


@dataclass(slots=True)
class _Seen:
    """What the verdicts say: judged days, what was cited where."""

    verdicts: int = 0
    days: dict[tuple[str, int], tuple[Any, ...]] = field(default_factory=dict)
    cited: dict[str, set[tuple[str, str]]] = field(default_factory=dict)


@dataclass(slots=True)
class _Finding:
    """One alert over all its versions: who, each cited event, when it was first cited and when it happened."""

    user: str
    first_cited: dict[tuple[str, str], Millis] = field(default_factory=dict)
    times: dict[tuple[str, str], Millis] = field(default_factory=dict)
    updates: int = 0
    reason: str = ""


@dataclass(slots=True)
class _Kept:
    """What of the windows the figures need."""

    windows: int
    checked: int
    invalid: int
    key_events: pl.DataFrame
    times: dict[tuple[str, str, str], Millis]
    details: pl.DataFrame


def _read_verdicts(verdicts: Iterable[Record], calendar: Calendar) -> _Seen:
    seen = _Seen()
    for number, record in enumerate(verdicts, 1):
        try:
            verdict = _parsed(record)
            user, window = str(verdict["user"]), str(verdict["window_id"])
            start, end, score = instant(verdict["start"]), instant(verdict["end"]), float(verdict["score"])
            cited = {(str(event["kind"]), str(event["id"])) for event in verdict["cited"]}
            alert = verdict.get("alert_uid") is not None
            label, triage = str(verdict["label"]), verdict.get("triage_score")
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"verdict {number} is no verdict record: {_fault(error)}") from error
        seen.verdicts += 1
        if cited:
            seen.cited[window] = cited
        day = calendar.pane_of(start)
        if start == calendar.edge(day) and end == calendar.edge(day + 1):
            learning = bool(verdict.get("learning", False))
            row = (window, user, day, end, score, score if triage is None else float(triage), label, alert, learning)
            seen.days[user, day] = row
    return seen


def _read_alerts(alerts: Iterable[Record]) -> dict[str, _Finding]:
    findings: dict[str, _Finding] = {}
    for number, record in enumerate(alerts, 1):
        try:
            alert = _parsed(record)
            if is_line_alert(alert):
                continue  # over a log line of its own: no window is to be blamed or praised for it
            info, time = alert["finding_info"], int(alert["time"])
            cited = [
                (_kind(int(event["type_uid"])), str(event["uid"]), event.get("first_seen_time")) for event in info.get("related_events", [])
            ]
            finding = findings.setdefault(str(info["uid"]), _Finding(str(alert["actor"]["user"]["name"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"alert {number} is no OCSF Detection Finding: {_fault(error)}") from error
        finding.updates += alert.get("activity_id") == 2
        finding.reason = str(alert.get("message") or info.get("desc") or finding.reason)
        for kind, event_id, ts in cited:
            finding.first_cited[kind, event_id] = min(time, finding.first_cited.get((kind, event_id), time))
            if isinstance(ts, int):
                finding.times[kind, event_id] = ts
    return findings


def _kind(type_uid: int) -> str:
    kind = kind_of(type_uid)
    if kind is None:
        raise ValueError(f"type_uid {type_uid} stands for none of our kinds")
    return kind.value


def _read_windows(windows: Iterable[Record], seen: _Seen, findings: Mapping[str, _Finding], key: AnswerKey, calendar: Calendar) -> _Kept:
    """Check citations against their windows, and keep the key's events that survived and the cited events' times."""
    wanted = {(finding.user, kind, event_id) for finding in findings.values() for kind, event_id in finding.first_cited}
    of_key = set(key.events.select("user", "kind", "id").iter_rows())
    times: dict[tuple[str, str, str], Millis] = {}
    details: dict[tuple[str, str, str], str] = {}
    survived: set[tuple[str, int, str, str]] = set()
    total = checked = invalid = 0
    unseen = dict(seen.cited)
    for number, record in enumerate(windows, 1):
        try:
            window = _parsed(record)
            user, window_id = str(window["user"]), str(window["id"])
            start, end, events = instant(window["start"]), instant(window["end"]), window["events"]
            held = {(str(event["kind"]), str(event["id"])): event for event in events}
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"window {number} is no window record: {_fault(error)}") from error
        total += 1
        cited = unseen.pop(window_id, set())
        checked += len(cited)
        invalid += len(cited - held.keys())
        day = calendar.pane_of(start)
        is_day = start == calendar.edge(day) and end == calendar.edge(day + 1)
        for (kind, event_id), event in held.items():
            place = (user, kind, event_id)
            if is_day and place in of_key:
                survived.add((user, day, kind, event_id))
            if place in wanted and place not in times:
                times[place] = instant(event["ts"])
                details[place] = _detail(event)
    lost = sum(len(cited) for cited in unseen.values())  # a verdict on a window that is not there: nothing vouches for its citations
    return _Kept(
        total,
        checked + lost,
        invalid + lost,
        pl.DataFrame(sorted(survived), schema=CITED_SCHEMA, orient="row"),
        times,
        pl.DataFrame(
            [(*place, times[place], text) for place, text in details.items()],
            schema={"user": pl.String(), "kind": pl.String(), "id": pl.String(), "ts": pl.Int64(), "detail": pl.String()},
            orient="row",
        ),
    )


def _cited_on_days(findings: Mapping[str, _Finding], kept: _Kept, calendar: Calendar) -> pl.DataFrame:
    """`user, day, kind, id, alert, time`: each cited event on its own day, with the time of the finding that first cited it."""
    rows = []
    for uid, finding in findings.items():
        for (kind, event_id), time in finding.first_cited.items():
            ts = kept.times.get((finding.user, kind, event_id), finding.times.get((kind, event_id)))
            if ts is not None:  # else nobody knows when it was: it is among the invalid ones
                rows.append((finding.user, calendar.pane_of(ts), kind, event_id, uid, time))
    schema = CITED_SCHEMA | {"alert": pl.String(), "time": pl.Int64()}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("user", "day", "time", "kind", "id")


def _cited_outside(findings: Mapping[str, _Finding], kept: _Kept) -> int:
    """How many events alerts cite that no window of their user holds."""
    return sum((finding.user, *event) not in kept.times for finding in findings.values() for event in finding.first_cited)


def _right_findings(cited: pl.DataFrame, key: AnswerKey) -> Figures:
    """How many findings count on a positive day, and how many cite a key event."""
    on_days = cited.join(key.days().select("user", "day"), on=["user", "day"], how="semi")["alert"].n_unique()
    with_key = cited.join(key.events.select(EVENT), on=EVENT, how="semi")["alert"].n_unique()
    return {"findings_on_positive_days": on_days, "findings_citing_key_events": with_key}


def _detail(event: Mapping[str, Any]) -> str:
    return str(event.get("url") or event.get("filename") or event.get("to") or event.get("activity") or "")


def _fault(error: Exception) -> str:
    """What is wrong with a record, without quoting it."""
    if isinstance(error, orjson.JSONDecodeError):
        return f"no JSON at character {error.pos}"
    return f"it lacks {error}" if isinstance(error, KeyError) else f"a part has the wrong shape ({type(error).__name__})"


def _parsed(record: Record) -> Mapping[str, Any]:
    found = orjson.loads(record) if isinstance(record, bytes | str) else record
    if not isinstance(found, Mapping):
        raise TypeError("not an object")
    return found
