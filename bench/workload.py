"""The events of the benchmark: made up, cut to a number, filled into topics, and what is right for them by a polars batch computation.

The computation shares nothing with the engine or its peers but the events themselves. Knows no contestant.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from stream.cert import read_merged
from stream.encode import encode
from stream.kafka_producer import KafkaEventSink
from stream.kinds import KINDS, Kind, Millis
from stream.marks import encode_mark
from stream.partitioner import partition_of
from stream.synth import write_organisation

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
ZONE = "UTC"
LEAST_DAYS = 24
"""The shortest life that an organisation can be made up for."""
_EVENTS_A_DAY = 55
"""A little fewer than a person makes, weekends included: what is made up is enough, and the rest is cut off."""
CLOSING_USER = "~"

Events = Mapping[Kind, pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Workload:
    """What is streamed: event frames sorted by time, and where the directory of who works there lies."""

    events: Events
    people: Path

    @property
    def total(self) -> int:
        """How many events."""
        return sum(frame.height for frame in self.events.values())

    @property
    def first_ms(self) -> Millis:
        """Time of the oldest event."""
        return min(int(frame["ts"][0]) for frame in self.events.values() if frame.height)

    @property
    def newest_ms(self) -> Millis:
        """Time of the newest event."""
        return max(int(frame["ts"][-1]) for frame in self.events.values() if frame.height)

    def facts(self) -> dict[str, object]:
        """What is worth knowing of it."""
        days = user_days(self.events)
        return {
            "events": self.total,
            "by_kind": {kind.value: self.events[kind].height for kind in KINDS},
            "users": days["user"].n_unique(),
            "days": days["day"].n_unique(),
            "user_days": days.height,
            "events_a_user_day": round(self.total / days.height, 1),
        }


def organisation(users: int, events: int, cache: Path, seed: int = 9) -> Path:
    """A synthetic organisation that makes at least so many events, written once and kept under `cache`."""
    days = max(LEAST_DAYS, -(-events // (users * _EVENTS_A_DAY)))
    place = cache / f"organisation-{users}-{days}-{seed}"
    if not place.is_dir():
        making = place.with_suffix(".part")
        shutil.rmtree(making, ignore_errors=True)
        making.parent.mkdir(parents=True, exist_ok=True)
        write_organisation(making, users, days, seed=seed)
        making.rename(place)
    return place


def first_events(directory: Path, most: int) -> dict[Kind, pl.DataFrame]:
    """The first `most` events of a directory in the order of time; those of one moment in the order of kinds and files."""
    parts: dict[Kind, list[pl.DataFrame]] = {kind: [] for kind in KINDS}
    found = 0
    for chunk in read_merged(directory, ZONE):
        for kind, frame in chunk.items():
            parts[kind].append(frame)
            found += frame.height
        if found >= most:
            break  # all of the next chunk is newer
    frames = {kind: pl.concat(each).rechunk() for kind, each in parts.items() if each}
    kept = in_order(frames).head(most).group_by("kind").len()
    counts = dict(zip(kept["kind"].to_list(), kept["len"].to_list(), strict=True))
    return {kind: frame.head(counts.get(number, 0)) for number, (kind, frame) in enumerate(frames.items())}


def in_order(events: Events) -> pl.DataFrame:
    """Which row of which kind comes when: `ts`, `kind` (its number among these) and `row`, sorted by all three."""
    parts = [
        pl.DataFrame({"ts": frame["ts"], "kind": np.full(frame.height, number, np.int8), "row": np.arange(frame.height)})
        for number, frame in enumerate(events.values())
    ]
    return pl.concat(parts).sort("ts", "kind", "row")


def more_users(directory: Path, times: int, days: int, place: Path) -> Workload:
    """An organisation `times` as large, out of the one in `directory`: each of its days is another day of theirs, lived by other people.

    So events a user and day stay what they are. Working days are dealt out to `times` people a person; each of these lives `days` of them.
    """
    frames = first_events(directory, 10**12)
    first = min(int(frame["ts"][0]) for frame in frames.values()) // DAY_MS
    numbers = pl.concat([frame.select(day=pl.col("ts") // DAY_MS - first) for frame in frames.values()])["day"].value_counts()
    working = sorted(numbers.filter(pl.col("count") > numbers["count"].max() / 2)["day"].to_list())
    rounds = -(-times * days // len(working))
    wanted: dict[Kind, pl.DataFrame] = {}
    for kind, frame in frames.items():
        day = pl.col("ts") // DAY_MS - first
        parts = []
        for again in range(rounds):
            # the n-th working day, counted through all rounds, is day n % days of copy n // days
            place_of = {number: again * len(working) + i for i, number in enumerate(working)}
            copy = frame.filter(day.is_in(working)).with_columns(n=day.replace_strict(place_of, return_dtype=pl.Int64))
            copy = copy.filter(pl.col("n") < times * days).with_columns(
                copy=pl.col("n") // days, ts=pl.col("ts") % DAY_MS + (first + pl.col("n") % days) * DAY_MS
            )
            parts.append(
                copy.with_columns(
                    user=pl.format("{}-{}", "user", "copy"),
                    id=pl.format("{}-{}-{}", "id", "n", "copy"),
                    pc=pl.format("{}-{}", "pc", "copy"),
                ).drop("n", "copy")
            )
        wanted[kind] = pl.concat(parts).sort("ts", maintain_order=True)
    place.mkdir(parents=True, exist_ok=True)
    for path in sorted((directory / "LDAP").glob("*.csv")):
        table = pl.read_csv(path, infer_schema=False)
        pl.concat([table.with_columns(user_id=pl.format("{}-{}", "user_id", pl.lit(copy))) for copy in range(times)]).write_csv(
            place / path.name
        )
    return Workload(wanted, place)


# ------------------------------------------------------------------------------------------------------------------ filling


_RUNS = 12


@dataclass(frozen=True, slots=True)
class Filled:
    """Topics that hold a workload: by kind, and one that says to peers without clock marks that all is over."""

    partitions: int
    name: str = "bench"

    @property
    def topics(self) -> dict[Kind, str]:
        """The event topics, in the order of kinds."""
        return {kind: f"{self.namespace(_RUNS - 1)}.{kind}" for kind in KINDS}

    @property
    def closing(self) -> str:
        """The closing topic."""
        return f"{self.name}.closing"

    def namespace(self, run: int) -> str:
        """A namespace for one run of Daywatch over the event topics, with a consumer group and results of its own.

        Topics are called after their namespace, so that of each run is a longer piece of the event topics' names: `bench`, `bench.1`, ….

        Raises:
            ValueError: there were too many runs.
        """
        if run >= _RUNS:
            raise ValueError(f"no more than {_RUNS} runs over one filling")
        return ".".join((self.name, *map(str, range(1, run + 1))))


def fill(
    work: Workload, filled: Filled, client: Mapping[str, Any], last_mark_ms: Millis, told: Callable[[int], None] = lambda _: None
) -> None:
    """Write the events in the order of time over all topics, keyed by user, with a clock mark in every log each hour.

    Last comes one event a partition in the closing topic, ten days later than all others: peers without clock marks close by it.
    """
    sink = KafkaEventSink(client, filled.partitions)
    users = [frame["user"].cast(pl.Binary).to_list() for frame in work.events.values()]
    values = [encode(kind, frame) for kind, frame in work.events.items()]
    topics = [filled.topics[kind] for kind in work.events]
    first, done = work.first_ms // HOUR_MS * HOUR_MS, 0
    order = in_order(work.events)
    for hour, rows in _hours(order, first, last_mark_ms):
        for topic in topics:
            sink.mark(topic, encode_mark(hour))
        for kind, start, stop in rows:
            sink.send(topics[kind], users[kind][start:stop], values[kind][start:stop], None)
            done += stop - start
        told(done)
    for topic in topics:
        sink.mark(topic, encode_mark(last_mark_ms, last=True))
    sink.flush()
    end = orjson.dumps({"id": "end", "kind": "end", "ts": (work.newest_ms + 10 * DAY_MS) // 1000 * 1000, "user": CLOSING_USER})
    for key in _one_key_a_partition(filled.partitions):
        sink.send(filled.closing, [key], [end], None)
    sink.flush()


def _hours(order: pl.DataFrame, first_ms: Millis, end_ms: Millis) -> Iterator[tuple[Millis, list[tuple[int, int, int]]]]:
    """Each hour up to the end, with its runs of rows of one kind."""
    ts, kinds, rows = (order[name].to_numpy() for name in ("ts", "kind", "row"))
    hours = np.arange(first_ms, end_ms, HOUR_MS)
    for hour, start, stop in zip(hours, np.searchsorted(ts, hours), np.searchsorted(ts, hours + HOUR_MS), strict=True):
        cuts = start + np.flatnonzero(np.diff(kinds[start:stop], prepend=-1))
        ends = np.append(cuts[1:], stop) if len(cuts) else cuts
        # rows of one kind are consecutive in its own frame
        yield int(hour), [(int(kinds[a]), int(rows[a]), int(rows[b - 1]) + 1) for a, b in zip(cuts, ends, strict=True)]


def _one_key_a_partition(partitions: int) -> list[bytes]:
    found: dict[int, bytes] = {}
    number = 0
    while len(found) < partitions:
        key = f"{CLOSING_USER}{number}".encode()
        found.setdefault(partition_of(key, partitions), key)
        number += 1
    return [found[partition] for partition in range(partitions)]


# ------------------------------------------------------------------------------------------------------------- what is right


def user_days(events: Events) -> pl.DataFrame:
    """The simple work that the peers do, in one batch: a row for each user and day.

    Columns: user, day (days since 1970), count of each kind, pcs (distinct ones), size (sum over emails), ids (sorted list).
    """
    columns = ("user", "id", "pc")
    every = pl.concat(
        [
            frame.select(
                *columns,
                day=pl.col("ts") // DAY_MS,
                kind=pl.lit(kind.value),
                size=pl.col("size") if kind is Kind.EMAIL else pl.lit(0, pl.Int64),
            )
            for kind, frame in events.items()
        ]
    )
    counts = [(pl.col("kind") == kind.value).sum().cast(pl.Int64).alias(kind.value) for kind in KINDS]
    of_days = every.group_by("user", "day").agg(
        *counts, pcs=pl.col("pc").n_unique().cast(pl.Int64), size=pl.col("size").sum(), ids=pl.col("id").sort()
    )
    return of_days.sort("user", "day")


def windows(events: Events, hop_ms: int) -> pl.DataFrame:
    """What every window of a day each `hop_ms` holds: a row for each user and start (UTC ms), counts by kind, ids (list)."""
    every = pl.concat(
        [frame.select("user", "id", kind=pl.lit(kind.value), pane=pl.col("ts") // hop_ms * hop_ms) for kind, frame in events.items()]
    )
    every = every.unique(["user", "kind", "id", "pane"])
    sliding = pl.concat([every.with_columns(start=pl.col("pane") - back * hop_ms) for back in range(DAY_MS // hop_ms)])
    counts = [(pl.col("kind") == kind.value).sum().cast(pl.Int64).alias(kind.value) for kind in KINDS]
    return sliding.group_by("user", "start").agg(*counts, ids=pl.col("id")).sort("user", "start")
