"""The work of a detect worker: judge windows, and send verdicts, alerts, alert memory and offsets as one.

It keeps nothing but what it can read back from the alert memory's log. How windows are read, answers sent and all of it begun anew
is the cycle's business (`sinks/cycle.py`).
"""

import time
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from detector.backend import Backend, judged
from detector.matrix import ForeignWindow
from detector.verdict import Verdict
from sinks.alert_memory import Activity, Finding, decide, decode_findings, encode_findings
from sinks.cycle import Cycle, PastRecords, Reading
from sinks.ocsf import Origin, alerting, detection_finding, encode
from sinks.patience import Patience
from sinks.records import answering, cloud_headers, verdict_record
from stream.clock import Clock
from stream.dead_letters import dead_letter
from stream.errors import PoisonError, RefusedError
from stream.forget_request import forget_request, is_forget_request
from stream.kinds import Millis
from stream.log import Commit, Headers, Out, Outlet, Polled, Records, Source, TopicPartition
from stream.marks import parse_mark
from stream.metrics import ALERT_ARRIVAL_SECONDS, ALERT_EVENT_SECONDS, ALERTS, DEAD_LETTERS, STEP_SECONDS, VERDICTS
from stream.operations import Operations
from stream.partitioner import partition_of
from stream.telemetry import NO_TELEMETRY, Telemetry
from windowing.record import Window, is_intact, parse_window


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of the topics that a detect worker touches, and their partition count."""

    windows: str
    verdicts: str
    alerts: str
    alert_memory: str
    dead_letters: str
    partitions: int


@dataclass(frozen=True, slots=True)
class DetectSettings:
    """How much a cycle takes on; times in milliseconds."""

    batch_windows: int = 1_000
    poll_ms: Millis = 100
    until_done: bool = False
    trust_bounds: bool = True
    """False for the embedded broker: a log's end is what its polls say for `end_stands_ms`, and nothing uncertain can be mended."""
    end_stands_ms: Millis = 2_000
    prefetch: bool = False
    """Judge a batch while the one before it is committed and the next is polled: for backends that take their time."""


@dataclass(slots=True)
class Totals:
    """What a worker has done since it started, as committed."""

    windows: int = 0
    learning: int = 0
    alerts: int = 0
    updates: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    recoveries: int = 0


class _Alerted(NamedTuple):
    """What is measured of an alert: when its newest event happened, and when its window was written into its log."""

    activity: Activity
    newest_ms: Millis
    arrived_ms: Millis


@dataclass(slots=True)
class _Work:
    """What one batch comes to, before it is committed."""

    out: list[Out] = field(default_factory=list)
    commits: dict[TopicPartition, Commit] = field(default_factory=dict)
    memory: dict[tuple[int, bytes], tuple[Finding, ...]] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    labels: Tally[str] = field(default_factory=Tally)
    alerted: list[_Alerted] = field(default_factory=list)


class _Read(NamedTuple):
    """A window that can be judged, and where its record lies."""

    window: Window
    row: int


class _Batch(NamedTuple):
    """What one poll brought, read and being judged; `verdicts` waits for that."""

    polled: Polled
    records: Sequence[Records]
    reads: Sequence[tuple[list[_Read], list[int]]]
    work: _Work
    verdicts: Callable[[], list[Verdict | PoisonError]]


