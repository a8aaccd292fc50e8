"""Clock marks: records that say how far a log has come in event time. Headers in, values out. Knows no broker and no clock.

A mark has neither key nor value, only headers. `daywatch-clock: T` promises that nothing older than T (UTC epoch ms, decimal
ASCII) follows in this log. `daywatch-last: 1` besides: the replay ends here. `daywatch-idle: 1` besides: written by a worker
because the log had fallen silent. Other headers are ignored.
"""

import re
from typing import ClassVar, Final, NamedTuple

from stream.errors import PoisonError
from stream.kinds import Millis

CLOCK_HEADER: Final = "daywatch-clock"
LAST_HEADER: Final = "daywatch-last"
IDLE_HEADER: Final = "daywatch-idle"

_DECIMAL = re.compile(rb"-?[0-9]{1,15}")


class BadMark(PoisonError):
    """A null value that is no proper clock mark."""

    code: ClassVar[str] = "bad_mark"


class ClockMark(NamedTuple):
    """Nothing older than `at_ms` (UTC ms) follows; `last`: a replay ends; `idle`: written because of silence."""

    at_ms: Millis
    last: bool = False
    idle: bool = False


def encode_mark(at_ms: Millis, *, last: bool = False, idle: bool = False) -> list[tuple[str, bytes]]:
    """Headers of a clock mark; its key and value are null.

    >>> encode_mark(1262592753000, last=True)
    [('daywatch-clock', b'1262592753000'), ('daywatch-last', b'1')]
    """
    headers = [(CLOCK_HEADER, b"%d" % at_ms)]
    if last:
        headers.append((LAST_HEADER, b"1"))
    if idle:
        headers.append((IDLE_HEADER, b"1"))
    return headers


def parse_mark(key: bytes | None, headers: list[tuple[str, bytes]] | None) -> ClockMark:
    """Read a record with a null value as a clock mark.

    >>> parse_mark(None, [("daywatch-clock", b"1262592753000")])
    ClockMark(at_ms=1262592753000, last=False, idle=False)

    Raises:
        BadMark: it is none.
    """
    found: dict[str, bytes | None] = {}
    for name, value in headers or ():
        if name in (CLOCK_HEADER, LAST_HEADER, IDLE_HEADER):
            if name in found:
                raise BadMark(f"header {name} occurs twice")
            found[name] = value
    if CLOCK_HEADER not in found:
        raise BadMark(f"a null value without the header {CLOCK_HEADER}")
    if key is not None:
        raise BadMark("a clock mark must have a null key")
    clock = found[CLOCK_HEADER]
    if clock is None or not _DECIMAL.fullmatch(clock):
        raise BadMark(f"header {CLOCK_HEADER} is no decimal number of milliseconds")
    for name in (LAST_HEADER, IDLE_HEADER):
        if found.get(name, b"1") != b"1":
            raise BadMark(f"header {name} can only be 1")
    return ClockMark(int(clock), LAST_HEADER in found, IDLE_HEADER in found)
