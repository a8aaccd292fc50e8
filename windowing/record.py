"""The window record: its parsed form, its JSON Schema, and the digests in it. Knows neither how it is made nor where it goes."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final

import orjson
import polars as pl

from stream.errors import PoisonError
from stream.kinds import FIELDS, KINDS, Kind

SCHEMA: Final = "daywatch.window/1"


class BadWindow(PoisonError):
    """This is no window record that we can read."""

    code: ClassVar[str] = "bad_window"


@dataclass(frozen=True, slots=True)
class Window:
    """One user's window as detectors see it. `events` are in the order of time; times are ISO 8601 with offset.

    For every kind, `counts` = the events shown + `omitted`.
    """

    id: str
    user: str
    start: str
    end: str
    learning: bool
    counts: Mapping[Kind, int]
    features: Mapping[str, float]
    events: tuple[Mapping[str, Any], ...]
    omitted: Mapping[Kind, int]
    omitted_domains: Mapping[str, int]
    new: Mapping[str, tuple[str, ...]]
    context: Mapping[str, str]
    digest: str


def window_id(user: str, start: str, end: str) -> str:
    """The identity of a window: the same for the same user and span in every run, with no name to be read in it.

    >>> window_id("ana", "2010-01-04T00:00:00+00:00", "2010-01-05T00:00:00+00:00")
    '106cb9660708ad378f4db2157460c516'
    """
    return hashlib.blake2b(f"{user}\n{start}\n{end}".encode(), digest_size=16, person=b"daywatch.window").hexdigest()


def content_digest(*body: bytes) -> str:
    """The hash over a window record without its digest: the JSON text (in parts) up to the last member, which the digest then is."""
    found = hashlib.sha256()
    for part in body:
        found.update(part)
    return found.hexdigest()


_DIGEST: Final = b',"digest":"'


def parse_window(value: bytes) -> Window:
    """Read one record of the windows topic; whole parts that are not there yet are empty.

    Raises:
        BadWindow: it is not JSON, of another schema, or a part has the wrong shape.
    """
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise BadWindow("a window record is not JSON") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise BadWindow(f"a window record is not of schema {SCHEMA}")
    try:
        return _window(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadWindow(
            f"window {str(record.get('id'))[:32]} lacks a part or has one of the wrong shape: {type(error).__name__}"
        ) from error


def _window(record: dict[str, Any]) -> Window:
    counts, omitted = _counts(record["counts"]), _counts(record["omitted"])
    events = tuple(record["events"])
    shown = dict.fromkeys(KINDS, 0)
    for event in events:
        shown[_checked_event(event)] += 1
    if any(counts[kind] != shown[kind] + omitted[kind] for kind in KINDS):
        raise ValueError("counts are not events plus omitted")
    for name in ("id", "user"):
        if not isinstance(record[name], str) or not record[name]:
            raise TypeError(f"{name} is a text")
    if not _moment(record["start"]) < _moment(record["end"]):
        raise ValueError("it ends before it begins")
    new = {dimension: tuple(values) for dimension, values in record.get("new", {}).items() if isinstance(values, list)}
    context = dict(record.get("context", {}))
    texts = [*context.values(), *(value for values in new.values() for value in values), record.get("digest", "")]
    if len(new) != len(record.get("new", {})) or not _TEXT.issuperset(map(type, texts)):
        raise TypeError("new and context hold texts")
    return Window(
        id=record["id"],
        user=record["user"],
        start=record["start"],
        end=record["end"],
        learning=bool(record["learning"]),
        counts=counts,
        features=_features(record["features"]),
        events=events,
        omitted=omitted,
        omitted_domains=dict(record.get("omitted_domains", {})),
        new=new,
        context=context,
        digest=record.get("digest", ""),
    )


_TEXT: Final = frozenset({str})
_NUMBER: Final = frozenset({int, float})
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d(?::\d\d)?)", re.ASCII)
_FIELD_TYPES: Final = {
    kind: {"kind": str, "id": str, "ts": str, "pc": str, **{name: int if dtype == pl.Int64() else str for name, dtype in fields.items()}}
    for kind, fields in FIELDS.items()
}


def _counts(found: Mapping[str, Any]) -> dict[Kind, int]:
    counts = {kind: found.get(kind.value, 0) for kind in KINDS}
    if any(type(count) is not int or count < 0 for count in counts.values()):
        raise TypeError("counts are whole numbers")
    return counts


def _features(found: Mapping[str, Any]) -> dict[str, float]:
    # a text such as "nan" would pass for a number, and true for 1
    if not _NUMBER.issuperset(map(type, found.values())):
        raise TypeError("features are numbers")
    return {name: float(number) for name, number in found.items()}


def _checked_event(event: Mapping[str, Any]) -> Kind:
    """The kind of an event whose fields are what that kind's fields are: everything downstream relies on it."""
    kind = Kind(event["kind"])
    types = _FIELD_TYPES[kind]
    for name, value in event.items():
        if type(value) is not types.get(name, type(value)):
            raise TypeError(f"{name} of an event has the wrong type")
    _moment(event["ts"])
    if not event["id"] or "pc" not in event:
        raise KeyError("id and pc of an event")
    return kind


