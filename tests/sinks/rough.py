"""What a worker's devices may do to it, and what must come of its work all the same: for the tests of every worker on `sinks/cycle.py`."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stream.errors import TransientError
from stream.log import Commit, MemoryLog, MemoryOutlet, Out, TopicPartition


class Flaky:
    """An outlet whose transactions fail, or are committed without anybody hearing of it."""

    def __init__(self, log: MemoryLog, chance: random.Random) -> None:
        self._log, self._chance = log, chance

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        luck = self._chance.random()
        if luck < 0.3:
            raise TransientError("not sent")
        MemoryOutlet(self._log).transact(records, commits, self._log.generation)
        if luck < 0.6:
            raise TransientError("committed, but the answer was lost")

    def settle(self) -> None: ...

    def lying_open(self, logs: Iterable[TopicPartition]) -> Sequence[TopicPartition]:
        del logs
        return ()

    def close(self) -> None: ...


def kept_in(log: MemoryLog, topics: Sequence[str]) -> dict[TopicPartition, list[tuple[Any, Any, Any]]]:
    """Everything that a reader of these topics sees, headers included, in order."""
    return {at: [(k.key, k.value, k.headers()) for k in log.logs[at]] for at in log.logs if at.topic in topics}


def never() -> bool:
    return False
