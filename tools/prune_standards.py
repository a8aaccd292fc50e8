#!/usr/bin/env python3
"""Cut what Daywatch needs out of the compiled OCSF schema and the ATT&CK bundle, without their description texts.

python -m ocsf.compile … > ocsf-1.8.0.json          # ocsf-lib, on the tag of github.com/ocsf/ocsf-schema
python tools/prune_standards.py ocsf ocsf-1.8.0.json.gz > sinks/data/ocsf-1.8.0.json
python tools/prune_standards.py attack enterprise-attack.json.gz 18.1 > sinks/data/attack.json
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

CLASSES = ("detection_finding", "incident_finding")
OBJECTS = [
    "actor",
    "analytic",
    "attack",
    "device",
    "email",
    "evidences",
    "file",
    "finding_info",
    "group",
    "metadata",
    "observable",
    "product",
    "related_event",
    "sub_technique",
    "tactic",
    "technique",
    "trait",
    "url",
    "user",
]
PROFILES = (None, "host", "security_control")
ACTIVITIES = ("authentication", "peripheral_activity", "file_activity", "email_activity", "http_activity")

# the tactic that an insider pursues by it, where a technique serves several
TACTICS = {"T1078": "TA0001", "T1056": "TA0009", "T1056.001": "TA0009", "T1091": "TA0008"}
TECHNIQUES = [
    "T1005",
    "T1020",
    "T1025",
    "T1030",
    "T1039",
    "T1041",
    "T1048",
    "T1048.002",
    "T1048.003",
    "T1052",
    "T1052.001",
    "T1056",
    "T1056.001",
    "T1074",
    "T1074.001",
    "T1078",
    "T1078.002",
    "T1083",
    "T1091",
    "T1098",
    "T1105",
    "T1114",
    "T1114.001",
    "T1114.002",
    "T1119",
    "T1135",
    "T1204",
    "T1204.002",
    "T1213",
    "T1485",
    "T1530",
    "T1534",
    "T1537",
    "T1560",
    "T1566",
    "T1567",
    "T1567.002",
    "T1656",
]


def main() -> None:
    """Write the data file that the first argument names to standard output."""
    kind, path = sys.argv[1:3]
    raw = Path(path).read_bytes()
    source = json.loads(gzip.decompress(raw) if path.endswith(".gz") else raw)
    data = ocsf(source) if kind == "ocsf" else attack(source, sys.argv[3])
    sys.stdout.write(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def ocsf(schema: dict[str, Any]) -> dict[str, Any]:
    """Classes, objects and types with their rules; attributes of other objects and other profiles are left out."""
    return {
        "version": schema["version"],
        "classes": {name: shape(schema["classes"][name]) | {"uid": schema["classes"][name]["uid"]} for name in CLASSES},
        "objects": {name: shape(schema["objects"][name]) for name in OBJECTS},
        "types": {
            name: {key: kind[key] for key in ("type", "regex", "max_len", "range", "values") if kind[key] is not None}
            for name, kind in schema["types"].items()
        },
        "activities": {
            name: {
                "uid": schema["classes"][name]["uid"],
                "caption": schema["classes"][name]["caption"],
                "enum": captions(schema["classes"][name]["attributes"]["activity_id"]["enum"]),
            }
            for name in ACTIVITIES
        },
    }


def shape(item: dict[str, Any]) -> dict[str, Any]:
    """The rules of one class or object."""
    known = {
        name: {
            "type": attribute["type"],
            "requirement": attribute["requirement"],
            **({"is_array": True} if attribute["is_array"] else {}),
            **({"enum": captions(attribute["enum"])} if attribute.get("enum") else {}),
            **({"sibling": attribute["sibling"]} if attribute.get("sibling") else {}),
        }
        for name, attribute in item["attributes"].items()
        if (attribute["type"].endswith("_t") or attribute["type"] in (*OBJECTS, "object"))
        and attribute["profile"] in PROFILES
        and not attribute["@deprecated"]
    }
    return {"attributes": known, **({"constraints": item["constraints"]} if item["constraints"] else {})}


def captions(enum: dict[str, Any]) -> dict[str, str]:
    """Names of an enumeration's values."""
    return {value: entry["caption"] for value, entry in enum.items()}


def attack(bundle: dict[str, Any], version: str) -> dict[str, Any]:
    """Names of the techniques that user behaviour can show, each with the tactic it is counted under."""
    tactics = {item["x_mitre_shortname"]: item for item in bundle["objects"] if item["type"] == "x-mitre-tactic"}
    found = {}
    for item in bundle["objects"]:
        if item["type"] != "attack-pattern" or item.get("revoked") or item.get("x_mitre_deprecated"):
            continue
        uid = item["external_references"][0]["external_id"]
        if uid in TECHNIQUES:
            served = sorted(tactics[phase["phase_name"]]["external_references"][0]["external_id"] for phase in item["kill_chain_phases"])
            found[uid] = {"name": item["name"], "tactic": TACTICS.get(uid.split(".")[0], TACTICS.get(uid, served[-1]))}
    names = {item["external_references"][0]["external_id"]: item["name"] for item in tactics.values()}
    return {
        "notice": "© 2025 The MITRE Corporation. This work is reproduced and distributed with the permission of The MITRE Corporation.",
        "version": version,
        "tactics": {uid: names[uid] for uid in sorted({entry["tactic"] for entry in found.values()})},
        "techniques": found,
    }


if __name__ == "__main__":
    main()
