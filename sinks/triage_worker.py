"""The cycle of a triage worker: read log lines from a topic, label them, and send labels, alerts, dead letters and offsets as one.

It keeps nothing but its place: after anything uncertain it forgets that, and starts from what the group has committed. Talks to the
devices through the seams `Source`, `Outlet` and `PastRecords` alone, and to whatever labels lines through `Labels`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, NamedTuple, Protocol

import orjson

from detector.logline.labels import LineLabel
from detector.logline.lines import record_line
from sinks.detect_worker import PastRecords
from sinks.line_alert import line_alert
from sinks.records import cloud_headers, partition_lists
from stream.clock import Clock
from stream.dead_letters import dead_letter
from stream.errors import PipelineError, PoisonError, RefusedError, TransientError
from stream.kinds import Millis
from stream.log import Commit, Out, Outlet, Polled, Records, Source, TopicPartition
from stream.marks import CLOCK_HEADER

SCHEMA = "daywatch.line/1"
_MOST_FAILURES = 60


def iso(at_ms: Millis) -> str:
    """UTC milliseconds as ISO 8601.

    >>> iso(1262592753000)
    '2010-01-04T08:12:33.000Z'
    """
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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

    def add(self, other: "Totals") -> None:
        """Count another's work as this one's."""
        self.lines += other.lines
        self.alerts += other.alerts
        for mine, more in ((self.by_label, other.by_label), (self.refused, other.refused)):
            for name, count in more.items():
                mine[name] = mine.get(name, 0) + count


@dataclass(slots=True)
class _Owned:
    """A partition that this worker holds: where it stands, and where its log ended when the worker started."""

    position: int
    committed: int
    end_at_start: int
    standing_ms: Millis | None = None
    """For how long polls have said that this is the end; None while they have not."""


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
    ) -> None:
        self._source, self._outlet, self._past, self._labels = source, outlet, past, labels
        self._topics, self._settings, self._clock, self._wait = topics, settings, clock, wait
        self._polled_ms: Millis = clock.now_ms()
        self._owned: dict[int, _Owned] = {}
        self._assignment = 0
        self._bounds: dict[int, tuple[int, int]] = {}
        """Per partition of the topic: where it began and ended when this worker started."""
        self.totals = Totals()

    @property
    def partitions(self) -> Sequence[int]:
        """Numbers of the partitions held."""
        return sorted(self._owned)

    def run(self, stop: Callable[[], bool], after_step: Callable[["TriageWorker"], None] = lambda _: None) -> None:
        """Work until told to stop, or, with `until_done`, until everything that was there has been worked off.

        Raises:
            RefusedError: going on would lose or double something.
            FencedError: another process works under the same transactional id.
        """
        failures = 0
        self._bounds = self._bounds or {at.partition: bounds for at, bounds in self._source.bounds(range(self._topics.partitions)).items()}
        while not stop():
            try:
                self.step()
                finished = self._settings.until_done and self._all_done()
                failures = 0
            except TransientError as error:
                failures += 1
                self._after_failure(error, failures)
                continue
            after_step(self)
            if finished:
                return

    def _after_failure(self, error: TransientError, failures: int) -> None:
        if not self._settings.trust_bounds:
            raise PipelineError(f"the embedded broker cannot say whether this was written: {error}; start the run anew") from error
        if failures >= _MOST_FAILURES:
            raise error
        # whatever of it took effect, recovery finds out
        self.totals.recoveries += 1
        self._owned.clear()
        self._assignment = 0
        self._wait(min(0.05 * 2 ** min(failures, 7), 5.0))

    def step(self) -> None:
        """One batch: read, label, send. Assignments change only in its poll.

        Raises:
            TransientError: drop what is in memory and recover; `run` does so.
        """
        generation, held = self._source.assignment()
        if generation != self._assignment or (held and not self._owned):
            self._claim(generation, held)
        polled = self._source.poll(self._settings.batch_lines, self._settings.poll_ms)
        if self._source.assignment()[0] != self._assignment:
            return  # what came belongs to an assignment that is gone; whoever owns it now reads it again
        self._take([found for found in polled.records if found.at.partition in self._owned])
        self._note_ends(polled)

    def _claim(self, generation: int, held: frozenset[int]) -> None:
        """Find out where the partitions stand."""
        self._owned.clear()
        numbers = sorted(held)
        commits = self._source.committed(numbers) if numbers else {}
        bounds = self._source.bounds(numbers) if numbers else {}
        self._refuse_to_double([number for number in numbers if TopicPartition(self._topics.lines, number) not in commits])
        for at, (start, end) in bounds.items():
            position = commits.get(at, Commit(start)).offset
            if not start <= position <= end:
                raise RefusedError(
                    f"the group's position {position} in {at.topic}, partition {at.partition}, lies outside its log ({start} to {end}): "
                    "records expired unread, or the topic was made anew; use a new namespace"
                )
            self._owned[at.partition] = _Owned(position, position, self._bounds.setdefault(at.partition, (start, end))[1])
        if numbers:
            self._source.start({TopicPartition(self._topics.lines, number): self._owned[number].position for number in numbers})
        self._assignment = generation

    def _refuse_to_double(self, uncommitted: Sequence[int]) -> None:
        """Refuse to label from the start what has been labelled before.

        Raises:
            RefusedError: a partition has labels, but no position.
        """
        if found := self._past.holding([TopicPartition(self._topics.labels, number) for number in uncommitted]):
            raise RefusedError(
                f"{self._topics.labels} holds records (partitions {partition_lists([at.partition for at in found])}), but the group has no "
                f"committed position in {self._topics.lines}: labelling from the start might double them; use another --to-topic"
            )

    # a batch ---------------------------------------------------------------------------------------------------------

    def _take(self, batch: Sequence[Records]) -> None:
        if not batch:
            return
        out: list[Out] = []
        totals = Totals()
        reads = [self._read(found, out, totals) for found in batch]
        # labelled before the transaction opens, which must stay short; all partitions together, which is cheaper
        said = iter(self._labels.labels([read.line for lines in reads for read in lines]))
        for found, lines in zip(batch, reads, strict=True):
            for read in lines:
                self._say(found, read, next(said), out, totals)
        commits = {found.at: Commit(found.next_offset) for found in batch}
        self._outlet.transact(out, commits, self._source.group())
        for at, commit in commits.items():
            owned = self._owned[at.partition]
            owned.position = owned.committed = commit.offset
            owned.standing_ms = None
        self.totals.add(totals)

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
        key, offset, stamp = found.keys[read.row], raw.offset() or 0, found.stamps[read.row]
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
        headers = cloud_headers("line", uid, iso(stamp), raw.headers())
        out.append(Out(TopicPartition(self._topics.labels, at.partition), key, orjson.dumps(record), headers))
        totals.lines += 1
        totals.by_label[said.label] = totals.by_label.get(said.label, 0) + 1
        if said.label in self._settings.alert_on:
            alert = line_alert(said, read.line, key, stamp, at, offset, self._labels.provenance)
            headers = cloud_headers("alert", alert["metadata"]["uid"], iso(stamp), raw.headers())
            out.append(Out(TopicPartition(self._topics.alerts, at.partition), key, orjson.dumps(alert), headers))
            totals.alerts += 1

    # ends ------------------------------------------------------------------------------------------------------------

    def _note_ends(self, polled: Polled) -> None:
        """Remember which logs were found to end: beyond their last record when a transaction ended there."""
        now_ms = self._clock.now_ms()
        passed_ms, self._polled_ms = now_ms - self._polled_ms, now_ms
        for number, owned in self._owned.items():
            at = TopicPartition(self._topics.lines, number)
            if at in polled.ended:
                owned.position = max(owned.position, polled.ended[at])
            if owned.standing_ms is not None and polled.answered:
                owned.standing_ms += max(0, min(passed_ms, 10 * self._settings.poll_ms))
            elif at in polled.ended:
                owned.standing_ms = 0

    def _all_done(self) -> bool:
        """Whether the whole topic has been dealt with, partitions of others included, as far as it reached at the start."""
        if not self._owned and not self._source.joined():
            return False
        if not all(self._finished(owned) for owned in self._owned.values()):
            return False
        foreign = sorted(set(range(self._topics.partitions)) - set(self._owned))
        if not self._settings.trust_bounds:
            return not foreign  # there is but one worker: what is foreign is not assigned yet
        self._commit_ends()
        commits = self._source.committed(foreign) if foreign else {}
        ends = {number: self._bounds[number] for number in foreign}
        return all(
            start == end or commits.get(TopicPartition(self._topics.lines, number), Commit(start)).offset >= end
            for number, (start, end) in ends.items()
        )

    def _finished(self, owned: _Owned) -> bool:
        if self._settings.trust_bounds:
            return owned.position >= owned.end_at_start
        return owned.standing_ms is not None and owned.standing_ms >= self._settings.end_stands_ms

    def _commit_ends(self) -> None:
        """Commit the ends of logs that end in a transaction's marker, behind the last record: others look for them."""
        commits = {
            TopicPartition(self._topics.lines, number): Commit(owned.position)
            for number, owned in self._owned.items()
            if owned.position > owned.committed
        }
        if commits:
            self._outlet.transact([], commits, self._source.group())
            for at, commit in commits.items():
                self._owned[at.partition].committed = commit.offset
