"""The cycle of a windowing worker: claim, close what is due, read when nothing is. Follows the delivery protocol.

Effects happen in one order only: first the transaction that sends and commits, then the script that moves the state on. After
anything uncertain the worker forgets what it had in memory and claims again; recovery compares store and commit. Talks to the
devices through the seams `Source`, `Outlet` and `WindowStore` alone.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import polars as pl

from stream.clock import Clock
from stream.dead_letters import dead_letter
from stream.decode import Decoded, DecodeLimits, decode
from stream.errors import FencedError, PipelineError, RefusedError, StaleError, TransientError
from stream.kinds import KINDS, Kind, Millis
from stream.log import Commit, Headers, Out, Outlet, Polled, Records, Source, TopicPartition
from stream.marks import BadMark, encode_mark, parse_mark
from stream.partitioner import partition_of
from stream.times import MAX_TS
from windowing.clocks import LONG_AGO, Mark, TopicClock
from windowing.panes import decode_blobs
from windowing.partition import Arrivals, Closed, Closing, Partition, Rules
from windowing.store import Advance, Claimed, Start, WindowStore

LAYOUT_VERSION = 1
_MARK_EVERY_MS: Millis = 60_000
_MOST_FAILURES = 60


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of the topics that a windowing worker touches, and their partition count."""

    events: Mapping[Kind, str]
    windows: str
    dead_letters: str
    partitions: int

    def kind_of(self, topic: str) -> Kind:
        """The kind of event that a topic carries."""
        return next(kind for kind, name in self.events.items() if name == topic)


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


