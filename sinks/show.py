"""Alerts as people read them: who, when, why, and the cited events themselves in order. Records in, terminal text out.

What events say was written by strangers: control and bidirectional characters are taken out, nothing of it is read as markup, and
a line stays a line. Knows no broker and no files.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from sinks.line_alert import is_line_alert
from sinks.ocsf import kind_of
from stream.errors import PoisonError
from stream.kinds import KINDS, Kind, Millis

MOST_TEXT = 160
STYLES = {"Critical": "bold red", "High": "red", "Medium": "yellow", "Low": "cyan", "Info": "dim"}
_KIND_STYLES = {Kind.LOGON: "green", Kind.DEVICE: "magenta", Kind.FILE: "magenta", Kind.EMAIL: "yellow", Kind.HTTP: "cyan"}


class BadAlert(PoisonError):
    """This is no alert record that we can read."""

    code = "bad_alert"


@dataclass(slots=True)
class ShownEvent:
    """A cited event. `what` is empty when no record so far held its details."""

    kind: Kind
    id: str
    ts: Millis
    pc: str = ""
    what: str = ""


@dataclass(slots=True)
class Alert:
    """A finding over all its records so far: the newest record's words, every event that any of them cites."""

    uid: str
    user: str
    created_ms: Millis
    time_ms: Millis = 0
    risk: int = 0
    level: str = "Info"
    label: str = ""
    reason: str = ""
    traits: tuple[str, ...] = ()
    techniques: tuple[tuple[str, str], ...] = ()
    resembles: tuple[str, ...] = ()
    """Names of threat groups that its newest record resembles."""
    learning: bool = False
    updates: int = 0
    events: dict[tuple[Kind, str], ShownEvent] = field(default_factory=dict)

    def in_order(self) -> list[ShownEvent]:
        """Its events by time."""
        return sorted(self.events.values(), key=lambda event: (event.ts, KINDS.index(event.kind), event.id))


@dataclass(frozen=True, slots=True)
class Change:
    """What a record did to its finding. `risk_before` is None for a finding that was not known."""

    alert: Alert
    new_events: tuple[ShownEvent, ...]
    risk_before: int | None


class Findings:
    """Alert records folded into their findings, in the order in which they come."""

    def __init__(self) -> None:
        self.by_uid: dict[str, Alert] = {}

    def take(self, record: bytes | Mapping[str, Any]) -> Change:
        """Fold one record in.

        Raises:
            BadAlert: it is no Detection Finding.
        """
        try:
            parsed = orjson.loads(record) if isinstance(record, bytes) else record
            return self._take(parsed)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise BadAlert(f"no OCSF Detection Finding: {type(error).__name__}") from error

    def _take(self, record: Mapping[str, Any]) -> Change:
        info = record["finding_info"]
        uid = str(info["uid"])
        known = self.by_uid.get(uid)
        alert = known or Alert(uid, _who(record), shown_time(info.get("created_time", record["time"])))
        risk_before = known.risk if known else None
        details = {(str(e.get("name")), str(e["uid"])): e for e in record.get("evidences", ()) if "uid" in e}
        new = [event for item in info.get("related_events", ()) if (event := _event(alert, item, details)) is not None]
        alert.time_ms = shown_time(record["time"])
        alert.risk = int(record.get("risk_score", 0))
        alert.level = str(record.get("risk_level") or record.get("severity") or "Info")
        alert.label = str(record.get("unmapped", {}).get("label", ""))
        alert.learning = bool(record.get("unmapped", {}).get("learning", False))
        alert.reason = str(record.get("message") or info.get("desc") or "")
        if is_line_alert(record):
            alert.reason += f": {record['evidences'][0]['data']['line']}"
        alert.traits = tuple(dict.fromkeys((*alert.traits, *(str(trait["name"]) for trait in info.get("traits", ())))))
        alert.techniques = tuple(dict.fromkeys((*alert.techniques, *map(_technique, record.get("attacks", ())))))
        like = record.get("unmapped", {}).get("resembles", {}).get("groups", ())
        alert.resembles = tuple(f"{group['name']} {float(group['score']):.2f}" for group in like)
        alert.updates += record.get("activity_id") == 2
        self.by_uid[uid] = alert
        return Change(alert, tuple(new), risk_before)


