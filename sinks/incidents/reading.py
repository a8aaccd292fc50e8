"""What stories need of the records on the topics of verdicts and alerts. Bytes in, values out; knows neither merging nor any broker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from detector.verdict import EventRef
from sinks.alert_memory import CitedEvent
from sinks.incidents.story import Alerted
from sinks.line_alert import is_line_alert
from sinks.ocsf import MOST_TEXT, kind_of
from stream.errors import PoisonError
from stream.kinds import Millis
from stream.times import MAX_TS, instant


class BadAlertRecord(PoisonError):
    """A record on the alerts topic that is no alert of ours."""

    code: ClassVar[str] = "bad_alert"


class BadVerdict(PoisonError):
    """A record on the verdicts topic that is no verdict."""

    code: ClassVar[str] = "bad_verdict"


class MisroutedStory(PoisonError):
    """A verdict or alert under a key, or in a partition, that is not its user's."""

    code: ClassVar[str] = "misrouted"


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict: whose window, when that ended, and whether the alerts topic holds a record that goes with it."""

    user: str
    end_ms: Millis
    alerted: bool


def read_verdict(value: bytes) -> Judged:
    """Read a record of the verdicts topic.

    Raises:
        BadVerdict: it is none.
    """
    try:
        found = orjson.loads(value)
        return Judged(_text(found["user"]), _time(instant(found["end"])), found.get("alerted") is True)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadVerdict(f"no verdict: {type(error).__name__}") from error


def read_alert(value: bytes) -> Alerted | None:
    """Read a record of the alerts topic; None for the alert of a single log line, which is nobody's.

    Raises:
        BadAlertRecord: it is no alert of ours.
    """
    try:
        found = orjson.loads(value)
        return None if is_line_alert(found) else _alerted(found)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadAlertRecord(f"no alert: {type(error).__name__}") from error


def _alerted(record: Mapping[str, Any]) -> Alerted:
    info = record["finding_info"]
    if record["class_uid"] != 2004:
        raise ValueError
    return Alerted(
        user=_text(record["actor"]["user"]["name"]),
        uid=_text(info["uid"]),
        time_ms=_time(record["time"]),
        created_ms=_time(info["created_time"]),
        risk=min(100, max(0, _whole(record["risk_score"]))),
        label=str(record.get("unmapped", {}).get("label", "")),
        title=str(info.get("title", ""))[:MOST_TEXT],
        reason=str(record.get("message") or "")[:MOST_TEXT],
        events=tuple(_event(item) for item in info.get("related_events", ())),
        techniques=tuple(dict.fromkeys(_technique(item) for item in record.get("attacks", ()))),
        traits=tuple(dict.fromkeys(str(trait["name"]) for trait in info.get("traits", ()))),
    )


def _event(item: Mapping[str, Any]) -> CitedEvent:
    kind = kind_of(_whole(item["type_uid"]))
    if kind is None:
        raise ValueError
    return CitedEvent(EventRef(kind, _text(item["uid"])), _time(item.get("first_seen_time", 0)), item["type_uid"])


def _technique(item: Mapping[str, Any]) -> str:
    return _text((item.get("sub_technique") or item["technique"])["uid"])


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - one kind of fault for whoever catches it
    return value


def _time(value: object) -> Millis:
    found = _whole(value)
    # one absurd time would close everybody's stories, or be none that can be written
    if not 0 <= found < MAX_TS:
        raise ValueError
    return found