def _moment(text: str) -> datetime:
    if not _TIME.fullmatch(text):
        raise ValueError("a time that cannot be read")
    return datetime.fromisoformat(text)


def is_intact(value: bytes) -> bool:
    """Whether the digest of a window record fits the rest of it, byte for byte."""
    body, mark, tail = value.rpartition(_DIGEST)
    return bool(mark) and tail == content_digest(body).encode() + b'"}'


def _count_schema() -> dict[str, Any]:
    number = {"type": "integer", "minimum": 0}
    return {
        "type": "object",
        "properties": {kind.value: number for kind in KINDS},
        "required": [k.value for k in KINDS],
        "additionalProperties": False,
    }


def _event_schema(kind: Kind) -> dict[str, Any]:
    text: dict[str, Any] = {"type": "string"}
    fields = {name: {"type": "integer"} if name in {"size", "attachments"} else text for name in FIELDS[kind]}
    return {
        "type": "object",
        "properties": {"kind": {"const": kind.value}, "id": text, "ts": {"type": "string", "format": "date-time"}, "pc": text} | fields,
        "required": ["kind", "id", "ts", "pc"],
        "additionalProperties": False,
    }


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a window record."""
    text, time = {"type": "string"}, {"type": "string", "format": "date-time"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        "title": "Daywatch window",
        "description": "One user's window: counts and features of everything in it, and its most telling events in full.",
        "type": "object",
        "properties": {
            "schema": {"const": SCHEMA},
            "id": {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "digest of user, start and end; holds no names"},
            "user": {"type": "string", "minLength": 1},
            "start": time | {"description": "first instant of the window, in the organisation's zone"},
            "end": time | {"description": "first instant after the window"},
            "learning": {"type": "boolean", "description": "the user has been seen for less than the learning days"},
            "counts": _count_schema() | {"description": "events in the window: those shown and those omitted"},
            "features": {"type": "object", "additionalProperties": {"type": "number"}, "description": "see docs/features.md"},
            "events": {
                "type": "array",
                "items": {"oneOf": [_event_schema(kind) for kind in KINDS]},
                "description": "the most telling events, oldest first",
            },
            "omitted": _count_schema() | {"description": "events in the window that are not shown"},
            "omitted_domains": {
                "type": "object",
                "additionalProperties": {"type": "integer", "minimum": 1},
                "description": "hosts with most omitted pages",
            },
            "new": {
                "type": "object",
                "additionalProperties": {"type": "array", "items": text},
                "description": "what the user's profile did not know",
            },
            "context": {
                "type": "object",
                "additionalProperties": text,
                "description": "role, team and department, if a directory is given",
            },
            "digest": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256 of the record up to this member"},
        },
        "required": [
            "schema",
            "id",
            "user",
            "start",
            "end",
            "learning",
            "counts",
            "features",
            "events",
            "omitted",
            "omitted_domains",
            "new",
            "digest",
        ],
        "additionalProperties": False,
    }
