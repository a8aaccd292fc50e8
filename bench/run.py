"""How fast the parts are on this machine: `python bench/run.py [--users N --days D]`, or `make bench`. Needs no servers.

Each line is one part of the chain, run on one made-up organisation in this process; rates are events (or windows) a second of wall
time. Prints a table on standard error and JSON on standard output.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stream.cert import read_merged
from stream.decode import DecodeLimits, decode
from stream.encode import encode
from stream.kinds import KINDS, Kind
from stream.synth import write_organisation
from windowing.calendar import DAY_MS, WindowSpec
from windowing.offline import windows_of
from windowing.record import Window, parse_window


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement: `count` things in `wall_s` seconds of wall time and `cpu_s` of this process' time."""

    part: str
    things: str
    count: int
    wall_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Things a second of wall time."""
        return self.count / self.wall_s


class Stopwatch:
    """Collects lines."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    @contextmanager
    def measure(self, part: str, things: str) -> Iterator[Callable[[int], None]]:
        """Measure a block; it says how many things it did."""
        count = 0

        def did(n: int) -> None:
            nonlocal count
            count += n

        wall, cpu = time.perf_counter(), time.process_time()
        yield did
        self.lines.append(Line(part, things, count, time.perf_counter() - wall, time.process_time() - cpu))


def measure(users: int, days: int, organisation: Path) -> list[Line]:
    """Measure every part once."""
    watch = Stopwatch()
    with watch.measure("make up an organisation", "events") as did:
        did(write_organisation(organisation, users, days, seed=1).total)

    with watch.measure("read its files, merged by time", "events") as did:
        chunks = list(read_merged(organisation, "UTC"))
        did(sum(frame.height for chunk in chunks for frame in chunk.values()))

    records: dict[Kind, tuple[list[bytes], list[bytes]]] = {kind: ([], []) for kind in KINDS}
    with watch.measure("encode as records", "events") as did:
        for chunk in chunks:
            for kind, frame in chunk.items():
                values = encode(kind, frame)
                records[kind][0].extend(user.encode() for user in frame["user"])
                records[kind][1].extend(values)
                did(len(values))
    del chunks

    with watch.measure("decode records", "events") as did:
        for kind, (keys, values) in records.items():
            for start in range(0, len(values), 20_000):
                did(decode(kind, values[start : start + 20_000], keys[start : start + 20_000], "UTC", DecodeLimits()).frame.height)
    records.clear()

    texts: list[str] = []
    for name, hop_ms in (("user/days", DAY_MS), ("windows every 6 h", DAY_MS // 4)):
        with watch.measure(f"describe and fold, {name}", "windows") as did:
            for batch in windows_of(organisation, WindowSpec(hop_ms=hop_ms)):
                did(batch.windows.height)
                if hop_ms == DAY_MS:
                    texts.extend(batch.windows["value"])

    windows: list[Window] = []
    with watch.measure("parse windows", "windows") as did:
        windows.extend(parse_window(text.encode()) for text in texts)
        did(len(windows))
    del texts

    _judge(watch, windows)
    return watch.lines


def _judge(watch: Stopwatch, windows: list[Window]) -> None:
    from detector.baseline import Baseline

    judge = Baseline.load()
    judge.judge(windows[:1])  # what is done once only is not counted
    with watch.measure("judge windows (baseline)", "windows") as did:
        for start in range(0, len(windows), 1_000):
            did(len(judge.judge(windows[start : start + 1_000])))


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--users", type=int, default=200)
    arguments.add_argument("--days", type=int, default=60)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        lines = measure(given.users, given.days, Path(scratch) / "organisation")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    table = Table(
        "part", "", "wall s", "cpu s", "a second", "a cpu second", title=f"{given.users} people, {given.days} days; peak {peak_mib} MiB"
    )
    for line in lines:
        table.add_row(
            line.part,
            f"{line.count:,} {line.things}",
            f"{line.wall_s:.2f}",
            f"{line.cpu_s:.2f}",
            f"{line.rate:,.0f}",
            f"{line.count / max(line.cpu_s, 1e-9):,.0f}",
        )
    Console(stderr=True).print(table)
    json.dump({"peak_mib": peak_mib, "lines": [asdict(line) | {"rate": line.rate} for line in lines]}, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
