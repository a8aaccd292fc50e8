"""How long an alert takes, live: `python -m bench.latency ORGANISATION --apache DIR [--rate 1000] [--seconds 90] [--hop 6h]`.

Events go out at an even pace into Apache Kafka; `daywatch window` and `daywatch detect` (baseline) run as processes of their own,
with a real store. What is measured, for every verdict and alert: from the moment at which the event was handed to the producer by
which the last of its partition's five clocks passed the window's end, to the moment at which a `read_committed` reader has it. Event
time runs faster than the wall clock (an organisation of 1,000 makes less than one event a second), so that windows close every few
seconds, all users' of a partition at once: the queue of a whole partition is in these figures.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.contest import ContestError, broker_of, daywatch, started
from bench.workload import first_events, in_order
from daywatch.embedded import EmbeddedStore
from daywatch.settings import load
from stream.encode import encode
from stream.kinds import KINDS, Kind, Millis
from stream.partitioner import partition_of
from windowing.calendar import Calendar, WindowSpec
from windowing.clocks import LONG_AGO

PARTITIONS: Final = 4
_TICK_S: Final = 0.01
_WARM_UP_RATE: Final = 20_000.0


class Clocks:
    """The five clocks of each partition, as the windowing worker keeps them: who passes an edge last has closed its window."""

    def __init__(self, calendar: Calendar, out_of_orderness_ms: Millis) -> None:
        self._calendar, self._late = calendar, out_of_orderness_ms
        self._clocks = np.full((PARTITIONS, len(KINDS)), LONG_AGO, np.int64)
        self._panes = np.full(PARTITIONS, LONG_AGO, np.int64)
        self.closed_at: dict[tuple[int, Millis], float] = {}
        """By partition and window's end: when its closing event was handed over."""

    def event(self, kind: int, partition: int, ts: Millis, now: float) -> None:
        """An event was handed to the producer."""
        clocks = self._clocks[partition]
        clocks[kind] = max(clocks[kind], ts - self._late)
        slowest = int(clocks.min())
        if slowest == LONG_AGO:
            return
        spec = self._calendar.spec
        pane = self._calendar.pane_of(slowest - spec.allowed_lateness_ms)
        if pane > self._panes[partition]:
            first = pane if self._panes[partition] == LONG_AGO else int(self._panes[partition]) + 1
            for edge in range(first, pane + 1):
                self.closed_at[partition, self._calendar.edge(edge)] = now
            self._panes[partition] = pane


class Listener(threading.Thread):
    """Reads a topic as `read_committed` and writes down when each record came."""

    def __init__(self, client: Mapping[str, Any], topic: str) -> None:
        super().__init__(daemon=True)
        self._consumer = Consumer({**client, "group.id": "bench.latency", "isolation.level": "read_committed", "enable.auto.commit": False})
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        self.heard: list[tuple[float, int, bytes]] = []
        self.stopped = False

    def run(self) -> None:
        """Read until stopped."""
        while not self.stopped:
            for message in self._consumer.consume(1000, 0.02):
                value = message.value()
                if message.error() is None and value is not None:
                    self.heard.append((time.time(), message.partition() or 0, value))
        self._consumer.close()


