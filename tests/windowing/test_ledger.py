"""What is written down comes back; what does not fit is refused by name."""

import pytest

from stream.errors import RefusedError
from stream.kinds import KINDS
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.clocks import TopicClock
from windowing.ledger import Place, check_layout, decode_clocks, decode_note, encode_layout, encode_note, encode_state, is_fresh
from windowing.partition import Closed

HOUR = 3_600_000


def test_a_place_a_note_and_clocks_come_back() -> None:
    place = Place((1, 2, 3, 4, 5), Closed(-7, 2, 'a"é\u2028'))
    assert Place.decode(place.encode()) == place
    assert decode_note(encode_note(place.closed)) == place.closed
    clocks = {kind: TopicClock(n, n + 1, "bo", True, n + 2) for n, kind in enumerate(KINDS)}
    assert decode_clocks(encode_state(clocks)) == clocks


def test_a_broker_that_drops_notes_is_read_as_nothing_sent() -> None:
    assert decode_note("") == Closed()


@pytest.mark.parametrize("note", ["junk", "{}", "[1]", '{"sent":5}'])
def test_a_foreign_note_is_refused(note: str) -> None:
    with pytest.raises(RefusedError, match="something else"):
        decode_note(note)


def test_only_a_state_from_before_the_first_read_is_fresh() -> None:
    clocks = {kind: TopicClock() for kind in KINDS}
    assert is_fresh("")
    assert is_fresh(encode_state(clocks, fresh=True))
    assert not is_fresh(encode_state(clocks))


@pytest.mark.parametrize(
    ("spec", "zone", "partitions", "name"),
    [
        (WindowSpec(hop_ms=HOUR), "UTC", 4, "hop_ms"), (WindowSpec(size_ms=12 * HOUR), "UTC", 4, "size_ms"),
        (WindowSpec(), "Asia/Karachi", 4, "zone"), (WindowSpec(), "UTC", 8, "partitions"),
    ],
)  # fmt: skip
def test_another_layout_is_refused_by_the_name_of_what_differs(spec: WindowSpec, zone: str, partitions: int, name: str) -> None:
    made_with = encode_layout(Calendar(WindowSpec(size_ms=DAY_MS)), 4)
    check_layout(made_with, made_with)
    with pytest.raises(RefusedError, match=name):
        check_layout(encode_layout(Calendar(spec, zone), partitions), made_with)
