"""A recorded state: what a version of Daywatch left in the store and on the broker when it died, and what came of it afterwards.

Recordings are kept for ever, one for each schema of the state; `tests/upgrade/record.py` makes one of the present version. What is
recorded are the records themselves, so that it does not matter if the generators that once made them change.
"""

import base64
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis

from stream.clock import ManualClock
from stream.kinds import KINDS
from stream.log import Commit, MemoryLog, TopicPartition
from windowing.calendar import Calendar, WindowSpec
from windowing.clocks import ClockSpec
from windowing.describe import DescribeSettings
from windowing.intake import Topics
from windowing.partition import Rules

RECORDED = Path(__file__).parent / "recorded"
HOUR = 3_600_000
NAMESPACE = "acme"
PARTITIONS = 2
EVENTS = {kind: f"{NAMESPACE}.{kind}" for kind in KINDS}
TOPICS = Topics(EVENTS, f"{NAMESPACE}.windows", f"{NAMESPACE}.dead_letters", PARTITIONS)
OPERATIONS = f"{NAMESPACE}.operations"
RULES = Rules(
    Calendar(WindowSpec(size_ms=24 * HOUR, hop_ms=6 * HOUR, allowed_lateness_ms=HOUR), "Europe/Berlin"),
    ClockSpec(out_of_orderness_ms=600_000, max_jump_ms=24 * HOUR),
    DescribeSettings(cap=10),
)


Packed = str | list[str] | None
"""Bytes in JSON: a string where they are text, else a list of one string of base64."""


def pack(value: bytes | None) -> Packed:
    """Bytes as JSON has them; text stays text, which compresses much better."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return [base64.b64encode(value or b"").decode()]


def unpack(value: Packed) -> bytes | None:
    """What `pack` was given."""
    return value.encode() if isinstance(value, str) else base64.b64decode(value[0]) if value else None


def dump_store(client: redis.Redis) -> dict[str, Any]:
    """Every key of the server, whatever its type."""
    found: dict[str, Any] = {}
    answers: Any = client
    for key in sorted(client.scan_iter(count=1_000)):
        kind, name = answers.type(key), key.decode()
        if kind == b"hash":
            found[name] = {"hash": {field.decode(): pack(value) for field, value in sorted(answers.hgetall(key).items())}}
        elif kind == b"set":
            found[name] = {"set": [pack(value) for value in sorted(answers.smembers(key))]}
        elif kind == b"list":
            found[name] = {"list": [pack(value) for value in answers.lrange(key, 0, -1)]}
        else:
            raise ValueError(f"{name} is a {kind!r}")
    return found


def restore_store(client: redis.Redis, dump: Mapping[str, Any], namespace: str) -> None:
    """Write a dump into a server, under another namespace."""
    for name, held in dump.items():
        key = namespace + name.removeprefix(NAMESPACE)
        for kind, values in held.items():
            if kind == "hash":
                client.hset(key, mapping={field: unpack(value) or b"" for field, value in values.items()})
            elif kind == "set":
                client.sadd(key, *[unpack(value) or b"" for value in values])
            else:
                client.rpush(key, *[unpack(value) or b"" for value in values])


Kept = list[Any]


def dump_log(log: MemoryLog) -> dict[str, Any]:
    """All records of all topics, and what the group has committed."""
    logs = {
        f"{at.topic}/{at.partition}": [
            [pack(kept.key), pack(kept.value), [[name, pack(value)] for name, value in kept.headers() or []], kept.stamp]
            for kept in records
        ]
        for at, records in log.logs.items()
    }
    return {"logs": logs, "committed": {f"{at.topic}/{at.partition}": [*commit] for at, commit in sorted(log.committed.items())}}


def _place(name: str) -> TopicPartition:
    topic, _, partition = name.rpartition("/")
    return TopicPartition(topic, int(partition))


def restore_log(dump: Mapping[str, Any]) -> MemoryLog:
    """The log as it was dumped."""
    log = MemoryLog([], 0, ManualClock())
    for name, records in dump["logs"].items():
        at = _place(name)
        log.partitions = max(log.partitions, at.partition + 1)
        log.logs.setdefault(at, [])
        for key, value, headers, stamp in records:
            log.append(at, unpack(key), unpack(value), [(field, unpack(text) or b"") for field, text in headers], stamp)
    log.committed = {_place(name): Commit(*commit) for name, commit in dump["committed"].items()}
    return log


def save(name: str, recording: Mapping[str, Any]) -> Path:
    """Write a recording; the same one gives the same bytes."""
    path = RECORDED / f"{name}.json.gz"
    path.write_bytes(gzip.compress(json.dumps(recording, separators=(",", ":")).encode(), 9, mtime=0))
    return path


def load(path: Path) -> dict[str, Any]:
    """Read a recording."""
    found: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return found
