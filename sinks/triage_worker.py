"""The work of a triage worker: label the log lines of a topic, and send labels, alerts, dead letters and offsets as one.

It remembers nothing. How records are read, sent and read again is the cycle's business (`sinks/cycle.py`); what labels lines is behind
the seam `Labels`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple, Protocol

import orjson

from detector.logline.labels import LineLabel
from detector.logline.lines import record_line
from sinks.cycle import Cycle, PastRecords, Reading
from sinks.line_alert import line_alert
from sinks.patience import Patience
from sinks.records import answering, cloud_headers, iso
from stream.clock import Clock
from stream.dead_letters import dead_letter
from stream.errors import PoisonError
from stream.kinds import Millis
from stream.log import Commit, Out, Outlet, Polled, Records, Source, TopicPartition
from stream.marks import CLOCK_HEADER
from stream.metrics import ALERT_ARRIVAL_SECONDS, ALERTS, DEAD_LETTERS, LINES
from stream.operations import Operations
from stream.telemetry import NO_TELEMETRY, Telemetry

SCHEMA = "daywatch.line/1"


class Labels(Protocol):
    """Whatever labels lines, each by itself."""

    @property
    def provenance(self) -> Mapping[str, str]:
        """Model, its digest, precision."""
        ...

    def labels(self, lines: Sequence[str]) -> list[LineLabel]:
        """One label for each line, in order."""
        ...


@dataclass(frozen=True, slots=True)
class TriageTopics:
    """Names of the topics that a triage worker touches, and the partition count that all but the dead letters share."""

    lines: str
    labels: str
    alerts: str
    dead_letters: str
    partitions: int
    dead_letter_partitions: int


@dataclass(frozen=True, slots=True)
class TriageSettings:
    """How much a cycle takes on, and what is alerted on; times in milliseconds."""

    alert_on: frozenset[str] = frozenset()
    batch_lines: int = 1_000
    poll_ms: Millis = 100
    until_done: bool = False
    trust_bounds: bool = True
    """False for the embedded broker: a log's end is what its polls say for `end_stands_ms`, and nothing uncertain can be mended."""
    end_stands_ms: Millis = 2_000


class NotALine(PoisonError):
    """A record without a value, which is no clock mark either."""

    code: ClassVar[str] = "no_line"


@dataclass(slots=True)
class Totals:
    """What a worker has done since it started, as committed."""

    lines: int = 0
    alerts: int = 0
    by_label: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    recoveries: int = 0
    arrivals_ms: list[Millis] = field(default_factory=list)
    """When the lines of the alerts were written into their log; of one batch."""

    def add(self, other: "Totals") -> None:
        """Count another's work as this one's."""
        self.lines += other.lines
        self.alerts += other.alerts
        for mine, more in ((self.by_label, other.by_label), (self.refused, other.refused)):
            for name, count in more.items():
                mine[name] = mine.get(name, 0) + count


class _Read(NamedTuple):
    """A line that can be labelled, and where its record lies."""

    line: str
    row: int


