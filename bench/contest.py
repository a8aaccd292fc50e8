"""Runs contestants on a broker and a store: as processes of their own, timed from the first record to the last result that can be read.

Knows how to start and measure; what is right says `checks`, and what is streamed `workload`.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bench.workload import Filled
from daywatch.embedded import EmbeddedBroker, EmbeddedStore, dying_with_parent, free_port
from daywatch.settings import bare_environment
from stream.errors import PipelineError
from stream.kafka_reader import read_all

REPOSITORY = Path(__file__).resolve().parent.parent
_GIVE_UP_S = 3_600.0
# said, as Quix Streams asks for them and the embedded broker knows no defaults
_CONFIG = {"cleanup.policy": "delete", "retention.ms": "604800000"}


class ContestError(PipelineError):
    """A contestant failed; the text says how, and where its log is."""


@dataclass(slots=True)
class Figure:
    """One contestant's run.

    `seconds` from the first record consumed to the last result that can be read; `cpu_s` processor time from the first record to the
    end of the process, `whole_cpu_s` with its start.
    """

    name: str
    events: int
    seconds: float
    cpu_s: float
    whole_cpu_s: float
    peak_mb: float
    results: int = 0
    verdict: str = ""
    right: bool = True
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_s_per_million(self) -> float:
        """Processor seconds a million events."""
        return self.cpu_s / self.events * 1e6


class Broker(Protocol):
    """A broker that runs."""

    bootstrap_servers: str

    def start(self) -> None: ...  # noqa: D102
    def stop(self) -> None: ...  # noqa: D102


class ApacheBroker:
    """Apache Kafka by its launcher (`kafka start --dir DIR --port PORT`), in a directory of its own."""

    def __init__(self, launcher: Path, directory: Path, heap: str) -> None:
        self._launcher, self._directory, self._heap = launcher, directory, heap
        self.bootstrap_servers = ""

    def start(self) -> None:
        """Start it and wait until it serves."""
        port = free_port()
        self._run("start", "--port", str(port))
        self.bootstrap_servers = f"127.0.0.1:{port}"

    def stop(self) -> None:
        """Stop it and forget what it held."""
        self._run("stop", "--kill")
        shutil.rmtree(self._directory, ignore_errors=True)

    def _run(self, action: str, *arguments: str) -> None:
        command = [str(self._launcher), action, "--dir", str(self._directory), *arguments]
        environment = {**bare_environment(), "KAFKA_HEAP": self._heap}
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            timeout=120,
        )
        if done.returncode:
            raise ContestError(f"kafka {action} failed: {done.stderr.strip()[-300:]}")


@dataclass(slots=True)
class Contest:
    """A broker whose topics have been filled, and where processes are run."""

    bootstrap_servers: str
    embedded: bool
    filled: Filled
    scratch: Path
    store_program: str | None = None
    _runs: int = 0

    @property
    def client(self) -> dict[str, Any]:
        """Properties of a client of the broker."""
        return {"bootstrap.servers": self.bootstrap_servers}

    def topics(self) -> list[str]:
        """The event topics' names."""
        return list(self.filled.topics.values())

    def raw(self, events: int) -> Figure:
        """A loop that only consumes."""
        command = [sys.executable, "-m", "bench.raw_consume", self.bootstrap_servers, ",".join(self.topics()), str(self.filled.partitions)]
        done = subprocess.run(command, check=True, cwd=REPOSITORY, stdout=subprocess.PIPE, timeout=600)
        found = json.loads(done.stdout)
        # clock marks are records too
        figure = Figure("raw consume", int(found["records"]), found["seconds"], found["cpu_s"], found["cpu_s"], 0.0)
        if figure.events < events:
            raise ContestError(f"the topics hold {figure.events:,} records instead of {events:,}")
        return figure

    @contextmanager
    def store(self, name: str) -> Iterator[EmbeddedStore]:
        """A store of its own for one contestant."""
        store = EmbeddedStore(self.scratch / f"{name}.store", self.store_program)
        store.start()
        try:
            yield store
        finally:
            store.stop()

    def peer(self, name: str, python: Path, events: int) -> tuple[Figure, list[bytes]]:
        """Run `bench.peers.NAME_days`; what it measured, and the records that it wrote."""
        out, started = f"{name}.days", self.scratch / f"{name}.started"
        create_topics(self.client, [out], self.filled.partitions)
        with self.store(name) as store:
            command = [
                str(python),
                "-m",
                f"bench.peers.{name}_days",
                "--bootstrap-servers",
                self.bootstrap_servers,
                "--topics",
                ",".join(self.topics()),
                "--closing",
                self.filled.closing,
                "--out",
                out,
                "--state",
                str(self.scratch / f"{name}.state"),
                "--started",
                str(started),
                "--store",
                store.url,
                "--partitions",
                str(self.filled.partitions),
            ]
            whole_s, peak_mb = run(command, self.scratch / f"{name}.log")
        began = json.loads(started.read_text(encoding="ascii"))
        records, newest_ms = results(self.client, out, self.embedded)
        # a record's timestamp is of the moment at which the peer handed it to its producer
        figure = Figure(name, events, newest_ms / 1000 - began["at_s"], whole_s - began["cpu_s"], whole_s, peak_mb, len(records))
        return figure, records

    def daywatch(self, name: str, hop: str, people: Path | None, events: int, processes: int = 1) -> tuple[Figure, list[bytes]]:
        """Run `daywatch window --until-done`; what was measured, and the windows."""
        namespace = self.filled.namespace(self._runs)
        self._runs += 1
        with self.store(namespace) as store:
            settings: dict[str, str] = {
                "namespace": namespace,
                "kafka.bootstrap_servers": self.bootstrap_servers,
                "kafka.embedded": str(self.embedded).lower(),
                "store.url": store.url,
                "topics.partitions": str(self.filled.partitions),
                "window.hop": hop,
                **{f"topics.{kind}": topic.removeprefix(f"{namespace}.") for kind, topic in self.filled.topics.items()},
                **({"window.directory": str(people)} if people else {}),
            }
            daywatch(settings, "topics", "create")
            times = self.scratch / f"{namespace}.times"
            times.mkdir(parents=True)
            pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
            command = [sys.executable, "-m", "bench.timed_window", str(times), *pairs, "window", "--until-done"]
            whole, peak = run([*command, "--processes", str(processes)], self.scratch / f"{namespace}.log")
            store_mb = store_memory_mb(store.url)
        told = [json.loads(place.read_text(encoding="ascii")) for place in times.glob("*.json")]
        told = [each for each in told if "ended_s" in each]
        if not told:
            raise ContestError(f"no window was sent; see {self.scratch}")
        records, _ = results(self.client, f"{namespace}.windows", self.embedded)
        began, ended = min(each["began_s"] for each in told), max(each["ended_s"] for each in told)
        cpu = sum(each["end_cpu_s"] - each["cpu_s"] for each in told)
        figure = Figure(
            name, events, ended - began, cpu, whole, peak, len(records), more={"store_end_mb": store_mb, "processes": processes}
        )
        return figure, records


