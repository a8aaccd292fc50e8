"""The chain: workers as processes of their own, the same commands that a person would type; the replay as a thread that is counted.

Knows nothing of what comes out.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from daywatch.embedded import dying_with_parent
from daywatch.settings import Settings, bare_environment
from stream.errors import PipelineError
from stream.kinds import KINDS, Kind
from stream.log import Headers

if TYPE_CHECKING:
    from stream.replay import EventSink

_STOP_WITHIN_S = 20.0


class Worker:
    """One `daywatch` command in a process that ends with us."""

    def __init__(self, name: str, arguments: Sequence[str], settings: Mapping[str, str], directory: Path) -> None:
        """Start `daywatch ARGUMENTS` with these settings and nothing from our environment; its log goes to `directory`."""
        self.name = name
        self._log = directory / f"{name}.log"
        pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "daywatch", *pairs, *arguments],
                cwd=directory,  # a settings file where the user stands is none of the demonstration's
                env=bare_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop them in order
                preexec_fn=dying_with_parent(),  # noqa: PLW1509 - one system call, looked up before the fork
            )

    def running(self) -> bool:
        """Whether it still works.

        Raises:
            PipelineError: it has failed; the text is the last it said.
        """
        code = self._process.poll()
        if code:
            raise PipelineError(f"the {self.name} process ended with {code}: {self._last_words()}")
        return code is None

    def said(self) -> str:
        """The last line of its log."""
        lines = self._lines()
        return lines[-1] if lines else ""

    def said_of(self, words: str) -> str:
        """From these words on, the last line of its log that has them; empty when none has."""
        return next((line[line.index(words) :] for line in reversed(self._lines()) if words in line), "")

    def stop(self) -> None:
        """Ask it to end and wait until it has; kill it when that takes too long."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _lines(self) -> list[str]:
        return self._log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").strip().splitlines()

    def _last_words(self) -> str:
        return self.said().removeprefix("daywatch: error: ") or f"its log {self._log} is empty"


class Streaming:
    """A replay of a directory into the event topics, in a thread; `events` counts by kind while it runs."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        """Start it."""
        self.events = dict.fromkeys(KINDS, 0)
        self.began = time.monotonic()
        self._settings, self._directory = settings, directory
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self._thread.start()

    def running(self) -> bool:
        """Whether it still streams.

        Raises:
            PipelineError: it has failed, from whatever it failed from.
        """
        alive = self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return alive

    def stop(self) -> None:
        """End it and wait until it has."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        from daywatch.commands.replay import closing_mark
        from daywatch.commands.topics import layout_of
        from stream.clock import SystemClock
        from stream.kafka_producer import KafkaEventSink
        from stream.replay import Replay, ReplayPlan

        try:
            topics = layout_of(self._settings).event_topics()
            sink = _Counting(KafkaEventSink(self._settings.kafka.client(), self._settings.topics.partitions), topics, self.events)
            plan = ReplayPlan(self._directory, self._settings.zone)
            replay = Replay(plan, topics, sink, closing_mark(self._settings), SystemClock())
            replay.run(lambda ms: time.sleep(ms / 1000), self._stopped.is_set)
        except BaseException as error:  # noqa: BLE001 - a thread cannot raise; the demonstration does it for it
            self._error = error


class _Counting:
    """A sink that counts what goes through it, by kind."""

    def __init__(self, sink: "EventSink", topics: Mapping[Kind, str], counts: dict[Kind, int]) -> None:
        self._sink, self._counts = sink, counts
        self._kinds = {topic: kind for kind, topic in topics.items()}
        self.mark, self.flush = sink.mark, sink.flush

    def send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes], headers: Iterable[Headers] | None) -> None:
        """Hand over records and count them."""
        self._sink.send(topic, keys, values, headers)
        self._counts[self._kinds[topic]] += len(keys)
