"""What it costs to get records from Kafka into Python: a loop that only consumes, and the source that a worker reads through.

    python bench/consume.py --bootstrap-servers 127.0.0.1:9092 --namespace acme

reads the five event topics of the namespace from their first records to their ends, in turns with each of the ways named by
`--ways`, and prints processor time per million records (the median of `--repeat` turns), librdkafka's threads included.

`raw` hands records over and forgets them. `source` is `KafkaSource` with nothing behind it. `busy` is the same with a worker that
computes for as long as `--work-ms` a batch without needing Python, which shows what fetching ahead is worth. Says nothing of
decoding, windows or the store.
"""

import argparse
import json
import resource
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from confluent_kafka import Consumer

from stream.kafka_consumer import Place, assign_at, bounds, group_config, is_end
from stream.kafka_source import KafkaSource
from stream.kinds import KINDS
from stream.memory import collect_seldom, keep_freed_memory

_STANDS_POLLS = 20


class Turn(NamedTuple):
    """One pass over the topics: records, processor seconds and wall seconds from the first poll to the last record, and batches."""

    records: int
    cpu_s: float
    wall_s: float
    batches: int


def raw(client: Mapping[str, Any], topics: list[str], partitions: int, limit: int, **more: Any) -> Turn:
    """A loop that only consumes."""
    found = bounds(client, [Place(topic, number) for topic in topics for number in range(partitions)])
    left = {place for place, bound in found.items() if bound.end > bound.start}
    consumer = Consumer(group_config(client, "daywatch-bench", **more))
    assign_at(consumer, {place: bound.start for place, bound in found.items()})
    records = batches = 0
    began, cpu = time.perf_counter(), time.process_time()
    last = (began, cpu)
    while left:
        messages = consumer.consume(limit, 0.1)
        bad = 0
        for message in (message for message in messages if message.error()):
            bad += 1
            if is_end(message.error()):
                left.discard(Place(message.topic() or "", message.partition() or 0))
        if len(messages) > bad:
            records, batches, last = records + len(messages) - bad, batches + 1, (time.perf_counter(), time.process_time())
    consumer.close()
    return Turn(records, last[1] - cpu, last[0] - began, batches)


def through_source(
    client: Mapping[str, Any], topics: list[str], limit: int, timeout_ms: int, work: Callable[[], None] | None = None, **more: Any
) -> Turn:
    """`KafkaSource` as a worker uses it; `work` is called for each batch."""
    source = KafkaSource(client, f"daywatch-bench-{secrets.token_hex(4)}", topics, **more)
    try:
        while not source.assignment()[1]:
            source.poll(1, 100)
        _, held = source.assignment()
        found = source.bounds(held)
        left = {at for at, (low, high) in found.items() if high > low}
        source.start({at: low for at, (low, _) in found.items()})
        records = batches = 0
        began, cpu = time.perf_counter(), time.process_time()
        last = (began, cpu)
        while left:
            polled = source.poll(limit, timeout_ms)
            left -= polled.ended.keys()
            if polled.records:
                records, batches = records + sum(len(each.values) for each in polled.records), batches + 1
                if work is not None:
                    work()
                last = (time.perf_counter(), time.process_time())
        return Turn(records, last[1] - cpu, last[0] - began, batches)
    finally:
        source.close()


def _computing(work_ms: int) -> Callable[[], None]:
    """Something that takes about so long on one core and lets other threads of Python run."""
    numbers = np.random.default_rng(1).random(1_000_000)

    def once() -> float:
        began = time.thread_time()
        np.sort(numbers)
        return time.thread_time() - began

    turns = max(1, round(work_ms / 1000 / statistics.median(once() for _ in range(3))))

    def work() -> None:
        for _ in range(turns):
            np.sort(numbers)

    return work


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bootstrap-servers", default="127.0.0.1:9092")
    parser.add_argument("--namespace", default="daywatch")
    parser.add_argument("--ways", default="raw,source", help="of raw, source, busy")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--limit", type=int, default=50_000, help="records a batch")
    parser.add_argument("--timeout-ms", type=int, default=100)
    parser.add_argument("--work-ms", type=int, default=100, help="of `busy`, a batch")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a property of librdkafka's, `_` for `.`")
    parser.add_argument("--default-gc", action="store_true", help="look for cycles as often as Python does by itself")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    keep_freed_memory()
    if not args.default_gc:
        collect_seldom()
    client = {"bootstrap.servers": args.bootstrap_servers}
    topics = [f"{args.namespace}.{kind.value}" for kind in KINDS]
    more: dict[str, Any] = dict(each.split("=", 1) for each in args.set)
    partitions = KafkaSource(client, "daywatch-bench-count", topics).partitions
    ways: dict[str, Callable[[], Turn]] = {
        "raw": lambda: raw(client, topics, partitions, args.limit, **more),
        "source": lambda: through_source(client, topics, args.limit, args.timeout_ms, **more),
        "busy": lambda: through_source(client, topics, args.limit, args.timeout_ms, _computing(args.work_ms), **more),
    }
    turns: dict[str, list[Turn]] = {way: [] for way in args.ways.split(",")}
    for _ in range(args.repeat):
        for way, done in turns.items():
            done.append(ways[way]())
    for way, done in turns.items():
        per_million = statistics.median(1e6 * turn.cpu_s / turn.records for turn in done)
        rate = statistics.median(turn.records / turn.wall_s for turn in done)
        batches = statistics.median(turn.batches for turn in done)
        if args.json:
            print(
                json.dumps(
                    {
                        "way": way,
                        "records": done[0].records,
                        "cpu_s_per_million": round(per_million, 3),
                        "records_per_s": round(rate),
                        "batches": batches,
                    }
                )
            )
        else:
            print(f"{way:8} {done[0].records:>10,} records {per_million:6.3f} CPU-s per million {rate:>10,.0f}/s {batches:>6.0f} batches")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB", file=sys.stderr)


if __name__ == "__main__":
    main()
