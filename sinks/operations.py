"""Operational findings as OCSF 1.8.0 Detection Findings, and how they are read back. Values in, values out; knows no broker and no clock.

They are no alerts about people: nobody is named, and they have a topic of their own. The same finding gives the same bytes, and its
uid follows from what it is about and since when, so that one that is told again after a crash can be known for what it is.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from rich.text import Text

from sinks.ocsf import CLASS_UID, VERSION
from sinks.records import cloud_headers, iso
from sinks.show import plain
from stream.errors import PoisonError
from stream.kinds import Millis
from stream.log import Headers
from stream.operations import About, Operation

_TITLES: Mapping[About, str] = {
    About.SILENCE: "A source has fallen silent",
    About.DEAD_LETTERS: "A source's records are refused",
}
_SEVERITIES: Mapping[About, tuple[int, str]] = {About.SILENCE: (3, "Medium"), About.DEAD_LETTERS: (4, "High")}
_ANALYTICS: Mapping[About, tuple[int, str]] = {About.SILENCE: (3, "Statistical"), About.DEAD_LETTERS: (1, "Rule")}


class BadOperation(PoisonError):
    """This is no operational finding that we can read."""

    code = "bad_operation"


def encode_operation(operation: Operation) -> tuple[bytes, Headers]:
    """Value and headers of a finding's record."""
    record = operational_finding(operation)
    return orjson.dumps(record), cloud_headers("operation", record["metadata"]["uid"], iso(operation.time_ms), None)


def operational_finding(operation: Operation) -> dict[str, Any]:
    """The record that opens a finding, or closes it."""
    uid = _digest("daywatch.operation/1", operation.key, str(operation.since))
    activity, activity_name = (3, "Close") if operation.closed else (1, "Create")
    severity, severity_name = _SEVERITIES[operation.about]
    analytic, analytic_name = _ANALYTICS[operation.about]
    record: dict[str, Any] = {
        "activity_id": activity,
        "activity_name": activity_name,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": "Detection Finding",
        "type_uid": CLASS_UID * 100 + activity,
        "type_name": f"Detection Finding: {activity_name}",
        "time": operation.time_ms,
        "severity_id": severity,
        "severity": severity_name,
        "status_id": 4 if operation.closed else 1,
        "status": "Resolved" if operation.closed else "New",
        "message": _sentence(operation),
        "metadata": {
            "version": VERSION,
            "profiles": ["security_control"],
            "product": {"name": "Daywatch", "vendor_name": "Daywatch", "version": version("daywatch")},
            "uid": _digest("daywatch.operation-record/1", uid, activity_name),
        },
        "finding_info": {
            "uid": uid,
            "title": _TITLES[operation.about],
            "desc": _sentence(operation),
            "types": ["Operational"],
            "analytic": {
                "name": "Daywatch operations",
                "uid": f"daywatch.operations.{operation.about}",
                "type_id": analytic,
                "type": analytic_name,
                "version": version("daywatch"),
            },
        },
        "unmapped": {
            "about": operation.about.value,
            "source": {"topic": operation.at.topic, "partition": operation.at.partition},
            "since": operation.since,
            **dict(sorted(operation.facts.items())),
        },
    }
    if not operation.closed:
        record["is_alert"] = True
        record["finding_info"]["created_time"] = operation.time_ms
    else:
        record["finding_info"]["modified_time"] = operation.time_ms
    return record


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _sentence(operation: Operation) -> str:
    where, facts = f"{operation.at.topic}, partition {operation.at.partition}", operation.facts
    match operation.about, operation.closed:
        case About.SILENCE, False:
            used = duration(facts["habit_ms"])
            return f"{where}: silent since {iso(operation.since)}; at this hour of the week it is used to at most {used}"
        case About.SILENCE, True:
            return f"{where}: speaks again, after {duration(operation.time_ms - operation.since)} of silence"
        case About.DEAD_LETTERS, False:
            return f"{where}: from offset {operation.since} on, more than {facts['share']:.0%} are refused ({_reasons(facts['refused'])})"
        case _:
            return f"{where}: from offset {facts['offset']} on, no more than {facts['share']:.0%} are refused any more"


def _reasons(refused: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(refused.items(), key=lambda one: (-one[1], one[0])))


def duration(ms: Millis) -> str:
    """A stretch of time as people say it.

    >>> duration(5_400_000), duration(59_000), duration(200_000_000)
    ('1 h 30 min', '1 min', '2 d 7 h')
    """
    minutes = max(1, round(ms / 60_000))
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    return f"{hours} h {minutes % 60} min" if hours and minutes % 60 else f"{hours} h" if hours else f"{minutes} min"


def operation_text(seen: "Seen", zone: str) -> Text:
    """A finding on one line, as it stands; times are those of the zone."""
    state, style = ("open", "bold red") if seen.closed_ms is None else ("closed", "green")
    moment = datetime.fromtimestamp((seen.opened_ms if seen.closed_ms is None else seen.closed_ms) / 1000, ZoneInfo(zone))
    return Text.assemble((f"{state:<6}", style), "  ", (f"{moment:%Y-%m-%d %H:%M}", "dim"), "  ", plain(seen.text, 300))


@dataclass(slots=True)
class Seen:
    """An operational finding over its records so far."""

    uid: str
    about: str
    topic: str
    partition: int
    since: int
    opened_ms: Millis
    closed_ms: Millis | None = None
    text: str = ""


class Operations:
    """Operational findings, each folded from its records. Told twice is told once."""

    def __init__(self) -> None:
        self.by_uid: dict[str, Seen] = {}

    @property
    def open(self) -> list[Seen]:
        """Those that have not been closed, the oldest first."""
        return sorted((one for one in self.by_uid.values() if one.closed_ms is None), key=lambda one: (one.opened_ms, one.uid))

    def take(self, record: bytes) -> Seen:
        """Fold one record in.

        Raises:
            BadOperation: it is no operational finding.
        """
        try:
            parsed = orjson.loads(record)
            info, more, closes = parsed["finding_info"], parsed["unmapped"], parsed["activity_id"] == 3
            time_ms, source = int(parsed["time"]), more["source"]
            fresh = Seen(str(info["uid"]), str(more["about"]), str(source["topic"]), int(source["partition"]), int(more["since"]), time_ms)
            found = self.by_uid.setdefault(fresh.uid, fresh)
            if closes:
                found.closed_ms = time_ms
            elif found.closed_ms is not None:
                return found  # told again after a crash
            found.text = str(parsed["message"])
        except (KeyError, TypeError, ValueError) as error:
            raise BadOperation(f"no operational finding: {type(error).__name__}") from error
        return found