class DetectWorker:
    """Judges every window once and raises every alert once, whatever dies."""

    def __init__(
        self,
        source: Source,
        outlet: Outlet,
        past: PastRecords,
        backend: Backend,
        topics: Topics,
        settings: DetectSettings,
        clock: Clock,
        wait: Callable[[float], None] = time.sleep,
        telemetry: Telemetry = NO_TELEMETRY,
        operations: Operations | None = None,
    ) -> None:
        self._past, self._backend, self._topics, self._clock, self._telemetry = past, backend, topics, clock, telemetry
        lost = ": it expires seven days after the last member left, and goes with a topic that is made anew"
        doubled = f"{lost}. Judging from the start would double them; use a new namespace, or have all judged anew (daywatch reset detect)"
        written = (topics.verdicts, topics.alerts, topics.alert_memory, topics.dead_letters)
        reading = Reading("detect", topics.windows, topics.partitions, topics.verdicts, written, doubled, settings.batch_windows)
        self.cycle = Cycle(source, outlet, past, reading, settings, self, clock, wait, telemetry, operations)
        self._judging = Patience("judge") if settings.prefetch else None
        self._in_hand: _Batch | None = None
        """With `prefetch`: the batch that is being judged. Of the same assignment as what the cycle holds; nothing of it is committed."""
        self._memory: dict[int, dict[bytes, tuple[Finding, ...]]] = {}
        """By partition and user: what was alerted before."""
        self._done = Totals()
        for label in ("normal", "suspicious", "malicious"):
            telemetry.count(VERDICTS, 0, label=label)
        for activity in ("created", "updated"):
            telemetry.count(ALERTS, 0, activity=activity)

    @property
    def totals(self) -> Totals:
        """What it has done since it started, as committed."""
        return replace(self._done, recoveries=self.cycle.recoveries)

    @property
    def partitions(self) -> Sequence[int]:
        """Numbers of the partitions held."""
        return self.cycle.partitions

    @property
    def left_judging(self) -> bool:
        """Whether it stopped without waiting for the backend, whose thread may be busy for minutes more."""
        return self._judging is not None and self._judging.left

    @property
    def done(self) -> bool:
        """Whether all that lay in its own partitions when this worker started has been dealt with."""
        return self.cycle.done

    def run(self, stop: Callable[[], bool], after_step: Callable[["DetectWorker"], None] = lambda _: None) -> None:
        """Work until told to stop, or, with `until_done`, until everything that was there has been worked off: see `Cycle.run`."""
        if self._judging is not None:
            self._judging.stop = stop
        self.cycle.run(stop, lambda: after_step(self))

    def step(self) -> None:
        """One batch: read, judge, send: see `Cycle.step`."""
        self.cycle.step()

    # what the cycle asks for ---------------------------------------------------------------------------------------------

    def claimed(self, logs: Sequence[TopicPartition]) -> None:
        """Find out what was alerted before.

        The alert memory is read after the committed offsets are stable: only then does it hold all that belongs to them.
        """
        memories = self._past.latest([TopicPartition(self._topics.alert_memory, at.partition) for at in logs])
        self._memory = {at.partition: {user: decode_findings(record) for user, record in held.items()} for at, held in memories.items()}

    def take(self, polled: Polled) -> None:
        """Have a batch judged, and send it, now or, with `prefetch`, while the next one is judged."""
        batch = self._begin(polled)
        # batches are finished in the order of their polls: an end that a poll found lies behind what it and those before it brought
        before, self._in_hand = self._in_hand, None
        if self._judging is not None and batch.records:
            self._in_hand = batch
            self._finish(before)
        else:
            self._finish(before)
            self._finish(batch)

    def finish(self) -> None:
        """Send the batch in hand."""
        before, self._in_hand = self._in_hand, None
        self._finish(before)

    def forget(self) -> None:
        """Drop the batch in hand and the memory of alerts."""
        self._in_hand = None
        self._memory = {}

    # a batch ---------------------------------------------------------------------------------------------------------

    def _begin(self, polled: Polled) -> _Batch:
        """Read what came, and have it judged: before the transaction opens, which must stay short."""
        work, records = _Work(), polled.records
        reads = [self._read(found, work) for found in records]
        # all partitions together, which is cheaper
        windows = [read.window for readable, _ in reads for read in readable]
        if self._judging is None:
            verdicts = self._judged(windows)
            return _Batch(polled, records, reads, work, lambda: verdicts)
        return _Batch(polled, records, reads, work, self._judging.begin(self._judged, windows))

    def _judged(self, windows: Sequence[Window]) -> list[Verdict | PoisonError]:
        began = time.perf_counter()
        verdicts = judged(self._backend, windows)
        if windows:
            self._telemetry.observe(STEP_SECONDS, time.perf_counter() - began, step="judge")
        return verdicts

    def _finish(self, batch: _Batch | None) -> None:
        """Send what a batch comes to, and remember it."""
        if batch is None:
            return
        if batch.records:
            verdicts = iter(batch.verdicts())
            for found, (windows, marks) in zip(batch.records, batch.reads, strict=True):
                self._answer(found, [(read, next(verdicts)) for read in windows], marks, batch.work)
            self.cycle.send(batch.work.out, batch.work.commits, batch.records)
            self._keep(batch.work)
        self.cycle.note_ends(batch.polled)

    def _read(self, found: Records, work: _Work) -> tuple[list[_Read], list[int]]:
        """Part a partition's records into windows, and marks and requests to forget (rows); what is neither becomes a dead letter."""
        windows: list[_Read] = []
        marks: list[int] = []
        for row, (key, value) in enumerate(zip(found.keys, found.values, strict=True)):
            try:
                if value is None:
                    headers = found.raw[row].headers()
                    if not (is_forget_request(key, value, headers) and self._is_mine(key, found.at.partition)):
                        parse_mark(key, headers)
                    marks.append(row)
                else:
                    windows.append(_Read(self._window(key, value, found.at.partition), row))
            except PoisonError as error:
                self._bury(found, row, error, work)
        return windows, marks

    def _window(self, key: bytes | None, value: bytes, partition: int) -> Window:
        window = parse_window(value)
        if key != window.user.encode() or not self._is_mine(key, partition):
            raise MisroutedError("key, user and partition of a window do not belong together")
        return window

    def _is_mine(self, key: bytes | None, partition: int) -> bool:
        return key is not None and partition_of(key, self._topics.partitions) == partition

    def _answer(self, found: Records, answered: Sequence[tuple[_Read, Verdict | PoisonError]], marks: Sequence[int], work: _Work) -> None:
        """Verdicts, alerts and marks of one partition in the order of what they answer, and the memory that they leave."""
        number = found.at.partition
        note = self.cycle.held[number].note
        answers = [(read.row, read, verdict) for read, verdict in answered] + [(row, None, None) for row in marks]
        for row, read, verdict in sorted(answers, key=lambda answer: answer[0]):
            raw = found.raw[row]
            if read is None and (user := found.keys[row]) is not None:
                self._drop(user, number, work)
            elif read is None:
                headers = raw.headers() or []
                mark = parse_mark(None, headers)
                note = note._replace(marks=True, last=note.last or mark.last)
                self.cycle.show_mark(number, raw.offset() or 0)
                work.out.append(Out(TopicPartition(self._topics.verdicts, number), None, None, [*headers, answering(raw.offset() or 0)]))
            elif isinstance(verdict, PoisonError):
                self._check_version(found, row, verdict)
                self._bury(found, row, verdict, work)
            elif verdict is not None:
                origin = Origin(found.at.topic, number, raw.offset() or 0)
                try:
                    self._say(read.window, verdict, origin, int(found.stamps[row]), raw.headers(), work)
                except PoisonError as error:
                    self._bury(found, row, error, work)
        for (partition, user), findings in work.memory.items():
            if partition == number:
                # nothing to remember of a user any more: a tombstone
                memory = encode_findings(findings) if findings else None
                work.out.append(Out(TopicPartition(self._topics.alert_memory, number), user, memory))
        work.commits[found.at] = Commit(found.next_offset, note.encode())

    def _check_version(self, found: Records, row: int, error: PoisonError) -> None:
        """Refuse to go on where windows come from another version: whole ones, of which each would be a dead letter.

        Raises:
            RefusedError: this window is whole, and lacks a feature.
        """
        if isinstance(error, ForeignWindow) and is_intact(found.values[row] or b""):
            raise RefusedError(
                f"{found.at.topic} holds windows that were made by another version of Daywatch: {error}",
                "Judge them with that version, or with a model fitted to their features; or make them anew in a new namespace",
            )

    def _drop(self, user: bytes, number: int, work: _Work) -> None:
        """Forget what was alerted of a user, and let whoever reads verdicts and alerts know that they are to do the same."""
        work.memory[number, user] = ()
        for topic in (self._topics.verdicts, self._topics.alerts):
            work.out.append(Out(TopicPartition(topic, number), user, None, forget_request()))

    def _say(self, window: Window, verdict: Verdict, origin: Origin, arrived_ms: Millis, received: Headers | None, work: _Work) -> None:
        """The verdict's record, and the alert's if there is something new to say."""
        user, number = window.user.encode(), origin.partition
        alert_uid, alerted = None, False
        if verdict.alert:
            known = work.memory.get((number, user), self._memory[number].get(user, ()))
            decision, remembered = decide(known, alerting(verdict, window))
            alert_uid = decision.finding.uid
            alerted = decision.activity is not None
            if decision.activity is not None:
                work.memory[number, user] = remembered
                record = detection_finding(verdict, window, decision.finding, decision.activity, origin)
                headers = cloud_headers("alert", record["metadata"]["uid"], verdict.end, received)
                work.out.append(Out(TopicPartition(self._topics.alerts, number), user, encode(record), headers))
                work.totals.alerts += decision.activity is Activity.CREATE
                work.totals.updates += decision.activity is Activity.UPDATE
                work.alerted.append(_Alerted(decision.activity, record.get("end_time", arrived_ms), arrived_ms))
        headers = [*cloud_headers("verdict", verdict.window_id, verdict.end, received), answering(origin.offset)]
        said = verdict_record(verdict, alert_uid, alerted=alerted)
        work.out.append(Out(TopicPartition(self._topics.verdicts, number), user, said, headers))
        work.labels[verdict.label] += 1
        work.totals.windows += 1
        work.totals.learning += verdict.learning

    def _bury(self, found: Records, row: int, error: PoisonError, work: _Work) -> None:
        raw = found.raw[row]
        letter = dead_letter(
            found.keys[row], found.values[row], raw.headers(), error.code, str(error), found.at.topic, found.at.partition, raw.offset() or 0
        )
        work.out.append(Out(TopicPartition(self._topics.dead_letters, found.at.partition), *letter))
        work.totals.refused[error.code] = work.totals.refused.get(error.code, 0) + 1

    def _keep(self, work: _Work) -> None:
        """The transaction is committed: what it says is true from now on."""
        for (number, user), findings in work.memory.items():
            self._memory[number][user] = findings
        mine = self._done
        mine.windows += work.totals.windows
        mine.learning += work.totals.learning
        mine.alerts += work.totals.alerts
        mine.updates += work.totals.updates
        for code, count in work.totals.refused.items():
            mine.refused[code] = mine.refused.get(code, 0) + count
        self._tell(work)

    def _tell(self, work: _Work) -> None:
        """Of a batch that is committed."""
        for label, windows in work.labels.items():
            self._telemetry.count(VERDICTS, windows, label=label)
        for code, refused in work.totals.refused.items():
            self._telemetry.count(DEAD_LETTERS, refused, topic=self._topics.windows, reason=code)
        now = self._clock.now_ms()
        for alerted in work.alerted:
            self._telemetry.count(ALERTS, activity="created" if alerted.activity is Activity.CREATE else "updated")
            self._telemetry.observe(ALERT_EVENT_SECONDS, max(0, now - alerted.newest_ms) / 1000)
            self._telemetry.observe(ALERT_ARRIVAL_SECONDS, max(0, now - alerted.arrived_ms) / 1000)


class MisroutedError(PoisonError):
    """A window under a key or in a partition that is not its user's."""

    code = "misrouted"
