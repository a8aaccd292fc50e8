"""What every peer does the same way: its options, the simple work on one event, and the record of a finished user/day.

The work: for each user and day, the events of each kind, the distinct computers, the sum of email sizes, and the ids. Each peer
keeps it in the state of its own framework. Knows no framework, and nothing of Daywatch.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

DAY_MS = 86_400_000
CLOSING_KIND = "end"
KINDS = ("logon", "device", "file", "email", "http")

Item = tuple[str, str, str, int]
"""What is kept of an event: kind, id, pc, size."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a peer is told."""

    bootstrap_servers: str
    topics: list[str]
    closing: str
    out: str
    state: Path
    started: Path
    store: str
    partitions: int


def options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--topics", required=True)
    parser.add_argument("--closing", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--started", type=Path, required=True)
    parser.add_argument("--store", default="")
    parser.add_argument("--partitions", type=int, default=4)
    given = parser.parse_args()
    given.topics = given.topics.split(",")
    return Options(**vars(given))


def note_start(path: Path) -> None:
    """Write down when the first record was there, and what processor time had been spent before."""
    path.write_text(json.dumps({"at_s": time.time(), "cpu_s": time.process_time()}), encoding="ascii")


def time_ms(event: dict[str, Any]) -> int:
    """An event's time, UTC milliseconds."""
    at = event["ts"]
    return at if isinstance(at, int) else int(datetime.fromisoformat(at).timestamp()) * 1000


def item_of(event: dict[str, Any]) -> Item:
    """What the work needs of an event."""
    return event["kind"], event["id"], event["pc"], event.get("size", 0)


def record(user: str, day: int, items: Iterable[Item]) -> bytes:
    """A finished user/day."""
    counts = dict.fromkeys(KINDS, 0)
    pcs, ids, total = set(), [], 0
    for kind, own_id, pc, size in items:
        counts[kind] += 1
        ids.append(own_id)
        pcs.add(pc)
        total += size
    return orjson.dumps({"user": user, "day": day, "counts": counts, "pcs": len(pcs), "size": total, "ids": ids})
