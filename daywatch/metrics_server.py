"""A worker's metrics in Prometheus' format, and its health, over HTTP: `/metrics`, `/healthz`, `/readyz`. Knows no worker."""

import errno
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from stream.errors import UsageError
from stream.metrics import Counter, Gauge, Histogram
from stream.telemetry import Beat, MemoryTelemetry, Spread

_READ_TIMEOUT_S: Final = 10


class Shown(Collector):
    """What a `MemoryTelemetry` holds, as Prometheus reads it. Each metric is shown as it stood at one moment."""

    def __init__(self, telemetry: MemoryTelemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterator[Metric]:
        """Every metric of the table, those without values too."""
        for metric in self._telemetry.metrics:
            yield self._family(metric)

    def describe(self) -> Iterator[Metric]:
        """Nothing to describe before it is collected."""
        return iter(())

    def _family(self, metric: Counter | Gauge | Histogram) -> Metric:
        if isinstance(metric, Histogram):
            spreads = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for values, spread in sorted(self._telemetry.spreads(metric).items()):
                spreads.add_metric(values, list(_cumulated(metric, spread)), spread.total)
            return spreads
        family = CounterMetricFamily if isinstance(metric, Counter) else GaugeMetricFamily
        numbers: CounterMetricFamily | GaugeMetricFamily = family(metric.name, metric.help, labels=metric.labels)
        for values, value in sorted(self._telemetry.numbers(metric).items()):
            numbers.add_metric(values, value)
        return numbers


def _cumulated(metric: Histogram, spread: Spread) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(str, metric.buckets), "+Inf"), spread.counts, strict=True):
        total += count
        yield bound, total


@dataclass(frozen=True, slots=True)
class Limits:
    """How old signs of life may be, in seconds, and which of them a worker needs."""

    stalled_s: float = 300.0
    unanswered_s: float = 30.0
    needs: frozenset[Beat] = frozenset({Beat.GROUP, Beat.BROKER})


class Health(NamedTuple):
    """Whether it is well, and what says so."""

    well: bool
    facts: dict[str, object]


def alive(ages: dict[Beat, float], since_start_s: float, limits: Limits) -> Health:
    """Whether the loop has turned lately; a worker that is starting has the same time for its first turn.

    >>> alive({Beat.LOOP: 2.0}, 60.0, Limits()).well, alive({Beat.LOOP: 301.0}, 999.0, Limits()).well
    (True, False)
    """
    age = ages.get(Beat.LOOP, since_start_s)
    return Health(age <= limits.stalled_s, {"seconds_since_turn": round(age, 1) if Beat.LOOP in ages else None})


def ready(ages: dict[Beat, float], since_start_s: float, limits: Limits) -> Health:
    """Whether it is alive, the group has said what it holds, and broker and store have answered lately.

    What the group said counts as of the loop's last turn: a model may take minutes over a batch.
    """
    turn = ages.get(Beat.LOOP)
    missing = []
    for beat in sorted(limits.needs):
        age = ages.get(beat)
        if age is not None and beat is Beat.GROUP and turn is not None:
            age -= turn
        if age is None or age > limits.unanswered_s:
            missing.append(beat.value)
    well = alive(ages, since_start_s, limits).well and turn is not None and not missing
    return Health(well, {"waiting_for": missing + ([] if turn is not None else [Beat.LOOP.value])})


def registry_of(telemetry: MemoryTelemetry) -> CollectorRegistry:
    """Our metrics, and those of the process (CPU, memory, open files)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Shown(telemetry))
    ProcessCollector(registry=registry)
    return registry


@contextmanager
def serving(telemetry: MemoryTelemetry, host: str, port: int, limits: Limits) -> Iterator[int]:
    """Serve until the block ends; gives the port, which the system chooses if it is 0.

    Raises:
        UsageError: the port is taken, or cannot be had.
    """
    registry = registry_of(telemetry)
    # the signs of life and the start are dated by one clock
    telemetry.beat(Beat.START)

    class Handler(BaseHTTPRequestHandler):
        timeout = _READ_TIMEOUT_S
        server_version, sys_version = "daywatch", ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif path in ("/healthz", "/readyz"):
                ages = telemetry.ages()
                health = (alive if path == "/healthz" else ready)(ages, ages[Beat.START], limits)
                body = {"ok": health.well, **health.facts}
                self._answer(200 if health.well else 503, "application/json", json.dumps(body).encode() + b"\n")
            else:
                self._answer(404, "text/plain", b"/metrics, /healthz or /readyz\n")

        do_HEAD = do_GET  # noqa: N815 - the name that the library asks for

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """A line for every scrape would drown the others."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64
        # another worker's port must not be shared without anybody noticing
        allow_reuse_address = True
        allow_reuse_port = False

    if ":" in host:
        Server.address_family = AF_INET6
    try:
        server = Server((host, port), Handler)
    except OSError as error:
        raise UsageError(_why(error, host, port)) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.2,), name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"metrics.port: {port} on {host} is in use; give each worker on a machine a port of its own, or 0 for any that is free"
    if error.errno == errno.EACCES:
        return f"metrics.port: {port} on {host} may not be opened by this user; use a port above 1023"
    return f"metrics.host: cannot listen on {host} ({error.strerror or type(error).__name__}); use an address of this machine"
