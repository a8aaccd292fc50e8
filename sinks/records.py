"""Records on the verdicts and alerts topics: their bytes, their headers, and how a verdict is read back. Knows no broker."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from detector.verdict import Verdict
from stream.kinds import Millis
from stream.log import Headers

VERDICT_SCHEMA = "daywatch.verdict/1"
_SOURCE = b"daywatch/detect"


def iso(at_ms: Millis) -> str:
    """UTC milliseconds as ISO 8601.

    >>> iso(1262592753000)
    '2010-01-04T08:12:33.000Z'
    """
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def verdict_record(verdict: Verdict, alert_uid: str | None, *, alerted: bool = False) -> bytes:
    """What the verdicts topic keeps of every judged window, alert or not. The same verdict gives the same bytes.

    `alerted`: a record on the alerts topic goes with it, in the same transaction.
    """
    return orjson.dumps(
        {
            "schema": VERDICT_SCHEMA,
            "window_id": verdict.window_id,
            "user": verdict.user,
            "start": verdict.start,
            "end": verdict.end,
            "label": verdict.label,
            "score": verdict.score,
            "triage_score": verdict.triage_score,
            "track": verdict.track,
            "by": verdict.by,
            "learning": verdict.learning,
            "alert_uid": alert_uid,
            "alerted": alerted,
            "cited": [{"kind": ref.kind.value, "id": ref.id} for ref in verdict.cited],
            "reason": verdict.reason,
            "provenance": dict(sorted(verdict.provenance.items())),
            **({"extras": dict(sorted(verdict.extras.items()))} if verdict.extras else {}),
        }
    )


def cloud_headers(kind: str, uid: str, time: str, received: Headers | None, source: bytes = _SOURCE) -> Headers:
    """CloudEvents headers (binary mode) of a record that we make; a trace that came with what it was made from goes on."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", uid.encode()),
        ("ce_type", f"daywatch.{kind}".encode()),
        ("ce_source", source),
        ("ce_time", time.encode()),
        ("content-type", b"application/json"),
    ]
    return headers + [(name, value) for name, value in received or () if name in ("traceparent", "tracestate")]


_ANSWERS = "daywatch-answers"


def answering(offset: int) -> tuple[str, bytes]:
    """A header that says which record of its partition a result answers: whoever recovers sees how far results are out.

    >>> answering(4)
    ('daywatch-answers', b'4')
    """
    return _ANSWERS, b"%d" % offset


def read_to(headers: Headers | None) -> int | None:
    """The offset behind the record that a result answers; None when it does not say so.

    >>> read_to([answering(4)]), read_to([]), read_to([("daywatch-answers", b"x")])
    (5, None, None)
    """
    found = dict(headers or ()).get(_ANSWERS, b"")
    return int(found) + 1 if found.isdigit() else None


def verdict_json_schema() -> Mapping[str, Any]:
    """The JSON Schema of a verdict record."""
    text = {"type": "string"}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    kinds = ["logon", "device", "file", "email", "http"]
    properties: dict[str, Any] = {
        "schema": {"const": VERDICT_SCHEMA},
        "window_id": text | {"description": "Identity of the judged window; holds no name."},
        "user": text,
        "start": text | {"format": "date-time"},
        "end": text | {"format": "date-time", "description": "Exclusive."},
        "label": {"enum": ["normal", "suspicious", "malicious"]},
        "score": share | {"description": "Calibrated probability that the window holds an insider's doing."},
        "triage_score": share,
        "track": text | {"description": "Which features were used: all, or shortcut-free."},
        "by": text | {"description": "The backend that gave the label."},
        "learning": {"type": "boolean", "description": "The user has been known for too short a time to compare with."},
        "alert_uid": {"type": ["string", "null"], "description": "finding_info.uid of the alert that this window belongs to."},
        "alerted": {
            "type": "boolean",
            "description": "Whether the alerts topic holds a record of this window's; not so where it adds nothing to its alert.",
        },
        "cited": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"kind": {"enum": kinds}, "id": text},
                "required": ["kind", "id"],
                "additionalProperties": False,
            },
            "description": "The events that the label rests on; each is in the window.",
        },
        "reason": text | {"description": "In plain words: what is unusual, and against what."},
        "provenance": {"type": "object", "additionalProperties": text, "description": "Model, its digest, feature version, window digest."},
        "extras": {"type": "object", "description": "What else there is to say, by name, such as what it cost; may be absent."},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Verdict",
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in ("extras", "alerted")],
    }


def partition_lists(partitions: Sequence[int]) -> str:
    """Partition numbers as people read them.

    >>> partition_lists([0, 1, 2, 5])
    '0-2, 5'
    """
    runs: list[list[int]] = []
    for number in sorted(partitions):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
