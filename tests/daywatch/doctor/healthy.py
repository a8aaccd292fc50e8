"""A chain in good order, as facts; tests break one thing of it at a time."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from daywatch.doctor.facts import (
    Broker,
    Disk,
    Facts,
    Greeting,
    Group,
    Held,
    Log,
    Missing,
    Package,
    Part,
    Release,
    Server,
    Store,
    Topic,
    Topics,
    Wanted,
    ZoneBase,
)
from stream.kinds import KINDS
from stream.log import TopicPartition
from stream.topics import TopicLayout
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.clocks import TopicClock
from windowing.ledger import Place, encode_layout, encode_state
from windowing.partition import Closed

NOW_MS = 1_790_000_000_000
LAYOUT = TopicLayout("acme", partitions=2)
STATE = encode_layout(Calendar(WindowSpec(size_ms=DAY_MS, hop_ms=DAY_MS // 4), "UTC"), 2)
READ = Held(STATE, Place((5, 5, 5, 5, 5), Closed()).encode(), encode_state({kind: TopicClock() for kind in KINDS}))


def topic(name: str, **changes: Any) -> Topic:
    spec = next(spec for spec in LAYOUT.specs() if spec.name == name)
    return replace(Topic(name, 2, config={**spec.config(), "min.insync.replicas": "1"}), **changes)


def group(*roles: str, members: int = 1) -> Group:
    at = [TopicPartition(LAYOUT.name(role), number) for role in roles for number in range(2)]
    return Group("STABLE" if members else "EMPTY", members, dict.fromkeys(at, 5))


INFO = {
    "redis_version": "7.4.1", "role": "master", "loading": "0", "cluster_enabled": "0", "aof_enabled": "1",
    "aof_last_write_status": "ok", "aof_last_bgrewrite_status": "ok", "rdb_last_bgsave_status": "ok",
    "maxmemory": "0", "used_memory": str(1 << 30), "total_system_memory": str(16 << 30), "maxmemory_policy": "noeviction",
}  # fmt: skip
CONFIG = {"maxmemory-policy": "noeviction", "appendfsync": "everysec", "save": ""}
SERVER = Server("redis:6379", INFO, CONFIG, ahead_ms=3)


def server(config: Mapping[str, str] | Missing = CONFIG, ahead_ms: int = 3, name: str = "redis:6379", **info: str) -> Server:
    """A server with other answers to INFO."""
    return Server(name, {**INFO, **info}, config, ahead_ms)


def store(*servers: Server, **changes: Any) -> Store:
    return replace(Store("Redis", "7.4.1", servers or (SERVER,), denied=(), held={0: READ, 1: READ}), **changes)


def healthy(**changes: Any) -> Facts:
    topics = {spec.name: topic(spec.name) for spec in LAYOUT.specs()}
    logs = {TopicPartition(name, number): Log(0, 5, NOW_MS - 1_000) for name in topics for number in range(2)}
    made = Facts(
        wanted=Wanted(LAYOUT, STATE, "UTC", "redis:6379"),
        greetings=(Greeting("kafka:9092", release=Release(4, 2)),),
        broker=Broker(
            1, {"transaction.max.timeout.ms": "900000", "auto.create.topics.enable": "false", "offsets.retention.minutes": "10080"}
        ),
        topics=Topics(topics),
        logs=logs,
        groups={"window": group(*KINDS), "detect": group("windows"), "correlate": group("alerts", "verdicts")},
        waiting={},
        store=store(),
        zones=ZoneBase("/usr/share/zoneinfo", "2026a"),
        disks=(Disk("/var/lib/daywatch", "results", 50 << 30, 100 << 30),),
        packages=(Package("python", "3.11.7", ">=3.11", fits=True), Package("redis", "8.1.0", ">=6.0", fits=True)),
        parts={"backend": Part("baseline: all it needs is installed"), "baseline": Part("it fits")},
        now_ms=NOW_MS,
    )
    return replace(made, **changes)


def with_topic(name: str, **changes: Any) -> Topics:
    """All topics, one of them otherwise."""
    topics = healthy().topics
    assert isinstance(topics, Topics)
    return Topics({**topics.here, f"acme.{name}": topic(f"acme.{name}", **changes)})


def with_config(name: str, **config: str) -> Topics:
    """All topics, one of them with other settings; `_` for the dots."""
    return with_topic(name, config={**topic(f"acme.{name}").config, **{key.replace("_", "."): value for key, value in config.items()}})


def other_layout(**changes: object) -> str:
    """What state was made with, had it been made otherwise."""
    return json.dumps({**json.loads(STATE), **changes}, sort_keys=True)
