"""Taking over partitions: what the group has committed for them, and ending what whoever had them before has left open."""

from collections.abc import Iterable, Sequence

from stream.errors import PendingError
from stream.log import Commit, Outlet, Source, TopicPartition
from stream.operations import Operations


def inherited_commits(
    source: Source, outlet: Outlet, numbers: Sequence[int], read: Iterable[str], written: Iterable[str], operations: Operations | None
) -> dict[TopicPartition, Commit]:
    """What the group has committed for these partitions of the topics that it has `read`.

    `written` are topics into whose partition of the same number the group's members write; findings may go out besides.

    Raises:
        PendingError: a transaction over it was left open; it has been ended, so ask again.
        TransientError: no answer in time.
    """
    try:
        return source.committed(numbers)
    except PendingError as error:
        logs = {TopicPartition(topic, number) for topic in written for number in numbers}
        if operations is not None:
            logs |= {operations.log_of(number) for number in numbers}
        commits = [TopicPartition(topic, number) for topic in read for number in numbers]
        outlet.end_left_open(error.writers, logs, commits, source.group())
        raise
