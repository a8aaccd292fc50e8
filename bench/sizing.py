"""How much room state takes, and how long it takes to take it over: `python -m bench.sizing DIRECTORY [--users N] [--days N]`.

The events of a CERT directory go through the windowing worker into a store of its own; the log is in memory, so that what is measured
is the store's and the worker's part. Prints one line a figure; the figures of docs/sizing.md are such a run's.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from daywatch.embedded import EmbeddedStore
from stream.cert import find_files, read_kind
from stream.clock import ManualClock
from stream.encode import encode
from stream.kinds import KINDS, Kind
from stream.log import MemoryLog, MemoryOutlet, MemorySource, TopicPartition
from stream.marks import encode_mark
from stream.partitioner import partition_of
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.clocks import ClockSpec
from windowing.intake import Topics
from windowing.partition import Rules
from windowing.redis_store import RedisStore
from windowing.redis_upkeep import RedisUpkeep
from windowing.worker import WindowWorker, WorkerSettings

PARTITIONS = 4
NAMESPACE = "sizing"
EVENTS = {kind: f"{NAMESPACE}.{kind}" for kind in KINDS}
TOPICS = Topics(EVENTS, f"{NAMESPACE}.windows", f"{NAMESPACE}.dead_letters", PARTITIONS)
LIVE_BATCH = 500


def events_of(directory: Path, users: int | None, days: int) -> dict[Kind, pl.DataFrame]:
    """The first days of a directory, of the first users in the order of their names."""
    frames = {kind: pl.concat(read_kind(path, kind, "UTC")) for kind, path in find_files(directory).items()}
    first = min(int(frame["ts"].min()) for frame in frames.values()) // DAY_MS * DAY_MS  # type: ignore[arg-type]
    everybody = pl.concat([frame["user"].unique() for frame in frames.values()]).unique().sort()
    chosen = everybody.head(users or len(everybody))
    return {kind: f.filter((f["ts"] < first + days * DAY_MS) & f["user"].is_in(chosen.implode())) for kind, f in frames.items()}


class Site:
    """A log, a store, and a worker on them."""

    def __init__(self, events: dict[Kind, pl.DataFrame], url: str, hop_ms: int) -> None:
        self.events, self.url = events, url
        self.log = MemoryLog([*EVENTS.values(), TOPICS.windows, TOPICS.dead_letters], PARTITIONS, ManualClock(2**41))
        self.rules = Rules(Calendar(WindowSpec(hop_ms=hop_ms)), ClockSpec(max_jump_ms=10 * DAY_MS))
        self.first = min(int(frame["ts"][0]) for frame in events.values()) // DAY_MS * DAY_MS
        self.store = RedisStore(url, NAMESPACE)

    def write(self, day: int, *, mark: bool) -> int:
        """Put a day's events on the log, and say how many bytes they are."""
        start, total = self.first + day * DAY_MS, 0
        for kind, frame in self.events.items():
            rows = frame.filter((frame["ts"] >= start) & (frame["ts"] < start + DAY_MS))
            for user, value in zip(rows["user"].to_list(), encode(kind, rows), strict=True):
                key = user.encode()
                self.log.append(TopicPartition(EVENTS[kind], partition_of(key, PARTITIONS)), key, value)
                total += len(value)
            if mark:
                for partition in range(PARTITIONS):
                    self.log.append(TopicPartition(EVENTS[kind], partition), None, None, encode_mark(start + DAY_MS))
        return total

    def worker(self, batch: int) -> WindowWorker:
        """A worker that has just started."""
        settings = WorkerSettings(batch_records=batch, idle_after_ms=None, max_ahead_ms=30 * DAY_MS)
        return WindowWorker(
            MemorySource(self.log, list(EVENTS.values())), MemoryOutlet(self.log), self.store, TOPICS, self.rules, settings, self.log.clock
        )

    def drain(self, worker: WindowWorker) -> None:
        """Let it read and close all that is there."""
        ends = {at: len(kept) for at, kept in self.log.logs.items() if at.topic in EVENTS.values()}
        while True:
            worker.step()
            found = self.log.committed, sum(worker.totals.read.values())
            worker.step()
            if found == (self.log.committed, sum(worker.totals.read.values())) and found[1] >= self._data(ends):
                return

    def _data(self, ends: dict[TopicPartition, int]) -> int:
        return sum(1 for at, end in ends.items() for kept in self.log.logs[at][:end] if kept.value is not None)

    def held(self) -> int:
        """Bytes of the store's memory that the namespace takes, as the server estimates."""
        upkeep = RedisUpkeep(self.url, NAMESPACE)
        total = sum(upkeep.look(number).bytes or 0 for number in upkeep.partitions())
        upkeep.close()
        return total


