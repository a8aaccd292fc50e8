"""A small STIX bundle in ATT&CK's manner, made up: eight groups with a vocabulary of their own, software, a campaign, dead objects."""

import gzip
import json
from pathlib import Path
from typing import Any

WORDS = {
    "Amber Fox": "rclone mega uploads ransomware esxi",
    "Brass Owl": "watering hole ministries browser exploit diplomats",
    "Coral Lynx": "casino swift banking atm dispense cash",
    "Dune Heron": "dns tunnelling telecom routers beacon",
    "Ember Wolf": "powershell macros invoices shipping lures",
    "Frost Ibis": "bootkit firmware implant hypervisor rootkit",
    "Grey Otter": "phishing recruiters jobs aerospace engineers",
    "Holly Shark": "webshell exchange mailbox export universities",
}
VERBS = ("has used", "deployed", "relied on", "has been seen with", "built", "preferred", "sent", "hid", "tested", "moved to")
TECHNIQUES = ("T1078", "T1052.001", "T1567.002", "T1005", "T1059", "T1059.001", "T1114", "T1083", "T1566", "T1041")


def reference(key: str) -> list[dict[str, str]]:
    return [{"source_name": "mitre-attack", "external_id": key}]


def uses(source: str, target: str, text: str, **more: Any) -> dict[str, Any]:
    name = f"relationship--{source}-{target}"
    return {
        "type": "relationship",
        "id": name,
        "relationship_type": "uses",
        "source_ref": source,
        "target_ref": target,
        "description": text,
    } | more


def objects() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{"type": "x-mitre-collection", "id": "c", "x_mitre_version": "99.1"}]
    made += [
        {"type": "attack-pattern", "id": f"t{key}", "name": f"Technique {key}", "external_references": reference(key)} for key in TECHNIQUES
    ]
    for place, (name, words) in enumerate(WORDS.items()):
        key = f"G{place + 1:04d}"
        aliases = [name, f"TA-{place}55", f"{name.split()[0]}Crew"]
        made.append({"type": "intrusion-set", "id": key, "name": name, "aliases": aliases, "external_references": reference(key)})
        said = words.split()
        for number, technique in enumerate(TECHNIQUES):
            picked = " ".join(said[(number + shift) % len(said)] for shift in range(3))
            link = f"[{name}](https://attack.mitre.org/groups/{key})"
            text = f"{link} {VERBS[number]} {picked} against {said[number % len(said)]}.(Citation: Vendor {name})"
            made.append(uses(key, f"t{technique}", text))
    made += [
        {"type": "malware", "id": "S1", "name": "Zubat", "x_mitre_aliases": ["Zubat", "ZBT-9"], "external_references": reference("S9001")},
        {"type": "tool", "id": "S2", "name": "Net", "external_references": reference("S9002")},
        {"type": "campaign", "id": "C1", "name": "Night Bus", "external_references": reference("C9001")},
        {"type": "relationship", "id": "r1", "relationship_type": "attributed-to", "source_ref": "C1", "target_ref": "G0001"},
        uses("G0001", "S1", ""),
        uses("G0001", "S2", ""),
        uses("G0002", "S2", ""),
        uses("S1", "tT1005", "[Zubat](https://attack.mitre.org/software/S9001) collects rclone configuration files with ZBT-9."),
        uses("S2", "tT1083", "[Net](https://attack.mitre.org/software/S9002) lists shares."),
        uses("C1", "tT1041", "During [Night Bus](https://attack.mitre.org/campaigns/C9001), mega was where everything went, says zbt-9."),
        uses("G0002", "tT1078", "Amber Fox, TA-055, AmberCrew and amber fox: `Net` in C:\\Net\\net.exe, net use.", id="odd"),
        {"type": "intrusion-set", "id": "G0900", "name": "Old", "revoked": True, "external_references": reference("G0900")},
        uses("G0900", "tT1005", "revoked"),
        uses("G0001", "tT1005", "deprecated", id="dead", x_mitre_deprecated=True),
    ]
    return made


def write_bundle(path: Path, content: list[dict[str, Any]] | None = None, *, zipped: bool = False) -> Path:
    raw = json.dumps({"type": "bundle", "id": "bundle--1", "objects": objects() if content is None else content}).encode()
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    return path
