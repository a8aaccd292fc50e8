"""User/days with Bytewax: a keyed stateful step with its recovery store on.

Bytewax reads its topics one beside the other and not in step, and a key's windows know only that key's events: no event tells that
a day is over for a user in all five topics. So days close when the input is over, which is the least work it can be given; its own
`fold_window` with a wait as long as the input closes at the same moment and costs more.
"""

import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import orjson
from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from bench.peers.day import DAY_MS, Item, Options, item_of, note_start, options, record, time_ms


class Days(StatefulBatchLogic):
    """One user's open days."""

    def __init__(self, days: dict[int, list[Item]] | None) -> None:
        self.days: dict[int, list[Item]] = days or {}

    def on_batch(self, values: list[tuple[int, Item]]) -> tuple[Iterable[tuple[int, list[Item]]], bool]:
        """Take in events."""
        days = self.days
        for day, item in values:
            if day in days:
                days[day].append(item)
            else:
                days[day] = [item]
        return (), StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[tuple[int, list[Item]]], bool]:
        """Close all days."""
        return sorted(self.days.items()), StatefulBatchLogic.DISCARD

    def snapshot(self) -> dict[int, list[Item]]:
        """What is kept in the recovery store."""
        return {day: items.copy() for day, items in self.days.items()}


def flow(given: Options) -> Dataflow:
    """The dataflow."""
    first = True

    def decode(batch: list[KafkaSourceMessage[bytes, bytes]]) -> list[tuple[str, tuple[int, Item]]]:
        nonlocal first
        if first and batch:
            note_start(given.started)
            first = False
        events = [orjson.loads(message.value) for message in batch if message.value is not None]
        return [(event["user"], (time_ms(event) // DAY_MS, item_of(event))) for event in events]

    def encode(closed: tuple[str, tuple[int, list[Item]]]) -> KafkaSinkMessage[bytes, bytes]:
        user, (day, items) = closed
        return KafkaSinkMessage(user.encode(), record(user, day, items))

    brokers = [given.bootstrap_servers]
    days = Dataflow("days")
    source = KafkaSource(brokers, given.topics, tail=False, batch_size=2_000, add_config={"fetch.queue.backoff.ms": "5"})
    read = op.input("events", days, source)
    keyed = op.flat_map_batch("decode", read, decode)
    closed = op.stateful_batch("days", keyed, Days)
    op.output("out", op.map("encode", closed, encode), KafkaSink(brokers, given.out))
    return days


def recovery(place: Path) -> RecoveryConfig:
    """A recovery store of one partition."""
    place.mkdir(parents=True, exist_ok=True)
    init_db_dir(place, 1)
    return RecoveryConfig(place)


def main() -> None:
    """Run until the input is over."""
    given = options()
    cli_main(flow(given), epoch_interval=timedelta(seconds=10), recovery_config=recovery(given.state))
    sys.stderr.write("done\n")


if __name__ == "__main__":
    main()
