"""A broker, a store and a namespace, and `daywatch` as people run it there: a process of its own, its exit code, what it says."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Message, Producer

from stream.kafka_reader import read_all
from stream.kinds import KINDS
from tests.bad_input.case import Case, is_decent
from tests.servers import create_topics

ROLES = (*(kind.value for kind in KINDS), "windows", "verdicts", "alerts", "dead-letters")


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


def check(case: Case, said: Said) -> None:
    """Hold how a command ended against what the case promises."""
    assert is_decent(said.err), said.err
    assert case.is_said_in(said.err), f"{case.says!r} is not in {said.err!r}"
    assert said.code == case.code, said.err


@dataclass(frozen=True, slots=True)
class Site:
    """Where commands run: a directory, and settings that stand in the environment."""

    place: Path
    bootstrap_servers: str = "127.0.0.1:1"
    store_url: str = "redis://127.0.0.1:1/0"
    namespace: str = field(default_factory=lambda: f"t{secrets.token_hex(5)}")
    more: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """What a process of this site is started with: nothing of ours from outside."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith("DAYWATCH_")}
        return {
            **outside,
            "DAYWATCH_NAMESPACE": self.namespace,
            "DAYWATCH_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "DAYWATCH_STORE__URL": self.store_url,
            "DAYWATCH_KAFKA__SESSION_TIMEOUT": "6s",
            "HOME": str(self.place),
            "OMP_NUM_THREADS": "1",
            "POLARS_MAX_THREADS": "1",
            "COLUMNS": "200",
            **self.more,
        }

    def start(self, *arguments: str, stdin: bytes | None = None) -> "Started":
        """`daywatch` with these arguments, on its way."""
        return Started(self, arguments, stdin)

    def run(self, *arguments: str, stdin: bytes | None = None) -> Said:
        """`daywatch` with these arguments, to its end."""
        return self.start(*arguments, stdin=stdin).said()

    def topic(self, role: str) -> str:
        """A topic's full name."""
        return f"{self.namespace}.{role}"

    def create_topics(self, partitions: int = 2, roles: Iterable[str] = ROLES, **config: str) -> None:
        """The topics, by admin; without the command, which takes a process."""
        create_topics(self.bootstrap_servers, [self.topic(role) for role in roles], partitions, **config)
        if "alerts" in roles:
            create_topics(self.bootstrap_servers, [self.topic("alert-memory")], partitions, cleanup_policy="compact")

    def producer(self) -> Producer:
        """A producer that puts every record where it is told to."""
        return Producer({"bootstrap.servers": self.bootstrap_servers, "enable.idempotence": True, "message.max.bytes": 16_000_000})

    def read(self, role: str) -> list[Message]:
        """All committed records of a topic."""
        return [message for batch in read_all({"bootstrap.servers": self.bootstrap_servers}, [self.topic(role)]) for message in batch]


class Started:
    """A `daywatch` process."""

    def __init__(self, site: Site, arguments: Sequence[str], stdin: bytes | None) -> None:
        self._stdin = stdin
        self.process = subprocess.Popen(
            [sys.executable, "-m", "daywatch", *arguments],
            env=site.environment(),
            cwd=site.place,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def said(self, within_s: float = 240) -> Said:
        """Wait for its end."""
        try:
            out, err = self.process.communicate(self._stdin, timeout=within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"it did not end: {err.decode(errors='replace')}") from None
        return Said(self.process.returncode, out.decode(), err.decode())


def headers_of(message: Message) -> dict[str, bytes]:
    """A record's headers by name; the last of equal names."""
    found: Any = message.headers() or []
    return dict(found)
