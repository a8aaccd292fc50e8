"""Daywatch's windowing worker beside its peers: `python -m bench.throughput` (`make bench`).

One broker, its topics filled beforehand; each contestant reads them from their beginning as a process of its own, with durable state
on; what it wrote is held against a polars batch computation. Prints a table on standard error and JSON on standard output; `--out DIR`
keeps both, with a picture.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.checks import check_user_days, check_windows
from bench.contest import Contest, Figure, broker_of, create_topics
from bench.drawing import picture, table
from bench.workload import DAY_MS, Filled, Workload, fill, first_events, more_users, organisation, user_days, windows
from stream.errors import PipelineError
from windowing.calendar import Calendar, WindowSpec

PEERS = ("bytewax", "bytewax2", "quix", "redis", "faust")
_LABELS = {"bytewax2": "bytewax, 2 proc."}
_HOURS = {"24h": 24, "12h": 12, "6h": 6, "3h": 3, "1h": 1}
REPOSITORY = Path(__file__).resolve().parent.parent


class Contestants:
    """What is run on one filling of the topics, and what came out."""

    def __init__(self, given: argparse.Namespace, scratch: Path) -> None:
        self._given, self._scratch = given, scratch
        self.fillings = 0

    @contextmanager
    def filled(self, work: Workload) -> Any:
        """A contest whose topics hold the workload."""
        given = self._given
        self.fillings += 1
        scratch = self._scratch / str(self.fillings)
        broker = broker_of(given.apache, scratch)
        say(f"filling topics with {work.total:,} events")
        broker.start()
        try:
            contest = Contest(broker.bootstrap_servers, given.apache is None, Filled(given.partitions), scratch, given.store)
            create_topics(contest.client, [*contest.topics(), contest.filled.closing], given.partitions)
            fill(work, contest.filled, contest.client, last_mark(work))
            yield contest
        finally:
            broker.stop()

    def raw(self, contest: Contest, work: Workload) -> Figure:
        """The middle one of a few runs: it is what all others are measured by."""
        runs = [contest.raw(work.total) for _ in range(self._given.raw_runs)]
        middle = sorted(runs, key=lambda figure: figure.rate)[len(runs) // 2]
        middle.more["rates"] = [round(figure.rate) for figure in runs]
        return told(middle)

    def daywatch(self, contest: Contest, work: Workload, hop: str, processes: int = 1, name: str = "") -> Figure:
        """Daywatch, checked."""
        label = name or f"Daywatch, hop {hop}{f', {processes} proc.' if processes > 1 else ''}"
        figure, records = contest.daywatch(label, hop, work.people, work.total, processes)
        verdict = check_windows(records, windows(work.events, _HOURS[hop] * DAY_MS // 24))
        figure.verdict, figure.right = str(verdict), verdict.right
        return told(figure)

    def peer(self, contest: Contest, work: Workload, name: str) -> Figure:
        """A peer, checked."""
        figure, records = contest.peer(name, self._given.peer_python, work.total)
        figure.name = _LABELS.get(name, name)
        verdict = check_user_days(records, user_days(work.events))
        figure.verdict, figure.right = str(verdict), verdict.right
        return told(figure)


def last_mark(work: Workload) -> int:
    """Where the last clock mark lies: at the end of the last window over the newest event, whatever the hop."""
    ends = []
    for hours in _HOURS.values():
        calendar = Calendar(WindowSpec(hop_ms=hours * DAY_MS // 24), "UTC")
        ends.append(calendar.window_end(calendar.pane_of(work.newest_ms)))
    return max(ends)


def told(figure: Figure) -> Figure:
    """Say how it went."""
    say(f"{figure.name}: {figure.rate:,.0f} events/s, {figure.cpu_s_per_million:.2f} CPU-s per million {figure.verdict}")
    return figure


def say(text: str) -> None:
    """Progress, on standard error."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


def base_workload(given: argparse.Namespace, events: int, users: int | None = None) -> Workload:
    """The first events of a synthetic organisation."""
    directory = organisation(users or given.users, events, given.cache)
    return Workload(first_events(directory, events), directory / "LDAP")


def base_case(given: argparse.Namespace, contestants: Contestants) -> list[Figure]:
    """Raw consume, Daywatch at each hop, and the peers; Faust on fewer events, as it takes so long."""
    work = base_workload(given, given.events)
    figures = []
    with contestants.filled(work) as contest:
        figures.append(contestants.raw(contest, work))
        figures += [contestants.daywatch(contest, work, hop, n) for hop in given.hops for n in given.processes]
        figures += [contestants.peer(contest, work, name) for name in given.peers if name != "faust"]
        if len(given.peers) > (given.peers == ["faust"]):
            again = contestants.raw(contest, work)
            rates = [*figures[0].more["rates"], *again.more["rates"]]
            # the machine may have been busier at one end than at the other
            figures[0] = replace(figures[0], seconds=figures[0].events / statistics.median(rates), more={"rates": rates})
    if "faust" in given.peers:
        few = base_workload(given, min(given.faust_events, given.events))
        with contestants.filled(few) as contest:
            figures.append(contestants.peer(contest, few, "faust"))
    return figures


