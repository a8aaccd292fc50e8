import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.incidents.memory import (
    BadMemoryError,
    Place,
    decode_place,
    decode_state,
    encode_place,
    encode_state,
    is_place_key,
    place_key,
)
from sinks.incidents.story import UserState, merge
from tests.sinks.incidents.test_story import MERGING, alerts_of_a_user

times = st.none() | st.integers(0, 10**13)


@given(alerts_of_a_user(), times)
def test_a_state_comes_back_as_it_was(alerts: list[object], announced_ms: int | None) -> None:
    state = UserState(announced_ms=announced_ms)
    for each in alerts:
        state, _ = merge(state, each, MERGING)  # type: ignore[arg-type]
    assert decode_state(encode_state(state)) == state


@given(st.builds(Place, times, times, st.booleans(), st.booleans(), st.none() | st.tuples(st.integers(0), st.integers(0))))
def test_a_place_comes_back_as_it_was(place: Place) -> None:
    if all(end < 2**63 for end in place.ends or ()):
        assert decode_place(encode_place(place)) == place


@pytest.mark.parametrize("junk", [b"", b"{}", b'{"v": 2}', b'{"v": 1}', b"[]", b'{"v": 1, "story": {}, "alerts_ms": 1, "announced_ms": 1}'])
def test_what_another_version_wrote_is_refused_with_the_cure(junk: bytes) -> None:
    for decode in (decode_place, decode_state):
        with pytest.raises(BadMemoryError, match="use a new namespace"):
            decode(junk)


def test_a_partitions_place_lies_under_a_key_that_no_user_can_have() -> None:
    assert is_place_key(place_key(12))
    assert place_key(1) != place_key(12)
    assert not is_place_key(b"ana")