@contextmanager
def worker(settings: Mapping[str, str], log: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A `daywatch` command that runs until it is told to stop."""
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    child = started([sys.executable, "-m", "daywatch", *pairs, *arguments], log)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(30)


def until_it_holds(log: Path, processes: int = 1) -> None:
    """Wait until each process of a worker says that it holds its share of the partitions."""
    deadline = time.monotonic() + 120
    while log.read_text(encoding="utf-8").count(f"holds {PARTITIONS // processes} of") < processes:
        if time.monotonic() > deadline:
            raise ContestError(f"a worker does not begin: {log.read_text(encoding='utf-8')[-500:]}")
        time.sleep(0.05)


def parted(frames: dict[Kind, pl.DataFrame], count: int) -> tuple[dict[Kind, pl.DataFrame], dict[Kind, pl.DataFrame]]:
    """The first `count` events, and the others."""
    kept = in_order(frames).head(count)["kind"].value_counts()
    heights = dict(zip(kept["kind"].to_list(), kept["count"].to_list(), strict=True))
    first = {kind: frame.head(heights.get(number, 0)) for number, (kind, frame) in enumerate(frames.items())}
    return first, {kind: frame.slice(first[kind].height) for kind, frame in frames.items()}


def events_from(organisation: Path, since_ms: Millis, count: int) -> dict[Kind, pl.DataFrame]:
    """The first `count` events since an instant."""
    found = {kind: frame.filter(pl.col("ts") >= since_ms) for kind, frame in first_events(organisation, 10**12).items()}
    return parted(found, count)[0]


def until_caught_up(verdicts: Listener, clocks: Clocks) -> None:
    """Wait until each partition's newest window that is due has been judged."""
    newest = {partition: max(end for number, end in clocks.closed_at if number == partition) for partition, _ in clocks.closed_at}
    deadline = time.monotonic() + 120
    while newest.items() - {(partition, _end_ms(json.loads(value))) for _, partition, value in list(verdicts.heard)}:
        if time.monotonic() > deadline:
            raise ContestError("the workers do not catch up")
        time.sleep(0.5)
    time.sleep(2)


def produce(
    client: Mapping[str, Any], topics: Mapping[Kind, str], frames: Mapping[Kind, pl.DataFrame], rate: float, clocks: Clocks
) -> float:
    """Send events at a pace; says by how much (seconds) the pace was missed at worst."""
    order = in_order(frames)
    values = [encode(kind, frame) for kind, frame in frames.items()]
    users = [[user.encode() for user in frame["user"]] for frame in frames.values()]
    partitions = {user: partition_of(user, PARTITIONS) for each in users for user in set(each)}
    names, numbers = [topics[kind] for kind in frames], [KINDS.index(kind) for kind in frames]
    producer = Producer({**client, "partitioner": "murmur2_random", "linger.ms": 2, "queue.buffering.max.messages": 1_000_000})
    began, missed = time.time(), 0.0
    for place, (ts, kind, row) in enumerate(order.iter_rows()):
        due = began + place / rate
        now = time.time()
        if place % 256 == 0:
            producer.poll(0)  # what was delivered makes room
        if due > now:
            time.sleep(max(due - now, _TICK_S))
            now = time.time()
        missed = max(missed, now - due)
        user = users[kind][row]
        producer.produce(names[kind], values[kind][row], user, partitions[user])
        clocks.event(numbers[kind], partitions[user], ts, now)
    producer.flush(30)
    return missed


def summary(latencies: list[float]) -> dict[str, float | int]:
    """Quantiles in seconds."""
    if not latencies:
        return {"count": 0}
    found = np.quantile(latencies, [0.5, 0.9, 0.99, 1.0])
    return {"count": len(latencies), **{name: round(float(q), 3) for name, q in zip(("p50", "p90", "p99", "most"), found, strict=True)}}


def latencies_of(heard: Mapping[str, Listener], closed_at: Mapping[tuple[int, Millis], float]) -> dict[str, list[float]]:
    """Per topic how long each record took since its window's closing event."""
    found: dict[str, list[float]] = {}
    for role, listener in heard.items():
        ends = ((at, (partition, _end_ms(json.loads(value)))) for at, partition, value in listener.heard)
        found[role] = [at - closed_at[edge] for at, edge in ends if edge in closed_at]
    return found


def _end_ms(record: Mapping[str, Any]) -> Millis:
    """When the window of a window, verdict or alert ended; an alert's time is its window's end."""
    return int(record["time"]) if "time" in record else round(datetime.fromisoformat(record["end"]).timestamp() * 1000)


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("organisation", type=Path)
    asked.add_argument("--apache", type=Path, help="directory with Apache Kafka's launcher")
    asked.add_argument("--bootstrap-servers", help="a broker that runs already")
    asked.add_argument("--store", help="URL of a store that runs already")
    asked.add_argument("--rate", type=float, default=1000.0, help="events a second")
    asked.add_argument("--seconds", type=float, default=90.0)
    asked.add_argument("--hop", default="6h")
    asked.add_argument("--processes", type=int, choices=(1, 2, 4), default=1, help="of the windowing worker")
    asked.add_argument("--warm-up", type=int, default=200_000, help="events sent before: who has no profile yet raises no alert")
    asked.add_argument("--since", help="begin at this time of the organisation, as 2010-01-21T12:00, where there is something to alert of")
    asked.add_argument("--budget", type=float, default=200.0, help="alerts a day per 1,000 users, more than usual, to have some to measure")
    given = asked.parse_args()
    since = int(datetime.fromisoformat(given.since).replace(tzinfo=UTC).timestamp() * 1000) if given.since else 0
    frames = events_from(given.organisation, since, given.warm_up + int(given.rate * given.seconds))
    before, frames = parted(frames, given.warm_up)
    with tempfile.TemporaryDirectory() as made, ExitStack() as running:
        scratch, client_of = Path(made), given.bootstrap_servers
        if client_of is None:
            broker = broker_of(given.apache, scratch)
            broker.start()
            running.callback(broker.stop)
            client_of = broker.bootstrap_servers
        store_url = given.store
        if store_url is None:
            store = EmbeddedStore(scratch / "store")
            store.start()
            running.callback(store.stop)
            store_url = store.url
        settings = {
            "namespace": f"latency-{os.getpid()}",
            "kafka.bootstrap_servers": client_of,
            "store.url": store_url,
            "topics.partitions": str(PARTITIONS),
            "window.hop": given.hop,
            "window.processes": str(given.processes),
            "detect.budget": str(given.budget),
            "window.learning_days": "0",  # windows of the first two weeks raise no alert otherwise
        }
        daywatch(settings, "topics", "create")
        loaded = load(flags=dict(settings))
        client = {"bootstrap.servers": client_of}
        calendar = Calendar(WindowSpec(hop_ms=loaded.window.spec().hop_ms), loaded.zone)
        clocks = Clocks(calendar, loaded.window.out_of_orderness)
        heard = {role: Listener(client, loaded.topic(role)) for role in ("windows", "verdicts", "alerts")}
        for listener in heard.values():
            listener.start()
        for role in ("window", "detect"):
            running.enter_context(worker(settings, scratch / f"{role}.log", role))
        until_it_holds(scratch / "window.log", given.processes)
        until_it_holds(scratch / "detect.log")
        topics = {kind: loaded.topic(kind.value) for kind in KINDS}
        produce(client, topics, before, _WARM_UP_RATE, clocks)
        until_caught_up(heard["verdicts"], clocks)
        live_since = time.time()
        missed = produce(client, topics, frames, given.rate, clocks)
        time.sleep(4)
        for listener in heard.values():
            listener.stopped = True
            listener.join()
        for role in ("window", "detect"):
            sys.stderr.write((scratch / f"{role}.log").read_text(encoding="utf-8"))
    found = latencies_of(heard, {edge: at for edge, at in clocks.closed_at.items() if at >= live_since})
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "rate": given.rate,
        "seconds": given.seconds,
        "hop": given.hop,
        "processes": given.processes,
        "edges": len(clocks.closed_at),
        **{role: summary(latencies) for role, latencies in found.items()},
        "pace_missed_s": round(missed, 3),
        "children_cpu_s": round(spent.ru_utime + spent.ru_stime, 1),
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
