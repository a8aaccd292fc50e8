"""Looks, beside a worker and now and then, whether broker and store answer, and how far the logs' ends lie ahead.

In a thread of its own: a broker that is away must not keep a worker from its next turn, nor from stopping. Knows no worker:
which logs are read, and how far, is in what the worker tells.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from stream.errors import PipelineError
from stream.log import TopicPartition
from stream.metrics import LAG, LOG_END, POSITION
from stream.telemetry import Beat, LabelValues, MemoryTelemetry

EVERY_S = 10.0

Ends = Callable[[Iterable[TopicPartition]], Mapping[TopicPartition, int]]


def look(telemetry: MemoryTelemetry, ends: Ends, *, believed: bool = True) -> None:
    """Ask for the ends of the logs that the worker says it reads, and tell its lag; `believed` is False where ends are only a guess.

    Raises:
        PipelineError: the broker has not answered.
    """
    positions = {TopicPartition(topic, int(number)): at for (topic, number), at in telemetry.numbers(POSITION).items() if number.isdigit()}
    found = ends(positions)
    telemetry.beat(Beat.BROKER)
    # what has been taken over or given away meanwhile is neither missing nor late
    held = telemetry.numbers(POSITION)
    shown: dict[LabelValues, float] = {
        (at.topic, str(at.partition)): end for at, end in found.items() if believed and (at.topic, str(at.partition)) in held
    }
    telemetry.levels(LOG_END, shown)
    telemetry.levels(LAG, {at: max(0, end - held[at]) for at, end in shown.items()})


@contextmanager
def looking_out(
    telemetry: MemoryTelemetry, ends: Ends, ask_store: Callable[[], object] | None, *, believed: bool = True, every_s: float = EVERY_S
) -> Iterator[None]:
    """Look at once and then every few seconds, until the block ends."""
    stop = threading.Event()

    def run() -> None:
        while True:
            _unless_silent(lambda: look(telemetry, ends, believed=believed))
            if ask_store is not None and _unless_silent(ask_store):
                telemetry.beat(Beat.STORE)
            if stop.wait(every_s):
                return

    # a daemon: one that waits for an answer must not hold up the end of the process
    threading.Thread(target=run, name="lookout", daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def _unless_silent(ask: Callable[[], object]) -> bool:
    """Whether there was an answer; none is what health is there to show."""
    try:
        ask()
    except PipelineError:
        return False
    return True
