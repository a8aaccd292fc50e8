"""How fast a synthetic organisation is written, and in how much memory: `python -m bench.synth [--sizes 80x56,1000x60,1000x500]`.

Each size is written in a process of its own, so that peak memory is its own too. JSON lines on standard output.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stream.synth import write_organisation


def measure(users: int, days: int) -> dict[str, float]:
    """Write one organisation and forget it; wall and CPU seconds, events a second of wall time, peak memory in MB."""
    with tempfile.TemporaryDirectory() as place:
        wall, cpu = time.perf_counter(), time.process_time()
        summary = write_organisation(Path(place) / "organisation", users, days, seed=1)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {
        "wall_s": wall,
        "cpu_s": cpu,
        "events_per_s": summary.total / wall,
        "events_per_cpu_s": summary.total / cpu,
        "peak_mb": peak_mb,
    }
    return {"users": users, "days": days, "events": summary.total} | {name: round(figure, 2) for name, figure in figures.items()}


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="80x56,1000x60")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        users, days = map(int, given.one.split("x"))
        sys.stdout.write(json.dumps(measure(users, days)) + "\n")
        return
    for size in given.sizes.split(","):
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", "bench.synth", "--one", size], check=True)


if __name__ == "__main__":
    main()
