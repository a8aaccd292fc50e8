"""Runs schedules of faults, and reports on those that have been run.

    python -m tests.faults [--seeds 1-200] [--jobs 1] [--results FILE] [--report] [--again] [--exec] [--keep]

Every schedule that has been run is one line of JSON in the results file; seeds that are there already are not run again.
"""

import argparse
import fcntl
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.report import report
from tests.faults.run import Result, Run
from tests.faults.schedule import Fault, schedule
from tests.faults.world import World
from tests.servers import REPOSITORY, kafka_launcher, redis_program

EACH_KIND = "1,36,38,53"
"""Seeds that show each kind of fault."""
RESULTS = Path("faults-out/results.jsonl")


def main() -> int:
    given = _given()
    if given.report:
        print(report(read(given.results)))
        return 0
    if kafka_launcher() is None or redis_program() is None:
        print("needs Apache Kafka (DAYWATCH_TEST_KAFKA=DIR with the kafka launcher, Java) and redis-server", file=sys.stderr)
        return 1
    done = set() if given.again else {line["seed"] for line in read(given.results)}
    seeds = [seed for seed in seeds_of(given.seeds) if seed not in done]
    if given.jobs > 1:
        return _in_jobs(given, seeds)
    # servers are stopped and disks let go, however it ends
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = run(seeds, given.results, given.directory, from_the_beginning=given.exec, keep=given.keep)
    print(report(read(given.results)))
    return int(bool(failed))


def run(
    seeds: Sequence[int],
    results: Path,
    directory: Path | None = None,
    *,
    from_the_beginning: bool = False,
    keep: bool = False,
) -> list[Result]:
    """Run schedules one after the other, record each, and return those that failed."""
    if not seeds:
        return []
    made = version()
    failed = []
    with tempfile.TemporaryDirectory(prefix="daywatch-faults-", dir=directory, ignore_cleanup_errors=True) as place:
        world = World(Path(place))
        try:
            faults = [fault for fault in Fault if world.own_disk or fault is not Fault.FULL_DISK]
            for seed in seeds:
                one = Run(schedule(seed, faults), world, from_the_beginning=from_the_beginning)
                try:
                    result = one.run()
                except Exception as error:  # noqa: BLE001 - recorded, and the next schedule may do
                    traceback.print_exc()
                    result = one.result
                    result.complaints.append(f"the harness failed: {type(error).__name__}: {error}")
                append(results, {**made, **result.as_json()})
                _show(result)
                if result.complaints or keep:
                    _preserve(one, results)
                if result.complaints:
                    failed.append(result)
        finally:
            world.close()
    return failed


def _preserve(one: Run, results: Path) -> None:
    """Keep what the workers of a schedule said, and what was done to them."""
    kept = results.parent / ("failed" if one.result.complaints else "passed") / f"{one.schedule.seed}-{datetime.now(UTC):%H%M%S}"
    shutil.copytree(one.directory, kept)
    (kept / "complaints.txt").write_text("\n".join([*one.result.complaints, "", repr(one.schedule)]), encoding="utf-8")


def _show(result: Result) -> None:
    what = ", ".join(result.faults)
    verdict = "ok" if not result.complaints else "FAILED: " + "; ".join(result.complaints)
    print(
        f"seed {result.seed}: {result.windows} windows, {result.alerts} alerts, {result.starts} starts, {result.seconds} s, "
        f"{result.cpu_s} + {result.own_cpu_s} CPU-s [{what}] {verdict}",
        flush=True,
    )


def version() -> dict[str, Any]:
    """Which code is tested: the commit, and whether anything in the tree differs from it."""

    def git(*arguments: str) -> str:
        asked = subprocess.run(["git", *arguments], cwd=REPOSITORY, check=False, capture_output=True, text=True)
        return asked.stdout.strip() if asked.returncode == 0 else "unknown"

    packages = ("stream", "windowing", "detector", "sinks", "daywatch", "tests/faults")
    return {
        "commit": git("rev-parse", "--short=12", "HEAD"),
        "changed": bool(git("status", "--porcelain", "--", *packages)),
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }


def append(results: Path, line: dict[str, Any]) -> None:
    """Add a line; several jobs may."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(line) + "\n")


def read(results: Path) -> list[dict[str, Any]]:
    """All lines of a results file, also of one that is not there yet."""
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()] if results.is_file() else []


def _in_jobs(given: argparse.Namespace, seeds: Sequence[int]) -> int:
    """The same in several processes, each with servers of its own."""
    shares = [seeds[number :: given.jobs] for number in range(given.jobs)]
    more = [flag for flag, wanted in (("--exec", given.exec), ("--again", given.again), ("--keep", given.keep)) if wanted]
    place = ["--directory", str(given.directory)] if given.directory else []
    jobs = []
    for share in shares:
        if share:
            words = ["--seeds", ",".join(map(str, share)), "--results", str(given.results), *place, *more]
            jobs.append(subprocess.Popen([sys.executable, "-m", "tests.faults", *words], cwd=REPOSITORY, stdout=sys.stderr))
            time.sleep(1)
    codes = [job.wait() for job in jobs]
    print(report(read(given.results)))
    return int(any(codes))


def seeds_of(text: str) -> list[int]:
    """The seeds that a text such as `1-8,20` names.

    >>> seeds_of("1-3,20")
    [1, 2, 3, 20]
    """
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _given() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="python -m tests.faults", description="Random schedules of faults against real processes.")
    options.add_argument("--seeds", default=EACH_KIND, help=f"such as 1-200 or 3,17 (default {EACH_KIND})")
    options.add_argument("--jobs", type=int, default=1, help="how many at a time, each with its own Kafka and Redis (default 1)")
    options.add_argument("--results", type=Path, default=RESULTS, help=f"where results are appended (default {RESULTS})")
    options.add_argument("--directory", type=Path, help="where servers keep their data (default: the system's temporary directory)")
    options.add_argument("--report", action="store_true", help="only report on the results file")
    options.add_argument("--again", action="store_true", help="also seeds that are in the results file")
    options.add_argument("--exec", action="store_true", help="start each worker as a program, not as a fork that has imported it")
    options.add_argument("--keep", action="store_true", help="keep the logs of all schedules beside the results, not only of failed ones")
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
