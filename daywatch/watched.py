"""What surrounds a worker's run: log lines, and, if a port is set, metrics and health. Knows no worker and no topic by name."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING

from daywatch import logs
from stream.metrics import BUILD_INFO
from stream.notes import logger_of, note
from stream.telemetry import NO_TELEMETRY, Beat, MemoryTelemetry, Telemetry

if TYPE_CHECKING:
    from daywatch.settings import Settings


@contextmanager
def watched(
    settings: "Settings", role: str, *, quiet: bool = False, group: bool = True, ask_store: Callable[[], object] | None = None
) -> Iterator[Telemetry]:
    """Where a worker of this role tells what it does, while the block runs.

    Args:
        settings: say in which form lines are written, and on which port metrics are shown (none: nobody listens).
        role: one word.
        quiet: only what matters is written.
        group: the worker is ready only when its consumer group has said what it holds.
        ask_store: asks the store for something small; None for a worker without one.

    Raises:
        UsageError: the port is taken, or cannot be had.
    """
    logs.begin(settings.logs, quiet=quiet)
    log = logger_of(role)
    note(log, logging.INFO, "started", f"Daywatch {version('daywatch')}, namespace {settings.namespace}", namespace=settings.namespace)
    if settings.metrics.port is None:
        yield NO_TELEMETRY
        return
    from daywatch.lookout import looking_out
    from daywatch.metrics_server import Limits, serving
    from stream.kafka_ends import LogEnds

    telemetry = MemoryTelemetry()
    telemetry.levels(BUILD_INFO, {(version("daywatch"), role, python_version()): 1})
    needs = frozenset({Beat.BROKER, *([Beat.GROUP] if group else []), *([Beat.STORE] if ask_store else [])})
    chosen = settings.metrics
    limits = Limits(chosen.stalled_after / 1000, chosen.unanswered_after / 1000, needs)
    with ExitStack() as around:
        port = around.enter_context(serving(telemetry, chosen.host, chosen.port or 0, limits))
        host = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
        note(log, logging.INFO, "metrics", f"metrics on http://{host}:{port}/metrics, health on /healthz and /readyz", port=port)
        ends = LogEnds(settings.kafka.client())
        around.enter_context(looking_out(telemetry, ends.of, ask_store, believed=not settings.kafka.embedded))
        yield telemetry
