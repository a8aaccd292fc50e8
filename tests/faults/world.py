"""The servers and processes of the fault harness: a broker for many schedules, a store and workers for each, and links between them."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from daywatch.embedded import EmbeddedStore, ServerError, dying_with_parent, free_port
from tests.faults.proxy import Link, Network
from tests.servers import REPOSITORY, ApacheKafka, kafka_launcher, redis_program
from tests.servers import _free_pair as free_pair

PARTS = ("upstream", "w1", "w2", "w3", "d1", "d2")
_IMPATIENT = (
    "group.min.session.timeout.ms=1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000",
    "file.delete.delay.ms=1000",
    "num.io.threads=3", "num.network.threads=2", "background.threads=2", "num.recovery.threads.per.data.dir=1",
    "log.cleaner.dedupe.buffer.size=2097152", "log.index.size.max.bytes=262144",
)  # fmt: skip
# a broker that starts again and again: most of it is compiling, and it has little to do
_JAVA = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1", "KAFKA_HEAP": "320m"}


class Broker(ApacheKafka):
    """Apache Kafka with a listener for each part, which it advertises as the part's own link: all that the part says goes through it."""

    def __init__(self, directory: Path, links: Mapping[str, Link]) -> None:
        launcher = kafka_launcher()
        assert launcher is not None
        self._log = directory / "server.log"
        plain = free_pair()
        own = {part.upper(): (free_port(), link) for part, link in links.items()}
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, (port, _) in own.items())
        advertised = ",".join(f"{name}://127.0.0.1:{link.port}" for name, (_, link) in own.items())
        kinds = ",".join(f"{name}:PLAINTEXT" for name in own)
        super().__init__(launcher, directory, [
            *_IMPATIENT,
            f"listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{plain + 1},{listeners}",
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{plain + 1},{advertised}",
            f"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,{kinds}",
        ])  # fmt: skip
        self._port = plain
        for port, link in own.values():
            link.target = port

    def again(self) -> None:
        """Start it after it has ended."""
        # the launcher looks for the line of readiness in the log: an old one must not answer for the new broker
        self._log.unlink(missing_ok=True)
        self.start()


class Store:
    """Redis as deployed, on a small disk of its own where that can be had."""

    def __init__(self, directory: Path, links: Sequence[Link], *, own_disk: bool) -> None:
        program = redis_program()
        assert program is not None
        self._directory, self._links, self._own_disk = directory, links, own_disk
        directory.mkdir(parents=True)
        if own_disk:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", directory], check=True)
        self._server = EmbeddedStore(directory, program)
        self._unsynced: tuple[Path, int] | None = None
        self.repaired = 0
        self.start()

    def start(self) -> bool:
        """Whether it has come up; it does not while its disk is full, say."""
        try:
            self._server.start()
        except ServerError:
            self._repair()
            return False
        for link in self._links:
            link.target = int(self._server.url.rpartition(":")[2].partition("/")[0])
        return True

    def _repair(self) -> None:
        """What an operator does when Redis cannot read its own file: cut it off where it becomes unreadable.

        Redis 7.0 leaves a hole in the file after a disk was full, if that file was begun by a rewrite (it is then not open for appending).
        """
        if "Bad file format" in (self._directory / "store.log").read_text(encoding="utf-8", errors="replace")[-2_000:]:
            manifest = self._directory / "appendonlydir" / "appendonly.aof.manifest"
            subprocess.run([_checker(), "--fix", manifest], input=b"y\n", check=False, capture_output=True, timeout=60)
            self.repaired += 1

    @property
    def alive(self) -> bool:
        return self._server.pid is not None

    def kill(self) -> None:
        self._server.kill()

    def kill_at_once(self) -> None:
        """As `kill`, without waiting for its end."""
        if (pid := self._server.pid) is not None:
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self._server.stop()

    def limit(self, memory: int) -> bool:
        """Set `maxmemory`; 0: none. Whether it was done."""
        return self._configure("maxmemory", str(memory))

    def stop_syncing(self) -> bool:
        """From now on nothing that it writes reaches the disk. Whether it was done."""
        self._unsynced = (self._file, self._file.stat().st_size) if self._configure("appendfsync", "no") else None
        return self._unsynced is not None

    def cut_power(self, share: float) -> int:
        """End it, and take away that share of what was not synced; how many bytes that were."""
        self._server.kill()
        assert self._unsynced is not None
        file, synced = self._file, self._unsynced[1] if self._unsynced[0] == self._file else 0
        lost = int((file.stat().st_size - synced) * share)
        os.truncate(file, file.stat().st_size - lost)
        return lost

    @property
    def unsynced(self) -> int:
        """How many bytes it has written since it stopped syncing."""
        assert self._unsynced is not None
        return self._file.stat().st_size - self._unsynced[1] if self._file == self._unsynced[0] else 1

    @property
    def _file(self) -> Path:
        """The file that it appends to at present."""
        manifest = (self._directory / "appendonlydir" / "appendonly.aof.manifest").read_text().splitlines()
        return self._directory / "appendonlydir" / next(line.split()[1] for line in reversed(manifest) if line.endswith("type i"))

    def fill_disk(self) -> None:
        with contextlib.suppress(OSError), (self._directory / "ballast").open("wb", buffering=0) as ballast:
            for _ in range(100_000):
                ballast.write(b"\0" * 4096)

    def empty_disk(self) -> None:
        (self._directory / "ballast").unlink(missing_ok=True)

    def _configure(self, name: str, value: str) -> bool:
        with contextlib.closing(Redis.from_url(self._server.url, socket_timeout=5)) as client:
            try:
                return bool(client.config_set(name, value))
            except RedisError:
                return False

    def close(self) -> None:
        self._server.kill()
        for link in self._links:
            link.target = 0
        if self._own_disk:
            subprocess.run(["umount", "-l", self._directory], check=False)