def daywatch(settings: Mapping[str, str], *arguments: str) -> None:
    """Run a `daywatch` command that is over soon."""
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "daywatch", *pairs, *arguments],
        check=False,
        cwd=REPOSITORY,
        env=bare_environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ContestError(f"daywatch {arguments[0]} failed: {done.stderr.strip()[-500:]}")


def run(command: Sequence[str], log: Path) -> tuple[float, float]:
    """Run a process to its end: its processor seconds (all of them, all threads) and its peak memory in MB."""
    return _ended(started(command, log), log)


def started(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """A process that writes to `log`, knows nothing of this one's settings, and ends with it."""
    with log.open("wb") as out:
        return subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=bare_environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=dying_with_parent(),  # noqa: PLW1509 - one system call, looked up before the fork
        )


def _ended(child: "subprocess.Popen[bytes]", log: Path) -> tuple[float, float]:
    """Wait for a child and say what it used.

    Raises:
        ContestError: it failed, or takes more than an hour.
    """
    deadline = time.monotonic() + _GIVE_UP_S
    peak_mb = 0.0
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        # what wait4 says of memory begins with ours at the fork
        peak_mb = max(peak_mb, sum(map(_peak_mb, _family(child.pid))))
        if time.monotonic() > deadline:
            child.kill()
            raise ContestError(f"a process does not end; its log is {log}")
        time.sleep(0.05)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, -signal.SIGTERM):
        last = log.read_text(encoding="utf-8", errors="replace").strip()[-800:]
        raise ContestError(f"{child.args[2]} ended with {child.returncode}: {last}")  # type: ignore[index]
    return usage.ru_utime + usage.ru_stime, peak_mb


def _family(pid: int) -> list[int]:
    """A process and its children's children, as far as they can be known."""
    found = [pid]
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += [each for child in (thread / "children").read_text(encoding="ascii").split() for each in _family(int(child))]
    return found


def _peak_mb(pid: int) -> float:
    """A process' peak memory so far; 0 where it cannot be known."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def create_topics(client: Mapping[str, Any], names: Sequence[str], partitions: int) -> None:
    """Create topics and wait until the broker has them."""
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient(dict(client))
    for made in admin.create_topics([NewTopic(name, partitions, 1, config=_CONFIG) for name in names], operation_timeout=30).values():
        made.result(30)
    deadline = time.monotonic() + 30
    while set(names) - set(admin.list_topics(timeout=20).topics):
        if time.monotonic() > deadline:
            raise ContestError("topics were created and are not there")
        time.sleep(0.05)


def results(client: Mapping[str, Any], topic: str, embedded: bool) -> tuple[list[bytes], int]:
    """The values on a topic that can be read, and the newest record's timestamp (ms)."""
    values: list[bytes] = []
    newest = 0
    for messages in read_all(client, [topic], embedded=embedded):
        for message in messages:
            value = message.value()
            if value is not None:
                values.append(value)
                newest = max(newest, message.timestamp()[1])
    return values, newest


def store_memory_mb(url: str) -> float:
    """What a store's peak memory was, MB."""
    import redis

    with redis.Redis.from_url(url) as store:
        return float(store.info("memory")["used_memory_peak"]) / 1e6  # type: ignore[index]


def broker_of(apache: Path | None, scratch: Path, heap: str = "1g") -> Broker:
    """The embedded broker, or Apache Kafka by the directory of its launcher."""
    if apache is None:
        return EmbeddedBroker(scratch / "broker")
    return ApacheBroker(apache.resolve() / "kafka", scratch / "kafka", heap)
