"""A real windowing worker process that kills itself with SIGKILL at one effect of its write path. Run by test_worker_on_kafka.

    python -m tests.windowing.dying_worker SETTINGS_JSON STEP NUMBER

STEP is `begun`, `produced`, `offsets`, `committed` (of the transaction), `stored`, or `never`; NUMBER counts its occurrences.
"""

import dataclasses
import json
import os
import signal
import sys
from typing import Any

from daywatch.commands.window import build_worker
from daywatch.settings import load
from tests.stepping import stepping


def main() -> None:
    flags, step, number = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    worker, close = build_worker(load(flags=flags), until_done=True)
    seen = 0

    def reached(name: str) -> None:
        nonlocal seen
        if name == step:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    made: Any = worker  # wrapped from outside: the product has no hooks for tests
    made._cycle.settings = dataclasses.replace(made._cycle.settings, close_windows=1, batch_records=40, write_after_ms=20)
    made._cycle.outlet._outlet._producer._make = stepping(reached)
    advance = made._cycle.store.advance

    def storing(changes: Any) -> None:
        advance(changes)
        reached("stored")

    made._cycle.store.advance = storing
    try:
        worker.run(lambda: False)
    finally:
        close()


if __name__ == "__main__":
    main()
