"""Hold the windows on the topic against a plain polars computation over the CERT directory they came from.

    python bench/check_windows.py DIRECTORY NAMESPACE [--hop-hours 24] [--zone UTC]

The computation shares nothing with the engine but the reading of the files: each event's local day (or hop) by polars' own
calendar, a group by user and window, a count by kind. Prints what is missing, double or different; exits 1 if anything is.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import orjson
import polars as pl

from daywatch.settings import load
from stream.cert import find_files, read_kind
from stream.kafka_reader import read_all
from stream.kinds import KINDS


def expected(directory: Path, hop_hours: int, zone: str) -> dict[tuple[str, str], dict[str, int]]:
    """Counts by kind of every (user, window start), from the files."""
    parts = []
    for kind, path in find_files(directory).items():
        for frame in read_kind(path, kind, zone):
            wall = pl.from_epoch("ts", "ms").dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.replace_time_zone(None)
            # an event lies in as many windows as hops fit into a day; duplicates of an id within a hop count once
            hops = frame.select("user", "id", hop=wall.dt.truncate(f"{hop_hours}h")).unique(["user", "id", "hop"])
            starts = [pl.col("hop") - pl.duration(hours=back) for back in range(0, 24, hop_hours)]
            parts += [hops.select("user", start=start, kind=pl.lit(kind.value)) for start in starts]
    counted = pl.concat(parts).group_by("user", "start", "kind").len()
    found: dict[tuple[str, str], dict[str, int]] = {}
    for user, start, kind, n in counted.rows():
        found.setdefault((user, f"{start:%Y-%m-%dT%H:%M:%S}"), dict.fromkeys(map(str, KINDS), 0))[kind] = n
    return found


def main() -> int:
    """Compare, and say what was found."""
    options = argparse.ArgumentParser()
    options.add_argument("directory", type=Path)
    options.add_argument("namespace")
    options.add_argument("--hop-hours", type=int, default=24)
    options.add_argument("--zone", default="UTC")
    given = options.parse_args()
    settings = load(flags={"namespace": given.namespace, "zone": given.zone})
    wanted = expected(given.directory, given.hop_hours, given.zone)
    seen: Counter[tuple[str, str]] = Counter()
    different = total = 0
    for batch in read_all(settings.kafka.client(), [settings.topic("windows")], embedded=settings.kafka.embedded):
        for message in batch:
            if (value := message.value()) is None:
                continue
            record = orjson.loads(value)
            key = (record["user"], record["start"][:19])
            seen[key] += 1
            listed = Counter(event["kind"] for event in record["events"])
            adds_up = all(record["counts"][kind] == listed[kind] + record["omitted"].get(kind, 0) for kind in KINDS)
            different += record["counts"] != wanted.get(key) or not adds_up
            total += sum(record["counts"].values())
    missing, unexpected, double = len(wanted.keys() - seen.keys()), len(seen.keys() - wanted.keys()), sum(n > 1 for n in seen.values())
    print(
        f"{sum(seen.values())} windows on the topic, {len(wanted)} expected: {missing} missing, {unexpected} unexpected, {double} double, "
        f"{different} different; {total} events counted in windows"
    )
    return int(bool(missing or unexpected or double or different))


if __name__ == "__main__":
    sys.exit(main())
