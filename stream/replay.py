"""Recorded events told again: in the order of time, at a pace, with clock marks. Decides what is sent when; a sink sends it.

Time is cut where a clock mark is due (at least once an hour of event time) and, at a pace, every tenth of a second besides.
A mark T goes to every partition of all five topics once everything older than T has been sent:

    events   e e  e   e |  e     | e e |        |  e      (of all kinds)
    marks               T        T     T        T      …  last: closes the windows over the newest event

Knows neither brokers, nor what a window is (`closing_mark` is handed in), nor the wall clock.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import polars as pl

from stream.cert import CHUNK_BYTES, ReadCount, find_files, read_kind, read_merged
from stream.clock import Clock
from stream.encode import CloudHeaders, encode
from stream.errors import ConfigurationError
from stream.kinds import KINDS, Kind, Millis
from stream.log import Headers, MemoryLog, TopicPartition
from stream.marks import encode_mark
from stream.metrics import REPLAY_MARKS, REPLAY_TIME, REPLAYED
from stream.partitioner import partition_of
from stream.share import ShareSpec, TooManyDeadLetters
from stream.telemetry import NO_TELEMETRY, Beat, Telemetry
from stream.times import DAY_MS, Ints
from stream.zones import utc_to_wall, wall_to_utc

HOUR_MS: Final[Millis] = 3_600_000
SOURCE: Final = "daywatch/replay"
_TICK_MS: Final[Millis] = 100  # of wall time, between two looks at the clock
_MARKS_EVERY_MS: Final[Millis] = 10_000  # of wall time, at a pace
_CHECKPOINT_EVERY_MS: Final[Millis] = 15_000
_WEEK_DAYS: Final = 7


class EventSink(Protocol):
    """Takes events and clock marks for topics of equal partition count; order within a topic and key is kept."""

    def send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes], headers: Iterable[Headers] | None) -> None:
        """Hand over records, one key, value and list of headers each. May return before they have arrived."""
        ...

    def mark(self, topic: str, headers: Headers) -> None:
        """Hand over a clock mark for every partition of a topic."""
        ...

    def flush(self) -> None:
        """Return when everything handed over has arrived for good.

        Raises:
            TransientError: some of it has not, and will not.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What to replay and how. Instants in UTC ms, `[from_ms, to_ms)`; `speed` 0 is as fast as possible; `passes` 0 is for ever."""

    directory: Path
    zone: str = "UTC"
    kinds: tuple[Kind, ...] = KINDS
    from_ms: Millis | None = None
    to_ms: Millis | None = None
    speed: float = 0.0
    passes: int = 1
    shift_days: int = 0
    cloud_events: bool = True
    chunk_bytes: int = CHUNK_BYTES

    @property
    def marks_every_ms(self) -> Millis:
        """Event time between two marks: an hour, and less at a slow pace, but never less than a second."""
        return HOUR_MS if not self.speed else int(min(HOUR_MS, max(1000, self.speed * _MARKS_EVERY_MS)))

    @property
    def tick_ms(self) -> Millis:
        """Event time between two looks at the wall clock; 0 when there is no pace."""
        return max(1, int(self.speed * _TICK_MS)) if self.speed else 0


@dataclass(frozen=True, slots=True)
class Place:
    """How far a replay has come: everything before `at_ms` (in the files' time) of pass `number` has arrived.

    `first_ms` and `newest_ms` are the oldest and newest event so far, in the files' time; None before the first event.
    """

    number: int = 0
    at_ms: Millis | None = None
    first_ms: Millis | None = None
    newest_ms: Millis | None = None
    events: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Events sent by this run, the newest one's time as sent (UTC ms), and how much of the files' bytes has been read."""

    events: int
    ts: Millis
    bytes_read: int
    bytes_total: int


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a run did. `last_mark_ms` is None when it was interrupted: then no last mark has been written."""

    place: Place
    events: dict[Kind, int]
    unusable: int
    marks: int
    first_ms: Millis | None
    newest_ms: Millis | None
    last_mark_ms: Millis | None

    @property
    def total(self) -> int:
        """Events of all kinds."""
        return sum(self.events.values())


def time_range(plan: ReplayPlan) -> tuple[Millis, Millis]:
    """Time of the oldest and newest event that the plan would send, in the files' time. Reads the files through.

    Raises:
        ConfigurationError: there are none.
    """
    low: list[Millis] = []
    high: list[Millis] = []
    for kind, path in find_files(plan.directory, plan.kinds).items():
        for frame in read_kind(path, kind, plan.zone, plan.chunk_bytes):
            inside = _between(frame, plan.from_ms, plan.to_ms)
            if inside.height:
                low.append(int(inside["ts"][0]))
                high.append(int(inside["ts"][-1]))
    if not low:
        raise ConfigurationError(f"{plan.directory} holds no events in the time asked for")
    return min(low), max(high)


def first_time(plan: ReplayPlan) -> Millis | None:
    """Time of the oldest event that the plan would send, shifted as it would be; None without any. Reads only as far as it must."""
    for chunk in read_merged(plan.directory, plan.zone, plan.kinds, plan.chunk_bytes):
        inside = [_between(frame, plan.from_ms, plan.to_ms) for frame in chunk.values()]
        found = [int(frame["ts"][0]) for frame in inside if frame.height]
        if found:
            return min(found) + plan.shift_days * DAY_MS
    return None


def days_to_now(plan: ReplayPlan, now_ms: Millis) -> int:
    """By how many whole days a replay must be shifted so that nothing in it is sent before its time.

    At up to real time the first event becomes today's; faster than that, the newest one is at most now.
    """
    first_ms, newest_ms = time_range(plan)
    anchor_ms = first_ms if 0 < plan.speed <= 1 else newest_ms
    return int((now_ms - anchor_ms) // DAY_MS)


class Replay:
    """One run of a plan, from a place on. `closing_mark` gives the T of the last mark for the newest event's time."""

    def __init__(
        self,
        plan: ReplayPlan,
        topics: Mapping[Kind, str],
        sink: EventSink,
        closing_mark: Callable[[Millis], Millis],
        clock: Clock,
        place: Place | None = None,
        telemetry: Telemetry = NO_TELEMETRY,
        share: ShareSpec | None = None,
    ) -> None:
        self._telemetry = telemetry
        telemetry.count(REPLAY_MARKS, 0)
        for kind in plan.kinds:
            telemetry.count(REPLAYED, 0, kind=kind)
        self._plan, self._topics, self._sink, self._closing_mark, self._clock = plan, topics, sink, closing_mark, clock
        self._place = place or Place()
        self._share = share
        self._count = ReadCount()
        self._events = dict.fromkeys(KINDS, 0)
        self._marks = 0
        self._next_mark: Millis | None = None
        self._origin: tuple[Millis, Millis] | None = None
        self._sent_from: Millis | None = None
        self._sent_to: Millis | None = None
        self._saved_at = clock.now_ms()

    def run(
        self,
        sleep: Callable[[Millis], None],
        stopped: Callable[[], bool] = lambda: False,
        checkpoint: Callable[[Place], None] = lambda _place: None,
        progress: Callable[[Progress], None] = lambda _progress: None,
    ) -> ReplayReport:
        """Send until the plan is done or `stopped`; `checkpoint` gets places of which everything before has arrived.

        Raises:
            TooManyDeadLetters: more rows than `share` cannot be used.
            ConfigurationError: the files cannot be used, or hold no events in the time asked for.
            TransientError: the sink gave up.
        """
        finished = False
        while not (stopped() or finished):
            finished = self._pass(sleep, stopped, checkpoint, progress)
        last_mark_ms = self._finish() if finished else None
        self._flush()
        self._place = dataclasses.replace(self._place, done=finished)
        checkpoint(self._place)
        return ReplayReport(
            self._place, self._events, sum(self._count.unusable.values()), self._marks, self._sent_from, self._sent_to, last_mark_ms
        )

    def _pass(
        self,
        sleep: Callable[[Millis], None],
        stopped: Callable[[], bool],
        checkpoint: Callable[[Place], None],
        progress: Callable[[Progress], None],
    ) -> bool:
        """Send one pass, or what is left of it; True when it was the last one and is complete."""
        for chunk in self._chunks():
            for step in self._steps(chunk):
                self._await(step.at_ms, sleep, stopped)
                if stopped():
                    # what has been sent so far counts: the next run begins with this step
                    self._place = dataclasses.replace(
                        self._place, at_ms=step.rest_ms, first_ms=step.rest_ms if self._place.first_ms is None else self._place.first_ms
                    )
                    return False
                self._send(step)
            newest = max(int(frame["ts"][-1]) for frame in chunk.values())
            oldest = min(int(frame["ts"][0]) for frame in chunk.values())
            self._place = dataclasses.replace(
                self._place,
                at_ms=newest + 1,  # whatever follows is later: that is what makes it a chunk
                first_ms=oldest if self._place.first_ms is None else self._place.first_ms,
                newest_ms=max(newest, self._place.newest_ms or newest),
            )
            progress(Progress(sum(self._events.values()), self._sent_to or newest, self._count.bytes_read, self._count.bytes_total))
            self._save(checkpoint)
        if self._place.newest_ms is None:
            unusable = sum(self._count.unusable.values())
            why = f"; {unusable:,} rows lack a proper id, date or user" if unusable else ""
            raise ConfigurationError(f"{self._plan.directory} holds no events in the time asked for{why}")
        if self._place.number + 1 == self._plan.passes:
            return True
        self._place = dataclasses.replace(self._place, number=self._place.number + 1, at_ms=None)
        return False

    def _save(self, checkpoint: Callable[[Place], None]) -> None:
        now = self._clock.now_ms()
        if now - self._saved_at >= _CHECKPOINT_EVERY_MS:
            self._flush()
            checkpoint(self._place)
            self._saved_at = now

    def _flush(self) -> None:
        self._sink.flush()
        self._telemetry.beat(Beat.BROKER)

    # what is sent ---------------------------------------------------------------------------------------------------

    def _chunks(self) -> Iterator[dict[Kind, pl.DataFrame]]:
        """The events of this pass that are still to be sent, in the files' time."""
        low = max((at for at in (self._plan.from_ms, self._place.at_ms) if at is not None), default=None)
        for chunk in read_merged(self._plan.directory, self._plan.zone, self._plan.kinds, self._plan.chunk_bytes, self._count):
            self._check_unusable()
            if self._plan.to_ms is not None and min(int(frame["ts"][0]) for frame in chunk.values()) >= self._plan.to_ms:
                return
            inside = {kind: _between(frame, low, self._plan.to_ms) for kind, frame in chunk.items()}
            inside = {kind: frame for kind, frame in inside.items() if frame.height}
            if inside:
                yield inside

    def _check_unusable(self) -> None:
        """Stop before more is sent of files that seem to be something else."""
        bad = sum(self._count.unusable.values())
        if self._share is not None and bad > self._share.share * max(self._count.usable + bad, self._share.records):
            kinds = ", ".join(f"{count:,} of {kind}" for kind, count in self._count.unusable.items() if count)
            raise TooManyDeadLetters(
                f"{self._plan.directory}: {bad:,} of {self._count.usable + bad:,} rows lack a proper id, date or user ({kinds}), more than "
                f"{self._share.share:.0%}; mend the files, or raise dead_letters.share to go on without these rows"
            )

    def _steps(self, chunk: Mapping[Kind, pl.DataFrame]) -> "Iterator[_Step]":
        """A chunk, cut at marks and ticks; each step says which mark goes first and which rows of each kind follow."""
        batches = [_Batch.of(kind, frame, self._as_sent(frame), self._plan.cloud_events) for kind, frame in chunk.items()]
        first, newest = min(int(batch.ts[0]) for batch in batches), max(int(batch.ts[-1]) for batch in batches)
        every = self._plan.marks_every_ms
        if self._origin is None:
            now = self._clock.now_ms()
            # shifted to now and at real time, events keep to the hour at which they happened
            self._origin = (now, now) if self._plan.shift_days and self._plan.speed == 1 else (now, first)
        if self._next_mark is None:
            self._next_mark = first - first % every
        marks = np.arange(self._next_mark, newest + 1, every, dtype=np.int64)
        self._next_mark = max(self._next_mark, int(marks[-1]) + every if len(marks) else self._next_mark)
        cuts = np.unique(np.concatenate([marks, np.array([first], np.int64), *(self._ticks(batch.ts) for batch in batches)]))
        bounds = [np.append(np.searchsorted(batch.ts, cuts), len(batch.ts)).tolist() for batch in batches]
        is_mark = np.isin(cuts, marks).tolist()
        for i, at in enumerate(cuts.tolist()):
            rows = [(batch, own[i], own[i + 1]) for batch, own in zip(batches, bounds, strict=True) if own[i] < own[i + 1]]
            rest = min(int(batch.file_ts[own[i]]) for batch, own in zip(batches, bounds, strict=True) if own[i] < len(batch.ts))
            yield _Step(at, is_mark[i], rows, rest)

    def _ticks(self, ts: Ints) -> Ints:
        tick = self._plan.tick_ms
        return np.unique(ts - ts % tick) if tick else np.empty(0, np.int64)

    def _as_sent(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Shift by whole days of local time, so that mornings stay mornings, and tell the ids of repeated passes apart."""
        days = self._plan.shift_days + self._place.number * self._pass_days()
        if days:
            wall = utc_to_wall(frame["ts"].to_numpy(), self._plan.zone) + days * DAY_MS
            frame = frame.with_columns(pl.Series("ts", wall_to_utc(wall, self._plan.zone))).sort("ts", maintain_order=True)
        if self._place.number:
            frame = frame.with_columns(pl.col("id") + f"~{self._place.number + 1}")
        return frame

    def _pass_days(self) -> int:
        """Days from one pass to the next: whole weeks, so that Mondays stay Mondays."""
        if self._place.first_ms is None or self._place.newest_ms is None:
            return 0
        days = (self._place.newest_ms - self._place.first_ms) // DAY_MS + 2
        return -(-days // _WEEK_DAYS) * _WEEK_DAYS

    # sending --------------------------------------------------------------------------------------------------------

    def _send(self, step: "_Step") -> None:
        # the mark first: it speaks of what lies behind, and the rows of this step are not older than it
        self._telemetry.beat(Beat.LOOP)
        self._telemetry.levels(REPLAY_TIME, {(): step.at_ms / 1000})
        if step.mark:
            self._mark(step.at_ms)
        for batch, start, stop in step.rows:
            headers = batch.headers.rows(start, stop) if batch.headers is not None else None
            self._sink.send(self._topics[batch.kind], batch.keys[start:stop], batch.values[start:stop], headers)
            self._events[batch.kind] += stop - start
            self._telemetry.count(REPLAYED, stop - start, kind=batch.kind)
            self._place = dataclasses.replace(self._place, events=self._place.events + stop - start)
            low, high = int(batch.ts[start]), int(batch.ts[stop - 1])
            self._sent_from = low if self._sent_from is None else min(low, self._sent_from)
            self._sent_to = high if self._sent_to is None else max(high, self._sent_to)

    def _mark(self, at_ms: Millis, last: bool = False) -> None:
        headers = encode_mark(at_ms, last=last)
        for topic in self._topics.values():
            self._sink.mark(topic, headers)
        self._marks += 1
        self._telemetry.count(REPLAY_MARKS)

    def _finish(self) -> Millis:
        """Close the windows over the newest event, and no more."""
        assert self._place.newest_ms is not None  # noqa: S101 - a pass without events has raised
        newest = pl.DataFrame({"ts": [self._place.newest_ms], "id": [""]})
        end = self._closing_mark(int(self._as_sent(newest)["ts"][0]))
        if self._next_mark is not None:
            for at in range(self._next_mark, end, self._plan.marks_every_ms):
                self._mark(at)
        self._mark(end, last=True)
        return end

    def _await(self, at_ms: Millis, sleep: Callable[[Millis], None], stopped: Callable[[], bool]) -> None:
        """At a pace: return when the wall clock has come as far as event time has."""
        if not self._plan.speed or self._origin is None:
            return
        wall_origin, event_origin = self._origin
        due = wall_origin + (at_ms - event_origin) / self._plan.speed
        while (left := due - self._clock.now_ms()) > 0 and not stopped():
            self._telemetry.beat(Beat.LOOP)
            sleep(int(min(left, 500)) + 1)


@dataclass(frozen=True, slots=True)
class _Batch:
    """The events of one kind in a chunk, ready to be sent."""

    kind: Kind
    file_ts: Ints
    ts: Ints
    keys: list[bytes]
    values: list[bytes]
    headers: CloudHeaders | None

    @staticmethod
    def of(kind: Kind, in_file: pl.DataFrame, frame: pl.DataFrame, cloud_events: bool) -> "_Batch":
        return _Batch(
            kind,
            in_file["ts"].to_numpy(),
            frame["ts"].to_numpy(),
            frame["user"].cast(pl.Binary).to_list(),
            encode(kind, frame),
            CloudHeaders(kind, frame, SOURCE) if cloud_events else None,
        )


@dataclass(frozen=True, slots=True)
class _Step:
    """Send at event time `at_ms`: a mark of that time if `mark`, then rows start..stop of batches.

    `rest_ms` is where the rows of this step and of those after it begin, in the files' time.
    """

    at_ms: Millis
    mark: bool
    rows: list[tuple[_Batch, int, int]]
    rest_ms: Millis


def _between(frame: pl.DataFrame, low: Millis | None, high: Millis | None) -> pl.DataFrame:
    """Rows of a sorted frame in `[low, high)`."""
    start = 0 if low is None else int(frame["ts"].search_sorted(low, side="left"))
    stop = frame.height if high is None else int(frame["ts"].search_sorted(high, side="left"))
    return frame[start : max(start, stop)]


class MemorySink:
    """Writes to a `MemoryLog`: the twin of a producer."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._partitions: dict[bytes, int] = {}

    def send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes], headers: Iterable[Headers] | None) -> None:
        """Append each record to its key's partition."""
        for key, value, own in zip(keys, values, headers if headers is not None else repeat(None, len(keys)), strict=True):
            if key not in self._partitions:
                self._partitions[key] = partition_of(key, self._log.partitions)
            self._log.append(TopicPartition(topic, self._partitions[key]), key, value, own)

    def mark(self, topic: str, headers: Headers) -> None:
        """Append the mark to every partition."""
        for partition in range(self._log.partitions):
            self._log.append(TopicPartition(topic, partition), None, None, list(headers))

    def flush(self) -> None:
        """Nothing is ever under way."""


class NullSink:
    """Takes everything and keeps nothing: for a dry run."""

    def send(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes], headers: Iterable[Headers] | None) -> None:
        """Let the records go."""

    def mark(self, topic: str, headers: Headers) -> None:
        """Let the mark go."""

    def flush(self) -> None:
        """Nothing is ever under way."""
