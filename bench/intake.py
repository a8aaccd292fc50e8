"""How much processor time it takes from record batches to panes and staged blobs, by part.

    python bench/intake.py [DIRECTORY] [--batch 50000,200000] [--events 1000000] [--hop 24] [--users 1000] [--days 16]

Makes records of a CERT directory's events (or of a made-up organisation's), five topics with four partitions each, and hands them
on in batches as a group member gets them: globally ordered, parted by topic-partition, with hourly clock marks. Then takes each
batch in, reads it into the partitions and stages the blobs for the store, as the windowing worker does where nothing closes
meanwhile (what closes within a second is never staged). CPU seconds of this process, all polars threads counted, per million
events. Needs no servers. The target is 1.2 for all of it.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stream.cert import read_merged
from stream.encode import encode
from stream.kinds import KINDS, Kind
from stream.log import Headers, Records, TopicPartition
from stream.marks import encode_mark
from stream.partitioner import partitions_of
from stream.synth import write_organisation
from windowing.calendar import Calendar, WindowSpec
from windowing.intake import Intake, Topics
from windowing.partition import Partition, Rules

PARTITIONS = 4
TOPICS = Topics({kind: f"daywatch.{kind}" for kind in KINDS}, "daywatch.windows", "daywatch.dead-letters", PARTITIONS)
_STAMP_MS = 2_000_000_000_000
_HOUR_MS = 3_600_000


class Log(NamedTuple):
    """All records of a topic in the order of time, with what tells where they belong."""

    values: list[bytes]
    keys: list[bytes]
    times: list[int]
    partitions: list[int]


def logs_of(directory: Path, most: int) -> dict[Kind, Log]:
    """The records of a directory's first events."""
    logs = {kind: Log([], [], [], []) for kind in KINDS}
    for chunk in read_merged(directory, "UTC"):
        for kind, frame in chunk.items():
            users, log = frame["user"], logs[kind]
            names = users.unique().to_list()
            where = dict(zip(names, partitions_of([name.encode() for name in names], PARTITIONS).tolist(), strict=True))
            log.values.extend(encode(kind, frame))
            log.keys.extend(user.encode() for user in users)
            log.times.extend(frame["ts"].to_list())
            log.partitions.extend(where[user] for user in users)
        if sum(len(log.values) for log in logs.values()) >= most:
            break
    return logs


def batches(logs: dict[Kind, Log], size: int, most: int) -> Iterator[list[Records]]:
    """Batches of up to `size` records, ordered by time over all topics, parted by topic-partition."""
    offsets: dict[TopicPartition, int] = {}
    times = np.concatenate([np.array(log.times, np.int64) for log in logs.values()])
    numbers = np.concatenate([np.full(len(log.times), n) for n, log in enumerate(logs.values())])
    rows = np.concatenate([np.arange(len(log.times)) for log in logs.values()])
    order = np.argsort(times, kind="stable")[:most]
    for start in range(0, len(order), size):
        here = order[start : start + size]
        found = []
        for n, (kind, log) in enumerate(logs.items()):
            mine = rows[here[numbers[here] == n]]
            where = np.fromiter((log.partitions[row] for row in mine.tolist()), np.int64, len(mine))
            for partition in range(PARTITIONS):
                own = mine[where == partition].tolist()
                if not own:
                    continue
                at = TopicPartition(TOPICS.events[kind], partition)
                offsets[at] = offsets.get(at, 0) + len(own)
                found.append(_with_marks(at, log, own, offsets[at]))
        yield found


