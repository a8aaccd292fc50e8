"""The cycle of a windowing worker: claim, close what is due, read when nothing is. Follows the delivery protocol.

Effects happen in one order only: first the transaction that sends and commits, then the script that moves the state on. After
anything uncertain the worker forgets what it had in memory and claims again; recovery compares store and commit. Talks to the
devices through the seams `Source`, `Outlet` and `WindowStore` alone.
"""

import logging
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stream.clock import Clock
from stream.dead_letters import dead_letter
from stream.decode import DecodeLimits
from stream.errors import FencedError, PipelineError, StaleError, TransientError
from stream.kinds import KINDS, Kind, Millis
from stream.log import Commit, Headers, Out, Outlet, Polled, Records, Source, TopicPartition
from stream.marks import encode_mark
from stream.measured import MeasuredOutlet
from stream.metrics import (
    ASSIGNMENTS,
    CLOCK,
    DEAD_LETTERS,
    DUPLICATES,
    EVENTS,
    FINDINGS,
    LAST_TURN,
    LATE,
    PANES,
    PARTITIONS,
    POSITION,
    RECOVERIES,
    SILENCE_MARKS,
    STEP_SECONDS,
    WATERMARK,
    WINDOWS_CLOSED,
    WINDOWS_OPEN,
)
from stream.notes import logger_of, note
from stream.operations import About, Noticed, Operation, Operations
from stream.telemetry import NO_TELEMETRY, Beat, Telemetry
from windowing.clocks import LONG_AGO, TopicClock
from windowing.intake import Intake, Refused, Taken, Topics
from windowing.ledger import (
    Place,
    check_begun,
    check_layout,
    check_position,
    decode_clocks,
    decode_note,
    decode_watch,
    encode_layout,
    encode_note,
    encode_state,
    is_fresh,
)
from windowing.measured_store import MeasuredStore
from windowing.panes import decode_blobs
from windowing.partition import Arrivals, Closed, Closing, Partition, Rules
from windowing.silence import Silence
from windowing.store import Advance, Claimed, Start, WindowStore
from windowing.watch import Watch

_MOST_FAILURES = 60
_STANDS_MS: Millis = 2_000
_TELL_EVERY_MS: Millis = 10_000
_LATE = "late"
_HEARD_MS: Millis = 10_000
"""A log must have been found at its end for so long before its silence counts."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How much a cycle takes on, and when silence counts; times in milliseconds."""

    batch_records: int = 50_000
    close_windows: int = 1_000
    poll_ms: Millis = 100
    max_ahead_ms: Millis = 2 * 86_400_000
    idle_after_ms: Millis | None = 60_000
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    until_done: bool = False
    trust_bounds: bool = True
    """False for a broker whose end offsets cannot be believed: a log's end is then what two polls of it say."""


