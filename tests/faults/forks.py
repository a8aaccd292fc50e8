"""Starts `daywatch` processes from one that has imported everything already: what a start costs is most of what a schedule would.

    python -m tests.faults.forks

Reads a line of JSON for each process to start (`name`, `argv`, `environment`, `log`; `exec`: from the beginning, as a program), and
answers with its number; says so, with its exit status and processor time, when one ends. A process is the command line and nothing else:
`daywatch.__main__.main()`, as the program does.
"""

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def main() -> None:
    _import_all()
    # a fork has one thread: whatever another holds stays locked for ever. These two are made when polars is imported, and wait; jemalloc
    # makes its own anew in a fork, and nothing here sorts more than memory holds.
    names = {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
    assert names <= {"python", "python3", "python3.11", "jemalloc_bg_thd", "polars-ooc-clea"}, names
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    _say(ready=True)
    buffer = b""
    while True:
        if select.select([0], [], [], 0.1)[0]:
            more = os.read(0, 65_536)
            if not more:
                return
            buffer += more
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            order = json.loads(line)
            pid = os.fork()
            if pid == 0:
                _become(order)
            _say(started=order["name"], pid=pid)
        _reap()


_ALL = (
    "daywatch.__main__", "daywatch.backends", "daywatch.cli", "daywatch.commands.detect", "daywatch.commands.topics",
    "daywatch.commands.window", "daywatch.logs", "daywatch.operating", "daywatch.privacy", "daywatch.settings", "detector.baseline",
    "sinks.detect_worker", "sinks.operations", "stream.kafka_reader", "stream.kafka_source", "stream.kafka_topics",
    "stream.kafka_transactions", "windowing.redis_store", "windowing.worker",
)  # fmt: skip


def _import_all() -> None:
    for name in _ALL:
        importlib.import_module(name)


def _become(order: dict[str, Any]) -> None:
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG
    out = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for here, there in ((null, 0), (out, 1), (out, 2)):
        os.dup2(here, there)
    os.environ.update(order["environment"])
    if order["exec"]:
        os.execv(sys.executable, [sys.executable, "-m", "daywatch", *order["argv"]])
    sys.argv = ["daywatch", *order["argv"]]
    code = 70
    try:
        from daywatch.__main__ import main as daywatch

        daywatch()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:  # noqa: BLE001 - what the interpreter would have done
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _reap() -> None:
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say(ended=pid, code=os.waitstatus_to_exitcode(status), cpu_s=round(usage.ru_utime + usage.ru_stime, 3))


def _say(**facts: Any) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


if __name__ == "__main__":
    main()
