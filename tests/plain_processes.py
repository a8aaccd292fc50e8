"""Command lines of deployment files, tried as plain processes: the same words and environment, at this machine's addresses.

What a container would give them is given as far as a process can have it: an empty home and working directory, in which nothing
may be written, and nothing of our own environment.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.servers import REPOSITORY


def until(true: Callable[[], Any], within_s: float = 300.0) -> Any:
    """Wait for a condition and return what it says, or fail by its name."""
    deadline = time.monotonic() + within_s
    while not (said := true()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {getattr(true, '__name__', true)}"
        time.sleep(0.1)
    return said


def dockerfile() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (REPOSITORY / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in lines]


class Rewrite:
    """Puts this machine's addresses where a file names those of its own network."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)

    def __call__(self, text: str) -> str:
        for there, here in self._addresses.items():
            text = text.replace(there, here)
        return text

    def all(self, texts: Sequence[str]) -> list[str]:
        return [self(text) for text in texts]

    def values(self, mapping: Mapping[str, str]) -> dict[str, str]:
        return {name: self(str(value)) for name, value in mapping.items()}


class PlainProcess:
    """A command line of a container's, running here."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], place: Path) -> None:
        """Start it; `place` is made, and holds an empty home beside what it says."""
        self.home, self._out, self._err = place / "home", place / "out", place / "err"
        temporary = place / "tmp"
        for directory in (self.home, temporary):
            directory.mkdir(parents=True)
        around = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "TMPDIR": str(temporary),
        }
        # tests run side by side; and a container has no cache of models
        around |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        self._around = around | {name: str(value) for name, value in environment.items()}
        found = shutil.which(words[0], path=around["PATH"])
        assert found is not None, f"no program {words[0]}"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [found, *words[1:]], env=self._around, cwd=self.home, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8", errors="replace")

    def code(self, within_s: float = 300.0) -> int:
        """Its exit code, once it has ended by itself."""
        return self._process.wait(within_s)

    def runs(self) -> bool:
        return self._process.poll() is None

    def well(self, words: Sequence[str]) -> bool:
        """Whether a health check, run beside it, is content. It fails the test when the process has ended."""
        assert self.runs(), f"it ended with {self._process.returncode}: {self.err[-2000:]}"
        return subprocess.run(words, env=self._around, check=False, capture_output=True, timeout=60).returncode == 0

    def stop(self, within_s: float) -> int:
        """Its exit code after SIGTERM, as a container's runtime sends it before it loses patience."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(within_s)

    def kill(self) -> None:
        if self.runs():
            self._process.kill()
            self._process.wait()

    def written(self) -> list[str]:
        """What it has left in its home, which a container could not write."""
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*"))


def health_words(test: Sequence[str]) -> list[str]:
    """The command line of a Compose health check."""
    kind, *words = test
    assert kind in ("CMD", "CMD-SHELL"), kind
    return ["sh", "-c", *words] if kind == "CMD-SHELL" else words