def _with_marks(at: TopicPartition, log: Log, rows: list[int], next_offset: int) -> Records:
    """Records with a clock mark for every hour that begins between two of them, as a replay writes them."""
    hours = np.array([log.times[row] for row in rows], np.int64) // _HOUR_MS
    marks = {int(place) + n: int(hours[place]) * _HOUR_MS for n, place in enumerate(np.flatnonzero(np.diff(hours, prepend=hours[:1])))}
    values: list[bytes | None] = [log.values[row] for row in rows]
    keys: list[bytes | None] = [log.keys[row] for row in rows]
    for place in marks:
        values.insert(place, None)
        keys.insert(place, None)
    raw = [_Mark(place, marks[place]) if place in marks else _NONE for place in range(len(values))]
    return Records(at, values, keys, np.full(len(values), _STAMP_MS, np.int64), raw, next_offset + len(marks))


class _Mark(NamedTuple):
    """What is asked of a message that is a clock mark."""

    place: int
    at_ms: int

    def offset(self) -> int:
        return self.place

    def headers(self) -> Headers | None:
        return encode_mark(self.at_ms)


_NONE = _Mark(0, 0)


class Spent:
    """CPU seconds by part."""

    def __init__(self) -> None:
        self.by_part: dict[str, float] = {}
        self._at = 0.0

    def begin(self) -> None:
        """From here on time counts."""
        self._at = time.process_time()

    def add(self, part: str) -> None:
        """What was spent since the last call was spent on this part."""
        now = time.process_time()
        self.by_part[part] = self.by_part.get(part, 0.0) + now - self._at
        self._at = now


def measure(logs: dict[Kind, Log], size: int, hop_ms: int, most: int) -> tuple[int, Spent]:
    """Run all batches through a fresh intake and fresh partitions; panes are dropped when three days old."""
    calendar = Calendar(WindowSpec(hop_ms=hop_ms))
    intake = Intake(TOPICS, "UTC")
    partitions = {number: Partition(Rules(calendar)) for number in range(PARTITIONS)}
    spent, events, kinds = Spent(), 0, {topic: kind for kind, topic in TOPICS.events.items()}
    for batch in batches(logs, size, most):
        gc.collect()
        events += sum(len(records.values) for records in batch)
        refused = 0
        spent.begin()
        for kind in KINDS:
            taken = intake.take(kind, [records for records in batch if kinds[records.at.topic] is kind])
            spent.add("take")
            for each in taken:
                unplaced = partitions[each.records.at.partition].read(each.arrivals)
                refused += len(each.refused) + len(unplaced.late) + len(unplaced.future)
            spent.add("read")
        blobs = [blob for partition in partitions.values() for _, blob in partition.take_staged()]
        spent.add("stage")
        if refused or not blobs:
            sys.exit(f"{refused} records were refused, {len(blobs)} blobs made")
        for partition in partitions.values():
            newest = max(partition.panes, default=0)
            for pane in [pane for pane in partition.panes if pane < newest - 3 * calendar.spec.panes_a_day]:
                del partition.panes[pane]
    return events, spent


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("directory", type=Path, nargs="?")
    asked.add_argument("--batch", default="50000,200000", help="records a batch, several with commas")
    asked.add_argument("--events", type=int, default=1_000_000)
    asked.add_argument("--hop", type=int, default=24, help="hours")
    asked.add_argument("--users", type=int, default=1_000, help="of the made-up organisation")
    asked.add_argument("--days", type=int, default=16, help="of the made-up organisation")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if given.directory is None:
            write_organisation(Path(scratch), given.users, given.days, seed=1)
        logs = logs_of(given.directory or Path(scratch), given.events)
    size = sum(map(len, (value for log in logs.values() for value in log.values)))
    total = sum(len(log.values) for log in logs.values())
    print(f"{total} records of {size / total:.0f} bytes on average, hop {given.hop} h; CPU seconds per million events:")
    for batch in map(int, given.batch.split(",")):
        events, spent = measure(logs, batch, given.hop * 3_600_000, given.events)
        parts = ", ".join(f"{part} {seconds * 1e6 / events:.2f}" for part, seconds in spent.by_part.items())
        print(f"  {batch} records a batch: {parts}, together {sum(spent.by_part.values()) * 1e6 / events:.2f}")


if __name__ == "__main__":
    main()
