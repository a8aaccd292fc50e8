"""The JSON Schema (draft 2020-12) of events: what `stream.strict` accepts, as far as a schema can say it. Knows no broker.

Not said by a schema: a key may occur only once; the record's key is its user; times lie between 1990 and 2200.
"""

from typing import Any, Final

import polars as pl

from stream.kinds import FIELDS, Kind
from stream.strict import MAX_INTEGER, DecodeLimits

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_LIMITS: Final = DecodeLimits()
_WITHOUT_CONTROLS: Final = r"^[^\u0000-\u001f\u007f-\u009f]*$"
_TIME: Final = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}([.,]\d{1,9})?([Zz]|[+-]\d{2}(:?\d{2})?)?$"
_SAID: Final[dict[str, str]] = {
    "activity": "What was done.",
    "filename": "Name or path of the file copied to a removable medium.",
    "content": "What it is about, as text.",
    "to": "Recipients' addresses, separated by semicolons.",
    "cc": "Recipients' addresses, separated by semicolons.",
    "bcc": "Recipients' addresses, separated by semicolons.",
    "from": "The sender's address.",
    "size": "Size in bytes.",
    "attachments": "Number of attachments.",
    "url": "The page's address.",
}
_EXAMPLES: Final[dict[Kind, dict[str, list[str]]]] = {
    Kind.LOGON: {"activity": ["Logon", "Logoff"]},
    Kind.DEVICE: {"activity": ["Connect", "Disconnect"]},
}


def event_schema(kind: Kind) -> dict[str, Any]:
    """The JSON Schema of an event of this kind; a new dictionary every time."""
    properties: dict[str, Any] = {
        "id": _name("The event's identity, unique within its kind.", _LIMITS.max_id_bytes, least=1),
        "kind": {"const": kind.value},
        "ts": {
            "type": "string",
            "pattern": _TIME,
            "description": "Event time, ISO 8601. Without an offset it is local time in the setting `zone`.",
            "examples": ["2010-01-04T08:12:33Z", "2010-01-04T09:12:33.250+01:00"],
        },
        "user": _name("Who did it; also the record's key.", _LIMITS.max_user_bytes, least=1),
        "pc": _name("Where it was done; may be left out.", _LIMITS.max_pc_bytes, least=0),
    }
    for name, dtype in FIELDS[kind].items():
        text = dtype == pl.String()
        properties[name] = {"type": "string"} if text else {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}
        properties[name]["description"] = _SAID[name]
        if name in _EXAMPLES.get(kind, {}):
            properties[name]["examples"] = _EXAMPLES[kind][name]
    return {
        "$schema": DIALECT,
        "$id": f"urn:daywatch:schema:event:{kind}:1",
        "title": f"Daywatch event: {kind}",
        "type": "object",
        "properties": properties,
        "required": ["id", "kind", "ts", "user"],
        # other fields are ignored, as long as they are flat
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    }


def _name(said: str, most: int, least: int) -> dict[str, Any]:
    # a schema counts characters; the limit is in bytes, and none of its characters is longer than it
    return {"type": "string", "minLength": least, "maxLength": most, "pattern": _WITHOUT_CONTROLS, "description": said}
