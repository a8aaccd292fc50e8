"""Alerts as OCSF 1.8.0 Detection Findings. Values in, values out; what a record says depends on its arguments alone.

Knows no broker and no clock: `time` is the window's end, so that a rerun gives the same bytes; when a finding was made is its
record's timestamp. How findings are merged is `sinks/alert_memory.py`'s business. Specification: https://schema.ocsf.io/1.8.0/classes/detection_finding
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any, TypeAlias

import orjson

from detector.verdict import EventRef, Verdict
from sinks.alert_memory import Activity, Alerting, CitedEvent, Finding
from stream.kinds import Kind, Millis
from stream.times import instant
from windowing.record import BadWindow, Window

Event: TypeAlias = Mapping[str, Any]
"""An event as a window record holds it: `kind, id, ts, pc` and its kind's fields."""

VERSION = "1.8.0"
CLASS_UID = 2004
MOST_TEXT = 400
"""Longest free text (file contents, page words) that an alert repeats; the event itself is found by its id."""
MOST_OBSERVABLES = 100

# OCSF class and activity of the events themselves; r4.2 knows no method of a page, and each of its file rows is a copy onto a drive
_ACTIVITIES: Mapping[Kind, tuple[int, Mapping[str, int], int]] = {
    Kind.LOGON: (3002, {"logon": 1, "logoff": 2}, 0),
    Kind.DEVICE: (1010, {"connect": 1, "insert": 1, "disconnect": 2, "remove": 2}, 0),
    Kind.FILE: (1001, {}, 1),
    Kind.EMAIL: (4009, {}, 1),
    Kind.HTTP: (4002, {}, 0),
}
KIND_OF_CLASS: Mapping[int, Kind] = {class_uid: kind for kind, (class_uid, _, _) in _ACTIVITIES.items()}

_EMAIL = re.compile(r"[a-zA-Z0-9!#$%&'*+-/=?^_`{|}~.]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+")
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://([^/?#\s]+)([^?#\s]*)")
_RISK_LEVELS = ((90, 4, "Critical"), (70, 3, "High"), (40, 2, "Medium"), (20, 1, "Low"), (0, 0, "Info"))
SEVERITIES = ("Unknown", "Informational", "Low", "Medium", "High", "Critical")
_CONFIDENCES = ("Unknown", "Low", "Medium", "High")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the window's record lies."""

    topic: str
    partition: int
    offset: int


def alerting(verdict: Verdict, window: Window) -> Alerting:
    """What merging needs of a window that is to be alerted on.

    Raises:
        BadWindow: a time in it cannot be read.
    """
    try:
        events = {EventRef(Kind(event["kind"]), str(event["id"])): event for event in window.events}
        cited = tuple(CitedEvent(ref, instant(str(events[ref]["ts"])), type_uid(events[ref])) for ref in verdict.cited)
        end_ms = instant(verdict.end)
    except ValueError as error:
        raise BadWindow(f"window {window.id[:32]} has a time that cannot be read") from error
    return Alerting(verdict.user, verdict.window_id, end_ms, risk_score(verdict), cited)


def detection_finding(verdict: Verdict, window: Window, finding: Finding, activity: Activity, origin: Origin) -> dict[str, Any]:
    """The alert record of one window: the whole finding so far, with the details of the events that this window holds of it."""
    held = {EventRef(Kind(event["kind"]), str(event["id"])): event for event in window.events}
    shown = [(place, held[event.ref]) for place, event in enumerate(e for e in finding.cited if e.ref in held)]
    end_ms = instant(verdict.end)
    level, level_name = risk_level(finding.risk)
    severity = max(level + 1, 4 if verdict.label == "malicious" else 0)
    confidence, confidence_score = _confidence(verdict)
    created = activity is Activity.CREATE
    record: dict[str, Any] = {
        "activity_id": int(activity),
        "activity_name": "Create" if created else "Update",
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": "Detection Finding",
        "type_uid": CLASS_UID * 100 + int(activity),
        "type_name": f"Detection Finding: {'Create' if created else 'Update'}",
        "time": end_ms,
        "timezone_offset": _offset_minutes(verdict.end),
        "severity_id": severity,
        "severity": SEVERITIES[severity],
        "status_id": 1,
        "status": "New",
        "confidence_id": confidence,
        "confidence": _CONFIDENCES[confidence],
        "confidence_score": confidence_score,
        "risk_level_id": level,
        "risk_level": level_name,
        "risk_score": finding.risk,
        "message": verdict.reason,
    }
    if created:
        record["is_alert"] = True  # an update is no second alert
    if finding.cited:
        record["start_time"], record["end_time"] = finding.cited[0].ts, finding.cited[-1].ts
    record |= {
        "metadata": _metadata(verdict, finding),
        "actor": {"user": {"name": verdict.user}},
        **_device(event for _, event in shown),
        "finding_info": _finding_info(verdict, finding, end_ms, created),
        "attacks": [attack(technique) for technique in verdict.techniques],
        "evidences": [evidence(verdict, event) for _, event in shown],
        "observables": _observables(verdict.user, shown),
        "unmapped": {
            "label": verdict.label,
            "score": verdict.score,
            "triage_score": verdict.triage_score,
            "track": verdict.track,
            "by": verdict.by,
            "learning": verdict.learning,
            "cited": [{"kind": ref.kind.value, "id": ref.id} for ref in verdict.cited],
            "provenance": dict(sorted(verdict.provenance.items())),
            **dict(sorted(verdict.extras.items())),
            "window": {
                "id": window.id,
                "digest": window.digest,
                "start": window.start,
                "end": window.end,
                "topic": origin.topic,
                "partition": origin.partition,
                "offset": origin.offset,
            },
        },
    }
    return {name: value for name, value in record.items() if value != []}


