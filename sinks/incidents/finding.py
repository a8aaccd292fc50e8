"""Incidents as OCSF 1.8.0 Incident Findings. Values in, values out; what a record says depends on its arguments alone.

Knows no broker and no clock: `time` is event time. Specification: https://schema.ocsf.io/1.8.0/classes/incident_finding
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sinks.alert_memory import CitedEvent
from sinks.incidents.story import Alerted, Merging, Step, Story, Told
from sinks.ocsf import SEVERITIES, VERSION, attack, daywatch_version, risk_level
from stream.kinds import Millis

CLASS_UID = 2005
TACTICS = (
    "TA0043", "TA0042", "TA0001", "TA0002", "TA0003", "TA0004", "TA0005", "TA0006", "TA0007", "TA0008", "TA0009", "TA0011", "TA0010",
    "TA0040",
)  # fmt: skip
"""ATT&CK's tactics in the order of its matrix, which is the order of an attack: from reconnaissance to impact."""

_STEPS: Mapping[Step, tuple[str, int, str]] = {
    Step.OPEN: ("Create", 1, "New"),
    Step.GROW: ("Update", 2, "In Progress"),
    Step.CLOSE: ("Close", 5, "Closed"),
}
_DAY_MS: Millis = 86_400_000


def incident_finding(told: Told, merging: Merging, assignees: str) -> dict[str, Any]:
    """The record of one revision of an incident: the whole story so far. `assignees`: the group that looks at incidents."""
    story, (activity, status_id, status) = told.story, _STEPS[told.step]
    level, level_name = risk_level(story.risk)
    severity = max(risk_level(story.peak)[0] + 1, 4 if any(alert.label == "malicious" for alert in story.alerts) else 0)
    events, text = story.events, _text(story)
    record: dict[str, Any] = {
        "activity_id": int(told.step),
        "activity_name": activity,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": "Incident Finding",
        "type_uid": CLASS_UID * 100 + told.step,
        "type_name": f"Incident Finding: {activity}",
        "time": told.at_ms,
        "severity_id": severity,
        "severity": SEVERITIES[severity],
        "status_id": status_id,
        "status": status,
        "risk_level_id": level,
        "risk_level": level_name,
        "risk_score": story.risk,
        "message": text,
        "desc": text,
        "assignee_group": {"name": assignees},
        "actor": {"user": {"name": story.user}},
    }
    if told.step is Step.OPEN:
        record["is_alert"] = True  # what follows is the same incident
    if told.step is Step.CLOSE:
        record["status_detail"] = "continued by another incident" if told.continued else "no alert has followed"
    if events:
        record["start_time"], record["end_time"] = events[0].ts, events[-1].ts
    record |= {
        "metadata": {
            "version": VERSION,
            "profiles": ["host", "security_control"],
            "product": {"name": "Daywatch", "vendor_name": "Daywatch", "version": daywatch_version()},
            "uid": record_uid(story),
            "correlation_uid": story.uid,
        },
        "attacks": [attack(technique) for technique in techniques(story.alerts)],
        "finding_info_list": [_finding_info(alert) for alert in story.alerts],
        "observables": [{"name": "actor.user.name", "type_id": 4, "type": "User Name", "value": story.user}],
        "unmapped": {
            "incident": {
                "uid": story.uid,
                "revision": story.revision,
                "opened_time": story.opened_ms,
                "last_alert_time": story.last_ms,
                "peak_risk": story.peak,
                "risks": [{"time": at_ms, "risk": risk} for at_ms, risk in story.risks],
                "gap_ms": merging.gap_ms,
                "half_life_ms": merging.half_life_ms,
                **({"continues": story.continues} if story.continues else {}),
            }
        },
    }
    return {name: value for name, value in record.items() if value != []}


def record_uid(story: Story) -> str:
    """The identity of a revision's record."""
    return hashlib.sha256(f"daywatch.incident-record/1\0{story.uid}\0{story.revision}".encode()).hexdigest()[:32]


def techniques(alerts: Sequence[Alerted]) -> list[str]:
    """The techniques of some alerts in the order of the attack: by tactic, within a tactic by when they were first seen."""
    first: dict[str, Millis] = {}
    for alert in alerts:
        seen = min((event.ts for event in alert.events), default=alert.created_ms)
        for technique in alert.techniques:
            first[technique] = min(seen, first.get(technique, seen))
    return sorted(first, key=lambda technique: (_tactic_place(technique), first[technique], technique))


def _tactic_place(technique: str) -> int:
    tactic = attack(technique).get("tactic", {}).get("uid")
    return TACTICS.index(tactic) if tactic in TACTICS else len(TACTICS)


def _finding_info(alert: Alerted) -> dict[str, Any]:
    info: dict[str, Any] = {
        "uid": alert.uid,
        "title": alert.title,
        "desc": alert.reason,
        "types": ["Insider Threat"],
        "created_time": alert.created_ms,
    }
    if alert.time_ms > alert.created_ms:
        info["modified_time"] = alert.time_ms
    if alert.events:
        ordered = sorted(event.ts for event in alert.events)
        info |= {"first_seen_time": ordered[0], "last_seen_time": ordered[-1]}
    if alert.techniques:
        info["attacks"] = [attack(technique) for technique in techniques([alert])]
    info["related_events"] = [_related(event) for event in alert.events]
    info["related_events_count"] = len(alert.events)
    if alert.traits:
        info["traits"] = [{"name": trait} for trait in alert.traits]
    return info


def _related(event: CitedEvent) -> dict[str, Any]:
    return {"uid": event.ref.id, "type_uid": event.type_uid, "type": event.ref.kind.value, "first_seen_time": event.ts}


def _text(story: Story) -> str:
    """A line for a list of incidents; nothing of an event gets into it."""
    alerts, events = len(story.alerts), len(story.events)
    days = max(1, -(-(story.last_ms - story.opened_ms) // _DAY_MS))
    text = f"{alerts} alert{'s' if alerts != 1 else ''} within {days} day{'s' if days != 1 else ''}, resting on {events} events"
    tactics = dict.fromkeys(name for technique in techniques(story.alerts) if (name := attack(technique).get("tactic", {}).get("name")))
    return f"{text}: {', then '.join(tactics)}" if tactics else text
