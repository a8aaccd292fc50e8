"""The JSON Schemas of alerts and incidents, made from the compiled rules of OCSF 1.8.0. Knows nothing of how they come to be."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from stream.kinds import KINDS

_BASES: Mapping[str, dict[str, Any]] = {
    "string_t": {"type": "string"},
    "integer_t": {"type": "integer"},
    "long_t": {"type": "integer"},
    "boolean_t": {"type": "boolean"},
    "float_t": {"type": "number"},
    "json_t": {},
    "object": {"type": "object"},
}


def alert_json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a record on the alerts topic: OCSF's rules, and what Daywatch promises besides."""
    rules = _rules()
    schema = _shape(rules["classes"]["detection_finding"], rules["types"])
    schema["properties"] |= {
        "class_uid": {"const": 2004},
        "category_uid": {"const": 2},
        "activity_id": {"enum": [1, 2], "description": "1 creates a finding, 2 updates it."},
        "type_uid": {"enum": [200401, 200402]},
        "time": {
            "type": "integer",
            "description": "End of the window it was found in, UTC ms; the record's timestamp says when it was made.",
        },
        "risk_score": {"type": "integer", "minimum": 0, "maximum": 100},
        "confidence_score": {"type": "integer", "minimum": 0, "maximum": 100},
        "unmapped": _unmapped(),
    }
    schema["required"] = sorted({*schema["required"], "actor", "message", "risk_score", "unmapped"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "daywatch.alert",
        "title": "Daywatch alert",
        "description": "An OCSF 1.8.0 Detection Finding. The cited events are finding_info.related_events: uid and type_uid of each.",
        **schema,
        "$defs": {name: _shape(item, rules["types"]) for name, item in rules["objects"].items()},
    }


def incident_json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a record on the incidents topic: OCSF's rules, and what Daywatch promises besides."""
    rules = _rules()
    schema = _shape(rules["classes"]["incident_finding"], rules["types"])
    schema["properties"] |= {
        "class_uid": {"const": 2005},
        "category_uid": {"const": 2},
        "activity_id": {"enum": [1, 2, 3], "description": "1 opens an incident, 2 says that it has grown, 3 closes it."},
        "type_uid": {"enum": [200501, 200502, 200503]},
        "time": {"type": "integer", "description": "Event time, UTC ms: of the alert that it grew by, or when it was closed."},
        "risk_score": {"type": "integer", "minimum": 0, "maximum": 100, "description": "The risk at that time, faded as it was by then."},
        "unmapped": _unmapped_incident(),
    }
    schema["required"] = sorted({*schema["required"], "actor", "message", "risk_score", "unmapped"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "daywatch.incident",
        "title": "Daywatch incident",
        "description": "An OCSF 1.8.0 Incident Finding: the whole story so far. Alerts are in finding_info_list, each with its events.",
        **schema,
        "$defs": {name: _shape(item, rules["types"]) for name, item in rules["objects"].items()},
    }


def _unmapped_incident() -> dict[str, Any]:
    text, time = {"type": "string"}, {"type": "integer", "description": "UTC ms"}
    risk = {"type": "integer", "minimum": 0, "maximum": 100}
    point = {"type": "object", "properties": {"time": time, "risk": risk}, "required": ["time", "risk"], "additionalProperties": False}
    properties: dict[str, Any] = {
        "uid": text | {"description": "The incident; the same in all its revisions."},
        "revision": {"type": "integer", "minimum": 1, "description": "From 1 without gaps; the same revision is the same bytes."},
        "opened_time": time,
        "last_alert_time": time,
        "peak_risk": risk,
        "risks": {"type": "array", "items": point, "minItems": 1, "description": "Time and risk of every revision."},
        "gap_ms": {"type": "integer", "minimum": 1},
        "half_life_ms": {"type": "integer", "minimum": 1},
        "continues": text | {"description": "The incident that had grown too large to hold what follows; absent if none."},
    }
    required = [name for name in properties if name != "continues"]
    incident = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"type": "object", "properties": {"incident": incident}, "required": ["incident"]}


def _rules() -> Any:
    return json.loads((files("sinks") / "data" / "ocsf-1.8.0.json").read_text(encoding="utf-8"))


def _shape(item: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    attributes = item["attributes"]
    shape: dict[str, Any] = {
        "type": "object",
        "properties": {name: _property(attribute, types) for name, attribute in attributes.items()},
        "required": sorted(name for name, attribute in attributes.items() if attribute["requirement"] == "required"),
        "additionalProperties": False,
    }
    if names := item.get("constraints", {}).get("at_least_one"):
        shape["anyOf"] = [{"required": [name]} for name in names if name in attributes]
    return shape


def _property(attribute: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    kind = attribute["type"]
    if kind in _BASES:
        found = dict(_BASES[kind])
    elif kind in types:
        found = _narrowed(types[kind])
    else:
        found = {"$ref": f"#/$defs/{kind}"}
    if enum := attribute.get("enum"):
        values = [int(value) if found.get("type") == "integer" else value for value in enum]
        found["enum"] = sorted(values)
        found["description"] = "; ".join(f"{value} {enum[str(value)]}" for value in found["enum"])
    return {"type": "array", "items": found} if attribute.get("is_array") else found


def _narrowed(kind: Mapping[str, Any]) -> dict[str, Any]:
    """A type that is another with a pattern, a length or a range."""
    found = dict(_BASES[kind["type"]])
    if "regex" in kind:
        found["pattern"] = kind["regex"]
    if "max_len" in kind:
        found["maxLength"] = kind["max_len"]
    if "range" in kind:
        found["minimum"], found["maximum"] = kind["range"]
    return found


def _unmapped() -> dict[str, Any]:
    text, share = {"type": "string"}, {"type": "number", "minimum": 0, "maximum": 1}
    time = text | {"format": "date-time"}
    window: dict[str, Any] = {
        "id": text,
        "digest": text,
        "start": time,
        "end": time,
        "topic": text,
        "partition": {"type": "integer", "minimum": 0},
        "offset": {"type": "integer", "minimum": 0},
    }
    properties: dict[str, Any] = {
        "label": {"enum": ["suspicious", "malicious", "normal"]},
        "score": share,
        "triage_score": share,
        "track": text,
        "by": text,
        "learning": {"type": "boolean"},
        "provenance": {"type": "object", "additionalProperties": text},
        "window": {"type": "object", "properties": window, "required": list(window), "additionalProperties": False},
    }
    description = f"What OCSF has no place for. Kinds of events: {', '.join(KINDS)}."
    return {"type": "object", "properties": properties, "required": list(properties), "description": description}
