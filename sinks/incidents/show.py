"""Incidents as people read them: who, when, how the risk went, and the alerts of the story in order. Records in, terminal text out.

A record that comes twice, as it may after a crash, is shown once. Nothing that strangers wrote is read as markup, and a line stays a
line. Knows no broker and no files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from sinks.incidents.finding import CLASS_UID
from sinks.ocsf import kind_of, risk_level
from sinks.show import STYLES, moment, plain, shown_time, span
from stream.errors import PoisonError
from stream.kinds import Millis

_BLOCKS = "▁▂▃▄▅▆▇█"
_MOST_RISKS = 24
_MOST_IDS = 12


class BadIncident(PoisonError):
    """This is no incident record that we can read."""

    code = "bad_incident"


@dataclass(frozen=True, slots=True)
class ShownAlert:
    """An alert of a story: when it began and was last told of, what it says, and its events as `kind id`, in order of time."""

    uid: str
    created_ms: Millis
    time_ms: Millis
    title: str
    reason: str
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident as one of its records tells it: the whole story up to then."""

    uid: str
    revision: int
    user: str
    time_ms: Millis
    opened_ms: Millis
    closed: bool
    severity: str
    peak: int
    risks: tuple[tuple[Millis, int], ...]
    text: str
    techniques: tuple[tuple[str, str, str], ...]
    """In the order of the attack: tactic, id, name."""
    alerts: tuple[ShownAlert, ...]
    continues: str
    detail: str

    @property
    def events(self) -> int:
        """How many events it rests on."""
        return len({event for alert in self.alerts for event in alert.events})


@dataclass(frozen=True, slots=True)
class Change:
    """What a record did. `before` is None for an incident that was not known; a `repeated` record says nothing new."""

    incident: Incident
    before: Incident | None = None
    repeated: bool = False


class Incidents:
    """Incident records, each known by its incident and revision; the newest revision stands."""

    def __init__(self) -> None:
        self.by_uid: dict[str, Incident] = {}
        self._seen: set[tuple[str, int]] = set()

    def take(self, record: bytes | Mapping[str, Any]) -> Change:
        """Take one record in.

        Raises:
            BadIncident: it is no Incident Finding of ours.
        """
        try:
            incident = _incident(orjson.loads(record) if isinstance(record, bytes) else record)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise BadIncident(f"no OCSF Incident Finding: {type(error).__name__}") from error
        known = self.by_uid.get(incident.uid)
        repeated = (incident.uid, incident.revision) in self._seen
        self._seen.add((incident.uid, incident.revision))
        if known is None or incident.revision > known.revision:
            self.by_uid[incident.uid] = incident
        return Change(incident, known, repeated)


def _incident(record: Mapping[str, Any]) -> Incident:
    if record["class_uid"] != CLASS_UID:
        raise ValueError
    about = record["unmapped"]["incident"]
    return Incident(
        uid=str(about["uid"]),
        revision=int(about["revision"]),
        user=str(record["actor"]["user"]["name"]),
        time_ms=shown_time(record["time"]),
        opened_ms=shown_time(about["opened_time"]),
        closed=record["activity_id"] == 3,
        severity=str(record.get("severity", "")),
        peak=int(about["peak_risk"]),
        risks=tuple((shown_time(point["time"]), int(point["risk"])) for point in about["risks"]),
        text=str(record.get("message", "")),
        techniques=tuple(_technique(attack) for attack in record.get("attacks", ())),
        alerts=tuple(_alert(info) for info in record["finding_info_list"]),
        continues=str(about.get("continues", "")),
        detail=str(record.get("status_detail", "")),
    )


def _alert(info: Mapping[str, Any]) -> ShownAlert:
    created = shown_time(info["created_time"])
    related = sorted(info.get("related_events", ()), key=lambda event: int(event.get("first_seen_time", 0)))
    return ShownAlert(
        uid=str(info["uid"]),
        created_ms=created,
        time_ms=shown_time(info.get("modified_time", created)),
        title=str(info.get("title", "")),
        reason=str(info.get("desc", "")),
        events=tuple(f"{kind_of(int(event['type_uid']))} {event['uid']}" for event in related),
    )


def _technique(attack: Mapping[str, Any]) -> tuple[str, str, str]:
    named = attack.get("sub_technique") or attack["technique"]
    return str(attack.get("tactic", {}).get("name", "")), str(named.get("uid", "")), str(named.get("name", ""))