def axis_of_users(given: argparse.Namespace, contestants: Contestants) -> list[Figure]:
    """1, 10 and 100 times the users, with the same events a user and day."""
    figures = []
    for times in (1, 10, 100):
        if times == 1:
            work = base_workload(given, given.events)
        else:
            days = max(1, round(given.events / (given.users * times * 70)))
            small = organisation(given.users, given.events, given.cache)
            work = more_users(small, times, days, given.cache / f"people-{given.users}x{times}")
        facts = work.facts()
        with contestants.filled(work) as contest:
            figure = contestants.daywatch(contest, work, "24h", given.processes[0], f"{facts['users']:,} users")
        figure.more["workload"] = facts
        figures.append(figure)
    return figures


def axis_of_hops(given: argparse.Namespace, contestants: Contestants) -> list[Figure]:
    """Windows every 24, 6 and 1 hours."""
    work = base_workload(given, given.events)
    with contestants.filled(work) as contest:
        return [contestants.daywatch(contest, work, hop, given.processes[0], f"hop {hop}") for hop in ("24h", "6h", "1h")]


def axis_of_workers(given: argparse.Namespace, contestants: Contestants) -> list[Figure]:
    """One worker and two, each a process, that share the partitions."""
    work = base_workload(given, given.events)
    with contestants.filled(work) as contest:
        return [contestants.daywatch(contest, work, "24h", n, f"{n} worker{'s' * (n > 1)}") for n in (1, 2)]


def axis_of_events(given: argparse.Namespace, contestants: Contestants) -> list[Figure]:
    """So many events, and five times as many."""
    figures = []
    for events in (given.events, 5 * given.events):
        work = base_workload(given, events)
        with contestants.filled(work) as contest:
            raw = contestants.raw(contest, work)
            figure = contestants.daywatch(contest, work, "24h", given.processes[0], f"{events:,} events")
        figure.more["raw_rate"] = round(raw.rate)
        figures.append(figure)
    return figures


AXES = {"users": axis_of_users, "hop": axis_of_hops, "workers": axis_of_workers, "events": axis_of_events}


def machine(given: argparse.Namespace) -> dict[str, Any]:
    """What the figures were measured on."""
    from importlib.metadata import version

    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": names[0] if names else platform.processor(),
        "python": platform.python_version(),
        "broker": "embedded (Tansu)" if given.apache is None else "Apache Kafka",
        "store": "embedded (Valkey)" if given.store is None else Path(given.store).name,
        "polars": version("polars"),
        "confluent-kafka": version("confluent-kafka"),
        "load_at_start": os.getloadavg()[0],
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).is_file() else []


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument(
        "--processes", default="2,1", help="so many of Daywatch's share the partitions, one run each; the first for an axis"
    )
    parser.add_argument("--hops", default="24h,6h", help="of Daywatch's windows; peers do user/days")
    parser.add_argument("--peers", default=",".join(PEERS), help="some of these, or none")
    parser.add_argument("--faust-events", type=int, default=100_000)
    parser.add_argument("--raw-runs", type=int, default=3)
    parser.add_argument("--axis", choices=sorted(AXES), help="measure Daywatch alone, along one axis from the base case")
    parser.add_argument(
        "--apache", type=Path, metavar="DIR", help="Apache Kafka, by the directory of its launcher, instead of the embedded broker"
    )
    parser.add_argument("--store", help="a redis-server program instead of the embedded Valkey")
    parser.add_argument(
        "--peer-python", type=Path, default=REPOSITORY / ".venv" / "peers" / "bin" / "python", help="where the peers are installed"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "daywatch-bench", help="keeps organisations that were made up"
    )
    parser.add_argument("--out", type=Path, help="keep figures.json, table.txt and figures.svg here")
    parser.add_argument("--keep", action="store_true", help="keep the logs of the processes")
    given = parser.parse_args(arguments)
    given.hops = [hop for hop in given.hops.split(",") if hop and hop != "none"]
    given.peers = [name for name in given.peers.split(",") if name and name != "none"]
    if unknown := set(given.peers) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    if unknown := set(given.hops) - set(_HOURS):
        parser.error(f"a hop is one of {', '.join(_HOURS)}")
    if not all(n.isdigit() and int(n) for n in given.processes.split(",")):
        parser.error("processes are numbers from 1, with commas between them")
    given.processes = [int(n) for n in given.processes.split(",")]
    return given


def main() -> int:
    """Measure, print and keep; 1 when a contestant's output was wrong."""
    given = options()
    scratch = Path(tempfile.mkdtemp(prefix="daywatch-bench-"))
    facts = machine(given)
    try:
        contestants = Contestants(given, scratch)
        figures = AXES[given.axis](given, contestants) if given.axis else base_case(given, contestants)
    except PipelineError as error:
        given.keep = True
        say(f"error: {error}; logs are in {scratch}")
        return 1
    finally:
        if not given.keep:
            shutil.rmtree(scratch, ignore_errors=True)
    workload = base_workload(given, given.events).facts() if not given.axis else None
    found = {"machine": facts, "workload": workload, "figures": [report(figure, figures) for figure in figures]}
    text = table(found)
    sys.stderr.write(text)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "figures.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        (given.out / "table.txt").write_text(text, encoding="utf-8")
        (given.out / "figures.svg").write_text(picture(found), encoding="utf-8")
    return 0 if all(figure.right for figure in figures) else 1


def report(figure: Figure, figures: Sequence[Figure]) -> dict[str, Any]:
    """One figure with its ratios."""
    raw = next((each for each in figures if each.name == "raw consume"), None)
    return {
        **asdict(figure),
        "rate": round(figure.rate),
        "cpu_s_per_million": round(figure.cpu_s_per_million, 2),
        "of_raw": round(figure.rate / raw.rate, 3) if raw else None,
    }


if __name__ == "__main__":
    sys.exit(main())