@contextmanager
def fresh_store() -> Iterator[tuple[EmbeddedStore, Path]]:
    """A store of this measurement's own, and where its files lie."""
    with tempfile.TemporaryDirectory() as directory:
        store = EmbeddedStore(Path(directory))
        store.start()
        try:
            yield store, Path(directory)
        finally:
            store.stop()


def size_of(directory: Path) -> int:
    """Bytes of the append-only file."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file() and path.suffix in {".aof", ".rdb"})


def say(what: str, value: float, unit: str) -> None:
    """One figure."""
    print(f"{what:<66} {value:>12,.1f} {unit}")


def open_day(events: dict[Kind, pl.DataFrame], batch: int) -> None:
    """A day of everybody in the store, nothing closed: memory, append-only file, and how long another worker needs to take it over."""
    with fresh_store() as (store, directory):
        site = Site(events, store.url, DAY_MS)
        raw, users = site.write(0, mark=False), len(set(pl.concat([frame["user"] for frame in events.values()]).to_list()))
        count = sum(len(kept) for at, kept in site.log.logs.items() if at.topic in EVENTS.values())
        days = len({kept.key for at, kept_ in site.log.logs.items() for kept in kept_})
        began = time.process_time()
        site.drain(site.worker(batch))
        reading = time.process_time() - began
        name = f"open day, batches of {batch:,}"
        say(f"{name}: user/days ({users} users), events", count / days, "events a user/day")
        say(f"{name}: records of a user/day, as JSON", raw / days / 1024, "KB")
        say(f"{name}: store memory of an open user/day", site.held() / days / 1024, "KB")
        say(f"{name}: append-only file of an open user/day", size_of(directory) / days / 1024, "KB")
        say(f"{name}: reading it", 1e6 * reading / count, "CPU-s a million events")
        began, wall = time.process_time(), time.perf_counter()
        site.worker(batch).step()
        say(f"{name}: taking over 1,000 open user/days", 1_000 * (time.process_time() - began) / days, "CPU-s")
        say(f"{name}: the same, on the clock", 1_000 * (time.perf_counter() - wall) / days, "s")
        began = time.perf_counter()
        store.kill()
        store.start()
        say(f"{name}: store killed and back, {size_of(directory) / 2**20:.0f} MB of file", time.perf_counter() - began, "s")
        site.store.close()


def long_run(events: dict[Kind, pl.DataFrame], days: int, hop_ms: int) -> None:
    """Some weeks worked off: profiles, the store's files, windows."""
    with fresh_store() as (store, directory):
        site = Site(events, store.url, hop_ms)
        worker, most, total = site.worker(50_000), 0, 0
        for day in range(days):
            total += site.write(day, mark=True)
            site.drain(worker)
            most = max(most, site.held())
        count = sum(worker.totals.read.values())
        windows = site.log.values(TOPICS.windows)
        profiles = [blob for number in range(PARTITIONS) for page in site.store.profiles(number) for _, blob in page]
        name = f"{days} days, hop {hop_ms // 3_600_000} h"
        say(f"{name}: events", count, "")
        say(f"{name}: windows", len(windows), "")
        say(f"{name}: a window record", sum(map(len, windows)) / len(windows) / 1024, "KB")
        say(f"{name}: a profile", sum(map(len, profiles)) / len(profiles) / 1024, "KB")
        say(f"{name}: most that the store held, a user", most / len(profiles) / 1024, "KB")
        say(f"{name}: append-only file now, a million events", size_of(directory) / count * 1e6 / 2**20, "MB")
        began = time.process_time()
        site.worker(50_000).step()
        say(f"{name}: taking over 1,000 users' profiles", 1_000 * (time.process_time() - began) / len(profiles), "CPU-s")
        site.store.close()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--users", type=int)
    parser.add_argument("--days", type=int, default=21)
    given = parser.parse_args()
    events = events_of(given.directory, given.users, given.days)
    busiest = {kind: frame.filter(pl.from_epoch("ts", "ms").dt.weekday() == 3) for kind, frame in events.items()}  # a Wednesday
    for batch in (50_000, LIVE_BATCH):
        first = min(int(frame["ts"][0]) for frame in busiest.values()) // DAY_MS * DAY_MS
        open_day({kind: frame.filter(frame["ts"] < first + DAY_MS) for kind, frame in busiest.items()}, batch)
    for hop_ms in (DAY_MS, DAY_MS // 4):
        long_run(events, given.days, hop_ms)
    say("this process at its largest", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB")


if __name__ == "__main__":
    main()
