"""What the cycle of a windowing worker costs, without servers: `python -m bench.engine ORGANISATION [--events N] [--hop 24h] [--clones K]`.

The real worker runs over the in-memory twins of broker and store, fed with records in the order of time, as a replay would write
them; so what is measured is decoding, placing, closing and everything between, and neither Kafka nor Redis (`--store URL` puts a
real store behind it). Prints CPU seconds per million events by step, and a digest over all windows: equal digests, equal bytes.
"""

import argparse
import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
import polars as pl

from stream.cert import read_merged
from stream.clock import ManualClock
from stream.encode import encode
from stream.kinds import KINDS, Millis
from stream.log import Commit, Headers, Newest, Out, Polled, Raw, Records, TopicPartition
from stream.marks import encode_mark
from stream.partitioner import partition_of
from windowing.calendar import Calendar, WindowSpec
from windowing.clocks import ClockSpec
from windowing.directory import Directory
from windowing.intake import Topics
from windowing.partition import Rules
from windowing.redis_store import RedisStore
from windowing.store import MemoryStore, WindowStore
from windowing.worker import WindowWorker, WorkerSettings

HOUR_MS: Final[Millis] = 3_600_000
EVENTS: Final = {kind: f"bench.{kind}" for kind in KINDS}


@dataclass(slots=True)
class _Log:
    """One topic-partition: columns of records; `headers` of the few that have some."""

    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: dict[int, Headers] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Place(Raw):
    """One record, as far as something special about it is asked for."""

    log: _Log
    place: int

    def offset(self) -> int:
        return self.place

    def headers(self) -> Headers | None:
        return self.log.headers.get(self.place)


class _Places(Sequence[Raw]):
    """Records `start..stop` of a log, made when they are asked for."""

    def __init__(self, log: _Log, start: int, stop: int) -> None:
        self._log, self._range = log, range(start, stop)

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, index: int) -> Raw: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Raw]: ...
    def __getitem__(self, index: int | slice) -> Raw | Sequence[Raw]:
        if isinstance(index, slice):
            return [_Place(self._log, place) for place in self._range[index]]
        return _Place(self._log, self._range[index])


class Recording:
    """All topic-partitions with the order in which their records were written."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.logs = {TopicPartition(topic, number): _Log() for topic in EVENTS.values() for number in range(partitions)}
        self._numbers = {at: number for number, at in enumerate(self.logs)}
        self._order: list[Any] = []
        self._partition_of: dict[str, int] = {}
        self.events = 0

    def write(self, kind: Any, frame: pl.DataFrame) -> None:
        """Write events into the partitions of their users."""
        users = frame["user"].to_list()
        for user in set(users) - self._partition_of.keys():
            self._partition_of[user] = partition_of(user.encode(), self.partitions)
        logs = [self.logs[TopicPartition(EVENTS[kind], number)] for number in range(self.partitions)]
        first = self._numbers[TopicPartition(EVENTS[kind], 0)]
        numbers = [self._partition_of[user] for user in users]
        for user, value, number in zip(users, encode(kind, frame), numbers, strict=True):
            logs[number].keys.append(user.encode())
            logs[number].values.append(value)
        self._order.append(np.array(numbers, np.int16) + first)
        self.events += frame.height

    def mark(self, at_ms: Millis, *, last: bool = False) -> None:
        """Write a clock mark into every log."""
        for log in self.logs.values():
            log.headers[len(log.values)] = encode_mark(at_ms, last=last)
            log.keys.append(None)
            log.values.append(None)
        self._order.append(np.arange(len(self.logs), dtype=np.int16))

    def order(self) -> Any:
        """The number of each record's log, in the order of writing."""
        return np.concatenate(self._order)


