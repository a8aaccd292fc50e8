"""The cycle of a worker that reads one topic and answers its records: claim, read, send answers with the position, see the end.

It holds nothing that cannot be read back: after anything uncertain all is forgotten, and work begins from what the group has
committed. What is made of the records is the business of `Work`. Talks to the devices through `Source`, `Outlet` and `PastRecords`.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from sinks.records import partition_lists, read_to
from stream.clock import Clock
from stream.dead_letters import is_letter, read_refusal
from stream.errors import PendingError, PipelineError, RefusedError, TakenBackError, TransientError
from stream.inheriting import inherited_commits
from stream.kinds import Millis
from stream.log import Commit, MemoryLog, Out, Outlet, Polled, Records, Source, TopicPartition
from stream.marks import ClockMark, parse_mark
from stream.measured import MeasuredOutlet
from stream.metrics import ASSIGNMENTS, FINDINGS, LAST_TURN, PARTITIONS, POSITION, RECOVERIES, STEP_SECONDS
from stream.notes import logger_of, note
from stream.operations import About, Noticed, Operations, count_refused
from stream.share import Share
from stream.telemetry import NO_TELEMETRY, Beat, Telemetry

_MOST_FAILURES = 60
_LAYOUT_VERSION = 1
_TELL_EVERY_MS: Millis = 10_000


class StoppedError(PipelineError):
    """Somebody asked to stop, and what is under way would take too long: drop it. Nothing of it is committed, so it is done again later."""


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


class Note(NamedTuple):
    """What may go with a committed offset: whether the log has shown clock marks up to here, a replay's last one, and what was refused."""

    marks: bool = False
    last: bool = False
    share: Share = Share()

    def encode(self) -> str:
        """The commit's metadata."""
        more = {"share": self.share.encode()} if self.share != Share() else {}
        return json.dumps({"v": _LAYOUT_VERSION, "marks": self.marks, "last": self.last} | more, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> "Note":
        """Read what `encode` wrote; a broker that drops metadata gives an empty note."""
        if not text:
            return cls()
        try:
            found = json.loads(text)
            share = Share.decode(found["share"]) if "share" in found else Share()
            return cls(bool(found["marks"]), bool(found["last"]), share)
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError("the group's commits were written by something else than this worker; use a new namespace") from error


@dataclass(frozen=True, slots=True)
class Reading:
    """What a worker reads, and how it is known that it has been read before."""

    role: str
    topic: str
    partitions: int
    results: str
    """A topic that holds records in every partition of which something has been dealt with."""
    written: Sequence[str]
    """Topics into whose partition of the same number something may be written, that one among them."""
    no_commit: str
    """What else there is to say, and to do, when it holds records, but the group has no position."""
    batch: int


class Pace(Protocol):
    """How a cycle goes; every worker's settings have these. Times in milliseconds."""

    @property
    def poll_ms(self) -> Millis:
        """For how long a poll waits for records."""
        ...

    @property
    def until_done(self) -> bool:
        """Stop when everything that was there at the start has been dealt with."""
        ...

    @property
    def trust_bounds(self) -> bool:
        """False for the embedded broker: a log's end is what its polls say for `end_stands_ms`, and nothing uncertain can be mended."""
        ...

    @property
    def end_stands_ms(self) -> Millis:
        """For how long."""
        ...


class Work(Protocol):
    """What a worker makes of its records."""

    def claimed(self, logs: Sequence[TopicPartition]) -> None:
        """These are held from now on, and what was committed of them is stable. Nothing has been read yet."""
        ...

    def take(self, polled: Polled) -> None:
        """Deal with what came: `Cycle.send` the answers, then tell `Cycle.note_ends` of the poll. May put it off to the next call."""
        ...

    def finish(self) -> None:
        """Deal with what was put off."""
        ...

    def forget(self) -> None:
        """Drop what was put off, and what is remembered of the logs."""
        ...


@dataclass(slots=True)
class Held:
    """A partition that this worker holds."""

    position: int
    """Next offset to read, as far as records are dealt with."""
    committed: int
    end_at_start: int
    note: Note
    marks_before_end: bool
    """Whether it held marks when this worker started."""
    standing_ms: Millis | None = None
    """For how long polls have said that this is the end; None while they have not."""

    def commit(self) -> Commit:
        """What says that everything up to the position has been dealt with."""
        return Commit(self.position, self.note.encode() if self.note != Note() else "")


class Cycle:
    """Takes every record once, whatever dies. Assignments change only in its polls."""

    def __init__(
        self,
        source: Source,
        outlet: Outlet,
        past: PastRecords,
        reading: Reading,
        pace: Pace,
        work: Work,
        clock: Clock,
        wait: Callable[[float], None] = time.sleep,
        telemetry: Telemetry = NO_TELEMETRY,
        operations: Operations | None = None,
    ) -> None:
        self._operations = operations
        self._noticed: list[Noticed] = []
        self._source, self._outlet, self._past = source, MeasuredOutlet(outlet, telemetry), past
        self._reading, self._pace, self._work = reading, pace, work
        self._clock, self._wait, self._telemetry = clock, wait, telemetry
        self._polled_ms: Millis = clock.now_ms()
        self._told_ms: Millis = 0
        self._assignment = 0
        self._bounds: dict[int, tuple[int, int]] = {}
        """Per partition of the topic: where it began and ended when this worker started."""
        self._marked: set[int] = set()
        """Partitions that held clock marks then, as far as is known."""
        self._log = logger_of(reading.role)
        self.held: dict[int, Held] = {}
        self._doubted: set[int] = set()
        """Partitions of which something was taken back: what is committed may be ahead of what is out."""
        self.recoveries = 0
        for metric in (ASSIGNMENTS, RECOVERIES):
            telemetry.count(metric, 0)
        # known from the start: Prometheus sees no increase in a series whose first value is not 0
        telemetry.count(FINDINGS, 0, about=About.DEAD_LETTERS)

    def at(self, number: int) -> TopicPartition:
        """A partition of what is read."""
        return TopicPartition(self._reading.topic, number)

    @property
    def partitions(self) -> Sequence[int]:
        """Numbers of the partitions held."""
        return sorted(self.held)

    # the loop --------------------------------------------------------------------------------------------------------

    def run(self, stop: Callable[[], bool], after_step: Callable[[], None] = lambda: None) -> None:
        """Work until told to stop, or, with `until_done`, until everything that was there has been worked off.

        Raises:
            RefusedError: going on would lose or double something.
            FencedError: another process works under the same transactional id.
        """
        failures = 0
        everything = range(self._reading.partitions)
        self._bounds = self._bounds or {at.partition: bounds for at, bounds in self._source.bounds(everything).items()}
        while not stop():
            self._telemetry.beat(Beat.LOOP)
            try:
                self.step()
                finished = self._pace.until_done and self.all_done()
                if finished:
                    self._outlet.settle()
                failures = 0
            except StoppedError:
                self._forget()
                break
            except TransientError as error:
                failures += 1
                if isinstance(error, TakenBackError):
                    self._doubted |= set(range(self._reading.partitions))
                self._after_failure(error, failures)
                continue
            self._tell()
            after_step()
            if finished:
                break
        try:
            self._work.finish()
            self._outlet.settle()
        except (StoppedError, TransientError):
            # whatever of it took effect, the next start finds out
            self._forget()
        self._tell(at_once=True)

    def _after_failure(self, error: TransientError, failures: int) -> None:
        if not self._pace.trust_bounds:
            raise PipelineError(f"the embedded broker cannot say whether this was written: {error}; start the run anew") from error
        if failures >= _MOST_FAILURES:
            raise error
        # whatever of it took effect, recovery finds out
        self.recoveries += 1
        self._telemetry.count(RECOVERIES)
        note(self._log, logging.WARNING, "recovery", f"recovering: {error}", cause=type(error).__name__, failures=failures)
        self._forget()
        self._wait(min(0.05 * 2 ** min(failures, 7), 5.0))

    def _forget(self) -> None:
        self.held.clear()
        self._assignment = 0
        self._work.forget()

    def step(self) -> None:
        """One poll, and what it asks for.

        Raises:
            TooManyDeadLetters: a run over recorded data refuses too much of it; what was read is dealt with.
            TransientError: drop what is in memory and recover; `run` does so.
        """
        generation, numbers = self._source.assignment()
        if generation != self._assignment or (numbers and not self.held):
            self._claim(generation, sorted(numbers))
        if self._source.joined():
            self._telemetry.beat(Beat.GROUP)
        polled = self._source.poll(self._reading.batch, self._pace.poll_ms)
        if self._source.assignment()[0] != self._assignment:
            # what came belongs to an assignment that is gone; whoever owns it now reads it again
            self._work.forget()
            return
        began = time.perf_counter()
        self._work.take(replace(polled, records=[found for found in polled.records if found.at.partition in self.held]))
        if polled.records:
            self._telemetry.beat(Beat.BROKER)
            self._telemetry.observe(STEP_SECONDS, time.perf_counter() - began, step="read")
        noticed, self._noticed = self._noticed, []
        if self._operations is not None:
            self._operations.check(noticed)

    # claiming --------------------------------------------------------------------------------------------------------

    def _claim(self, generation: int, numbers: Sequence[int]) -> None:
        """Find out where the partitions stand."""
        self.held.clear()
        self._work.forget()
        self._outlet.settle()
        reading, commits = self._reading, dict[TopicPartition, Commit]()
        told = dict[int, tuple[int, ClockMark | None]]()
        if numbers:
            try:
                commits = inherited_commits(self._source, self._outlet, numbers, [reading.topic], reading.written, self._operations)
            except PendingError:
                self._doubted |= set(numbers)
                raise
            told = self._told(numbers)
        bounds = self._source.bounds(numbers) if numbers else {}
        known = self._doubted & told.keys()
        self._refuse_to_double([number for number in numbers if self.at(number) not in commits and number not in known])
        found = {number: self._found(number, commits.get(self.at(number)), bounds[self.at(number)], told.get(number)) for number in numbers}
        committed = {number: commits.get(self.at(number), Commit(bounds[self.at(number)][0])).offset for number in numbers}
        if moved := {self.at(number): held.commit() for number, held in found.items() if held.position != committed[number]}:
            # commits and results agree again, for whoever comes next
            self._outlet.transact([], moved, self._source.group())
        self._work.claimed([self.at(number) for number in numbers])
        self.held.update(found)
        if numbers:
            self._source.start({self.at(number): held.position for number, held in self.held.items()})
            self._telemetry.count(ASSIGNMENTS)
            self._doubted -= set(numbers)
        if generation != self._assignment:
            self._assignment = generation
            what = f"holds {len(numbers)} of {self._reading.partitions} partitions of {self._reading.topic}"
            note(self._log, logging.INFO, "assigned", what, partitions=numbers, of=self._reading.partitions, topic=self._reading.topic)
            self._tell(at_once=True)

    def _refuse_to_double(self, uncommitted: Sequence[int]) -> None:
        """Refuse to answer from the start what has been answered before.

        Raises:
            RefusedError: a partition has results, but no position.
        """
        if found := self._past.holding([TopicPartition(self._reading.results, number) for number in uncommitted]):
            raise RefusedError(
                f"{self._reading.results} holds records (partitions {partition_lists([at.partition for at in found])}), but the group has "
                f"no committed position in {self._reading.topic}{self._reading.no_commit}"
            )

    def _told(self, numbers: Sequence[int]) -> dict[int, tuple[int, ClockMark | None]]:
        """How far each partition has been answered, as its last result says, and the mark if that is one; not of an embedded broker."""
        if not self._pace.trust_bounds:
            return {}
        newest = self._source.newest([TopicPartition(self._reading.results, number) for number in numbers])
        said = {at.partition: (read_to(record.headers), record) if record is not None else (0, None) for at, record in newest.items()}
        return {
            number: (offset, parse_mark(record.key, record.headers) if record is not None and record.value is None else None)
            for number, (offset, record) in said.items()
            if offset is not None
        }

    def _found(self, number: int, commit: Commit | None, bounds: tuple[int, int], told: tuple[int, ClockMark | None] | None) -> Held:
        start, end = bounds
        commit = commit or Commit(start)
        kept = Note.decode(commit.note)
        # what is out is out; and what is committed, but was taken back in the results, goes again
        if told is not None and told[0] <= end and (told[0] > commit.offset or number in self._doubted):
            commit, mark = Commit(max(told[0], start)), told[1]
            if mark is not None:
                kept = kept._replace(marks=True, last=kept.last or mark.last)
        if not start <= commit.offset <= end:
            raise RefusedError(
                f"the group's position {commit.offset} in {self._reading.topic}, partition {number}, lies outside its log ({start} to "
                f"{end}): records expired unread, or the topic was made anew; use a new namespace"
            )
        if kept.marks:
            self._marked.add(number)
        return Held(commit.offset, commit.offset, self._bounds.setdefault(number, bounds)[1], kept, number in self._marked)

    # sending ---------------------------------------------------------------------------------------------------------

    def show_mark(self, number: int, offset: int) -> None:
        """A clock mark was found in a partition."""
        if offset < self.held[number].end_at_start:
            self._marked.add(number)

    def send(self, out: Sequence[Out], commits: Mapping[TopicPartition, Commit], batch: Sequence[Records] = ()) -> None:
        """Send what a batch comes to and commit positions as one transaction; once it is committed, what it says is true.

        Raises:
            TransientError: it failed, or nobody knows.
        """
        noticed, commits = self._notice(batch, out, commits)
        findings = [self._operations.out(each.operation) for each in noticed] if self._operations is not None else []
        self._outlet.transact([*out, *findings], commits, self._source.group())
        for at, commit in commits.items():
            held = self.held[at.partition]
            held.position = held.committed = commit.offset
            held.note = Note.decode(commit.note)
            held.marks_before_end = at.partition in self._marked
            held.standing_ms = None
        for each in noticed:
            if not each.operation.closed:
                self._telemetry.count(FINDINGS, about=each.operation.about)
        self._noticed += noticed

    def _notice(
        self, batch: Sequence[Records], out: Sequence[Out], commits: Mapping[TopicPartition, Commit]
    ) -> tuple[list[Noticed], Mapping[TopicPartition, Commit]]:
        """What the dead letters of a batch say of their logs, and the commits with what has been counted up to there."""
        if self._operations is None or not batch:
            return [], commits
        letters: dict[TopicPartition, list[tuple[int, str]]] = {}
        for refusal in (read_refusal(each.headers) for each in out if is_letter(each.headers)):
            if refusal.topic is not None and refusal.partition is not None and refusal.offset is not None:
                letters.setdefault(TopicPartition(refusal.topic, refusal.partition), []).append((refusal.offset, refusal.reason))
        noticed, counted = [], dict(commits)
        for found in batch:
            before, commit = self.held[found.at.partition].note.share, commits[found.at]
            share, seen = count_refused(before, found, sorted(letters.get(found.at, [])), self._operations.share)
            kept = Note.decode(commit.note)._replace(share=share)
            counted[found.at] = Commit(commit.offset, kept.encode() if kept != Note() else "")
            noticed += seen
        return noticed, counted

    # ends ------------------------------------------------------------------------------------------------------------

    def note_ends(self, polled: Polled) -> None:
        """Remember which logs were found to end: beyond their last record when a transaction ended there."""
        now_ms = self._clock.now_ms()
        passed_ms, self._polled_ms = now_ms - self._polled_ms, now_ms
        for number, held in self.held.items():
            at = self.at(number)
            if at in polled.ended:
                held.position = max(held.position, polled.ended[at])
            if held.standing_ms is not None and polled.answered:
                held.standing_ms += max(0, min(passed_ms, 10 * self._pace.poll_ms))
            elif at in polled.ended:
                held.standing_ms = 0

    @property
    def done(self) -> bool:
        """Whether all that lay in its own partitions when this worker started has been dealt with.

        A partition that held clock marks is done when it has shown a replay's last one.
        """
        return all(self._finished(held) for held in self.held.values())

    def _finished(self, held: Held) -> bool:
        if held.marks_before_end and not held.note.last:
            return False
        if self._pace.trust_bounds:
            return held.position >= held.end_at_start
        return held.note.last or (held.standing_ms is not None and held.standing_ms >= self._pace.end_stands_ms)

    def all_done(self) -> bool:
        """Whether the whole topic has been dealt with, partitions of others included: one of them may have died.

        What others have done is seen by what the group has committed.
        """
        if not self.done or not (self.held or self._source.joined()):
            return False
        foreign = sorted(set(range(self._reading.partitions)) - set(self.held))
        if not self._pace.trust_bounds:
            return not foreign  # there is but one worker: what is foreign is not assigned yet
        self.commit_ends()
        commits = self._source.committed(foreign) if foreign else {}
        return all(self._finished_by_others(number, commits.get(self.at(number))) for number in foreign)

    def _finished_by_others(self, number: int, commit: Commit | None) -> bool:
        start, end = self._bounds[number]
        if commit is None:
            return start == end
        kept = Note.decode(commit.note)
        return kept.last if kept.marks else commit.offset >= end

    def commit_ends(self) -> None:
        """Commit the ends of logs that end in a transaction's marker, behind the last record: others look for them."""
        commits = {
            self.at(number): held.commit() for number, held in self.held.items() if held.position > held.committed and held.position > 0
        }
        if commits:
            self._outlet.transact([], commits, self._source.group())
            for at, commit in commits.items():
                self.held[at.partition].committed = commit.offset

    # what it tells of itself -----------------------------------------------------------------------------------------

    def _tell(self, at_once: bool = False) -> None:
        """Say where it stands, a few times a minute."""
        now = self._clock.now_ms()
        if not self._telemetry.wanted or (not at_once and now - self._told_ms < _TELL_EVERY_MS):
            return
        self._told_ms = now
        self._telemetry.levels(LAST_TURN, {(): now / 1000})
        self._telemetry.levels(PARTITIONS, {(): len(self.held)})
        self._telemetry.levels(POSITION, {(self._reading.topic, str(number)): held.position for number, held in self.held.items()})
