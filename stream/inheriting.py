"""Taking over partitions: what the group has committed for them, and ending what whoever had them before has left open.

A broker that dies while it writes the ends of a transaction into its logs may forget the rest of them (`stream.kafka_transactions`):
what was written lies open in some logs, or in that of the commits, and has ended in the others. Nobody can tell any more whether it was
to be kept, so it is taken back where it lies open. From then on logs and commits may contradict each other, and the logs are right.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final

from stream.errors import PendingError
from stream.log import Commit, Outlet, Source, TopicPartition
from stream.operations import Operations

_SIGNED: Final = re.compile(r',"by":"([A-Za-z0-9._-]+)"}$')


def signed(note: str, by: str) -> str:
    """A commit's note (a JSON object, or nothing) with the transactional id of who commits; readers of notes pass over it.

    >>> signed('{"v":1}', "acme.window.a")
    '{"v":1,"by":"acme.window.a"}'
    """
    return f'{note[:-1]},"by":{json.dumps(by)}}}' if note.endswith("}") and note != "{}" else note


def signers(notes: Iterable[str]) -> set[str]:
    """Who signed these notes.

    >>> signers(['{"v":1,"by":"acme.window.a"}', '{"v":1}', ""])
    {'acme.window.a'}
    """
    return {found[1] for note in notes if (found := _SIGNED.search(note)) is not None}


def inherited_commits(
    source: Source, outlet: Outlet, numbers: Sequence[int], read: Iterable[str], written: Iterable[str], operations: Operations | None
) -> dict[TopicPartition, Commit]:
    """What the group has committed for these partitions of the topics that it has `read`, once nothing lies open in them.

    `written` are topics into whose partition of the same number the group's members write; findings may go out besides.

    Raises:
        PendingError: a transaction over it was left open; it has been ended, so ask again.
        TransientError: no answer in time.
    """
    logs = {TopicPartition(topic, number) for topic in written for number in numbers}
    try:
        commits = source.committed(numbers)
        if outlet.lying_open(logs):
            told = "a transaction stays open in what was written; it is ended for whoever left it"
            raise PendingError(told, signers(commit.note for commit in commits.values()))
    except PendingError as error:
        if operations is not None:
            logs |= {operations.log_of(number) for number in numbers}
        asked = [TopicPartition(topic, number) for topic in read for number in numbers]
        outlet.end_left_open(error.writers, logs, asked, source.group())
        raise
    return commits
