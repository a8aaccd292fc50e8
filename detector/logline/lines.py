"""What of an event of ours, or of a log record, is the line that a classifier reads. Pure; knows no model, file or broker.

An event's line leaves out who, where and when: the same doing gives the same line, which is then judged once however often it occurs.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import orjson

from stream.errors import PoisonError
from stream.kinds import Kind

MOST_TEXT: Final = 240
"""Characters of an event's free text that its line repeats."""
MOST_LINE: Final = 4_096
"""Characters of a log line that are read; a classifier sees its first hundred-odd tokens anyway."""
FIELDS: Final = ("message", "msg", "log", "line", "text", "event.original", "MESSAGE", "@message", "body")
"""Members of a JSON record that hold its line, first come first served."""
_KINDS: Final = frozenset(kind.value for kind in Kind)


class NoLine(PoisonError):
    """A record in which no line can be found."""

    code: ClassVar[str] = "no_line"


def event_line(event: Mapping[str, Any]) -> str:
    r"""An event of a window, or of an event topic, as a line.

    >>> event_line({"kind": "logon", "id": "{e1}", "activity": "Logon"})
    'logon activity=Logon'
    >>> event_line({"kind": "file", "filename": "R:\\X7.doc", "content": "D0-CF-11-E0 plans"})
    'file copied to removable drive name=R:\\X7.doc content=D0-CF-11-E0 plans'
    """
    match Kind(event["kind"]):
        case Kind.LOGON | Kind.DEVICE as kind:
            return f"{kind.value} activity={_short(event, 'activity')}"
        case Kind.FILE:
            return f"file copied to removable drive name={_short(event, 'filename')} content={_short(event, 'content')}"
        case Kind.EMAIL:
            named = " ".join(f"{name}={_short(event, name)}" for name in ("to", "cc", "bcc", "from") if event.get(name))
            return f"email {named} attachments={event.get('attachments') or 0} content={_short(event, 'content')}"
        case Kind.HTTP:
            return f"http url={_short(event, 'url')} content={_short(event, 'content')}"


def _short(event: Mapping[str, Any], name: str) -> str:
    return " ".join(str(event.get(name) or "")[:MOST_TEXT].split())


def record_line(value: bytes) -> str:
    """The line of a record: its text, the member of a JSON object that holds it, or an event of ours.

    >>> record_line(b'{"level": "warn", "message": "disk 91% full"}')
    'warn: disk 91% full'
    >>> record_line(b"sshd[17]: Failed password for root")
    'sshd[17]: Failed password for root'

    Raises:
        NoLine: it is no text, holds none, or is empty.
    """
    try:
        text = value.decode("utf-8").strip().lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise NoLine("a record is not UTF-8") from error
    if text.startswith("{") and text.endswith("}"):
        return json_line(text)
    return _checked(text)


def json_line(text: str) -> str:
    """The line of a JSON object, or the text itself when it is none.

    Raises:
        NoLine: the object has no member that could be the line.
    """
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _checked(text)
    if not isinstance(found, dict):
        raise NoLine("a record is JSON, but no object")
    return member_line(found)


def member_line(record: Mapping[str, Any]) -> str:
    """As `json_line`, of an object that is parsed already."""
    if record.get("kind") in _KINDS and "id" in record:
        return _checked(event_line(record))
    for name in FIELDS:
        line = _member(record, name)
        if isinstance(line, str) and line.strip():
            level = record.get("level") or record.get("severity")
            return _checked(f"{level}: {line}" if isinstance(level, str) and level else line)
    raise NoLine(f"a JSON record has no text in any of {', '.join(FIELDS)}")


def _member(record: Mapping[str, Any], name: str) -> Any:
    """A member by its name, or by its path when the name has a dot."""
    if name in record:
        return record[name]
    outer, dot, inner = name.partition(".")
    nested = record.get(outer) if dot else None
    return nested.get(inner) if isinstance(nested, Mapping) else None


def _checked(text: str) -> str:
    line = text.strip()[:MOST_LINE].replace("\x00", "")
    if not line:
        raise NoLine("a record is empty")
    return line


_WHEN: Final = re.compile(
    r"""^[\s<\[(]*(?:<\d{1,3}>)?[\[(]?
    (?:\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|\ UTC|[+-]\d\d:?\d\d)?
      |\d\d/\d\d/\d{4}[- ]\d\d:\d\d:\d\d(?:\.\d+)?(?:\ [AP]M)?
      |(?:[A-Z][a-z]{2}\ )?[A-Z][a-z]{2}\ +\d{1,2}\ \d\d:\d\d:\d\d(?:\.\d+)?(?:\ \d{4})?
      |\d{9,}\.\d{3}
    )[\])]?[\s,]*""",
    re.VERBOSE,
)
_MASKS: Final = (
    (re.compile(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(?:\.\d+)?(?: [+-]\d{4})?\]"), ""),
    (re.compile(r"\[\s*\d+\.\d{6}\]"), ""),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "uuid"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE), "mac"),
    (re.compile(r"\b(?:10|127|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2,3}\b"), "inside"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), "outside"),
    (re.compile(r"\b0x[0-9a-f]{9,}\b", re.IGNORECASE), "hex"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{8,}\b", re.IGNORECASE), "hex"),
    (re.compile(r"(?<![\w/+])(?=[A-Za-z/+]*\d)(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])[A-Za-z0-9+/]{20,}={0,2}(?![\w/+])"), "base64"),
    (re.compile(r"\[\d{1,6}\](?=:|\s|$)"), ""),
    (re.compile(r"\d{5,}"), "9"),
    (re.compile(r"\s+"), " "),
)


def masked(line: str) -> str:
    """A line without what tells nothing and costs tokens: its time, process numbers, long numbers, hex and base64.

    Addresses become `inside` or `outside`. Lines that differ only in those are one line, and are judged once.

    >>> masked("Jan  4 08:12:33 web01 sshd[2211]: Failed password for root from 203.0.113.9 port 51123 ssh2")
    'web01 sshd: Failed password for root from outside port 9 ssh2'
    """
    text = _WHEN.sub("", line)
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return text.strip() or line.strip()
