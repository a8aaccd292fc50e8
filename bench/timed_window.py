"""`daywatch window` with a stopwatch held to it: `python -m bench.timed_window DIRECTORY WINDOW-ARGUMENTS…`.

The command itself runs, unchanged. Two of its seams are watched in each of its processes: when its source is told where to read from (no
record can have been consumed before), and when a transaction that sent windows has been committed (they can be read from then on).
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from daywatch.commands import window
from stream.kafka_source import KafkaOutlet, KafkaSource

_WORK: Callable[..., Any] = window._work  # noqa: SLF001 - what each process of the command runs


def watch(told: dict[str, float]) -> None:
    """Let the two classes write down their times: `began_s`, `cpu_s` (spent before), `ended_s`, `end_cpu_s`, `windows`."""
    start, transact = KafkaSource.start, KafkaOutlet.transact

    def timed_start(self: KafkaSource, *arguments: Any, **more: Any) -> Any:
        if arguments[0] and "began_s" not in told:
            told.update(began_s=time.time(), cpu_s=time.process_time())
        return start(self, *arguments, **more)

    def timed_transact(self: KafkaOutlet, records: Any, *arguments: Any, **more: Any) -> Any:
        done = transact(self, records, *arguments, **more)
        if windows := sum(record.value is not None for record in records):  # the others are clock marks
            told.update(ended_s=time.time(), end_cpu_s=time.process_time(), windows=told.get("windows", 0) + windows)
        return done

    KafkaSource.start = timed_start  # type: ignore[method-assign]
    KafkaOutlet.transact = timed_transact  # type: ignore[method-assign]


def timed(directory: Path, *arguments: Any) -> Any:
    """What a process of the command runs, watched; its times go into a file of the directory."""
    told: dict[str, float] = {}
    watch(told)
    try:
        return _WORK(*arguments)
    finally:
        (directory / f"{os.getpid()}.json").write_text(json.dumps(told), encoding="ascii")


def main() -> None:
    """Run the command."""
    directory = Path(sys.argv.pop(1))
    window._work = partial(timed, directory)  # type: ignore[assignment]  # noqa: SLF001
    from daywatch.__main__ import main as daywatch

    daywatch()


if __name__ == "__main__":
    main()