def record(organisation: Path, most: int, partitions: int, clones: int, calendar: Calendar) -> Recording:
    """Write an organisation's first `most` events, each hour behind its mark; `clones` gives the same events to so many times the users."""
    recording, newest, next_mark = Recording(partitions), 0, None
    for chunk in read_merged(organisation, calendar.zone):
        first, newest = min(int(frame["ts"][0]) for frame in chunk.values()), max(int(frame["ts"][-1]) for frame in chunk.values())
        next_mark = first - first % HOUR_MS if next_mark is None else next_mark
        for at in range(first - first % HOUR_MS, newest + 1, HOUR_MS):
            if at >= next_mark:
                recording.mark(at)
                next_mark = at + HOUR_MS
            for kind, frame in chunk.items():
                low, high = (int(frame["ts"].search_sorted(edge)) for edge in (at, at + HOUR_MS))
                if low < high:
                    recording.write(kind, _cloned(frame[low:high], clones))
        if recording.events >= most:
            break
    recording.mark(calendar.window_end(calendar.pane_of(newest)) + calendar.spec.allowed_lateness_ms, last=True)
    return recording


def _cloned(frame: pl.DataFrame, clones: int) -> pl.DataFrame:
    if clones == 1:
        return frame
    return frame.with_columns(user=pl.concat_str("user", pl.lit("-"), (pl.int_range(pl.len()) * 7 % clones).cast(pl.String)))


class RecordedSource:
    """The `Source` seam over a recording: the only member of its group. What is paused is made up for when it is resumed."""

    def __init__(self, recording: Recording) -> None:
        self._recording, self._order, self._cursor = recording, recording.order(), 0
        self._at = list(recording.logs)
        self._position = np.zeros(len(self._at), np.int64)
        self._target = np.zeros(len(self._at), np.int64)
        self._paused = np.zeros(len(self._at), np.bool_)
        self.done = False

    def poll(self, limit: int, timeout_ms: Millis) -> Polled:
        """The next records in the order of writing."""
        del timeout_ms
        waiting = int((self._target - self._position)[~self._paused].sum())
        stop = min(self._cursor + max(limit - waiting, 0), len(self._order))
        self._target += np.bincount(self._order[self._cursor : stop], minlength=len(self._at))
        self._cursor = stop
        found, ended = [], {}
        for number, at in enumerate(self._at):
            log, start, end = self._recording.logs[at], int(self._position[number]), int(self._target[number])
            if self._paused[number] or start == end:
                continue
            stamps = [4_000_000_000_000] * (end - start)
            found.append(Records(at, log.values[start:end], log.keys[start:end], stamps, _Places(log, start, end), end))
            self._position[number] = end
            if end == len(log.values):
                ended[at] = end
        self.done = not found
        return Polled(found, ended)

    def assignment(self) -> tuple[int, frozenset[int]]:
        """All partitions, always."""
        return 1, frozenset(range(self._recording.partitions))

    def joined(self) -> bool:
        """From the start."""
        return True

    def committed(self, partitions: Iterable[int]) -> dict[TopicPartition, Commit]:
        """Nothing has been."""
        del partitions
        return {}

    def bounds(self, partitions: Iterable[int]) -> dict[TopicPartition, tuple[int, int]]:
        """Logs begin at 0."""
        wanted = set(partitions)
        return {at: (0, len(log.values)) for at, log in self._recording.logs.items() if at.partition in wanted}

    def newest(self, logs: Iterable[TopicPartition]) -> dict[TopicPartition, Newest | None]:
        """Nothing has been sent."""
        del logs
        return {}

    def start(self, positions: Mapping[TopicPartition, int]) -> None:
        """Everything is read from its start."""

    def _choose(self, logs: Iterable[TopicPartition], paused: bool) -> None:
        for at in logs:
            self._paused[self._at.index(at)] = paused

    def pause(self, logs: Iterable[TopicPartition]) -> None:
        """Deliver nothing of these."""
        self._choose(logs, paused=True)

    def resume(self, logs: Iterable[TopicPartition]) -> None:
        """Deliver these again."""
        self._choose(logs, paused=False)

    def group(self) -> object:
        """Nobody asks for it."""
        return None

    def close(self) -> None:
        """Nothing to leave."""


