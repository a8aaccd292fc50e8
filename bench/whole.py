"""The whole chain on an organisation of CERT r4.2's size: `python -m bench.whole [--users 1000 --days 501] --apache DIR`.

Synth, replay, windowing and baseline detection as the commands that a person types, one after the other on one machine; of each the
time, the processor time and the peak memory, and what broker and store keep on the disk. JSON on standard output.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.contest import ContestError, broker_of, daywatch, results, run, store_memory_mb
from bench.throughput import machine, say
from daywatch.embedded import EmbeddedStore
from stream.cert import find_files
from stream.errors import PipelineError


@dataclass(frozen=True, slots=True)
class Step:
    """One command: seconds of wall and of processor time, peak memory of its process."""

    name: str
    seconds: float
    cpu_s: float
    peak_mb: float


def step(name: str, settings: dict[str, str], arguments: Sequence[str], scratch: Path) -> Step:
    """Run one command to its end."""
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    began = time.perf_counter()
    cpu_s, peak_mb = run([sys.executable, "-m", "daywatch", *pairs, *arguments], scratch / f"{name}.log")
    done = Step(name, round(time.perf_counter() - began, 2), round(cpu_s, 2), round(peak_mb))
    say(f"{name}: {done.seconds:,.1f} s, {done.cpu_s:,.1f} CPU-s, {done.peak_mb:,.0f} MB")
    return done


def disk_mb(place: Path) -> float:
    """What lies under a directory, MB."""
    return round(sum(entry.stat().st_size for entry in place.rglob("*") if entry.is_file()) / 1e6, 1)


def count_rows(organisation: Path) -> int:
    """Events in an organisation's files: a line each, but for the first one."""
    total = 0
    for path in find_files(organisation).values():
        with path.open("rb") as file:
            total += sum(block.count(b"\n") for block in iter(lambda file=file: file.read(1 << 22), b"")) - 1
    return total


def measure(given: argparse.Namespace, scratch: Path) -> dict[str, object]:
    """All steps."""
    organisation = given.organisation or scratch / "organisation"
    steps: list[Step] = []
    if not given.organisation:
        steps.append(
            step(
                "synth",
                {},
                ["synth", "--out", str(organisation), "--users", str(given.users), "--days", str(given.days), "--seed", "9"],
                scratch,
            )
        )
    events = count_rows(organisation)
    broker, store = broker_of(given.apache, scratch), EmbeddedStore(scratch / "store", given.store)
    broker.start()
    try:
        store.start()
        settings = {
            "namespace": "whole", "kafka.bootstrap_servers": broker.bootstrap_servers, "kafka.embedded": str(given.apache is None).lower(),
            "store.url": store.url, "window.hop": given.hop, "window.processes": str(given.processes),
        }  # fmt: skip
        daywatch(settings, "topics", "create")
        steps.append(step("replay", settings, ["replay", str(organisation)], scratch))
        people = ["--directory", str(organisation / "LDAP")]
        steps.append(step("window", settings, ["window", "--until-done", *people], scratch))
        store_mb = {"peak_mb": store_memory_mb(store.url), "disk_mb": disk_mb(scratch / "store")}
        steps.append(step("detect", settings, ["detect", "--until-done"], scratch))
        client = {"bootstrap.servers": broker.bootstrap_servers}
        windows, alerts = (len(results(client, f"whole.{topic}", given.apache is None)[0]) for topic in ("windows", "alerts"))
        return {
            "machine": machine(given),
            "events": events,
            "hop": given.hop,
            "processes": given.processes,
            "windows": windows,
            "alerts": alerts,
            "steps": [asdict(each) for each in steps],
            "store": store_mb,
            "broker_disk_mb": disk_mb(scratch / "kafka") if given.apache else None,
            "organisation_disk_mb": disk_mb(organisation),
        }
    finally:
        store.stop()
        broker.stop()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=501)
    parser.add_argument("--hop", default="24h")
    parser.add_argument("--processes", type=int, default=2, help="of the windowing worker")
    parser.add_argument("--organisation", type=Path, help="one that is there already")
    parser.add_argument(
        "--apache", type=Path, metavar="DIR", help="Apache Kafka, by the directory of its launcher, instead of the embedded broker"
    )
    parser.add_argument("--store", help="a redis-server program instead of the embedded Valkey")
    parser.add_argument("--scratch", type=Path, help="where broker, store and organisation may lie (default: a temporary directory)")
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="daywatch-bench-", dir=given.scratch))
    try:
        found = measure(given, scratch)
    except (PipelineError, ContestError) as error:
        say(f"error: {error}; logs are in {scratch}")
        return 1
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    shutil.rmtree(scratch, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
