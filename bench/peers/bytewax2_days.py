"""User/days with Bytewax as a cluster of two processes: the dataflow of `bytewax_days`, its keys dealt out between them.

Processor time is counted from when the first process had its first record; what the second had spent until then counts.
"""

import multiprocessing
import socket
import sys
from dataclasses import replace
from datetime import timedelta

from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from bench.peers.bytewax_days import flow
from bench.peers.day import Options, options

PROCESSES = 2


def addresses() -> list[str]:
    """Places on this machine where nobody listens."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(PROCESSES)]
    found = [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
    for probe in probes:
        probe.close()
    return found


def work(given: Options, number: int, places: list[str]) -> None:
    """One of the processes."""
    given = replace(given, started=given.started if number == 0 else given.started.with_suffix(".second"))
    cli_main(
        flow(given), process_id=number, addresses=places, epoch_interval=timedelta(seconds=10), recovery_config=RecoveryConfig(given.state)
    )


def main() -> None:
    """Run until the input is over."""
    given, places = options(), addresses()
    given.state.mkdir(parents=True, exist_ok=True)
    init_db_dir(given.state, PROCESSES)
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=work, args=(given, number, places)) for number in range(PROCESSES)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        sys.exit(1)
    sys.stderr.write("done\n")


if __name__ == "__main__":
    main()
