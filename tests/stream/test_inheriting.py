"""What is ended for whoever had the partitions before."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from stream.errors import PendingError
from stream.inheriting import inherited_commits
from stream.log import Commit, MemoryLog, MemoryOutlet, MemorySource, TopicPartition


class Held(MemorySource):
    """Its commits are held up by what one of two writers left open."""

    def committed(self, partitions: Iterable[int]) -> dict[TopicPartition, Commit]:
        raise PendingError("stays open", ["first", "second"])


class Noting(MemoryOutlet):
    ended: Any = None

    def end_left_open(self, *what: Any) -> None:
        self.ended = what


def test_what_is_left_open_is_ended_in_all_logs_of_the_partitions_and_asked_again_later() -> None:
    log = MemoryLog(["in", "out", "letters"], 3)
    source, outlet = Held(log, ["in"]), Noting(log)
    with pytest.raises(PendingError):
        inherited_commits(source, outlet, [0, 2], ["in"], ["out", "letters"], None)
    logs = {TopicPartition(topic, number) for topic in ("out", "letters") for number in (0, 2)}
    assert outlet.ended == ({"first", "second"}, logs, [TopicPartition("in", 0), TopicPartition("in", 2)], source.group())


class Hung(Noting):
    """What a writer has left open in one of the logs stays open there."""

    def lying_open(self, logs: Iterable[TopicPartition]) -> Sequence[TopicPartition]:
        return [at for at in logs if at == TopicPartition("out", 0)]


def test_what_lies_open_in_what_was_written_is_ended_though_the_commits_are_stable() -> None:
    log = MemoryLog(["in", "out"], 2)
    log.committed[TopicPartition("in", 0)] = Commit(4, '{"v":1,"by":"first"}')
    source, outlet = MemorySource(log, ["in"]), Hung(log)
    with pytest.raises(PendingError):
        inherited_commits(source, outlet, [0], ["in"], ["out"], None)
    assert outlet.ended == ({"first"}, {TopicPartition("out", 0)}, [TopicPartition("in", 0)], source.group())


def test_nothing_is_ended_where_nothing_is_held_up() -> None:
    log = MemoryLog(["in"], 1)
    log.committed[TopicPartition("in", 0)] = Commit(4)
    outlet = Noting(log)
    assert inherited_commits(MemorySource(log, ["in"]), outlet, [0], ["in"], [], None) == {TopicPartition("in", 0): Commit(4)}
    assert outlet.ended is None
