"""The JSON Schema of an alert, made from the compiled OCSF schema that lies in `sinks/data`. Knows nothing of how alerts are made.

Not said by a schema: `type_uid` is `class_uid * 100 + activity_id`, and an enumerated number's name says what the number says.
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_CLASS: Final = "detection_finding"
_JSON_TYPES: Final[Mapping[str, dict[str, Any]]] = {
    "string_t": {"type": "string"},
    "integer_t": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "long_t": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "boolean_t": {"type": "boolean"},
    "float_t": {"type": "number"},
    "json_t": {},
}


def alert_json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of an alert record: OCSF Detection Finding."""
    ocsf = json.loads((files("sinks") / "data" / "ocsf-1.8.0.json").read_text(encoding="utf-8"))
    rules = ocsf["classes"][_CLASS]
    definitions: dict[str, Any] = {}
    found = _object(rules, ocsf, definitions)
    return {
        "$schema": _DIALECT,
        "$id": "urn:daywatch:schema:alert:1",
        "title": "Daywatch alert: OCSF Detection Finding",
        "description": f"Made from the Open Cybersecurity Schema Framework {ocsf['version']} (Apache License 2.0).",
        **found,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(rules: Mapping[str, Any], ocsf: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A schema for a class or object; the objects that it refers to are added to the definitions."""
    attributes = rules["attributes"]
    found: dict[str, Any] = {
        "type": "object",
        "properties": {name: _attribute(attribute, ocsf, definitions) for name, attribute in attributes.items()},
        "additionalProperties": False,
    }
    required = [name for name, attribute in attributes.items() if attribute["requirement"] == "required"]
    if required:
        found["required"] = required
    for kind, names in (rules.get("constraints") or {}).items():
        found["oneOf" if kind == "just_one" else "anyOf"] = [{"required": [name]} for name in names]
    return found


def _attribute(attribute: Mapping[str, Any], ocsf: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    one = _value(attribute["type"], ocsf, definitions)
    if "enum" in attribute:
        numbers = one.get("type") == "integer"
        one = {**one, "enum": [int(key) if numbers else key for key in attribute["enum"]]}
    return {"type": "array", "items": one} if attribute.get("is_array") else one


def _value(name: str, ocsf: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if name == "object":
        return {"type": "object"}  # unmapped: ours
    if name not in ocsf["objects"]:
        return _scalar(name, ocsf["types"])
    if name not in definitions:
        definitions[name] = {}  # objects may hold each other
        definitions[name] = _object(ocsf["objects"][name], ocsf, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _scalar(name: str, types: Mapping[str, Any]) -> dict[str, Any]:
    rules = types[name]
    found = dict(_JSON_TYPES[rules.get("type") or name])
    if "regex" in rules:
        found["pattern"] = rules["regex"]
    if "max_len" in rules:
        found["maxLength"] = rules["max_len"]
    if "range" in rules:
        found["minimum"], found["maximum"] = rules["range"]
    return found
