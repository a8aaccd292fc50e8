"""Clock marks: what was written is read, and whatever is not quite one is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.marks import BadMark, ClockMark, encode_mark, parse_mark


@given(at_ms=st.integers(0, 10**14), last=st.booleans(), idle=st.booleans())
def test_a_mark_that_was_written_is_read(at_ms: int, last: bool, idle: bool) -> None:
    assert parse_mark(None, encode_mark(at_ms, last=last, idle=idle)) == ClockMark(at_ms, last, idle)


def test_other_headers_do_not_matter() -> None:
    assert parse_mark(None, [("traceparent", b"00"), *encode_mark(5), ("traceparent", b"01")]) == ClockMark(5)


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        (None, None),
        (None, []),
        (None, [("daywatch-last", b"1")]),
        (b"ana", [("daywatch-clock", b"5")]),
        (b"", [("daywatch-clock", b"5")]),
        (None, [("daywatch-clock", b"")]),
        (None, [("daywatch-clock", None)]),
        (None, [("daywatch-clock", b"5.0")]),
        (None, [("daywatch-clock", b" 5")]),
        (None, [("daywatch-clock", b"+5")]),
        (None, [("daywatch-clock", b"5\n")]),
        (None, [("daywatch-clock", "５".encode())]),
        (None, [("daywatch-clock", b"9" * 40)]),
        (None, [("daywatch-clock", b"5"), ("daywatch-clock", b"6")]),
        (None, [("daywatch-clock", b"5"), ("daywatch-last", b"true")]),
        (None, [("daywatch-clock", b"5"), ("daywatch-idle", b"")]),
    ],
)
def test_what_is_no_proper_mark_is_refused(key: bytes | None, headers: list[tuple[str, bytes]] | None) -> None:
    with pytest.raises(BadMark):
        parse_mark(key, headers)
