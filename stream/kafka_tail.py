"""How far the event topics of a namespace have come already: what their last records say. Reads a few records, commits nothing."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import polars as pl
from confluent_kafka import Consumer, Message

from stream.errors import PoisonError
from stream.kafka_consumer import Place, assign_at, bounds, check_polled, group_config, is_end
from stream.kinds import Millis
from stream.marks import parse_mark
from stream.times import read_iso

_LAST_RECORDS = 8  # a log may end with the markers of transactions, which are no records
_PATIENCE_S = 10.0


def newest_time(client: Mapping[str, Any], topics: Iterable[str], partitions: int, zone: str) -> Millis | None:
    """The newest event time or clock mark among the last few records of every topic-partition, UTC ms; None without any.

    Raises:
        RefusedError: a topic is missing.
        TransientError: the broker does not answer.
    """
    places = [Place(topic, number) for topic in topics for number in range(partitions)]
    waiting = {
        place: max(found.start, found.end - _LAST_RECORDS) for place, found in bounds(client, places).items() if found.end > found.start
    }
    if not waiting:
        return None
    consumer = Consumer(group_config(client, "daywatch-replay", isolation_level="read_uncommitted"))
    newest: Millis | None = None
    try:
        assign_at(consumer, waiting)
        deadline = time.monotonic() + _PATIENCE_S
        open_places = set(waiting)
        while open_places and time.monotonic() < deadline:
            for message in consumer.consume(1000, 0.2):
                error = message.error()
                if is_end(error):
                    open_places.discard(Place(message.topic() or "", message.partition() or 0))
                elif error is not None:
                    check_polled(error)
                else:
                    found_ms = _time_of(message, zone)
                    newest = found_ms if newest is None or (found_ms is not None and found_ms > newest) else newest
    finally:
        consumer.close()
    return newest


def _time_of(message: Message, zone: str) -> Millis | None:
    value = message.value()
    try:
        if value is None:
            return parse_mark(message.key(), message.headers()).at_ms  # type: ignore[arg-type]
        ts, good = read_iso(pl.Series([str(orjson.loads(value)["ts"])]), zone)
    except (PoisonError, orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return int(ts[0]) if good[0] else None
