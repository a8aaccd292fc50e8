"""What a dead letter looks like: the record untouched, and why and where it was refused in headers. Knows no broker.

Only what no broker takes by default is cut: a letter that cannot be written would hold up its whole partition for good. The whole record
still lies where the headers say, for as long as its topic keeps it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

REASON_HEADER: Final = "daywatch-reason"
MESSAGE_HEADER: Final = "daywatch-message"
TOPIC_HEADER: Final = "daywatch-topic"
PARTITION_HEADER: Final = "daywatch-partition"
OFFSET_HEADER: Final = "daywatch-offset"
CUT_HEADER: Final = "daywatch-cut"
"""How many bytes the record's value had before it was cut; there only if it was."""

_LONGEST_MESSAGE: Final = 500
_MOST_BYTES: Final = 1_040_000
"""Of key, value and headers: a little less than the largest batch that Kafka takes unless it is told otherwise (1,048,588)."""
_MOST_KEY: Final = 1_000


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
    own = list(headers or ())
    left = _MOST_BYTES - _size(key, value, [*own, *why])
    if left >= 0:
        return key, value, [*own, *why]
    why.append((CUT_HEADER, b"%d" % len(value or b"")))
    if _size(key, None, own) > _MOST_BYTES // 2:
        # the record's own key or headers are what is too large
        key, own = key[:_MOST_KEY] if key is not None else None, []
    room = max(0, _MOST_BYTES - _size(key, None, [*own, *why]))
    return key, value[:room] if value is not None else None, [*own, *why]


def _size(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Bytes of a record as Kafka writes it, a few too many: lengths take up to five bytes each."""
    return 100 + len(key or b"") + len(value or b"") + sum(10 + len(name.encode()) + len(text or b"") for name, text in headers)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record was refused, and where it lay. Topic, partition and offset are None in a letter that does not say."""

    reason: str
    message: str
    topic: str | None
    partition: int | None
    offset: int | None


def read_refusal(headers: Iterable[tuple[str, bytes | None]] | None) -> Refusal:
    """What a dead letter's headers say; of a record that was refused several times, what the newest refusal said.

    >>> read_refusal(dead_letter(b"ana", b"junk", None, "not_json", "no JSON at character 0", "daywatch.logon", 3, 17)[2])
    Refusal(reason='not_json', message='no JSON at character 0', topic='daywatch.logon', partition=3, offset=17)
    """
    newest = {name: (value or b"").decode("utf-8", "replace") for name, value in headers or ()}
    return Refusal(
        newest.get(REASON_HEADER, "unknown"),
        newest.get(MESSAGE_HEADER, ""),
        newest.get(TOPIC_HEADER),
        _number(newest.get(PARTITION_HEADER)),
        _number(newest.get(OFFSET_HEADER)),
    )


def is_letter(headers: Iterable[tuple[str, bytes | None]] | None) -> bool:
    """Whether headers are those of a dead letter."""
    return any(name == REASON_HEADER for name, _ in headers or ())


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
