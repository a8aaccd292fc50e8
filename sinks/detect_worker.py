"""The cycle of a detect worker: read windows, judge them, and send verdicts, alerts, alert memory and offsets as one.

It keeps nothing but what it can read back: after anything uncertain it forgets all, and starts from what the group has committed
and what the alert memory's log says. Talks to the devices through the seams `Source`, `Outlet` and `PastRecords` alone.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from detector.backend import Backend, judged
from detector.verdict import Verdict
from sinks.alert_memory import Activity, Finding, decide, decode_findings, encode_findings
from sinks.ocsf import Origin, alerting, detection_finding, encode
from sinks.records import cloud_headers, partition_lists, verdict_record
from stream.clock import Clock
from stream.dead_letters import dead_letter
from stream.errors import PipelineError, PoisonError, RefusedError, TransientError
from stream.kinds import Millis
from stream.log import Commit, Headers, MemoryLog, Out, Outlet, Polled, Records, Source, TopicPartition
from stream.marks import parse_mark
from stream.partitioner import partition_of
from windowing.record import Window, parse_window

_MOST_FAILURES = 60
_LAYOUT_VERSION = 1


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


class PastRecords(Protocol):
    """Records that are committed already, read outside of any group."""

    def latest(self, logs: Iterable[TopicPartition]) -> dict[TopicPartition, dict[bytes, bytes]]:
        """The newest value of each key of compacted topic-partitions, each read to its end."""
        ...

    def holding(self, logs: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those of the topic-partitions that hold a committed record."""
        ...


class MemoryPast:
    """`PastRecords` of a `MemoryLog`; the in-memory twin."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def latest(self, logs: Iterable[TopicPartition]) -> dict[TopicPartition, dict[bytes, bytes]]:
        """The newest value of each key."""
        newest = {at: {kept.key: kept.value for kept in self._log.logs[at]} for at in logs}
        return {at: {key: value for key, value in found.items() if key is not None and value is not None} for at, found in newest.items()}

    def holding(self, logs: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those of the logs that hold a record."""
        return {at for at in logs if self._log.logs[at]}


@dataclass(slots=True)
class Totals:
    """What a worker has done since it started, as committed."""

    windows: int = 0
    learning: int = 0
    alerts: int = 0
    updates: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    recoveries: int = 0