def encode(record: Mapping[str, Any]) -> bytes:
    """The bytes of a record on the alerts topic."""
    return orjson.dumps(record)


def risk_score(verdict: Verdict) -> int:
    """The calibrated score as a whole number, 0–100.

    It rests on the score alone: what an account or a file is worth to the organisation is not known here.
    """
    return min(100, max(0, int(verdict.score * 100 + 0.5)))


def type_uid(event: Event) -> int:
    """OCSF's class and activity of an event of ours.

    >>> type_uid({"kind": "logon", "activity": "Logoff"})
    300202
    """
    class_uid, activities, otherwise = _ACTIVITIES[Kind(event["kind"])]
    return class_uid * 100 + activities.get(str(event.get("activity", "")).lower(), otherwise)


def kind_of(uid: int) -> Kind | None:
    """The kind of event that a `related_events[].type_uid` stands for, None if it is none of ours.

    >>> kind_of(300202)
    <Kind.LOGON: 'logon'>
    """
    return KIND_OF_CLASS.get(uid // 100)


def _offset_minutes(text: str) -> int:
    offset = datetime.fromisoformat(text).utcoffset()
    return int(offset.total_seconds()) // 60 if offset is not None else 0


def risk_level(score: int) -> tuple[int, str]:
    """OCSF's number and name for a risk of 0-100."""
    return next((level, name) for least, level, name in _RISK_LEVELS if score >= least)


def _confidence(verdict: Verdict) -> tuple[int, int]:
    """How sure we are. During a user's learning days half of what the score says: there is little to compare with."""
    score = risk_score(verdict) // (2 if verdict.learning else 1)
    return (3 if score >= 80 else 2 if score >= 50 else 1), score


def _metadata(verdict: Verdict, finding: Finding) -> dict[str, Any]:
    return {
        "version": VERSION,
        "profiles": ["host", "security_control"],
        "product": {"name": "Daywatch", "vendor_name": "Daywatch", "version": daywatch_version()},
        "uid": _digest("daywatch.alert/1", finding.uid, verdict.window_id),
        "correlation_uid": verdict.window_id,
    }


def _finding_info(verdict: Verdict, finding: Finding, end_ms: Millis, created: bool) -> dict[str, Any]:
    info: dict[str, Any] = {
        "uid": finding.uid,
        "title": _title(verdict),
        "desc": verdict.reason,
        "types": ["Insider Threat"],
        "created_time": finding.created_ms,
        "analytic": {
            "name": f"Daywatch {verdict.by}",
            "uid": f"daywatch.{verdict.by}",
            "type_id": 4,
            "type": "Learning (ML/DL)",
            "version": str(verdict.provenance.get("model_sha256") or verdict.provenance.get("model") or daywatch_version()),
        },
    }
    if not created:
        info["modified_time"] = end_ms
    if finding.cited:
        info |= {"first_seen_time": finding.cited[0].ts, "last_seen_time": finding.cited[-1].ts}
    info["related_events"] = [_related(event) for event in finding.cited]
    info["related_events_count"] = len(finding.cited)
    if verdict.traits:
        info["traits"] = [{"name": trait} for trait in verdict.traits]
    return info


def _related(cited: CitedEvent) -> dict[str, Any]:
    return {"uid": cited.ref.id, "type_uid": cited.type_uid, "type": cited.ref.kind.value, "first_seen_time": cited.ts}


def _title(verdict: Verdict) -> str:
    """A line for a list of alerts.

    Traits are our own words, so nothing of an event gets into a title.
    """
    what = f"{verdict.label.capitalize()} user behaviour"
    return f"{what}: {', '.join(trait.replace('_', ' ') for trait in verdict.traits)}" if verdict.traits else what


def attack(technique: str) -> dict[str, Any]:
    """A technique by its id; its name and tactic as the ATT&CK version we carry has them."""
    known = _attack_names()
    parent = technique.partition(".")[0]
    found: dict[str, Any] = {"version": known["version"]}
    entry = known["techniques"].get(technique)
    if entry is not None:
        found["tactic"] = {"uid": entry["tactic"], "name": known["tactics"][entry["tactic"]]}
    found["technique"] = _named(parent)
    if parent != technique:
        found["sub_technique"] = _named(technique)
    return found


def _named(technique: str) -> dict[str, str]:
    entry = _attack_names()["techniques"].get(technique)
    return {"uid": technique, "name": entry["name"]} if entry is not None else {"uid": technique}


def _device(events: Iterable[Event]) -> dict[str, Any]:
    """The one machine it happened on, if it is one."""
    pcs = {str(event["pc"]) for event in events if event.get("pc")}
    return {"device": _machine(pcs.pop())} if len(pcs) == 1 else {}


def _machine(pc: str) -> dict[str, Any]:
    return {"name": pc, "hostname": pc, "type_id": 0}


def evidence(verdict: Verdict, event: Event) -> dict[str, Any]:
    """The event itself: as OCSF objects where there are some, and under `data` as its log has it, long texts cut short.

    Also under `data`, if a log-line classifier was asked about the event: its label and the label's score.
    """
    found: dict[str, Any] = {"name": str(event["kind"]), "uid": str(event["id"]), "actor": {"user": {"name": verdict.user}}}
    if event.get("pc"):
        found["device"] = _machine(str(event["pc"]))
    match Kind(event["kind"]):
        case Kind.FILE:
            found["file"] = _file(str(event.get("filename") or ""))
        case Kind.EMAIL:
            found |= _email(event)
        case Kind.HTTP:
            found["url"] = _url(str(event.get("url") or ""))
        case _:
            pass
    found["data"] = {name: _short(value) for name, value in event.items()}
    if said := verdict.line_labels.get(EventRef(Kind(event["kind"]), str(event["id"]))):
        found["data"] |= {"line_label": said[0], "line_score": said[1]}
    return found


def _short(value: object) -> object:
    return value[:MOST_TEXT] + "…" if isinstance(value, str) and len(value) > MOST_TEXT else value


def _file(path: str) -> dict[str, Any]:
    name = re.split(r"[\\/]", path)[-1]
    return {"name": name or path, "path": path, "type_id": 1, "drive_type_id": 1, "drive_type": "Removable"}


def _email(event: Event) -> dict[str, Any]:
    """Sender and recipients, as far as they are addresses by OCSF's rule; it has no field for blind copies, which `data` shows."""
    sender, to, cc = str(event.get("from") or ""), addresses(event.get("to")), addresses(event.get("cc"))
    mail: dict[str, Any] = {}
    if _EMAIL.fullmatch(sender):
        mail["from"] = sender
    if to:
        mail["to"] = to
    if not mail:
        return {}
    if cc:
        mail["cc"] = cc
    if isinstance(event.get("size"), int):
        mail["size"] = event["size"]
    return {"email": mail}


def addresses(joined: object) -> list[str]:
    """The addresses in CERT's semicolon-joined list.

    >>> addresses("ana@dtaa.com;bob@dtaa.com")
    ['ana@dtaa.com', 'bob@dtaa.com']
    """
    return [part for part in str(joined or "").split(";") if _EMAIL.fullmatch(part)]


def _url(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {"url_string": text[:MOST_TEXT]}
    if parts := _URL.match(text):
        found |= {"scheme": parts[1].lower(), "hostname": parts[2].lower()}
    return found


def _observables(user: str, shown: Sequence[tuple[int, Event]]) -> list[dict[str, Any]]:
    """What an analyst would search for: each value once, linked to the first event that shows it."""
    found: dict[tuple[int, str], dict[str, Any]] = {
        (4, user): {"name": "actor.user.name", "type_id": 4, "type": "User Name", "value": user}
    }
    for place, event in shown:
        for path, type_id, caption, value in _values(event):
            name = f"evidences[{place}].{path}"
            link = {"event_uid": str(event["id"]), "type_uid": type_uid(event)}
            found.setdefault((type_id, value), {"name": name, "type_id": type_id, "type": caption, "value": value, **link})
    return list(found.values())[:MOST_OBSERVABLES]


def _values(event: Event) -> Iterable[tuple[str, int, str, str]]:
    if event.get("pc"):
        yield "device.hostname", 1, "Hostname", str(event["pc"])
    match Kind(event["kind"]):
        case Kind.FILE:
            file = _file(str(event.get("filename") or ""))
            yield "file.name", 7, "File Name", file["name"]
            yield "file.path", 45, "File Path", file["path"]
        case Kind.EMAIL:
            mail = _email(event).get("email", {})
            if "from" in mail:
                yield "email.from", 5, "Email Address", mail["from"]
            for field in ("to", "cc"):
                for number, address in enumerate(mail.get(field, ())):
                    yield f"email.{field}[{number}]", 5, "Email Address", address
        case Kind.HTTP:
            yield "url.url_string", 6, "URL String", str(event.get("url") or "")[:MOST_TEXT]
        case _:
            pass


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


@cache
def daywatch_version() -> str:
    """The version of Daywatch that writes."""
    return version("daywatch")


@cache
def _attack_names() -> Any:
    return json.loads((files("sinks") / "data" / "attack.json").read_text(encoding="utf-8"))