class Place(NamedTuple):
    """Where a partition stands: the next offset of each kind, and how far closing has come."""

    positions: tuple[int, ...]
    closed: Closed

    def encode(self) -> str:
        """The text that the store compares byte by byte."""
        return json.dumps([list(self.positions), list(self.closed)], separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> "Place":
        """Read what `encode` wrote."""
        positions, closed = json.loads(text)
        return cls(tuple(positions), Closed(*closed))


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
    at_end: dict[Kind, Millis | None]
    """Per kind: since when, by `polled_ms`, its log has been at its end with nothing new; None while it is not."""
    end_seen: dict[Kind, int]
    """Per kind: the offset at which its log was last found to end; beyond the last record when a transaction ended there."""
    paused: set[Kind] = field(default_factory=set)
    polled_ms: Millis = 0
    """Time in which polls were answered."""
    calm: tuple[Millis, Millis] | None = None
    """Newest clock, and `polled_ms`, when the silence of all five topics began."""
    marked_at_ms: Millis = LONG_AGO


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
    ) -> None:
        self._source, self._outlet, self._store, self._wait = source, outlet, store, wait
        self._topics, self._rules, self._settings, self._clock = topics, rules, settings, clock
        self._owned: dict[int, _Owned] = {}
        self._assignment = 0
        self._ends: dict[TopicPartition, int] = {}
        self._polled_at_ms: Millis | None = None
        self._proven: dict[int, set[str]] = {}
        self.totals = Totals()

    # the loop --------------------------------------------------------------------------------------------------------

    def run(self, stop: Callable[[], bool], after_step: Callable[["WindowWorker"], None] = lambda _: None) -> None:
        """Work until told to stop, or, with `until_done`, until everything has been worked off.

        Raises:
            RefusedError: going on would lose or double something.
        """
        failures = 0
        while not stop():
            try:
                if failures:
                    # whoever has lost the partitions learns of it here, before it claims them again and disturbs their owner
                    self._source.poll(1, self._settings.poll_ms)
                self.step()
                failures = 0
            except (StaleError, FencedError, TransientError) as error:
                failures += 1
                self._after_failure(error, failures)
            after_step(self)
            if self._settings.until_done and self.done():
                return

    def _after_failure(self, error: PipelineError, failures: int) -> None:
        """Forget everything: whatever of the cycle took effect, recovery finds out."""
        if not self._settings.trust_bounds:
            raise PipelineError(f"the embedded broker cannot say whether this was written: {error}; start the run anew") from error
        if failures > _MOST_FAILURES:
            raise error
        self.totals.recoveries += 1
        self._forget()
        self._wait(min(0.05 * 2 ** min(failures, 7), 5.0))

    def step(self) -> None:
        """One cycle: claim what is new, then close, or read when nothing is due."""
        generation, partitions = self._source.assignment()
        if generation != self._assignment:
            self._forget()
            if partitions:
                self._claim(sorted(partitions))
            self._assignment = generation
        if not self._close():
            self._read()

    def done(self) -> bool:
        """Whether every log held has been worked off: marked ones to their last mark, the others to where they ended at the start.

        A worker for whom no partition is left is done, too.
        """
        generation, partitions = self._source.assignment()
        return (
            self._source.joined()
            and generation == self._assignment
            and partitions == set(self._owned)
            and all(not owned.partition.due() and all(self._finished(owned, kind) for kind in KINDS) for owned in self._owned.values())
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
        since = owned.at_end[kind]
        return since is not None and owned.polled_ms - since >= 2_000

    @property
    def partitions(self) -> Mapping[int, Partition]:
        """The partitions held at present."""
        return {number: owned.partition for number, owned in self._owned.items()}

    def _forget(self) -> None:
        self._owned.clear()
        self._proven.clear()
        self._assignment = 0

    # claiming --------------------------------------------------------------------------------------------------------

    def _layout(self) -> str:
        spec = self._rules.calendar.spec
        layout = {
            "version": LAYOUT_VERSION, "partitions": self._topics.partitions, "size_ms": spec.size_ms,
            "hop_ms": spec.hop_ms, "zone": self._rules.calendar.zone,
        }  # fmt: skip
        return json.dumps(layout, sort_keys=True)

    def _claim(self, numbers: Sequence[int]) -> None:
        """Become the owner of these partitions, as the store and the group's commits tell."""
        claims = {number: self._store.claim(number, self._layout()) for number in numbers}
        for claimed in claims.values():
            self._check_layout(claimed)
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

    def _check_layout(self, claimed: Claimed) -> None:
        ours, theirs = json.loads(self._layout()), json.loads(claimed.layout)
        for name in ours:
            if ours[name] != theirs.get(name):
                raise RefusedError(
                    f"window state was made with {name} = {theirs.get(name)}, and the settings say {ours[name]}; "
                    "restore that setting, or use a new namespace"
                )

    def _begin(
        self, claims: Mapping[int, Claimed], committed: Mapping[TopicPartition, Commit], bounds: Mapping[TopicPartition, tuple[int, int]]
    ) -> dict[int, Place]:
        """Give partitions that nobody has read yet their starting positions: in the store first, on disk, then in Kafka."""
        begun = {}
        for number, claimed in claims.items():
            fresh = not claimed.at or json.loads(claimed.state).get("fresh", False)
            commits = [committed[self._at(kind, number)] for kind in KINDS if self._at(kind, number) in committed]
            read_before = any(Closed(*json.loads(commit.note)["sent"]) > Closed() for commit in commits if commit.note)
            if not claimed.at and commits:
                # another worker may have begun it between our look at the store and our look at the commits
                if self._store.claim(number, self._layout()).epoch != claimed.epoch + 1:
                    raise FencedError(f"partition {number} has a newer owner")
                raise RefusedError(
                    f"partition {number}: the group has committed offsets, but the store holds no state for it: the store was lost or "
                    "emptied, or belongs to another namespace. Restore it, or start over with a new namespace (or reset this one)"
                )
            if claimed.at and not fresh and not commits:
                raise RefusedError(
                    f"partition {number}: the store holds state, but the group has no committed offsets: they expire a week after "
                    "the last worker left, or the broker is a new one. Use a new namespace, or reset this one"
                )
            if fresh and not read_before and len(commits) < len(KINDS):
                begun[number] = Place(tuple(bounds[self._at(kind, number)][0] for kind in KINDS), Closed())
        if begun:
            state = _encode_state({kind: TopicClock() for kind in KINDS}, fresh=True)
            self._store.begin([Start(number, claims[number].epoch, place.encode(), state) for number, place in begun.items()])
            starting = {
                self._at(kind, number): Commit(offset, _note(Closed()))
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
                sent = max(sent, _sent(commit.note))
            self._check_bounds(number, kind, place.positions[KINDS.index(kind)], bounds[self._at(kind, number)])
        partition.closed, partition.sent = place.closed, sent
        if begun is None:
            partition.clocks = _decode_clocks(claimed.state)
            for page in self._store.profiles(number):
                partition.profiles.load(page)
            for pane, blobs in self._store.panes(number, claimed.panes):
                partition.restore(pane, decode_blobs(blobs))
        ends = {kind: self._ends.setdefault(self._at(kind, number), bounds[self._at(kind, number)][1]) for kind in KINDS}
        return _Owned(number, claimed.epoch, place, partition, out_to, ends, dict.fromkeys(KINDS), dict.fromkeys(KINDS, 0))

    def _check_bounds(self, number: int, kind: Kind, position: int, bounds: tuple[int, int]) -> None:
        low, high = bounds
        if position < low:
            raise RefusedError(
                f"partition {number}: {kind} is to be read from offset {position}, but its log begins at {low}: records were deleted "
                "before they were read, or the topic was made anew. Use a new namespace, or reset this one"
            )
        if position > high and self._settings.trust_bounds:
            raise RefusedError(
                f"partition {number}: {kind} is to be read from offset {position}, but its log ends at {high}: the topic was made anew. "
                "Use a new namespace, or reset this one"
            )

    # closing ---------------------------------------------------------------------------------------------------------

    def _close(self) -> bool:
        """Send the next due windows of every partition in one transaction, then move the store on. False when nothing is due."""
        due = [owned for owned in self._owned.values() if owned.partition.due()]
        if not due:
            return False
        share = max(1, self._settings.close_windows // len(due))
        steps = [(owned, self._closings(owned.partition, share)) for owned in due]
        records = [record for owned, closings in steps for closing in closings for record in self._outgoing(owned, closing)]
        if records:
            self._transact(records, due)
        self._advance([(owned, Place(owned.place.positions, owned.partition.closed), closings) for owned, closings in steps])
        for closing in (closing for _, closings in steps for closing in closings):
            self.totals.windows += closing.windows.height
            for kind, n in closing.duplicates.items():
                self.totals.duplicates[kind] += n
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
                commits[self._at(kind, owned.number)] = Commit(owned.out_to[kind], _note(owned.partition.sent))
        self._outlet.transact(records, commits, self._source.group())

    def _advance(self, moves: Sequence[tuple[_Owned, Place, Sequence[Closing]]]) -> None:
        """Move the store on, and with it what this worker believes of it."""
        changes = [
            Advance(
                owned.number,
                owned.epoch,
                owned.place.encode(),
                to.encode(),
                _encode_state(owned.partition.clocks),
                appends=owned.partition.take_staged(),
                drops=[closing.done_pane for closing in closings if closing.done_pane is not None],
                profiles=owned.partition.profiles.dump(sorted({user for closing in closings for user in closing.folded})),
            )
            for owned, to, closings in moves
        ]
        self._store.advance(changes)
        for owned, to, _ in moves:
            owned.place = to

    # reading ---------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take a batch: decode it, send its dead letters, append the rest to the panes in the store."""
        self._align()
        polled = self._source.poll(self._settings.batch_records, self._settings.poll_ms)
        if self._source.assignment()[0] != self._assignment:
            return  # what came belongs to an assignment that is gone; it will be read again by whoever owns it now
        self._count_silence(polled)
        records = [found for found in polled.records if found.at.partition in self._owned]
        if records:
            self._take(records)
        self._mark_silence()

    def _take(self, records: Sequence[Records]) -> None:
        dead: list[Out] = []
        reached: dict[int, dict[Kind, int]] = {}
        for kind in KINDS:
            mine = [found for found in records if found.at.topic == self._topics.events[kind]]
            for found, arrivals, refused in self._decoded(kind, mine):
                owned = self._owned[found.at.partition]
                unplaced = owned.partition.read(arrivals)
                refused += [(row, "late", "too late for every window over it") for row in unplaced.late]
                refused += [(row, "future", "later than its own record by more than the tolerance") for row in unplaced.future]
                self.totals.read[kind] += len(found.values) - len(arrivals.marks)
                counts = self.totals.refused[kind]
                for _, reason, _ in refused:
                    counts[reason] = counts.get(reason, 0) + 1
                dead += self._dead_letters(owned, kind, found, refused)
                reached.setdefault(found.at.partition, {})[kind] = found.next_offset
        places = {
            number: Place(
                tuple(kinds.get(kind, now) for kind, now in zip(KINDS, self._owned[number].place.positions, strict=True)),
                self._owned[number].place.closed,
            )
            for number, kinds in reached.items()
        }
        if dead:
            touched = [self._owned[number] for number in sorted({record.at.partition for record in dead})]
            self._transact(dead, touched, {number: place.positions for number, place in places.items()})
        self._advance([(self._owned[number], place, ()) for number, place in places.items()])

    def _decoded(self, kind: Kind, batch: Sequence[Records]) -> list[tuple[Records, Arrivals, list[tuple[int, str, str]]]]:
        """Decode all partitions' records of a kind in one go, then part them again."""
        values: list[bytes] = []
        keys: list[bytes | None] = []
        parts = []
        for found in batch:
            marks, refused, rows = _sort_out(found)
            parts.append((found, marks, refused, rows, len(values)))
            values += found.values if rows is None else [found.values[row] for row in rows]  # type: ignore[arg-type, misc]
            keys += found.keys if rows is None else [found.keys[row] for row in rows]
        decoded = decode(kind, values, keys, self._rules.calendar.zone, self._settings.limits) if values else None
        return [self._part(kind, decoded, found, marks, refused, rows, start) for found, marks, refused, rows, start in parts]

    def _part(
        self, kind: Kind, decoded: Decoded | None, found: Records, marks: list[Mark], refused: list[tuple[int, str, str]],
        rows: list[int] | None, start: int,
    ) -> tuple[Records, Arrivals, list[tuple[int, str, str]]]:  # fmt: skip
        size = len(found.values) if rows is None else len(rows)
        if decoded is None:
            frame = decode(kind, [], [], self._rules.calendar.zone, self._settings.limits).frame
        else:
            low, high = np.searchsorted(decoded.frame["row"].to_numpy(), [start, start + size])
            frame = decoded.frame[int(low) : int(high)]
            places = frame["row"].to_numpy().astype(np.int64) - start
            frame = frame.with_columns(row=places if rows is None else np.array(rows, np.int64)[places])
            refused = refused + [
                (bad.row - start if rows is None else rows[bad.row - start], bad.reason, bad.message)
                for bad in decoded.rejected if start <= bad.row < start + size
            ]  # fmt: skip
        frame, astray = self._of_this_partition(found.at.partition, frame)
        refused = refused + [(row, "misrouted", "this user's records belong into another partition") for row in astray]
        return found, Arrivals(kind, frame, np.array(found.stamps, np.int64), marks), refused

    def _of_this_partition(self, number: int, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[int]]:
        """Part the events whose user belongs to this partition from those that do not; each user is worked out once."""
        proven = self._proven.setdefault(number, set())
        new = [user for user in frame["user"].unique().to_list() if user not in proven]
        foreign = [user for user in new if partition_of(user.encode(), self._topics.partitions) != number]
        proven.update(user for user in new if user not in set(foreign))
        if not foreign:
            return frame, []
        astray = frame["user"].is_in(foreign)
        return frame.filter(~astray), frame.filter(astray)["row"].to_list()

    def _dead_letters(self, owned: _Owned, kind: Kind, found: Records, refused: Sequence[tuple[int, str, str]]) -> list[Out]:
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

    def _count_silence(self, polled: Polled) -> None:
        """Add up, per log, for how long polls were answered while it stood at its end with nothing new."""
        now = self._clock.now_ms()
        passed = now - self._polled_at_ms if self._polled_at_ms is not None else 0
        self._polled_at_ms = now
        spoke = {found.at for found in polled.records if any(value is not None for value in found.values)}
        for owned in self._owned.values():
            # a long gap between two polls is this worker's own doing, not the world's silence
            owned.polled_ms += max(0, min(passed, 10 * self._settings.poll_ms))
            for kind in KINDS:
                at = self._at(kind, owned.number)
                if at in polled.ended:
                    owned.end_seen[kind] = polled.ended[at]
                if at in spoke:
                    owned.at_end[kind] = owned.calm = None
                elif owned.at_end[kind] is not None and (kind in owned.paused or not polled.answered):
                    owned.at_end[kind], owned.calm = owned.polled_ms, None
                if at in polled.ended and owned.at_end[kind] is None:
                    owned.at_end[kind] = owned.polled_ms

    def _mark_silence(self) -> None:
        """Write clock marks into logs that have been silent for long enough, in a transaction that a zombie cannot commit."""
        idle = self._settings.idle_after_ms
        if idle is None or self._settings.until_done:
            return
        marks = [(owned, found) for owned in self._owned.values() if (found := self._silence_marks(owned, idle))]
        if marks:
            self._transact([mark for _, found in marks for mark in found], [owned for owned, _ in marks])

    def _silence_marks(self, owned: _Owned, idle: Millis) -> list[Out]:
        clocks = {kind: clock.at_ms for kind, clock in owned.partition.clocks.items()}
        newest = max(clocks.values())
        silent = [
            kind for kind in KINDS
            if kind not in owned.paused and (since := owned.at_end[kind]) is not None and owned.polled_ms - since >= idle
        ]  # fmt: skip
        if newest == LONG_AGO or not silent:
            return []
        to = self._time_goes_on(owned, newest) if len(silent) == len(KINDS) else newest
        # a mark now and then is enough to be seen, but one where a window ends must not wait
        seldom = owned.polled_ms - owned.marked_at_ms >= min(idle, _MARK_EVERY_MS)
        out = [
            Out(self._at(kind, owned.number), None, None, encode_mark(to, idle=True))
            for kind in silent if clocks[kind] < to and (seldom or self._crosses(clocks[kind], to))
        ]  # fmt: skip
        if out:
            owned.marked_at_ms = owned.polled_ms
        return out

    def _crosses(self, clock_ms: Millis, to_ms: Millis) -> bool:
        """Whether a window ends between the two."""
        lateness, calendar = self._rules.calendar.spec.allowed_lateness_ms, self._rules.calendar
        return clock_ms == LONG_AGO or calendar.pane_of(clock_ms - lateness) < calendar.pane_of(to_ms - lateness)

    def _time_goes_on(self, owned: _Owned, newest: Millis) -> Millis:
        """Where the clocks stand when all five topics are silent: they go on with the wall clock if they were with it."""
        if owned.calm is None:
            owned.calm = (newest, max(owned.at_end[kind] or 0 for kind in KINDS))
        if abs(self._clock.now_ms() - newest) > self._rules.clocks.max_jump_ms:
            return newest  # an interrupted replay, not a quiet hour
        start_ms, began = owned.calm
        return max(newest, start_ms + owned.polled_ms - began)

    def _at(self, kind: Kind, number: int) -> TopicPartition:
        return TopicPartition(self._topics.events[kind], number)


def _sort_out(found: Records) -> tuple[list[Mark], list[tuple[int, str, str]], list[int] | None]:
    """Clock marks, refused null values, and the rows that hold data (None when all do)."""
    if None not in found.values:
        return [], [], None
    marks, refused, rows = [], [], []
    for row, value in enumerate(found.values):
        if value is not None:
            rows.append(row)
            continue
        try:
            at_ms, last, idle = parse_mark(found.keys[row], found.raw[row].headers())
            if not 0 <= at_ms < MAX_TS:
                # believed, it would close everything for good
                raise BadMark("a clock mark must lie between 1970 and 2200")
        except BadMark as error:
            refused.append((row, error.code, str(error)))
        else:
            marks.append(Mark(row, at_ms, last, idle))
    return marks, refused, rows


def _note(sent: Closed) -> str:
    """What goes with every committed offset: how far windows are out."""
    return json.dumps({"v": LAYOUT_VERSION, "sent": list(sent)}, separators=(",", ":"))


def _sent(note: str) -> Closed:
    return Closed(*json.loads(note)["sent"]) if note else Closed()


def _encode_state(clocks: Mapping[Kind, TopicClock], fresh: bool = False) -> str:
    state = {kind.value: [c.at_ms, c.pending_ms, c.pending_user, c.marked, c.last_ms] for kind, c in clocks.items()}
    return json.dumps({"clocks": state, "fresh": fresh}, separators=(",", ":"))


def _decode_clocks(text: str) -> dict[Kind, TopicClock]:
    state = json.loads(text)["clocks"]
    return {kind: TopicClock(*state[kind.value]) for kind in KINDS}


def when(ms: Millis) -> str:
    """An instant as people read it, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M") if ms > LONG_AGO else "–"