def _checker() -> str:
    """Redis' own program that repairs its files."""
    beside = Path(redis_program() or "").with_name("redis-check-aof")
    return str(beside) if beside.is_file() else "redis-check-aof"


def can_mount(directory: Path) -> bool:
    """Whether this process may make small disks."""
    place = directory / "try"
    place.mkdir(parents=True, exist_ok=True)
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=False, capture_output=True)
    if tried.returncode == 0:
        subprocess.run(["umount", place], check=True)
    place.rmdir()
    return tried.returncode == 0


class Processes:
    """Starts workers, and knows which have ended, and how."""

    def __init__(self) -> None:
        self._forks = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.forks"], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            preexec_fn=dying_with_parent(),  # noqa: PLW1509 - one system call, looked up before the fork
        )  # fmt: skip
        self._buffer = b""
        self._pids: dict[str, int] = {}
        self.codes: dict[int, int] = {}
        """How those that have ended did, by process number."""
        self.cpu_s = 0.0
        assert self._next(120).get("ready")

    def start(self, name: str, argv: Sequence[str], log: Path, *, from_the_beginning: bool = False) -> int:
        """The number of a new process that runs `daywatch ARGV`."""
        environment = {"DAYWATCH_DEBUG": "1", "PYTHONUNBUFFERED": "1"}
        order = {"name": name, "argv": [*argv], "environment": environment, "log": str(log), "exec": from_the_beginning}
        assert self._forks.stdin is not None
        self._forks.stdin.write(json.dumps(order).encode() + b"\n")
        self._forks.stdin.flush()
        while True:
            said = self._next(60)
            if said.get("started") == name:
                # a number that was used before stands for another process now
                self.codes.pop(said["pid"], None)
                return int(said["pid"])
            self._note(said)

    def look(self) -> None:
        """Learn who has ended."""
        while said := self._next(0):
            self._note(said)

    def wait(self, pid: int, within_s: float) -> int | None:
        """How a process has ended; None when it has not."""
        deadline = time.monotonic() + within_s
        while pid not in self.codes and time.monotonic() < deadline:
            self._note(self._next(0.1))
        return self.codes.get(pid)

    def _note(self, said: Mapping[str, Any]) -> None:
        if "ended" in said:
            self.codes[said["ended"]] = said["code"]
            self.cpu_s += said["cpu_s"]

    def _next(self, within_s: float) -> dict[str, Any]:
        assert self._forks.stdout is not None
        while b"\n" not in self._buffer:
            if not select.select([self._forks.stdout], [], [], within_s)[0]:
                return {}
            more = os.read(self._forks.stdout.fileno(), 65_536)
            assert more, "the process that starts workers has ended"
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\n")
        return dict(json.loads(line))

    def close(self) -> None:
        self._forks.kill()
        self._forks.wait()
        for pipe in (self._forks.stdin, self._forks.stdout):
            if pipe is not None:
                pipe.close()


class World:
    """What schedules of one job run on, one after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.own_disk = can_mount(directory)
        self.network = Network()
        self.to_broker = {part: self.network.link() for part in PARTS}
        self.to_store = {part: self.network.link() for part in PARTS if part.startswith("w")}
        self._around = {name: os.environ.get(name) for name in _JAVA}
        os.environ.update(_JAVA)
        shutil.rmtree(directory / "kafka", ignore_errors=True)
        self.broker = Broker(directory / "kafka", self.to_broker)
        self._broker_busy: threading.Thread | None = None
        try:
            self.broker.start()
            self.processes = Processes()
        except BaseException:
            self.broker.kill()
            raise

    def store(self, seed: int) -> Store:
        """A new store, empty."""
        place = self.directory / f"store-{seed}"
        if place.exists():  # left behind by a harness that was killed
            subprocess.run(["umount", "-l", place], check=False, capture_output=True)
            shutil.rmtree(place)
        return Store(place, list(self.to_store.values()), own_disk=self.own_disk)

    def end_broker(self, *, kill: bool, down_s: float) -> None:
        """End the broker and start it again, beside whatever else goes on."""

        def again() -> None:
            (self.broker.kill if kill else self.broker.stop)()
            time.sleep(down_s)
            for tries_left in (2, 1, 0):
                try:
                    self.broker.again()
                except (RuntimeError, subprocess.TimeoutExpired):  # a busy machine: it takes longer than the launcher waits
                    if not tries_left:
                        raise
                else:
                    break

        self._broker_busy = threading.Thread(target=again, name="broker", daemon=True)
        self._broker_busy.start()

    @property
    def broker_busy(self) -> bool:
        """Whether the broker is on its way."""
        return self._broker_busy is not None and self._broker_busy.is_alive()

    def heal(self) -> None:
        """Let everything through everywhere."""
        for link in (*self.to_broker.values(), *self.to_store.values()):
            link.heal()

    def close(self) -> None:
        self.processes.close()
        if self._broker_busy is not None:
            self._broker_busy.join(120)
        self.broker.kill()
        self.network.close()
        for name, value in self._around.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