class KeepingOutlet:
    """The `Outlet` seam; keeps what was sent, by partition."""

    def __init__(self) -> None:
        self.sent: dict[TopicPartition, list[Out]] = {}
        self.transactions = 0

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        """Keep the records."""
        del commits, group
        self.transactions += 1
        for each in records:
            self.sent.setdefault(each.at, []).append(each)

    def settle(self) -> None:
        """What is kept is out."""

    def lying_open(self, logs: Iterable[TopicPartition]) -> Sequence[TopicPartition]:
        """None of them."""
        del logs
        return ()

    def close(self) -> None:
        """Nothing to let go of."""

    def digest(self) -> str:
        """A digest over everything sent, by partition and in its order."""
        total = hashlib.sha256()
        for at in sorted(self.sent):
            for each in self.sent[at]:
                total.update(repr((at, each.key, each.value)).encode())
        return total.hexdigest()[:16]


@dataclass(slots=True)
class Spent:
    """CPU seconds of this process by step, and the wall time of each step."""

    close_s: float = 0.0
    read_s: float = 0.0
    steps: list[float] = field(default_factory=list)
    closings: int = 0


def work(worker: WindowWorker, source: RecordedSource) -> Spent:
    """Let the worker run until it has nothing to do any more; a step that closes counts as closing."""
    spent = Spent()
    while not source.done:
        windows, wall, cpu = worker.totals.windows, time.perf_counter(), time.process_time()
        worker.step()
        cpu = time.process_time() - cpu
        spent.steps.append(time.perf_counter() - wall)
        if worker.totals.windows > windows:
            spent.close_s += cpu
            spent.closings += 1
        else:
            spent.read_s += cpu
    return spent


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("organisation", type=Path)
    asked.add_argument("--events", type=int, default=500_000)
    asked.add_argument("--hop", type=float, default=24.0, help="hours")
    asked.add_argument("--partitions", type=int, default=4)
    asked.add_argument("--clones", type=int, default=1)
    asked.add_argument("--batch", type=int, default=WorkerSettings().batch_records)
    asked.add_argument("--close", type=int, default=WorkerSettings().close_windows)
    asked.add_argument("--store", help="URL of a Redis; by default the in-memory twin")
    asked.add_argument("--people", action="store_true", help="with the organisation's LDAP directory")
    given = asked.parse_args()
    calendar = Calendar(WindowSpec(hop_ms=int(given.hop * HOUR_MS)))
    recording = record(given.organisation, given.events, given.partitions, given.clones, calendar)
    people = Directory.read(given.organisation / "LDAP") if given.people else None
    store: WindowStore = RedisStore(given.store, f"bench-engine-{time.time_ns()}") if given.store else MemoryStore()
    outlet, source = KeepingOutlet(), RecordedSource(recording)
    rules = Rules(calendar, ClockSpec(max_jump_ms=2 * 86_400_000), directory=people)
    settings = WorkerSettings(batch_records=given.batch, close_windows=given.close, idle_after_ms=None, write_after_ms=1_000)
    topics = Topics(EVENTS, "bench.windows", "bench.dead-letters", given.partitions)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worker = WindowWorker(source, outlet, store, topics, rules, settings, ManualClock(4_000_000_000_000))
    wall = time.perf_counter()
    spent = work(worker, source)
    wall = time.perf_counter() - wall
    per_million = 1e6 / recording.events
    found = {
        "events": recording.events,
        "windows": worker.totals.windows,
        "cpu_s_per_million": round((spent.close_s + spent.read_s) * per_million, 2),
        "closing": round(spent.close_s * per_million, 2),
        "reading": round(spent.read_s * per_million, 2),
        "steps": len(spent.steps),
        "closing_steps": spent.closings,
        "transactions": outlet.transactions,
        "longest_step_s": round(max(spent.steps), 3),
        "wall_s": round(wall, 2),
        "peak_mib_above_input": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024,
        "refused": sum(sum(reasons.values()) for reasons in worker.totals.refused.values()),
        "digest": outlet.digest(),
    }
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
