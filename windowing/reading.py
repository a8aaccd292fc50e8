"""Reading: a batch is decoded and placed, its dead letters are sent, and the rest is appended to the panes in the store.

Packing events for the store is dear, and those of a pane that closes soon need not go there at all. So what was read may wait a little
in memory: the next closing, or a later batch, writes it. After a failure it is read again, as after the loss of the store's last second.

While there is a backlog, a second thread decodes the next batches as this one is placed and its windows are closed. Decoding depends on
the records alone and changes nothing, so a batch that was decoded in vain is thrown away. Windows close in bursts, a day's at once;
so that nobody waits for anybody, a few batches may lie ready.

    fetching      … batch 5          batch 6          batch 7           (`stream.kafka_source`)
    decoding        batch 2 3 4      batch 5          batch 6
    this worker     batch 1, closing batch 2          batch 3
"""

import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from stream.dead_letters import dead_letter
from stream.kinds import KINDS, Kind
from stream.log import Out, Polled, Records, TopicPartition
from stream.metrics import DEAD_LETTERS, EVENTS, LATE, STEP_SECONDS
from stream.operations import Noticed
from stream.telemetry import Beat
from windowing.cycle import Cycle, Held
from windowing.findings import count_findings, findings_out, new_findings, notice
from windowing.intake import Intake, Refused, Taken
from windowing.ledger import Place
from windowing.listening import Listener
from windowing.partition import Arrivals

_LATE = "late"
_AHEAD = 3
"""So many batches may have been polled that have found no place yet."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one poll brought, whether that was much, and how to get what it decodes to."""

    polled: Polled
    large: bool
    taken: Callable[[], list[tuple[Kind, list[Taken]]]]


