"""How far the event topics of a namespace have come already: what their last records say. Reads a few records, commits nothing."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
import polars as pl
from confluent_kafka import Consumer, Message

from stream.errors import PoisonError, TransientError
from stream.kafka_consumer import Place, assign_at, bounds, check_polled, group_config, is_end
from stream.kinds import Millis
from stream.marks import parse_mark
from stream.times import read_iso

_LAST_RECORDS = 8  # a log may end with the markers of transactions, which are no records
_PATIENCE_S = 10.0
_SETTLED_S = 60.0  # a dead writer's transaction ends by its time-out, which the broker looks for every 10 s


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


def newest_records(client: Mapping[str, Any], places: Iterable[Place], wanted: Callable[[Message], bool]) -> dict[Place, Message]:
    """The newest wanted one among the committed records of each topic-partition that holds such a one, clock marks included.

    Raises:
        RefusedError: a topic is missing.
        TransientError: the broker does not answer.
    """
    found: dict[Place, Message] = {}
    ends = {place: bound for place, bound in bounds(client, places, known=True).items() if bound.start < bound.end}
    back = _LAST_RECORDS
    while ends:
        # a log may end in any number of markers, and of records that were never committed: look further back until there is one
        starts = {place: max(bound.start, bound.end - back) for place, bound in ends.items()}
        found |= _last_of(client, starts, {place: bound.end for place, bound in ends.items()}, wanted)
        ends = {place: bound for place, bound in ends.items() if place not in found and starts[place] > bound.start}
        back *= 64
    return found


def _last_of(
    client: Mapping[str, Any], starts: Mapping[Place, int], ends: Mapping[Place, int], wanted: Callable[[Message], bool]
) -> dict[Place, Message]:
    """The last committed record of each log from a place on."""
    consumer = Consumer(group_config(client, "daywatch-reader"))
    newest: dict[Place, Message] = {}
    waiting = set(starts)
    deadline = time.monotonic() + _SETTLED_S
    try:
        assign_at(consumer, starts)
        while waiting:
            if time.monotonic() > deadline:
                raise TransientError(f"{min(waiting).topic}: a transaction stays open, or the broker is away; try again in a minute")
            for message in consumer.consume(1000, 0.2):
                error, place = message.error(), Place(message.topic() or "", message.partition() or 0)
                if is_end(error):
                    # with a transaction open, committed records end before the log does
                    if (message.offset() or 0) >= ends[place]:
                        waiting.discard(place)
                elif error is not None:
                    check_polled(error)
                else:
                    if wanted(message):
                        newest[place] = message
                    if (message.offset() or 0) + 1 >= ends[place]:
                        waiting.discard(place)
    finally:
        consumer.close()
    return newest
