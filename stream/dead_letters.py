"""What a dead letter looks like: the record untouched, and why and where it was refused in headers. Knows no broker."""

from collections.abc import Iterable
from typing import Final

REASON_HEADER: Final = "daywatch-reason"
MESSAGE_HEADER: Final = "daywatch-message"
TOPIC_HEADER: Final = "daywatch-topic"
PARTITION_HEADER: Final = "daywatch-partition"
OFFSET_HEADER: Final = "daywatch-offset"

_LONGEST_MESSAGE: Final = 500


def dead_letter(
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes]] | None,
    reason: str,
    message: str,
    topic: str,
    partition: int,
    offset: int,
) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]:
    """Key, value and headers of the dead letter for a record that was read at topic, partition and offset.

    Its own headers come first and are kept as they are; a record that was a dead letter before, and was sent again, so shows
    its whole history, the newest reason last.

    >>> dead_letter(b"ana", b"junk", [("ce_id", b"e1")], "not_json", "no JSON at character 0", "daywatch.logon", 3, 17)[2][:2]
    [('ce_id', b'e1'), ('daywatch-reason', b'not_json')]
    """
    why = [
        (REASON_HEADER, reason.encode()),
        (MESSAGE_HEADER, message[:_LONGEST_MESSAGE].encode("utf-8", "replace")),
        (TOPIC_HEADER, topic.encode()),
        (PARTITION_HEADER, b"%d" % partition),
        (OFFSET_HEADER, b"%d" % offset),
    ]
    return key, value, [*(headers or ()), *why]
