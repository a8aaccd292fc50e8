"""An alert over one log line as an OCSF 1.8.0 Detection Finding. Values in, values out; knows no broker and no clock.

Unlike the alert of a window it names no user: a line does not say whose it is. Its uid follows from where the line lies, so that a line
that is labelled again gives the same finding.
"""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from detector.logline.labels import ERROR, MALICIOUS, SUSPICIOUS, LineLabel
from sinks.ocsf import CLASS_UID, MOST_TEXT, VERSION
from stream.kinds import Millis
from stream.log import TopicPartition

_SEVERITIES: Mapping[str, tuple[int, str]] = {MALICIOUS: (4, "High"), SUSPICIOUS: (3, "Medium"), ERROR: (2, "Low")}


def line_alert(
    said: LineLabel, line: str, key: bytes | None, time_ms: Millis, at: TopicPartition, offset: int, provenance: Mapping[str, str]
) -> dict[str, Any]:
    """The alert record of a line with this label, read at this offset; `time_ms` is the timestamp of its record."""
    severity, severity_name = _SEVERITIES.get(said.label, (1, "Informational"))
    score = min(100, max(0, int(said.score * 100 + 0.5)))
    confidence = 3 if score >= 80 else 2 if score >= 50 else 1
    place = f"{at.topic}/{at.partition}/{offset}"
    uid = hashlib.sha256(f"daywatch.line/1\0{place}".encode()).hexdigest()[:32]
    data: dict[str, Any] = {
        "line": line[:MOST_TEXT] + ("…" if len(line) > MOST_TEXT else ""),
        "line_label": said.label,
        "line_score": said.score,
    }
    if key is not None:
        data["key"] = key.decode("utf-8", "replace")[:MOST_TEXT]
    return {
        "activity_id": 1,
        "activity_name": "Create",
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": "Detection Finding",
        "type_uid": CLASS_UID * 100 + 1,
        "type_name": "Detection Finding: Create",
        "time": time_ms,
        "severity_id": severity,
        "severity": severity_name,
        "status_id": 1,
        "status": "New",
        "confidence_id": confidence,
        "confidence": ("Low", "Medium", "High")[confidence - 1],
        "confidence_score": score,
        "message": f"A log line that is labelled {said.label}",
        "is_alert": True,
        "metadata": {
            "version": VERSION,
            "profiles": ["security_control"],
            "product": {"name": "Daywatch", "vendor_name": "Daywatch", "version": version("daywatch")},
            "uid": hashlib.sha256(f"daywatch.line-alert/1\0{place}".encode()).hexdigest()[:32],
        },
        "finding_info": {
            "uid": uid,
            "title": f"{said.label} log line",
            "types": ["Log Line"],
            "created_time": time_ms,
            "analytic": {
                "name": "Daywatch log-line classifier",
                "uid": "daywatch.logline",
                "type_id": 4,
                "type": "Learning (ML/DL)",
                "version": str(provenance.get("model_sha256") or version("daywatch")),
            },
        },
        "evidences": [{"name": "log line", "uid": place, "data": data}],
        "unmapped": {
            "label": said.label,
            "score": said.score,
            "by": "logline",
            "provenance": dict(sorted(provenance.items())),
            "line": {"topic": at.topic, "partition": at.partition, "offset": offset},
        },
    }


def is_line_alert(record: Mapping[str, Any]) -> bool:
    """Whether an alert record is over a single line, and not over a window."""
    unmapped = record.get("unmapped")
    return isinstance(unmapped, Mapping) and "line" in unmapped and "window" not in unmapped