def shown_time(found: object) -> Millis:
    """A time that can be shown: from 1970 to 9000.

    Raises:
        ValueError: it is none.
    """
    if type(found) is not int or not 0 <= found < 221_845_392_000_000:
        raise ValueError("no time in ms")
    return found


def _who(record: Mapping[str, Any]) -> str:
    """Whose finding it is; that of a single log line is nobody's, and named by where the line lies."""
    return str(record["evidences"][0]["uid"]) if is_line_alert(record) else str(record["actor"]["user"]["name"])


def _event(alert: Alert, item: Mapping[str, Any], details: Mapping[tuple[str, str], Mapping[str, Any]]) -> ShownEvent | None:
    """Add a related event to the alert, or what was not known of it; returns it when it is new."""
    kind = kind_of(int(item["type_uid"]))
    if kind is None:
        return None
    event_id = str(item["uid"])
    found = details.get((kind.value, event_id), {}).get("data", {})
    event = alert.events.get((kind, event_id))
    if event is not None:
        event.pc, event.what = event.pc or str(found.get("pc", "")), event.what or what(kind, found)
        return None
    event = ShownEvent(kind, event_id, shown_time(item.get("first_seen_time", 0)), str(found.get("pc", "")), what(kind, found))
    alert.events[kind, event_id] = event
    return event


def _technique(attack: Mapping[str, Any]) -> tuple[str, str]:
    named = attack.get("sub_technique") or attack.get("technique") or attack["tactic"]
    return str(named.get("uid", "")), str(named.get("name", ""))


def what(kind: Kind, event: Mapping[str, Any]) -> str:
    """What an event of ours was, in a line.

    >>> what(Kind.EMAIL, {"from": "ana@a.com", "to": "bob@b.com;eve@c.com", "attachments": 2})
    'ana@a.com → bob@b.com, eve@c.com, 2 attachments'
    """
    if not event:
        return ""
    match kind:
        case Kind.LOGON | Kind.DEVICE:
            return str(event.get("activity") or "")
        case Kind.FILE:
            return str(event.get("filename") or "")
        case Kind.HTTP:
            return str(event.get("url") or "")
        case Kind.EMAIL:
            to = [part for name in ("to", "cc", "bcc") for part in str(event.get(name) or "").split(";") if part]
            files = int(event.get("attachments") or 0)
            tail = f", {files} attachment{'s' if files > 1 else ''}" if files else ""
            return f"{event.get('from') or '?'} → {', '.join(to)}{tail}"


