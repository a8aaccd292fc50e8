"""How a worker says what it does: the seam, and its in-memory twin. What is measured stands in `stream/metrics.py`; knows no server.

Numbers are told once a batch, never once an event, and only when they are true: after the commit. `beat` says that something has
just happened that health is judged by.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from stream.metrics import METRICS, OTHER, Counter, Gauge, Histogram, Metric, allowed

MOST_SERIES: Final = 2_000
"""Label sets of one metric; what comes after them is counted as `other`."""

LabelValues = tuple[str, ...]


class Beat(StrEnum):
    """What shows that a worker lives and can do its work."""

    LOOP = "loop"
    """Its loop has turned."""
    GROUP = "group"
    """The consumer group has said what it holds, be it nothing."""
    BROKER = "broker"
    STORE = "store"
    START = "start"
    """It has begun to be watched."""


class Telemetry(Protocol):
    """Takes counts, durations, levels and signs of life. Never raises for what it is told."""

    def count(self, metric: Counter, by: float = 1, /, **labels: str) -> None:
        """Add to a counter; adding 0 makes it known."""
        ...

    def observe(self, metric: Histogram, value: float, /, **labels: str) -> None:
        """Take down one value."""
        ...

    def levels(self, metric: Gauge, values: Mapping[LabelValues, float], /) -> None:
        """Set a gauge: these are all its label sets now, values in the order of the metric's labels; what is not named is gone."""
        ...

    def beat(self, beat: Beat, /) -> None:
        """It has just happened."""
        ...

    @property
    def wanted(self) -> bool:
        """Whether anybody listens: False saves working out what nobody will read."""
        ...


class NoTelemetry:
    """Nobody listens."""

    wanted = False

    def count(self, metric: Counter, by: float = 1, /, **labels: str) -> None:
        """Let it go."""

    def observe(self, metric: Histogram, value: float, /, **labels: str) -> None:
        """Let it go."""

    def levels(self, metric: Gauge, values: Mapping[LabelValues, float], /) -> None:
        """Let it go."""

    def beat(self, beat: Beat, /) -> None:
        """Let it go."""


NO_TELEMETRY: Final = NoTelemetry()


@dataclass(frozen=True, slots=True)
class Spread:
    """What a histogram has taken down for one label set: how many values up to each bucket's bound and above all, and their sum."""

    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """Of values."""
        return sum(self.counts)


@dataclass(slots=True)
class _Spread:
    counts: list[int]
    total: float = 0.0


class MemoryTelemetry:
    """Keeps everything in memory: what a metrics server shows, and what a test looks at. Safe to use from several threads."""

    wanted = True

    def __init__(self, metrics: Iterable[Metric] = METRICS, timer: Callable[[], float] = time.monotonic) -> None:
        """`timer` gives seconds that never go back; signs of life are dated by it."""
        self.metrics = tuple(metrics)
        self._timer, self._lock = timer, threading.Lock()
        self._numbers: dict[str, dict[LabelValues, float]] = {one.name: {} for one in self.metrics if not isinstance(one, Histogram)}
        self._spreads: dict[str, dict[LabelValues, _Spread]] = {one.name: {} for one in self.metrics if isinstance(one, Histogram)}
        self._beats: dict[Beat, float] = {}

    def count(self, metric: Counter, by: float = 1, /, **labels: str) -> None:
        """Add to a counter."""
        values = _values(metric, labels)
        with self._lock:
            held = self._numbers[metric.name]
            values = _bounded(held, values)
            held[values] = held.get(values, 0.0) + by

    def observe(self, metric: Histogram, value: float, /, **labels: str) -> None:
        """Take down one value."""
        values, bucket = _values(metric, labels), bisect_left(metric.buckets, value)
        with self._lock:
            held = self._spreads[metric.name]
            values = _bounded(held, values)
            spread = held.setdefault(values, _Spread([0] * (len(metric.buckets) + 1)))
            spread.counts[bucket] += 1
            spread.total += value

    def levels(self, metric: Gauge, values: Mapping[LabelValues, float], /) -> None:
        """Set a gauge, all of it."""
        held: dict[LabelValues, float] = {}
        for given, value in values.items():
            held[_bounded(held, _values(metric, dict(zip(metric.labels, given, strict=True))))] = value
        with self._lock:
            self._numbers[metric.name] = held

    def beat(self, beat: Beat, /) -> None:
        """It has just happened."""
        with self._lock:
            self._beats[beat] = self._timer()

    # what is asked of it -------------------------------------------------------------------------------------------------

    def numbers(self, metric: Counter | Gauge) -> dict[LabelValues, float]:
        """A counter's or gauge's values by label values."""
        with self._lock:
            return dict(self._numbers[metric.name])

    def value(self, metric: Counter | Gauge, **labels: str) -> float:
        """One of them; 0 for a label set that nobody has told of."""
        return self.numbers(metric).get(tuple(labels[name] for name in metric.labels), 0.0)

    def spreads(self, metric: Histogram) -> dict[LabelValues, Spread]:
        """A histogram's values by label values."""
        with self._lock:
            return {values: Spread(tuple(held.counts), held.total) for values, held in self._spreads[metric.name].items()}

    def ages(self) -> dict[Beat, float]:
        """Seconds since each sign of life; those that never came are left out."""
        with self._lock:
            now = self._timer()
            return {beat: now - at for beat, at in self._beats.items()}


def _values(metric: Metric, labels: Mapping[str, str]) -> LabelValues:
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} has the labels {metric.labels}")
    return tuple(allowed(name, labels[name]) for name in metric.labels)


def _bounded(held: Mapping[LabelValues, object], values: LabelValues) -> LabelValues:
    return values if values in held or len(held) < MOST_SERIES else (OTHER,) * len(values)