class Note(NamedTuple):
    """What goes with every committed offset: whether the log has shown clock marks up to here, and a replay's last one."""

    marks: bool = False
    last: bool = False

    def encode(self) -> str:
        """The commit's metadata."""
        return json.dumps({"v": _LAYOUT_VERSION, "marks": self.marks, "last": self.last}, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> "Note":
        """Read what `encode` wrote; a broker that drops metadata gives an empty note."""
        if not text:
            return cls()
        try:
            found = json.loads(text)
            return cls(bool(found["marks"]), bool(found["last"]))
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError("the group's commits were written by something else than this worker; use a new namespace") from error


@dataclass(slots=True)
class _Owned:
    """A partition that this worker holds."""

    number: int
    position: int
    """Next offset to read, as far as records are dealt with."""
    committed: int
    end_at_start: int
    memory: dict[bytes, tuple[Finding, ...]]
    note: Note
    marks_before_end: bool
    """Whether it held marks when this worker started."""
    standing_ms: Millis | None = None
    """For how long polls have said that this is the end; None while they have not."""


@dataclass(slots=True)
class _Work:
    """What one batch comes to, before it is committed."""

    out: list[Out] = field(default_factory=list)
    commits: dict[TopicPartition, Commit] = field(default_factory=dict)
    memory: dict[tuple[int, bytes], tuple[Finding, ...]] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)


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
    ) -> None:
        self._source, self._outlet, self._past, self._backend = source, outlet, past, backend
        self._topics, self._settings, self._clock, self._wait = topics, settings, clock, wait
        self._polled_ms: Millis = clock.now_ms()
        self._owned: dict[int, _Owned] = {}
        self._assignment = 0
        self._judging = ThreadPoolExecutor(1, "judge") if settings.prefetch else None
        self._in_hand: _Batch | None = None
        """With `prefetch`: the batch that is being judged. Of the same assignment as `_owned`; nothing of it is committed."""
        self._bounds: dict[int, tuple[int, int]] = {}
        """Per partition of the topic: where it began and ended when this worker started."""
        self._marked: set[int] = set()
        """Partitions that held clock marks then, as far as is known."""
        self.totals = Totals()

    # the loop --------------------------------------------------------------------------------------------------------

    def run(self, stop: Callable[[], bool], after_step: Callable[["DetectWorker"], None] = lambda _: None) -> None:
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
                break
        self._finish_in_hand()

    def _finish_in_hand(self) -> None:
        try:
            before, self._in_hand = self._in_hand, None
            self._finish(before)
        except TransientError:
            # whatever of it took effect, the next start finds out
            self._forget()

    def _after_failure(self, error: TransientError, failures: int) -> None:
        if not self._settings.trust_bounds:
            raise PipelineError(f"the embedded broker cannot say whether this was written: {error}; start the run anew") from error
        if failures >= _MOST_FAILURES:
            raise error
        # whatever of it took effect, recovery finds out
        self.totals.recoveries += 1
        self._forget()
        self._wait(min(0.05 * 2 ** min(failures, 7), 5.0))

    def step(self) -> None:
        """One batch: read, judge, send. Assignments change only in its poll.

        Raises:
            TransientError: drop what is in memory and recover; `run` does so.
        """
        generation, held = self._source.assignment()
        if generation != self._assignment or (held and not self._owned):
            self._claim(generation, held)
        polled = self._source.poll(self._settings.batch_windows, self._settings.poll_ms)
        if self._source.assignment()[0] != self._assignment:
            self._in_hand = None
            return  # what came belongs to an assignment that is gone; whoever owns it now reads it again
        batch = self._begin(polled)
        # batches are finished in the order of their polls: an end that a poll found lies behind what it and those before it brought
        before, self._in_hand = self._in_hand, None
        if self._judging is not None and batch.records:
            self._in_hand = batch
            self._finish(before)
        else:
            self._finish(before)
            self._finish(batch)

    @property
    def done(self) -> bool:
        """Whether all that lay in its own partitions when this worker started has been dealt with.

        A partition that held clock marks is done when it has shown a replay's last one.
        """
        return all(self._finished(owned) for owned in self._owned.values())

    def _finished(self, owned: _Owned) -> bool:
        if owned.marks_before_end and not owned.note.last:
            return False
        if self._settings.trust_bounds:
            return owned.position >= owned.end_at_start
        return owned.note.last or (owned.standing_ms is not None and owned.standing_ms >= self._settings.end_stands_ms)

    def _all_done(self) -> bool:
        """Whether the whole topic has been dealt with, partitions of others included: one of them may have died.

        What others have done is seen by what the group has committed.
        """
        if not self.done:
            return False
        foreign = sorted(set(range(self._topics.partitions)) - set(self._owned))
        if not self._settings.trust_bounds:
            return not foreign  # there is but one worker: what is foreign is not assigned yet
        self._commit_ends()
        commits = self._source.committed(foreign) if foreign else {}
        return all(self._finished_by_others(number, commits.get(TopicPartition(self._topics.windows, number))) for number in foreign)

    def _finished_by_others(self, number: int, commit: Commit | None) -> bool:
        start, end = self._bounds[number]
        if commit is None:
            return start == end
        note = Note.decode(commit.note)
        return note.last if note.marks else commit.offset >= end

    def _commit_ends(self) -> None:
        """Commit the ends of logs that end in a transaction's marker, behind the last record: others look for them."""
        commits = {
            TopicPartition(self._topics.windows, owned.number): Commit(owned.position, owned.note.encode())
            for owned in self._owned.values()
            if owned.position > owned.committed and owned.position > 0
        }
        if commits:
            self._outlet.transact([], commits, self._source.group())
            for at, commit in commits.items():
                self._owned[at.partition].committed = commit.offset

    @property
    def partitions(self) -> Sequence[int]:
        """Numbers of the partitions held."""
        return sorted(self._owned)

    # claiming and forgetting -----------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._owned.clear()
        self._assignment = 0
        self._in_hand = None

    def _claim(self, generation: int, held: Iterable[int]) -> None:
        """Find out where the partitions stand, and what was alerted before.

        The alert memory is read after the committed offsets are stable: only then does it hold all that belongs to them.
        """
        self._owned.clear()
        logs = [TopicPartition(self._topics.windows, number) for number in sorted(held)]
        commits = self._source.committed([at.partition for at in logs]) if logs else {}
        bounds = self._source.bounds([at.partition for at in logs]) if logs else {}
        self._refuse_to_double([at for at in logs if at not in commits])
        memories = self._past.latest([TopicPartition(self._topics.alert_memory, at.partition) for at in logs])
        for at in logs:
            memory = memories[TopicPartition(self._topics.alert_memory, at.partition)]
            self._owned[at.partition] = self._claimed(at, commits.get(at), bounds[at], memory)
        if logs:
            self._source.start({at: self._owned[at.partition].position for at in logs})
        self._assignment = generation

    def _refuse_to_double(self, uncommitted: Sequence[TopicPartition]) -> None:
        """Refuse to judge from the start what has been judged before.

        Raises:
            RefusedError: a partition has verdicts, but no position.
        """
        if found := self._past.holding([TopicPartition(self._topics.verdicts, at.partition) for at in uncommitted]):
            where = partition_lists([at.partition for at in found])
            raise RefusedError(
                f"{self._topics.verdicts} holds records (partitions {where}), but the group has no "
                f"committed position in {self._topics.windows}: it expires seven days after the last member left. Judging from the start "
                "would double them; use a new namespace"
            )

    def _claimed(self, at: TopicPartition, commit: Commit | None, bounds: tuple[int, int], memory: Mapping[bytes, bytes]) -> _Owned:
        start, end = bounds
        commit = commit or Commit(start)
        if not start <= commit.offset <= end:
            raise RefusedError(
                f"the group's position {commit.offset} in {at.topic}, partition {at.partition}, lies outside its log ({start} to {end}): "
                "records expired unread, or the topic was made anew; use a new namespace"
            )
        note = Note.decode(commit.note)
        if note.marks:
            self._marked.add(at.partition)
        return _Owned(
            at.partition,
            position=commit.offset,
            committed=commit.offset,
            end_at_start=self._bounds.setdefault(at.partition, bounds)[1],
            memory={user: decode_findings(record) for user, record in memory.items()},
            note=note,
            marks_before_end=at.partition in self._marked,
        )

    # a batch ---------------------------------------------------------------------------------------------------------

    def _begin(self, polled: Polled) -> _Batch:
        """Read what came, and have it judged: before the transaction opens, which must stay short."""
        work, records = _Work(), [found for found in polled.records if found.at.partition in self._owned]
        reads = [self._read(found, work) for found in records]
        # all partitions together, which is cheaper
        windows = [read.window for readable, _ in reads for read in readable]
        if self._judging is None:
            verdicts = judged(self._backend, windows)
            return _Batch(polled, records, reads, work, lambda: verdicts)
        return _Batch(polled, records, reads, work, self._judging.submit(judged, self._backend, windows).result)

    def _finish(self, batch: _Batch | None) -> None:
        """Send what a batch comes to, and remember it."""
        if batch is None:
            return
        if batch.records:
            verdicts = iter(batch.verdicts())
            for found, (windows, marks) in zip(batch.records, batch.reads, strict=True):
                self._answer(found, [(read, next(verdicts)) for read in windows], marks, batch.work)
            self._outlet.transact(batch.work.out, batch.work.commits, self._source.group())
            self._keep(batch.work)
        self._note_ends(batch.polled)

    def _read(self, found: Records, work: _Work) -> tuple[list[_Read], list[int]]:
        """Part a partition's records into windows and clock marks (rows); what is neither becomes a dead letter."""
        windows: list[_Read] = []
        marks: list[int] = []
        for row, (key, value) in enumerate(zip(found.keys, found.values, strict=True)):
            try:
                if value is None:
                    parse_mark(key, found.raw[row].headers())
                    marks.append(row)
                else:
                    windows.append(_Read(self._window(key, value, found.at.partition), row))
            except PoisonError as error:
                self._bury(found, row, error, work)
        return windows, marks

    def _window(self, key: bytes | None, value: bytes, partition: int) -> Window:
        window = parse_window(value)
        if key is None or key != window.user.encode() or partition_of(key, self._topics.partitions) != partition:
            raise MisroutedError("key, user and partition of a window do not belong together")
        return window

    def _answer(self, found: Records, answered: Sequence[tuple[_Read, Verdict | PoisonError]], marks: Sequence[int], work: _Work) -> None:
        """Verdicts, alerts and marks of one partition in the order of what they answer, and the memory that they leave."""
        owned = self._owned[found.at.partition]
        note = owned.note
        answers = [(read.row, read, verdict) for read, verdict in answered] + [(row, None, None) for row in marks]
        for row, read, verdict in sorted(answers, key=lambda answer: answer[0]):
            raw = found.raw[row]
            if read is None:
                headers = raw.headers() or []
                mark = parse_mark(None, headers)
                note = Note(marks=True, last=note.last or mark.last)
                if (raw.offset() or 0) < owned.end_at_start:
                    self._marked.add(owned.number)
                work.out.append(Out(TopicPartition(self._topics.verdicts, owned.number), None, None, headers))
            elif isinstance(verdict, PoisonError):
                self._bury(found, row, verdict, work)
            elif verdict is not None:
                origin = Origin(found.at.topic, owned.number, raw.offset() or 0)
                try:
                    self._say(owned, read.window, verdict, origin, raw.headers(), work)
                except PoisonError as error:
                    self._bury(found, row, error, work)
        for (number, user), findings in work.memory.items():
            if number == owned.number:
                work.out.append(Out(TopicPartition(self._topics.alert_memory, number), user, encode_findings(findings)))
        work.commits[found.at] = Commit(found.next_offset, note.encode())

    def _say(self, owned: _Owned, window: Window, verdict: Verdict, origin: Origin, received: Headers | None, work: _Work) -> None:
        """The verdict's record, and the alert's if there is something new to say."""
        user = window.user.encode()
        alert_uid, alerted = None, False
        if verdict.alert:
            known = work.memory.get((owned.number, user), owned.memory.get(user, ()))
            decision, remembered = decide(known, alerting(verdict, window))
            alert_uid = decision.finding.uid
            alerted = decision.activity is not None
            if decision.activity is not None:
                work.memory[owned.number, user] = remembered
                record = detection_finding(verdict, window, decision.finding, decision.activity, origin)
                headers = cloud_headers("alert", record["metadata"]["uid"], verdict.end, received)
                work.out.append(Out(TopicPartition(self._topics.alerts, owned.number), user, encode(record), headers))
                work.totals.alerts += decision.activity is Activity.CREATE
                work.totals.updates += decision.activity is Activity.UPDATE
        headers = cloud_headers("verdict", verdict.window_id, verdict.end, received)
        said = verdict_record(verdict, alert_uid, alerted=alerted)
        work.out.append(Out(TopicPartition(self._topics.verdicts, owned.number), user, said, headers))
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
            self._owned[number].memory[user] = findings
        for at, commit in work.commits.items():
            owned = self._owned[at.partition]
            owned.position = owned.committed = commit.offset
            owned.note = Note.decode(commit.note)
            owned.marks_before_end = owned.number in self._marked
            owned.standing_ms = None
        mine = self.totals
        mine.windows += work.totals.windows
        mine.learning += work.totals.learning
        mine.alerts += work.totals.alerts
        mine.updates += work.totals.updates
        for code, count in work.totals.refused.items():
            mine.refused[code] = mine.refused.get(code, 0) + count

    def _note_ends(self, polled: Polled) -> None:
        """Remember which logs were found to end: beyond their last record when a transaction ended there."""
        now_ms = self._clock.now_ms()
        passed_ms, self._polled_ms = now_ms - self._polled_ms, now_ms
        for owned in self._owned.values():
            at = TopicPartition(self._topics.windows, owned.number)
            if at in polled.ended:
                owned.position = max(owned.position, polled.ended[at])
            if owned.standing_ms is not None and polled.answered:
                owned.standing_ms += max(0, min(passed_ms, 10 * self._settings.poll_ms))
            elif at in polled.ended:
                owned.standing_ms = 0


class MisroutedError(PoisonError):
    """A window under a key or in a partition that is not its user's."""

    code = "misrouted"
