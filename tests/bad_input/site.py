"""A broker, a store and a namespace, and `daywatch` as people run it there: a process of its own, its exit code, what it says."""

import os
import resource
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Message, Producer

from stream.kafka_reader import read_all
from stream.kinds import KINDS
from tests.bad_input.case import Case, is_decent
from tests.servers import create_topics

ROLES = (*(kind.value for kind in KINDS), "windows", "verdicts", "alerts", "dead-letters", "operations")


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

    def start(self, *arguments: str, **how: Any) -> "Started":
        """`daywatch` with these arguments, on its way."""
        return Started(self, arguments, **how)

    def run(self, *arguments: str, **how: Any) -> Said:
        """`daywatch` with these arguments, to its end."""
        return self.start(*arguments, **how).said()

    def topic(self, role: str) -> str:
        """A topic's full name."""
        return f"{self.namespace}.{role}"

    def create_topics(self, partitions: int = 2, roles: Iterable[str] = ROLES, **config: str) -> None:
        """The topics, by admin; without the command, which takes a process."""
        create_topics(self.bootstrap_servers, [self.topic(role) for role in roles], partitions, **config)
        if "alerts" in roles:
            create_topics(self.bootstrap_servers, [self.topic("alert-memory")], partitions, cleanup_policy="compact")

    def producer(self) -> Any:
        """A producer that puts every record where it is told to."""
        return Producer({"bootstrap.servers": self.bootstrap_servers, "enable.idempotence": True, "message.max.bytes": 16_000_000})

    def read(self, role: str) -> list[Message]:
        """All committed records of a topic."""
        return [message for batch in read_all({"bootstrap.servers": self.bootstrap_servers}, [self.topic(role)]) for message in batch]


class Started:
    """A `daywatch` process; `stdout` is a file to write to, `most_bytes` what any file that it writes may hold."""

    def __init__(
        self, site: Site, arguments: Sequence[str], stdin: bytes = b"", stdout: str | None = None, most_bytes: int | None = None
    ) -> None:
        self._place = site.place / secrets.token_hex(4)
        self._place.mkdir()
        (self._place / "in").write_bytes(stdin)
        # files, not pipes: what is said can be read while it goes on, and nobody waits for a reader
        with (
            (self._place / "in").open("rb") as given,
            (Path(stdout) if stdout else self._place / "out").open("wb") as out,
            (self._place / "err").open("wb") as err,
        ):
            limit = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))) if most_bytes else None
            self.process = subprocess.Popen(
                [sys.executable, "-m", "daywatch", *arguments],
                env=site.environment(),
                cwd=site.place,
                stdin=given,
                stdout=out,
                stderr=err,
                preexec_fn=limit,  # noqa: PLW1509 - one system call
            )
        self._out = not stdout

    @property
    def err(self) -> str:
        """What it has said on standard error so far."""
        return (self._place / "err").read_text(errors="replace")

    def wait_for(self, text: str, within_s: float = 120) -> None:
        """Return once it has said so; fail if it ends before."""
        deadline = time.monotonic() + within_s
        while text not in self.err:
            assert self.process.poll() is None, self.err
            assert time.monotonic() < deadline, f"{text!r} was not said: {self.err}"
            time.sleep(0.05)

    def said(self, within_s: float = 240) -> Said:
        """Wait for its end."""
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end: {self.err}") from None
        return Said(code, (self._place / "out").read_text(errors="replace") if self._out else "", self.err)


def headers_of(message: Message) -> dict[str, bytes]:
    """A record's headers by name; the last of equal names."""
    found: Any = message.headers() or []
    return dict(found)
