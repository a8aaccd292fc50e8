"""What the parts of a windowing worker's cycle share: its settings, the partitions held, and the two effects in their order.

An effect is first the transaction that sends and commits, then the script that moves the store on; nothing else writes. Knows no
event and no window.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stream.clock import Clock
from stream.decode import DecodeLimits
from stream.kinds import KINDS, Kind, Millis
from stream.log import Commit, Out, Outlet, Source, TopicPartition
from stream.operations import Operations
from stream.telemetry import Telemetry
from windowing.intake import Topics
from windowing.ledger import Place, encode_note, encode_state
from windowing.partition import Closing, Partition, Rules
from windowing.silence import Silence
from windowing.store import Advance, WindowStore
from windowing.watch import Watch


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How much a cycle takes on, and when silence counts; times in milliseconds."""

    batch_records: int = 50_000
    close_windows: int = 1_000
    backlog_records: int = 5_000
    """So many in one poll are more than a live source brings in the time that a poll waits: then throughput counts, and no single event."""
    poll_ms: Millis = 100
    max_ahead_ms: Millis = 2 * 86_400_000
    idle_after_ms: Millis | None = 60_000
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    until_done: bool = False
    trust_bounds: bool = True
    """False for a broker whose end offsets cannot be believed: a log's end is then what two polls of it say."""
    dealt_out: bool = False
    """The partitions have been dealt out for good: those of others never come here, and they see to them."""
    write_after_ms: Millis = 0
    write_after_records: int = 500_000
    """The store is written when so many records wait for it, or something for so long, or with a closing; 0: at once.

    In a backlog a closing waits, too; what has waited for long enough is written right after one.
    """


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
class Held:
    """A partition that this worker holds, with what it knows of store and commit."""

    number: int
    epoch: int
    place: Place
    """How far it has been read and closed; `stored` is as much of that as the store knows.

    After a failure the rest is read and closed again, and not sent again: the commit tells what is out.
    """
    partition: Partition
    out_to: dict[Kind, int]
    """What is committed to Kafka; never goes back, whatever the store says."""
    ends: dict[Kind, int]
    end_seen: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    """Per kind: the offset at which its log was last found to end; beyond the last record when a transaction ended there."""
    paused: set[Kind] = field(default_factory=set)
    silence: Silence = field(default_factory=Silence)
    watch: Watch = field(default_factory=Watch)
    stored: Place = field(init=False)
    unwritten: int = 0
    """Records read since the store was last written."""
    unwritten_since_ms: Millis = 0
    drops: list[int] = field(default_factory=list)
    folded: set[str] = field(default_factory=set)
    """Panes that closing has done with since then, and users whose profiles it has changed."""
    when_written: list[Callable[[], None]] = field(default_factory=list)
    """What waits for that: a batch that is read again after a failure is not to count twice."""

    def __post_init__(self) -> None:
        self.stored = self.place

    def position(self, kind: Kind) -> int:
        """The next offset to read of a kind's log."""
        return self.place.positions[KINDS.index(kind)]


@dataclass(slots=True)
class Cycle:
    """The devices, the settings, and the partitions that are held at present."""

    source: Source
    outlet: Outlet
    store: WindowStore
    topics: Topics
    rules: Rules
    settings: WorkerSettings
    clock: Clock
    telemetry: Telemetry
    operations: Operations | None
    totals: Totals = field(default_factory=Totals)
    held: dict[int, Held] = field(default_factory=dict)

    def at(self, kind: Kind, number: int) -> TopicPartition:
        """The log of a kind's events in a partition."""
        return TopicPartition(self.topics.events[kind], number)

    def transact(self, records: Sequence[Out], owners: Iterable[Held], read_to: Mapping[int, Sequence[int]] | None = None) -> None:
        """Send, and commit what is out: the larger of what this cycle reached and what is on record, never less."""
        commits = {}
        for held in owners:
            reached = (read_to or {}).get(held.number, held.place.positions)
            held.partition.sent = max(held.partition.sent, held.partition.closed)
            note = encode_note(held.partition.sent)
            for kind, offset in zip(KINDS, reached, strict=True):
                held.out_to[kind] = max(held.out_to[kind], offset)
                commits[self.at(kind, held.number)] = Commit(held.out_to[kind], note)
        self.outlet.transact(records, commits, self.source.group())

    def reach(self, held: Held, to: Place, closings: Iterable[Closing] = ()) -> None:
        """Note how far a partition has come; the store learns of it with the next `write`."""
        if held.place == held.stored:
            held.unwritten_since_ms = self.clock.now_ms()
        held.place = to
        for closing in closings:
            held.folded.update(closing.folded)
            if closing.done_pane is not None:
                held.drops.append(closing.done_pane)

    def write(self, owners: Sequence[Held]) -> None:
        """Bring the store up to where these partitions stand, all in one call, once what they have sent is out for good."""
        self.outlet.settle()
        self.store.advance([_change(held) for held in owners])
        for held in owners:
            held.stored = held.place
            held.watch.keep()
            held.drops.clear()
            held.folded.clear()
            held.unwritten, done, held.when_written = 0, held.when_written, []
            for each in done:
                each()

    def unwritten(self) -> list[Held]:
        """Partitions of which the store does not know all."""
        return [held for held in self.held.values() if held.place != held.stored]

    def may_wait(self, waiting: Sequence[Held], ms: Millis) -> bool:
        """Whether what the store does not know of these partitions is little enough to wait, and waits for less than `ms`."""
        since_ms = min((held.unwritten_since_ms for held in waiting), default=0)
        return sum(held.unwritten for held in waiting) < self.settings.write_after_records and self.clock.now_ms() - since_ms < ms


def _change(held: Held) -> Advance:
    return Advance(
        held.number,
        held.epoch,
        held.stored.encode(),
        held.place.encode(),
        encode_state(held.partition.clocks, watch=held.watch.standing()),
        appends=held.partition.take_staged(),
        drops=held.drops,
        profiles=held.partition.profiles.dump(sorted(held.folded)),
        habits=held.watch.learned(),
    )
