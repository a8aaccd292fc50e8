"""What the chain writes, read as it grows: windows, verdicts, alerts and incidents into JSON lines. Knows nothing of what they mean.

Each log is kept in a file of its own while it grows; at the end they are merged in the order of event time, so that the files of
two runs over the same events are the same.
"""

import heapq
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import orjson

from stream.errors import TransientError
from stream.kinds import Millis
from stream.marks import BadMark, parse_mark

_BATCH = 2_000

Key: TypeAlias = tuple[Any, ...]


@dataclass(slots=True)
class Progress:
    """How far one topic has come: records with a value, the newest clock mark of its slowest log (UTC ms), logs that are done."""

    records: int = 0
    clocks: dict[int, Millis] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)


class Results:
    """Reads topics from their beginning, for as long as it is polled.

    `topics` maps a short name (`windows`) to the full one; records are kept under `directory`, by short name and partition.

    Raises:
        TransientError: the broker cannot be read any more, from `poll`.
    """

    def __init__(self, client: Mapping[str, Any], topics: Mapping[str, str], partitions: int, directory: Path) -> None:
        from confluent_kafka import Consumer, TopicPartition

        directory.mkdir(parents=True, exist_ok=True)
        self.partitions = partitions
        self.progress = {name: Progress() for name in topics}
        self._names = {full: name for name, full in topics.items()}
        self._directory = directory
        self._ended: dict[tuple[str, int], bool] = {}
        self._next: dict[tuple[str, int], int] = {}
        self._files: dict[tuple[str, int], BinaryIO] = {
            (name, number): (directory / f"{name}.{number}.jsonl").open("wb") for name in topics for number in range(partitions)
        }
        # librdkafka would write to standard error that a broker has gone, which here is how things end
        logger = logging.getLogger("daywatch.demo.results")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        self._consumer = Consumer({
            **client, "group.id": "unused", "enable.auto.commit": False, "isolation.level": "read_committed",
            "enable.partition.eof": True, "auto.offset.reset": "earliest", "fetch.message.max.bytes": 8_000_000,
        }, logger=logger)  # fmt: skip
        self._consumer.assign([TopicPartition(full, number, 0) for full in self._names for number in range(partitions)])

    def poll(self, timeout_s: float, seen: Callable[[str, bytes], None]) -> int:
        """Take in what has come; `seen` is told of each record that has a value. Returns how many messages came."""
        from confluent_kafka import KafkaError, KafkaException

        try:
            messages = self._consumer.consume(_BATCH, timeout_s)
        except KafkaException as error:
            raise TransientError(f"the results cannot be read: {error.args[0].str()}") from error
        for message in messages:
            at = (self._names[str(message.topic())], int(message.partition() or 0))
            fault = message.error()
            if fault is not None:
                if fault.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
                    self._ended[at] = True
                continue  # others mend themselves, or show as silence
            self._ended[at] = False
            self._next[at] = (message.offset() or 0) + 1
            self._take(at, message, seen)
        return len(messages)

    def _take(self, at: tuple[str, int], message: Any, seen: Callable[[str, bytes], None]) -> None:
        name, number = at
        value = message.value()
        progress = self.progress[name]
        if value is not None:
            progress.records += 1
            self._files[at].write(value + b"\n")
            seen(name, value)
            return
        try:
            mark = parse_mark(message.key(), message.headers())
        except BadMark:
            return  # no mark and no record: nothing of ours
        progress.clocks[number] = max(mark.at_ms, progress.clocks.get(number, mark.at_ms))
        if mark.last:
            progress.done.add(number)

    def done(self, name: str) -> bool:
        """Whether every log of a topic has shown its last mark."""
        return len(self.progress[name].done) == self.partitions

    def at_end(self, name: str) -> bool:
        """Whether every log of a topic was read to its end when it was last heard of."""
        return all(self._ended.get((name, number), False) for number in range(self.partitions))

    def expect_end(self, name: str) -> None:
        """Forget that a topic's end was seen: only an end seen from now on counts."""
        from confluent_kafka import TopicPartition

        full = next(full for full, short in self._names.items() if short == name)
        for number in range(self.partitions):
            self._ended[name, number] = False
            # an end is told of once only, unless reading begins anew
            self._consumer.seek(TopicPartition(full, number, self._next.get((name, number), 0)))

    def clock_ms(self, name: str) -> Millis | None:
        """The least of a topic's clocks; None until all its logs have one."""
        clocks = self.progress[name].clocks
        return min(clocks.values()) if len(clocks) == self.partitions else None

    def close(self) -> None:
        """Stop reading; what was read stays under the directory."""
        self._consumer.close()
        for file in self._files.values():
            file.close()

    def merge(self, name: str, order: Callable[[bytes], Key], to: Path) -> None:
        """Write one topic's records as JSON lines, merged by `order`, in which each log already is (it is sorted if not)."""
        logs = [self._keyed(self._directory / f"{name}.{number}.jsonl", order) for number in range(self.partitions)]
        with to.open("wb") as out:
            out.writelines(line for _, line in heapq.merge(*logs))

    @staticmethod
    def _keyed(path: Path, order: Callable[[bytes], Key]) -> Iterator[tuple[Key, bytes]]:
        with path.open("rb") as lines:
            yield from ((order(line), line) for line in lines)


def by_window(line: bytes) -> Key:
    """The order in which windows and their verdicts leave a partition: end, then user."""
    record = orjson.loads(line)
    return datetime.fromisoformat(record["end"]).timestamp(), record["user"]


def by_finding(line: bytes) -> Key:
    """The order of alerts: when the finding was made; those of one moment stay as they are."""
    return (orjson.loads(line)["time"],)


def by_revision(line: bytes) -> Key:
    """The order of incidents: by the time of a revision; of one moment, by incident and revision."""
    record = orjson.loads(line)
    return record["time"], record["unmapped"]["incident"]["uid"], record["unmapped"]["incident"]["revision"]
