"""User/days with Faust: a table with its changelog topic; days are closed by hand, by event time.

Faust's own windowed tables expire by the wall clock of the machine, which for events of the past is wrong. So an open day is kept in
a plain table, and a partition's days close when the clock marks of its five topics have passed their end.
"""

import os
import signal
from collections import defaultdict
from typing import Any

import faust
import orjson

from bench.peers.day import DAY_MS, Options, item_of, note_start, options, record, time_ms

_MARK, _LAST = "daywatch-clock", "daywatch-last"


class Days:
    """The application's agent, with what it knows of each partition."""

    def __init__(self, given: Options) -> None:
        self._given = given
        self.app = faust.App(
            "faust-days",
            broker=f"kafka://{given.bootstrap_servers}",
            store="memory://",
            datadir=given.state,
            web_enabled=False,
            topic_partitions=given.partitions,
            consumer_auto_offset_reset="earliest",
            stream_buffer_maxsize=16_384,
            topic_disable_leader=True,
            producer_linger=0.005,
        )
        raw = {"key_serializer": "raw", "value_serializer": "raw"}
        source = self.app.topic(*given.topics, key_type=bytes, value_type=bytes, **raw)
        self._out = self.app.topic(given.out, partitions=given.partitions, **raw)
        self._table = self.app.Table("days", partitions=given.partitions)
        self._clocks: dict[int, dict[str, int]] = defaultdict(dict)
        self._open: dict[int, dict[int, set[str]]] | None = None
        self._logs_over = 0
        self.app.agent(source)(self._count)

    async def _count(self, stream: Any) -> None:
        async for event in stream.events():
            if self._open is None:
                self._begin()
            message = event.message
            if event.value is None:
                await self._mark(message.partition, message.topic, dict(message.headers))
                continue
            found = orjson.loads(event.value)
            user, day = found["user"], time_ms(found) // DAY_MS
            key = f"{day}|{user}"
            kept = self._table.get(key) or [message.partition]
            kept.append(item_of(found))
            self._table[key] = kept
            self._open[message.partition][day].add(user)

    def _begin(self) -> None:
        """The first event: what the table holds from an earlier life is open still."""
        note_start(self._given.started)
        self._open = defaultdict(lambda: defaultdict(set))
        for key, kept in self._table.items():
            day, _, user = key.partition("|")
            self._open[kept[0]][int(day)].add(user)

    async def _mark(self, partition: int, topic: str, headers: dict[str, bytes]) -> None:
        clocks = self._clocks[partition]
        clocks[topic] = int(headers[_MARK])
        until = min(clocks.values()) if len(clocks) == len(self._given.topics) else 0
        days = self._open[partition]
        for day in sorted(day for day in days if (day + 1) * DAY_MS <= until):
            for user in sorted(days.pop(day)):
                _, *items = self._table.pop(f"{day}|{user}")
                await self._out.send(key=user.encode(), value=record(user, day, map(tuple, items)))
        self._logs_over += _LAST in headers
        if self._logs_over == len(self._given.topics) * self._given.partitions:
            await self.app.producer.flush()
            os.kill(os.getpid(), signal.SIGTERM)  # a service ends when it is told to


def main() -> None:
    """Run until every log's last clock mark has been read."""
    faust.Worker(Days(options()).app, loglevel="WARNING").execute_from_commandline()


if __name__ == "__main__":
    main()
