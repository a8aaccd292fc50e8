"""User/days with a plain consumer and batched Redis: what one writes without a framework.

Each batch of records is grouped by user and day, and written in one pipeline; offsets are committed after it, so that a crash
between the two counts events twice. Days close when the clock marks of all five topics of their partition have passed the end.
"""

import sys
from collections import defaultdict

import orjson
import redis
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from bench.peers.day import DAY_MS, Item, Options, item_of, note_start, options, record, time_ms

_BATCH = 5_000
_MARK = "daywatch-clock"


class Days:
    """Open days in Redis: a list of events for each user and day, and a set of open ones for each partition and day."""

    def __init__(self, given: Options) -> None:
        self._given = given
        self._redis = redis.Redis.from_url(given.store)
        self._producer = Producer({"bootstrap.servers": given.bootstrap_servers, "linger.ms": 20})
        self._clocks: dict[tuple[str, int], int] = {}
        self._open: dict[int, set[int]] = defaultdict(set)

    def take(self, messages: list[Message]) -> None:
        """Write a batch."""
        days: dict[tuple[int, int, str], list[bytes]] = defaultdict(list)
        marks: list[tuple[str, int, int]] = []
        for message in messages:
            value, partition = message.value(), message.partition()
            if value is None:
                marks.append((message.topic(), partition, int(dict(message.headers())[_MARK])))
                continue
            event = orjson.loads(value)
            days[partition, time_ms(event) // DAY_MS, event["user"]].append(orjson.dumps(item_of(event)))
        with self._redis.pipeline(transaction=False) as pipe:
            for (partition, day, user), items in days.items():
                pipe.rpush(f"day:{day}:{user}", *items)
                pipe.sadd(f"open:{partition}:{day}", user)
                self._open[partition].add(day)
            pipe.execute()
        for topic, partition, at in marks:
            self._clocks[topic, partition] = at
        for partition in {partition for _, partition, _ in marks}:
            self._close(partition, min(self._clocks.get((topic, partition), 0) for topic in self._given.topics))

    def _close(self, partition: int, until_ms: int) -> None:
        for day in sorted(day for day in self._open[partition] if (day + 1) * DAY_MS <= until_ms):
            users = sorted(self._redis.smembers(f"open:{partition}:{day}"))
            names = [f"day:{day}:{user.decode()}" for user in users]
            with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.lrange(name, 0, -1)
                for user, kept in zip(users, pipe.execute(), strict=True):
                    items: list[Item] = [tuple(orjson.loads(item)) for item in kept]
                    self._producer.produce(self._given.out, record(user.decode(), day, items), user)
                    self._producer.poll(0)
            self._producer.flush()
            self._redis.delete(*names, f"open:{partition}:{day}")
            self._open[partition].discard(day)

    def over(self) -> bool:
        """Whether nothing is open any more."""
        return not any(self._open.values())


def main() -> None:
    """Run until every log has been read to its end and every day is closed."""
    given = options()
    consumer = Consumer(
        {
            "bootstrap.servers": given.bootstrap_servers,
            "group.id": "redis-days",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 5,
            "partition.assignment.strategy": "range",
        }
    )
    consumer.subscribe(given.topics)
    days, first = Days(given), True
    ended: set[tuple[str, int]] = set()
    while len(ended) < len(given.topics) * given.partitions:
        messages = []
        for message in consumer.consume(_BATCH, 0.2):
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
                ended.add((message.topic(), message.partition()))
            else:
                raise RuntimeError(error.str())
        if messages and first:
            note_start(given.started)
            first = False
        days.take(messages)
        if messages:
            ends = {(message.topic(), message.partition()): message.offset() + 1 for message in messages}
            consumer.commit(offsets=[TopicPartition(*log, offset) for log, offset in ends.items()], asynchronous=False)
    consumer.close()
    if not days.over():
        sys.exit("days stayed open")


if __name__ == "__main__":
    main()