def incident_text(incident: Incident, zone: str = "UTC") -> RenderableType:
    """A whole story as it is shown: head, course, techniques in the order of the attack, its alerts with the ids of their events."""
    tz = ZoneInfo(zone)
    parts: list[RenderableType] = [_head(incident, tz), _indented(plain(incident.text, 1_000)), _indented(_course(incident), "dim")]
    if incident.techniques:
        parts.append(_indented(_attack(incident), "dim"))
    for alert in incident.alerts:
        parts += _alert_text(alert, tz)
    parts += [_indented(_tail(incident, tz), "dim"), Text()]
    return Group(*parts)


def story_text(incident: Incident, zone: str = "UTC") -> RenderableType:
    """An incident in short: head, what it comes to, course and techniques in the order of the attack."""
    tail = f"incident {incident.uid}"
    parts = [_head(incident, ZoneInfo(zone)), _indented(plain(incident.text, 1_000)), _indented(_course(incident), "dim")]
    return Group(
        *parts, *([_indented(_attack(incident), "dim")] if incident.techniques else []), _indented(plain(tail, 1_000), "dim"), Text()
    )


def change_text(change: Change, zone: str = "UTC") -> RenderableType:
    """What is new about an incident that has been shown before."""
    tz, incident = ZoneInfo(zone), change.incident
    known = {alert.uid: alert for alert in change.before.alerts} if change.before is not None else {}
    news = [alert for alert in incident.alerts if known.get(alert.uid) != alert]
    what = f"closed, {incident.detail}" if incident.closed else f"{len(news)} alert{'s' if len(news) != 1 else ''} new or grown"
    head = _head(incident, tz).append(f"  update: {plain(what)}", style="bold")
    parts: list[RenderableType] = [head, _indented(_course(incident), "dim")]
    for alert in news:
        parts += _alert_text(alert, tz)
    parts += [_indented(_tail(incident, tz), "dim"), Text()]
    return Group(*parts)


def _indented(text: str, style: str = "") -> RenderableType:
    return Padding(Text(text, style=style), (0, 0, 0, 4), expand=False)


def _head(incident: Incident, zone: ZoneInfo) -> Text:
    level = risk_level(incident.peak)[1]
    head = Text(no_wrap=False)
    head.append(f"{incident.peak:3} {level.upper():8}", style=STYLES.get(level, ""))
    head.append(f"  {plain(incident.user)}", style="bold")
    head.append(f"  {span(incident.opened_ms, incident.alerts[-1].time_ms if incident.alerts else incident.opened_ms, zone)}")
    return head.append("  closed" if incident.closed else "  open", style="dim" if incident.closed else "bold")


def _course(incident: Incident) -> str:
    """How the risk went: a column for each revision, the newest last."""
    risks = [risk for _, risk in incident.risks][-_MOST_RISKS:]
    columns = "".join(_BLOCKS[min(risk * len(_BLOCKS) // 100, len(_BLOCKS) - 1)] for risk in risks)
    return f"risk {columns} {' → '.join(map(str, risks))}"


def _attack(incident: Incident) -> str:
    """Tactics in their order, each with its techniques."""
    by_tactic: dict[str, list[str]] = {}
    for tactic, uid, name in incident.techniques:
        by_tactic.setdefault(plain(tactic) or "other", []).append(f"{plain(uid)} {plain(name)}".strip())
    return " → ".join(f"{tactic}: {', '.join(names)}" for tactic, names in by_tactic.items())


def _alert_text(alert: ShownAlert, zone: ZoneInfo) -> list[RenderableType]:
    line = Text("    ").append(f"{moment(alert.created_ms, zone)}  ", style="dim").append(plain(alert.title))
    ids = [plain(event) for event in alert.events[:_MOST_IDS]]
    if len(alert.events) > _MOST_IDS:
        ids.append(f"… {len(alert.events)} in all")
    inner = [Text(plain(alert.reason, 1_000)), Text(", ".join(ids), style="dim"), Text(f"alert {plain(alert.uid)}", style="dim")]
    return [line, *(Padding(part, (0, 0, 0, 22), expand=False) for part in inner)]


def _tail(incident: Incident, zone: ZoneInfo) -> str:
    text = f"incident {plain(incident.uid)}, revision {incident.revision}, opened {moment(incident.opened_ms, zone)}"
    if incident.closed:
        text += f", closed {moment(incident.time_ms, zone)}: {plain(incident.detail)}"
    return text + (f"; continues {plain(incident.continues)}" if incident.continues else "")
