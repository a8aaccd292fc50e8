"""The official rules of OCSF 1.8.0, read from the compiled schema: a small validator. Knows nothing of what we write."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "sinks" / "data" / "ocsf-1.8.0.json").read_text(encoding="utf-8"))


def problems(record: Mapping[str, Any], class_name: str = "detection_finding") -> list[str]:
    """What is wrong with a record of a class; nothing when it keeps every rule."""
    rules = SCHEMA["classes"][class_name]
    found = list(_check(record, rules, class_name))
    if record.get("class_uid") != rules["uid"]:
        found.append(f"class_uid is not {rules['uid']}")
    if record.get("type_uid") != rules["uid"] * 100 + record.get("activity_id", -1):
        found.append("type_uid is not class_uid * 100 + activity_id")
    return found


def _check(value: Any, rules: Mapping[str, Any], path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path} is no object"
        return
    attributes = rules["attributes"]
    for name, attribute in attributes.items():
        if attribute["requirement"] == "required" and name not in value:
            yield f"{path}.{name} is required"
    for kind, names in rules.get("constraints", {}).items():
        count = sum(name in value for name in names)
        if (kind == "at_least_one" and count < 1) or (kind == "just_one" and count != 1):
            yield f"{path}: {kind} of {names}"
    for name, item in value.items():
        if name not in attributes:
            yield f"{path}.{name} is unknown"
            continue
        attribute = attributes[name]
        if attribute.get("is_array"):
            if not isinstance(item, list):
                yield f"{path}.{name} is no array"
                continue
            for place, each in enumerate(item):
                yield from _check_one(each, attribute, f"{path}.{name}[{place}]")
        else:
            yield from _check_one(item, attribute, f"{path}.{name}")
        yield from _check_sibling(value, name, attribute, path)


def _check_one(item: Any, attribute: Mapping[str, Any], path: str) -> Iterator[str]:
    kind = attribute["type"]
    if kind == "object":
        if not isinstance(item, Mapping):
            yield f"{path} is no object"
    elif kind in SCHEMA["objects"]:
        yield from _check(item, SCHEMA["objects"][kind], path)
    else:
        yield from _check_type(item, kind, path)
        if "enum" in attribute and str(item) not in attribute["enum"]:
            yield f"{path}: {item!r} is not among {list(attribute['enum'])}"


def _check_type(item: Any, kind: str, path: str) -> Iterator[str]:
    rules = SCHEMA["types"][kind]
    base = rules.get("type") or kind
    if kind == "json_t":
        json.dumps(item)
        return
    python = {"string_t": str, "integer_t": int, "long_t": int, "boolean_t": bool, "float_t": float}[base]
    if not isinstance(item, python) or (python is int and isinstance(item, bool)):
        yield f"{path} is no {base}"
    elif python is int and not -(2**63) <= item < 2**63:
        yield f"{path} does not fit into 64 bits"
    elif python is str and "regex" in rules and not re.search(rules["regex"], item):
        yield f"{path} is no {kind}"
    elif python is str and len(item) > rules.get("max_len", len(item)):
        yield f"{path} is too long"
    elif python is int and "range" in rules and not rules["range"][0] <= item <= rules["range"][1]:
        yield f"{path} is out of range"


def _check_sibling(value: Mapping[str, Any], name: str, attribute: Mapping[str, Any], path: str) -> Iterator[str]:
    """An enumerated number's name must say what the number says."""
    sibling, enum = attribute.get("sibling"), attribute.get("enum", {})
    if sibling and sibling in value and str(value[name]) in enum and value[name] != 99 and value[sibling] != enum[str(value[name])]:
        yield f"{path}.{sibling} is {value[sibling]!r}, but {name} says {enum[str(value[name])]!r}"