def plain(text: str, most: int = MOST_TEXT) -> str:
    r"""Text fit to show on a line: no control, format or bidirectional characters, white space as single blanks, cut to `most`.

    >>> plain("a\u202eb\x1b[31m\n\n c\u2028d")
    'ab[31m c d'
    """
    # a control character may have parted two words; a format character has not
    kept = "".join(" " if category in _BREAKS else "" if category in _UNSEEN else letter for letter, category in _categories(text))
    shown = " ".join(kept.split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"


_BREAKS = frozenset({"Zl", "Zp", "Zs"})
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def _categories(text: str) -> Iterable[tuple[str, str]]:
    for letter in text:
        yield letter, "Zs" if letter in "\t\n\v\f\r" else unicodedata.category(letter)


def alert_text(record: Mapping[str, Any] | bytes | Alert, zone: str = "UTC") -> RenderableType:
    """A whole finding as it is shown: head, reason, what it looks like, and the cited events in order.

    Raises:
        BadAlert: the record is no Detection Finding.
    """
    alert = record if isinstance(record, Alert) else Findings().take(record).alert
    tz = ZoneInfo(zone)
    parts: list[RenderableType] = [_head(alert, tz), Padding(Text(plain(alert.reason, 1_000)), (0, 0, 0, 4), expand=False)]
    if signs := _signs(alert):
        parts.append(Padding(signs, (0, 0, 0, 4), expand=False))
    if alert.resembles:
        like = ", ".join(map(plain, alert.resembles))
        parts.append(Padding(Text(f"resembles, without being attributed to: {like}", style="dim"), (0, 0, 0, 4), expand=False))
    parts += [_Events(alert.in_order(), tz), Padding(_tail(alert, tz), (0, 0, 0, 4), expand=False), Text()]
    return Group(*parts)


def update_text(change: Change, zone: str = "UTC") -> RenderableType:
    """What is new about a finding that has been shown before."""
    tz, alert = ZoneInfo(zone), change.alert
    news = [f"{len(change.new_events)} more event{'s' if len(change.new_events) != 1 else ''}"] if change.new_events else []
    if change.risk_before is not None and alert.risk > change.risk_before:
        news.insert(0, f"risk {change.risk_before} → {alert.risk}")
    head = _head(alert, tz).append("  update: ", style="bold").append(", ".join(news) or "nothing new", style="bold")
    parts: list[RenderableType] = [head, Padding(Text(plain(alert.reason, 1_000)), (0, 0, 0, 4), expand=False)]
    parts += [_Events(change.new_events, tz), Padding(_tail(alert, tz), (0, 0, 0, 4), expand=False), Text()]
    return Group(*parts)


def _head(alert: Alert, zone: ZoneInfo) -> Text:
    style = STYLES.get(alert.level, "")
    head = Text(no_wrap=False)
    head.append(f"{alert.risk:3} {alert.level.upper():8}", style=style)
    head.append(f"  {plain(alert.user)}", style="bold")
    times = [event.ts for event in alert.events.values()] or [alert.time_ms]
    head.append(f"  {span(min(times), max(times), zone)}")
    if alert.label:
        head.append(f"  {plain(alert.label)}", style=style)
    if alert.learning:
        head.append("  new user", style="dim")
    return head


def _signs(alert: Alert) -> Text | None:
    traits = [plain(trait).replace("_", " ") for trait in alert.traits]
    techniques = [f"{plain(uid)} {plain(name)}".strip() for uid, name in alert.techniques]
    return Text(" · ".join([*traits, *techniques]), style="dim") if traits or techniques else None


@dataclass(frozen=True, slots=True)
class _Events:
    """Cited events, a line each; two where the terminal is too narrow. The ids stay whole, to be looked up: what happened gives way."""

    events: Sequence[ShownEvent]
    zone: ZoneInfo
    indent: int = 4

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        unknown = "(details in an earlier record)"
        rows = [(moment(e.ts, self.zone), e.kind, plain(e.pc, 16), plain(e.what) or unknown, plain(e.id)) for e in self.events]
        if not rows:
            return
        pc, text, key = (max(cell_len(row[column]) for row in rows) for column in (2, 3, 4))
        room = options.max_width - self.indent - 16 - 2 - 6 - 2 - pc - 2
        narrow = room - 2 - key < min(text, 30)
        for when, kind, where, what_, event_id in rows:
            line = Text(" " * self.indent, no_wrap=True, overflow="ellipsis", end="\n")
            line.append(f"{when:16}  ", style="dim").append(f"{kind.value:6}  ", style=_KIND_STYLES[kind])
            line.append(set_cell_size(where, pc) + "  ")
            if narrow:
                yield line.append(event_id, style="dim")
                yield Text(" " * (self.indent + 18) + what_, no_wrap=True, overflow="ellipsis")
            else:
                most = min(text, room - 2 - key)
                line.append(set_cell_size(what_ if cell_len(what_) <= most else set_cell_size(what_, most - 1) + "…", most) + "  ")
                yield line.append(event_id, style="dim")


def _tail(alert: Alert, zone: ZoneInfo) -> Text:
    made = f"alert {plain(alert.uid)}, created {moment(alert.created_ms, zone)}"
    if alert.updates:
        made += f", updated {alert.updates} time{'s' if alert.updates > 1 else ''}, last {moment(alert.time_ms, zone)}"
    return Text(made, style="dim")


def span(first: Millis, last: Millis, zone: ZoneInfo) -> str:
    """A stretch of time in a line."""
    begin, end = _local(first, zone), _local(last, zone)
    text = f"{begin:%a} {begin.day} {begin:%b %Y %H:%M}"
    if begin.date() == end.date():
        return text if f"{begin:%H:%M}" == f"{end:%H:%M}" else f"{text}–{end:%H:%M}"
    return f"{text} – {end:%a} {end.day} {end:%b %H:%M}"


def moment(ms: Millis, zone: ZoneInfo) -> str:
    """An instant, as lists show it; the year is left out."""
    at = _local(ms, zone)
    return f"{at:%a} {at.day:2} {at:%b %H:%M}"


def _local(ms: Millis, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone)