@dataclass(slots=True)
class Totals:
    """What a worker has done since it started; by kind where a kind is known."""

    read: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    duplicates: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    refused: dict[Kind, dict[str, int]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    """By kind and reason; late and future events included."""
    windows: int = 0
    recoveries: int = 0


@dataclass(slots=True)
class _Owned:
    """A partition that this worker holds, with what it knows of store and commit."""

    number: int
    epoch: int
    place: Place
    partition: Partition
    out_to: dict[Kind, int]
    """What is committed to Kafka; never goes back, whatever the store says."""
    ends: dict[Kind, int]
    end_seen: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    """Per kind: the offset at which its log was last found to end; beyond the last record when a transaction ended there."""
    paused: set[Kind] = field(default_factory=set)
    silence: Silence = field(default_factory=Silence)
    watch: Watch = field(default_factory=Watch)


class WindowWorker:
    """Turns the five topics' events into window records, once each, whatever dies."""

    def __init__(
        self,
        source: Source,
        outlet: Outlet,
        store: WindowStore,
        topics: Topics,
        rules: Rules,
        settings: WorkerSettings,
        clock: Clock,
        wait: Callable[[float], None] = time.sleep,
        telemetry: Telemetry = NO_TELEMETRY,
        operations: Operations | None = None,
    ) -> None:
        self._operations = operations
        self._source, self._wait, self._telemetry = source, wait, telemetry
        self._outlet, self._store = MeasuredOutlet(outlet, telemetry), MeasuredStore(store, telemetry)
        self._topics, self._rules, self._settings, self._clock = topics, rules, settings, clock
        self._layout = encode_layout(rules.calendar, topics.partitions, rules.pseudonyms)
        self._owned: dict[int, _Owned] = {}
        self._assignment = 0
        self._all_bounds: dict[TopicPartition, tuple[int, int]] = {}
        """First and end offset of every log, of foreign partitions too, when this worker started."""
        self._polled_at_ms: Millis | None = None
        self._told_at_ms: Millis = 0
        self._log = logger_of("window")
        self._intake = Intake(topics, rules.calendar.zone, settings.limits)
        self.totals = Totals()
        for each in (ASSIGNMENTS, RECOVERIES, WINDOWS_CLOSED):
            telemetry.count(each, 0)
        for kind in KINDS:
            for metric in (EVENTS, LATE, DUPLICATES, SILENCE_MARKS):
                telemetry.count(metric, 0, kind=kind)
        # known from the start: Prometheus sees no increase in a series whose first value is not 0
        for about in About:
            telemetry.count(FINDINGS, 0, about=about)

    # the loop --------------------------------------------------------------------------------------------------------

    def run(self, stop: Callable[[], bool], after_step: Callable[["WindowWorker"], None] = lambda _: None) -> None:
        """Work until told to stop, or, with `until_done`, until everything has been worked off.

        Raises:
            RefusedError: going on would lose or double something.
        """
        failures, finished = 0, False
        while not stop():
            self._telemetry.beat(Beat.LOOP)
            try:
                if failures:
                    # whoever has lost the partitions learns of it here, before it claims them again and disturbs their owner
                    self._source.poll(1, self._settings.poll_ms)
                self.step()
                finished = self._settings.until_done and self.done()
                failures = 0
            except (StaleError, FencedError, TransientError) as error:
                failures += 1
                self._after_failure(error, failures)
            self._tell()
            after_step(self)
            if finished:
                break
        self._tell(at_once=True)

    def _after_failure(self, error: PipelineError, failures: int) -> None:
        """Forget everything: whatever of the cycle took effect, recovery finds out."""
        if not self._settings.trust_bounds:
            raise PipelineError(f"the embedded broker cannot say whether this was written: {error}; start the run anew") from error
        if failures > _MOST_FAILURES:
            raise error
        self.totals.recoveries += 1
        self._telemetry.count(RECOVERIES)
        note(self._log, logging.WARNING, "recovery", f"recovering: {error}", cause=type(error).__name__, failures=failures)
        self._forget()
        self._wait(min(0.05 * 2 ** min(failures, 7), 5.0))

    def step(self) -> None:
        """One cycle: claim what is new, then close, or read when nothing is due."""
        generation, partitions = self._source.assignment()
        if generation != self._assignment:
            self._forget()
            self._all_bounds = self._all_bounds or self._source.bounds(range(self._topics.partitions))
            if partitions:
                self._claim(sorted(partitions))
                self._telemetry.count(ASSIGNMENTS)
            self._assignment = generation
            note(
                self._log, logging.INFO, "assigned", f"holds {len(partitions)} of {self._topics.partitions} partitions",
                partitions=sorted(partitions), of=self._topics.partitions,
            )  # fmt: skip
            self._tell(at_once=True)
        if self._source.joined():
            self._telemetry.beat(Beat.GROUP)
        if not self._close():
            self._read()

    def done(self) -> bool:
        """Whether every log has been worked off: marked ones to their last mark, the others to where they ended at the start.

        Those of other workers count, too: one of them may have died, and its partitions come here when the group has noticed.

        Raises:
            TransientError: the store or the broker cannot be asked.
        """
        generation, partitions = self._source.assignment()
        if not self._source.joined() or generation != self._assignment or partitions != set(self._owned):
            return False
        if any(owned.partition.due() or not all(self._finished(owned, kind) for kind in KINDS) for owned in self._owned.values()):
            return False
        foreign = set(range(self._topics.partitions)) - partitions
        return not foreign or (self._settings.trust_bounds and all(self._finished_by_others(number) for number in sorted(foreign)))

    def _finished_by_others(self, number: int) -> bool:
        at, state = self._store.look(number)
        bounds = self._all_bounds
        if not at:
            return all(low == high for low, high in (bounds[self._at(kind, number)] for kind in KINDS))
        seen = Partition(self._rules)
        place, seen.clocks = Place.decode(at), decode_clocks(state)
        seen.closed = place.closed
        return not seen.due() and all(
            position >= bounds[self._at(kind, number)][1] and (not seen.clocks[kind].marked or seen.clocks[kind].last_ms != LONG_AGO)
            for kind, position in zip(KINDS, place.positions, strict=True)
        )

    def _finished(self, owned: _Owned, kind: Kind) -> bool:
        if owned.partition.clocks[kind].marked:
            return owned.partition.clocks[kind].last_ms != LONG_AGO and self._at_start_end(owned, kind)
        return self._at_start_end(owned, kind)

    def _at_start_end(self, owned: _Owned, kind: Kind) -> bool:
        if self._settings.trust_bounds:
            return max(owned.place.positions[KINDS.index(kind)], owned.end_seen[kind]) >= owned.ends[kind]
        if owned.partition.clocks[kind].last_ms != LONG_AGO:
            return True
        return owned.silence.for_ms(kind) >= _STANDS_MS

    @property
    def partitions(self) -> Mapping[int, Partition]:
        """The partitions held at present."""
        return {number: owned.partition for number, owned in self._owned.items()}

    def _forget(self) -> None:
        self._owned.clear()
        self._assignment = 0

    # claiming --------------------------------------------------------------------------------------------------------

    def _claim(self, numbers: Sequence[int]) -> None:
        """Become the owner of these partitions, as the store and the group's commits tell."""
        claims = {number: self._store.claim(number, self._layout) for number in numbers}
        for claimed in claims.values():
            check_layout(self._layout, claimed.layout)
        committed = self._source.committed(numbers)
        bounds = self._source.bounds(numbers)
        begun = self._begin(claims, committed, bounds)
        for number, claimed in claims.items():
            self._owned[number] = self._recover(number, claimed, begun.get(number), committed, bounds)
        self._source.start({
            self._at(kind, owned.number): position
            for owned in self._owned.values() for kind, position in zip(KINDS, owned.place.positions, strict=True)
        })  # fmt: skip
        self._polled_at_ms = None

    def _begin(
        self, claims: Mapping[int, Claimed], committed: Mapping[TopicPartition, Commit], bounds: Mapping[TopicPartition, tuple[int, int]]
    ) -> dict[int, Place]:
        """Give partitions that nobody has read yet their starting positions: in the store first, on disk, then in Kafka."""
        begun = {}
        for number, claimed in claims.items():
            fresh = is_fresh(claimed.state)
            commits = [committed[self._at(kind, number)] for kind in KINDS if self._at(kind, number) in committed]
            read_before = any(decode_note(commit.note) > Closed() for commit in commits)
            # another worker may have begun it between our look at the store and our look at the commits
            if not claimed.at and commits and self._store.claim(number, self._layout).epoch != claimed.epoch + 1:
                raise FencedError(f"partition {number} has a newer owner")
            check_begun(number, held=bool(claimed.at), fresh=fresh, committed=bool(commits))
            if fresh and not read_before and len(commits) < len(KINDS):
                begun[number] = Place(tuple(bounds[self._at(kind, number)][0] for kind in KINDS), Closed())
        if begun:
            state = encode_state({kind: TopicClock() for kind in KINDS}, fresh=True)
            self._store.begin([Start(number, claims[number].epoch, place.encode(), state) for number, place in begun.items()])
            starting = {
                self._at(kind, number): Commit(offset, encode_note(Closed()))
                for number, place in begun.items() for kind, offset in zip(KINDS, place.positions, strict=True)
            }  # fmt: skip
            self._outlet.transact([], starting, self._source.group())
        return begun

    def _recover(
        self,
        number: int,
        claimed: Claimed,
        begun: Place | None,
        committed: Mapping[TopicPartition, Commit],
        bounds: Mapping[TopicPartition, tuple[int, int]],
    ) -> _Owned:
        """Build a partition from the store, and learn from the commits what has been sent of it."""
        place = begun or Place.decode(claimed.at)
        partition = Partition(self._rules)
        out_to, sent = dict(zip(KINDS, place.positions, strict=True)), place.closed
        for kind in KINDS:
            commit = committed.get(self._at(kind, number))
            if commit is not None:
                out_to[kind] = max(out_to[kind], commit.offset)
                sent = max(sent, decode_note(commit.note))
            position, bound = place.positions[KINDS.index(kind)], bounds[self._at(kind, number)]
            check_position(number, kind, position, bound, trust_bounds=self._settings.trust_bounds)
        partition.closed, partition.sent, watch = place.closed, sent, Watch()
        if begun is None:
            partition.clocks = decode_clocks(claimed.state)
            watch = Watch.restore(decode_watch(claimed.state), claimed.habits)
            for page in self._store.profiles(number):
                partition.profiles.load(page)
            for pane, blobs in self._store.panes(number, claimed.panes):
                partition.restore(pane, decode_blobs(blobs))
        ends = {kind: self._all_bounds[self._at(kind, number)][1] for kind in KINDS}
        return _Owned(number, claimed.epoch, place, partition, out_to, ends, watch=watch)

    # closing ---------------------------------------------------------------------------------------------------------

    def _close(self) -> bool:
        """Send the next due windows of every partition in one transaction, then move the store on. False when nothing is due."""
        due = [owned for owned in self._owned.values() if owned.partition.due()]
        if not due:
            return False
        began = time.perf_counter()
        share = max(1, self._settings.close_windows // len(due))
        steps = [(owned, self._closings(owned.partition, share)) for owned in due]
        records = [record for owned, closings in steps for closing in closings for record in self._outgoing(owned, closing)]
        if records:
            self._transact(records, due)
        self._advance([(owned, Place(owned.place.positions, owned.partition.closed), closings) for owned, closings in steps])
        for closing in (closing for _, closings in steps for closing in closings):
            self.totals.windows += closing.windows.height
            self._telemetry.count(WINDOWS_CLOSED, closing.windows.height)
            for kind, n in closing.duplicates.items():
                self.totals.duplicates[kind] += n
                self._telemetry.count(DUPLICATES, n, kind=kind)
        self._telemetry.observe(STEP_SECONDS, time.perf_counter() - began, step="close")
        return True

    @staticmethod
    def _closings(partition: Partition, most: int) -> list[Closing]:
        """As many steps of closing as are due, for about `most` users' windows in all: one transaction is to carry them."""
        closings: list[Closing] = []
        while most > 0 and partition.due():
            closings.append(partition.close(most))
            most -= max(1, len(closings[-1].folded), closings[-1].windows.height)
        return closings

    def _outgoing(self, owned: _Owned, closing: Closing) -> list[Out]:
        at = TopicPartition(self._topics.windows, owned.number)
        columns = (closing.windows[name].to_list() for name in ("user", "id", "value"))
        out = [Out(at, user.encode(), value.encode(), self._cloud_headers(name)) for user, name, value in zip(*columns, strict=True)]
        if closing.mark_ms is not None:
            out.append(Out(at, None, None, encode_mark(closing.mark_ms, last=closing.last)))
        return out

    def _cloud_headers(self, window_id: str) -> Headers:
        return [
            ("ce_specversion", b"1.0"), ("ce_id", window_id.encode()), ("ce_type", b"daywatch.window"),
            ("ce_source", b"daywatch/window"), ("content-type", b"application/json"),
        ]  # fmt: skip

    def _transact(self, records: Sequence[Out], owners: Iterable[_Owned], read_to: Mapping[int, Sequence[int]] | None = None) -> None:
        """Send, and commit what is out: the larger of what this cycle reached and what is on record, never less."""
        commits = {}
        for owned in owners:
            reached = (read_to or {}).get(owned.number, owned.place.positions)
            owned.partition.sent = max(owned.partition.sent, owned.partition.closed)
            for kind, offset in zip(KINDS, reached, strict=True):
                owned.out_to[kind] = max(owned.out_to[kind], offset)
                commits[self._at(kind, owned.number)] = Commit(owned.out_to[kind], encode_note(owned.partition.sent))
        self._outlet.transact(records, commits, self._source.group())

    def _advance(self, moves: Sequence[tuple[_Owned, Place, Sequence[Closing]]]) -> None:
        """Move the store on, and with it what this worker believes of it."""
        changes = [
            Advance(
                owned.number,
                owned.epoch,
                owned.place.encode(),
                to.encode(),
                encode_state(owned.partition.clocks, watch=owned.watch.standing()),
                appends=owned.partition.take_staged(),
                drops=[closing.done_pane for closing in closings if closing.done_pane is not None],
                profiles=owned.partition.profiles.dump(sorted({user for closing in closings for user in closing.folded})),
                habits=owned.watch.learned(),
            )
            for owned, to, closings in moves
        ]
        self._store.advance(changes)
        for owned, to, _ in moves:
            owned.place = to
            owned.watch.keep()

    # reading ---------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take a batch: decode it, send its dead letters, append the rest to the panes in the store."""
        self._align()
        polled = self._source.poll(self._settings.batch_records, self._settings.poll_ms)
        if self._source.assignment()[0] != self._assignment:
            return  # what came belongs to an assignment that is gone; it will be read again by whoever owns it now
        self._listen(polled)
        records = [found for found in polled.records if found.at.partition in self._owned]
        if records:
            self._telemetry.beat(Beat.BROKER)
            began = time.perf_counter()
            self._take(records)
            self._telemetry.observe(STEP_SECONDS, time.perf_counter() - began, step="read")
        elif self._settings.until_done:
            self._skip_to_ends()
        self._mark_silence()
        self._tell_silence()

    def _skip_to_ends(self) -> None:
        """Step over what ends a log behind its last record, a transaction's marker: others look for how far we have come."""
        moves = []
        for owned in self._owned.values():
            positions = tuple(max(now, owned.end_seen[kind]) for kind, now in zip(KINDS, owned.place.positions, strict=True))
            if positions != owned.place.positions:
                moves.append((owned, Place(positions, owned.place.closed), ()))
        if moves:
            self._advance(moves)

    def _take(self, records: Sequence[Records]) -> None:
        dead: list[Out] = []
        noticed: list[Noticed] = []
        counts: list[tuple[Kind, int, Sequence[Refused]]] = []
        reached: dict[int, dict[Kind, int]] = {}
        for kind in KINDS:
            for taken in self._intake.take(kind, [found for found in records if found.at.topic == self._topics.events[kind]]):
                found, owned = taken.records, self._owned[taken.records.at.partition]
                refused = [*taken.refused, *self._place(owned, taken.arrivals)]
                dead += self._dead_letters(owned, kind, found, refused)
                noticed += self._notice(owned, kind, taken, refused)
                reached.setdefault(owned.number, {})[kind] = found.next_offset
                counts.append((kind, len(found.values) - len(taken.arrivals.marks), refused))
        places = {
            number: Place(
                tuple(kinds.get(kind, now) for kind, now in zip(KINDS, self._owned[number].place.positions, strict=True)),
                self._owned[number].place.closed,
            )
            for number, kinds in reached.items()
        }
        said = self._new_findings(noticed)
        if dead or said:
            numbers = {record.at.partition for record in dead} | {each.operation.at.partition for each in said}
            touched = [self._owned[number] for number in sorted(numbers)]
            out = [*dead, *self._findings([each.operation for each in said])]
            self._transact(out, touched, {number: place.positions for number, place in places.items()})
        self._advance([(self._owned[number], place, ()) for number, place in places.items()])
        # only now: a batch that is read again after a failure is not to count twice
        for each in counts:
            self._count(*each)
        self._count_findings([each.operation for each in said])
        if self._operations is not None:
            self._operations.check(said)

    @staticmethod
    def _place(owned: _Owned, arrivals: Arrivals) -> list[Refused]:
        unplaced = owned.partition.read(arrivals)
        return [Refused(row, _LATE, "too late for every window over it") for row in unplaced.late] + [
            Refused(row, "future", "later than its own record by more than the tolerance") for row in unplaced.future
        ]

    def _count(self, kind: Kind, read: int, refused: Sequence[Refused]) -> None:
        self.totals.read[kind] += read
        self._telemetry.count(EVENTS, read, kind=kind)
        counts = self.totals.refused[kind]
        for reason, n in Tally(each.reason for each in refused).items():
            counts[reason] = counts.get(reason, 0) + n
            self._telemetry.count(DEAD_LETTERS, n, topic=self._topics.events[kind], reason=reason)
            if reason == _LATE:
                self._telemetry.count(LATE, n, kind=kind)

    def _dead_letters(self, owned: _Owned, kind: Kind, found: Records, refused: Sequence[Refused]) -> list[Out]:
        """Records for what was refused, except what went out in an earlier life."""
        out = []
        for row, reason, message in sorted(refused):
            raw = found.raw[row]
            offset = raw.offset() or 0
            if offset >= owned.out_to[kind]:
                key, value, headers = dead_letter(
                    found.keys[row], found.values[row], raw.headers(), reason, message, found.at.topic, found.at.partition, offset
                )
                out.append(Out(TopicPartition(self._topics.dead_letters, found.at.partition), key, value, headers))
        return out

    # operational findings ------------------------------------------------------------------------------------------------

    def _notice(self, owned: _Owned, kind: Kind, taken: Taken, refused: Sequence[Refused]) -> list[Noticed]:
        """What a batch of one log shows of how it is used to being silent, and of how much of it is refused."""
        if self._operations is None:
            return []
        frame, stamps = taken.arrivals.frame, taken.arrivals.stamps
        rows = frame["row"].to_numpy().astype(np.int64)
        # only events of the present show when a source speaks: recorded ones arrive when somebody replays them
        live = rows[np.abs(frame["ts"].to_numpy() - stamps[rows]) <= self._rules.clocks.max_jump_ms]
        return owned.watch.read(kind, taken.records, live, refused, self._operations)

    def _new_findings(self, noticed: Sequence[Noticed]) -> list[Noticed]:
        """Those that no earlier life has sent: what lies before the committed offset is out."""
        kinds = {topic: kind for kind, topic in self._topics.events.items()}
        return [each for each in noticed if each.offset >= self._owned[each.operation.at.partition].out_to[kinds[each.operation.at.topic]]]

    def _findings(self, operations: Iterable[Operation]) -> list[Out]:
        return [self._operations.out(each) for each in operations] if self._operations is not None else []

    def _count_findings(self, operations: Iterable[Operation]) -> None:
        for each in operations:
            if not each.closed:
                self._telemetry.count(FINDINGS, about=each.about)

    def _tell_silence(self) -> None:
        """Raise a finding for every log that is silent beyond its habit now, in a transaction that a zombie cannot commit."""
        how = self._operations
        if how is None or how.least_silence_ms is None or self._settings.until_done:
            return
        now, told = self._clock.now_ms(), []
        for owned in self._owned.values():
            newest = max(clock.at_ms for clock in owned.partition.clocks.values())
            if abs(now - newest) > self._rules.clocks.max_jump_ms:
                continue  # a replay, whose sources are files
            for kind in KINDS:
                # at its end, heard, and not just come back after the broker was away
                if kind not in owned.paused and owned.silence.for_ms(kind) >= _HEARD_MS:
                    finding = owned.watch.overdue(kind, self._at(kind, owned.number), now, how.least_silence_ms)
                    told += [(owned, kind, finding)] if finding is not None else []
        if told:
            findings = [finding for _, _, finding in told]
            self._transact(self._findings(findings), {owned.number: owned for owned, _, _ in told}.values())
            for owned, kind, _ in told:
                owned.watch.tell(kind)
            self._count_findings(findings)

    # event-time alignment and silence ----------------------------------------------------------------------------------

    def _align(self) -> None:
        """Let topics that have run ahead in event time wait for the slowest, so that memory stays bounded."""
        for owned in self._owned.values():
            clocks = {kind: clock.at_ms for kind, clock in owned.partition.clocks.items()}
            running = [kind for kind in KINDS if not (self._settings.until_done and self._finished(owned, kind))]
            # a topic that has shown nothing yet counts as standing where the oldest event is that waits for it
            slowest = max(min((clocks[kind] for kind in running), default=LONG_AGO), owned.partition.oldest_ms)
            allowed = self._settings.max_ahead_ms
            ahead = {
                kind for kind in running
                if slowest != LONG_AGO and clocks[kind] - slowest > (allowed // 2 if kind in owned.paused else allowed)
            }  # fmt: skip
            if ahead != owned.paused:
                self._source.pause([self._at(kind, owned.number) for kind in sorted(ahead - owned.paused)])
                self._source.resume([self._at(kind, owned.number) for kind in sorted(owned.paused - ahead)])
                owned.paused = ahead

    def _listen(self, polled: Polled) -> None:
        """Note which logs spoke, which ended, and which could not be heard."""
        now = self._clock.now_ms()
        # a long gap between two polls is this worker's own doing, not the world's silence
        passed = min(now - self._polled_at_ms, 10 * self._settings.poll_ms) if self._polled_at_ms is not None else 0
        self._polled_at_ms = now
        spoke = {found.at for found in polled.records if any(value is not None for value in found.values)}
        for owned in self._owned.values():
            places = {kind: self._at(kind, owned.number) for kind in KINDS}
            owned.end_seen |= {kind: polled.ended[at] for kind, at in places.items() if at in polled.ended}
            owned.silence.listen(
                passed,
                spoke={kind for kind, at in places.items() if at in spoke},
                ended={kind for kind, at in places.items() if at in polled.ended},
                unheard=owned.paused if polled.answered else KINDS,
            )

    def _mark_silence(self) -> None:
        """Write clock marks into logs that have been silent for long enough, in a transaction that a zombie cannot commit."""
        idle = self._settings.idle_after_ms
        if idle is None or self._settings.until_done:
            return
        out, owners = [], []
        for owned in self._owned.values():
            clocks = {kind: clock.at_ms for kind, clock in owned.partition.clocks.items()}
            marks = owned.silence.marks(
                clocks, owned.paused, idle, self._clock.now_ms(), self._rules.clocks.max_jump_ms, self._rules.calendar
            )
            if marks:
                owners.append(owned)
                out += [Out(self._at(kind, owned.number), None, None, encode_mark(to, idle=True)) for kind, to in marks.items()]
        if out:
            self._transact(out, owners)
            kinds = {topic: kind for kind, topic in self._topics.events.items()}
            for mark in out:
                self._telemetry.count(SILENCE_MARKS, kind=kinds[mark.at.topic])

    # what it tells of itself -----------------------------------------------------------------------------------------

    def _tell(self, at_once: bool = False) -> None:
        """Say where it stands, a few times a minute: counting open windows takes a moment."""
        now = self._clock.now_ms()
        if not self._telemetry.wanted or (not at_once and now - self._told_at_ms < _TELL_EVERY_MS):
            return
        self._told_at_ms = now
        held = sorted(self._owned.items())
        positions = {
            self._at(kind, number): max(position, owned.end_seen[kind])
            for number, owned in held for kind, position in zip(KINDS, owned.place.positions, strict=True)
        }  # fmt: skip
        clocks = {self._at(kind, number): clock.at_ms for number, owned in held for kind, clock in owned.partition.clocks.items()}
        watermarks = {number: owned.partition.watermark_ms for number, owned in held}
        tell = self._telemetry.levels
        tell(LAST_TURN, {(): now / 1000})
        tell(PARTITIONS, {(): len(held)})
        tell(POSITION, {(at.topic, str(at.partition)): position for at, position in positions.items()})
        tell(CLOCK, {(at.topic, str(at.partition)): at_ms / 1000 for at, at_ms in clocks.items() if at_ms != LONG_AGO})
        tell(WATERMARK, {(str(number),): at_ms / 1000 for number, at_ms in watermarks.items() if at_ms != LONG_AGO})
        tell(WINDOWS_OPEN, {(str(number),): owned.partition.open_windows for number, owned in held})
        tell(PANES, {(str(number),): len(owned.partition.panes) for number, owned in held})

    def _at(self, kind: Kind, number: int) -> TopicPartition:
        return TopicPartition(self._topics.events[kind], number)
