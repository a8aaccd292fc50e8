"""The chain as processes of its own: the same commands that a person would type, on embedded servers. Knows nothing of what they do."""

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from daywatch.embedded import dying_with_parent
from daywatch.settings import bare_environment
from stream.errors import PipelineError

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
        lines = self._log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").strip().splitlines()
        return lines[-1] if lines else ""

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

    def _last_words(self) -> str:
        return self.said().removeprefix("daywatch: error: ") or f"its log {self._log} is empty"