class TriageWorker:
    """Labels every line once, whatever dies."""

    def __init__(
        self,
        source: Source,
        outlet: Outlet,
        past: PastRecords,
        labels: Labels,
        topics: TriageTopics,
        settings: TriageSettings,
        clock: Clock,
        wait: Callable[[float], None] = time.sleep,
        telemetry: Telemetry = NO_TELEMETRY,
        operations: Operations | None = None,
    ) -> None:
        self._labels, self._topics, self._settings, self._clock, self._telemetry = labels, topics, settings, clock, telemetry
        doubled = ": labelling from the start might double them; use another --to-topic"
        written = (topics.labels, topics.alerts) if settings.alert_on else (topics.labels,)
        reading = Reading("classify", topics.lines, topics.partitions, topics.labels, written, doubled, settings.batch_lines)
        self.cycle = Cycle(source, outlet, past, reading, settings, self, clock, wait, telemetry, operations)
        self._done = Totals()
        self._labelling = Patience("label")

    @property
    def totals(self) -> Totals:
        """What it has done since it started, as committed."""
        return replace(self._done, recoveries=self.cycle.recoveries)

    @property
    def partitions(self) -> Sequence[int]:
        """Numbers of the partitions held."""
        return self.cycle.partitions

    @property
    def left_labelling(self) -> bool:
        """Whether it stopped without waiting for the model, whose thread may be busy for a while."""
        return self._labelling.left

    def run(self, stop: Callable[[], bool], after_step: Callable[["TriageWorker"], None] = lambda _: None) -> None:
        """Work until told to stop, or, with `until_done`, until everything that was there has been worked off: see `Cycle.run`."""
        self._labelling.stop = stop
        self.cycle.run(stop, lambda: after_step(self))

    def step(self) -> None:
        """One batch: read, label, send: see `Cycle.step`."""
        self.cycle.step()

    # what the cycle asks for: nothing is remembered, and nothing put off ---------------------------------------------------

    def claimed(self, logs: Sequence[TopicPartition]) -> None:
        """There is nothing to find out about a log of lines."""

    def finish(self) -> None:
        """Nothing is ever in hand."""

    def forget(self) -> None:
        """Nothing is remembered."""

    def take(self, polled: Polled) -> None:
        """Label what came, and send it."""
        self._take(polled.records)
        self.cycle.note_ends(polled)

    # a batch ---------------------------------------------------------------------------------------------------------

    def _take(self, batch: Sequence[Records]) -> None:
        if not batch:
            return
        out: list[Out] = []
        totals = Totals()
        reads = [self._read(found, out, totals) for found in batch]
        # labelled before the transaction opens, which must stay short; all partitions together, which is cheaper
        said = iter(self._labelling.begin(self._labels.labels, [read.line for lines in reads for read in lines])())
        for found, lines in zip(batch, reads, strict=True):
            for read in lines:
                self._say(found, read, next(said), out, totals)
        self.cycle.send(out, {found.at: Commit(found.next_offset) for found in batch}, batch)
        self._done.add(totals)
        self._tell(totals)

    def _tell(self, work: Totals) -> None:
        """Of a batch that is committed."""
        for label, lines in work.by_label.items():
            self._telemetry.count(LINES, lines, label=label.lower())
        for code, refused in work.refused.items():
            self._telemetry.count(DEAD_LETTERS, refused, topic=self._topics.lines, reason=code)
        if work.alerts:
            self._telemetry.count(ALERTS, work.alerts, activity="created")
            now = self._clock.now_ms()
            for arrived_ms in work.arrivals_ms:
                self._telemetry.observe(ALERT_ARRIVAL_SECONDS, max(0, now - arrived_ms) / 1000)

    def _read(self, found: Records, out: list[Out], totals: Totals) -> list[_Read]:
        """The lines of a partition's records; clock marks are passed over, and what holds no line becomes a dead letter."""
        lines: list[_Read] = []
        for row, value in enumerate(found.values):
            try:
                if value is not None:
                    lines.append(_Read(record_line(value), row))
                elif not any(name == CLOCK_HEADER for name, _ in found.raw[row].headers() or ()):
                    raise NotALine("a record has no value")
            except PoisonError as error:
                raw, at = found.raw[row], found.at
                letter = dead_letter(
                    found.keys[row], value, raw.headers(), error.code, str(error), at.topic, at.partition, raw.offset() or 0
                )
                grave = TopicPartition(self._topics.dead_letters, at.partition % self._topics.dead_letter_partitions)
                out.append(Out(grave, *letter))
                totals.refused[error.code] = totals.refused.get(error.code, 0) + 1
        return lines

    def _say(self, found: Records, read: _Read, said: LineLabel, out: list[Out], totals: Totals) -> None:
        """The line's label under the line's own key, and an alert if there is to be one."""
        raw, at = found.raw[read.row], found.at
        key, offset, stamp = found.keys[read.row], raw.offset() or 0, int(found.stamps[read.row])
        uid = f"{at.topic}/{at.partition}/{offset}"
        record = {
            "schema": SCHEMA,
            "label": said.label,
            "score": said.score,
            "line": read.line,
            "time": stamp,
            "source": {"topic": at.topic, "partition": at.partition, "offset": offset},
            "model_sha256": self._labels.provenance.get("model_sha256", ""),
        }
        headers = [*cloud_headers("line", uid, iso(stamp), raw.headers()), answering(offset)]
        out.append(Out(TopicPartition(self._topics.labels, at.partition), key, orjson.dumps(record), headers))
        totals.lines += 1
        totals.by_label[said.label] = totals.by_label.get(said.label, 0) + 1
        if said.label in self._settings.alert_on:
            alert = line_alert(said, read.line, key, stamp, at, offset, self._labels.provenance)
            headers = cloud_headers("alert", alert["metadata"]["uid"], iso(stamp), raw.headers())
            out.append(Out(TopicPartition(self._topics.alerts, at.partition), key, orjson.dumps(alert), headers))
            totals.alerts += 1
            totals.arrivals_ms.append(stamp)