class Reader:
    """The reading half of a worker's cycle."""

    def __init__(self, cycle: Cycle, listener: Listener) -> None:
        self._cycle, self._listener = cycle, listener
        self._intake = Intake(cycle.topics, cycle.rules.calendar.zone, cycle.settings.limits)
        self._decoder = ThreadPoolExecutor(1, "daywatch-decode")
        self._ahead: deque[_Batch] = deque()

    @property
    def waiting(self) -> bool:
        """Whether something has been polled that has found no place yet."""
        return bool(self._ahead)

    def forget(self) -> None:
        """Drop what was polled: it will be read again."""
        self._ahead.clear()

    def read(self, assignment: int) -> None:
        """Take a batch of the assignment that is held."""
        self._listener.align()
        if self._has_room():
            self._poll(assignment)
        if self._cycle.source.assignment()[0] != assignment:
            return  # what came belongs to an assignment that is gone; it will be read again by whoever owns it now
        # a large one that has just come is decoded first, while the next one is polled
        if len(self._ahead) > 1 or (self._ahead and not self._ahead[0].large):
            self._use(self._ahead.popleft())
        self._listener.mark_silence()
        self._listener.tell_silence()

    def read_ahead(self, assignment: int) -> None:
        """Poll what may lie ready, as long as much comes; nothing of it is placed."""
        while self._has_room() and self._poll(assignment):
            pass

    def _has_room(self) -> bool:
        # behind a small batch nothing waits: all that there was has come
        return not self._ahead or (self._ahead[-1].large and len(self._ahead) < _AHEAD)

    def _poll(self, assignment: int) -> bool:
        """Poll once, and let much be decoded in the background. Whether it was much, and is still ours."""
        cycle = self._cycle
        polled = cycle.source.poll(cycle.settings.batch_records, cycle.settings.poll_ms)
        if cycle.source.assignment()[0] != assignment:
            return False
        records = [found for found in polled.records if found.at.partition in cycle.held]
        large = sum(len(found.values) for found in records) >= cycle.settings.backlog_records
        decoded = self._decoder.submit(self._decoded, records).result if large else partial(self._decoded, records)
        self._ahead.append(_Batch(polled, large, decoded))
        return large

    def _decoded(self, records: Sequence[Records]) -> list[tuple[Kind, list[Taken]]]:
        of_kind = {kind: [found for found in records if found.at.topic == topic] for kind, topic in self._cycle.topics.events.items()}
        return [(kind, self._intake.take(kind, of_kind[kind])) for kind in KINDS if of_kind[kind]]

    def _use(self, batch: _Batch) -> None:
        cycle = self._cycle
        self._listener.listen(batch.polled)
        began = time.perf_counter()
        if taken := batch.taken():
            cycle.telemetry.beat(Beat.BROKER)
            self._take(taken)
            cycle.telemetry.observe(STEP_SECONDS, time.perf_counter() - began, step="read")
        else:
            if waiting := cycle.unwritten():
                cycle.write(waiting)
            if cycle.settings.until_done:
                self._skip_to_ends()

    def _skip_to_ends(self) -> None:
        """Step over what ends a log behind its last record, a transaction's marker: others look for how far we have come."""
        moved = []
        for held in self._cycle.held.values():
            positions = tuple(max(held.position(kind), held.end_seen[kind]) for kind in KINDS)
            if positions != held.place.positions:
                self._cycle.reach(held, Place(positions, held.place.closed))
                moved.append(held)
        if moved:
            self._cycle.write(moved)

    def _take(self, batch: Sequence[tuple[Kind, list[Taken]]]) -> None:
        cycle = self._cycle
        dead: list[Out] = []
        noticed: list[Noticed] = []
        reached: dict[int, dict[Kind, int]] = {}
        for kind, parts in batch:
            for taken in parts:
                found, held = taken.records, cycle.held[taken.records.at.partition]
                refused = [*taken.refused, *_placed(held, taken.arrivals)]
                dead += self._dead_letters(held, kind, found, refused)
                noticed += notice(cycle, held, kind, taken, refused)
                reached.setdefault(held.number, {})[kind] = found.next_offset
                self._remember(held, kind, len(found.values), len(found.values) - len(taken.arrivals.marks), refused)
        places = {number: _place(cycle.held[number], kinds) for number, kinds in reached.items()}
        said = new_findings(cycle, noticed)
        operations = [each.operation for each in said]
        if dead or said:
            numbers = {record.at.partition for record in dead} | {each.at.partition for each in operations}
            touched = [cycle.held[number] for number in sorted(numbers)]
            out = [*dead, *findings_out(cycle, operations)]
            cycle.transact(out, touched, {number: place.positions for number, place in places.items()})
        for number, place in places.items():
            cycle.reach(cycle.held[number], place)
        self._write(at_once=bool(dead or said))
        count_findings(cycle, operations)
        if cycle.operations is not None:
            cycle.operations.check(said)

    def _remember(self, held: Held, kind: Kind, records: int, events: int, refused: Sequence[Refused]) -> None:
        """Count a batch of one log when it has been written."""
        held.unwritten += records
        held.when_written.append(partial(self._count, kind, events, refused))

    def _write(self, *, at_once: bool) -> None:
        """Bring the store up to what has been read, unless that can wait."""
        cycle, how = self._cycle, self._cycle.settings
        waiting = cycle.unwritten()
        if not at_once and how.write_after_ms:
            # the closing that comes next writes what is due; what it closes is not packed for nothing
            waiting = [held for held in waiting if not held.partition.due()]
            if cycle.may_wait(waiting, 2 * how.write_after_ms if self._listener.behind else how.write_after_ms):
                return
        if waiting:
            cycle.write(waiting)

    def _count(self, kind: Kind, read: int, refused: Sequence[Refused]) -> None:
        totals, telemetry = self._cycle.totals, self._cycle.telemetry
        totals.read[kind] += read
        telemetry.count(EVENTS, read, kind=kind)
        counts = totals.refused[kind]
        for reason, n in Tally(each.reason for each in refused).items():
            counts[reason] = counts.get(reason, 0) + n
            telemetry.count(DEAD_LETTERS, n, topic=self._cycle.topics.events[kind], reason=reason)
            if reason == _LATE:
                telemetry.count(LATE, n, kind=kind)

    def _dead_letters(self, held: Held, kind: Kind, found: Records, refused: Sequence[Refused]) -> list[Out]:
        """Records for what was refused, except what went out in an earlier life."""
        out = []
        for row, reason, message in sorted(refused):
            raw = found.raw[row]
            offset = raw.offset() or 0
            if offset >= held.out_to[kind]:
                key, value, headers = dead_letter(
                    found.keys[row], found.values[row], raw.headers(), reason, message, found.at.topic, found.at.partition, offset
                )
                out.append(Out(TopicPartition(self._cycle.topics.dead_letters, found.at.partition), key, value, headers))
        return out


def _place(held: Held, reached: dict[Kind, int]) -> Place:
    return Place(tuple(reached.get(kind, held.position(kind)) for kind in KINDS), held.place.closed)


def _placed(held: Held, arrivals: Arrivals) -> list[Refused]:
    """Place arrivals in their panes; what found no place is refused."""
    unplaced = held.partition.read(arrivals)
    return [Refused(row, _LATE, "too late for every window over it") for row in unplaced.late] + [
        Refused(row, "future", "later than its own record by more than the tolerance") for row in unplaced.future
    ]
