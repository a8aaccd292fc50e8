"""How large a part of a log is refused: by blocks of offsets, however the log is read."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import ConfigurationError
from stream.share import Crossing, Share, ShareSpec

SPEC = ShareSpec(share=0.2, records=10)


def read(refused: set[int], end: int, cuts: list[int], spec: ShareSpec = SPEC) -> list[Crossing]:
    share, found = Share(), []
    for low, high in pairwise(sorted({0, end, *(cut for cut in cuts if cut < end)})):
        share, crossings = share.read(low, high, [(offset, "not_json") for offset in sorted(refused) if low <= offset < high], spec)
        share = Share.decode(share.encode())
        found += crossings
    return found


def test_as_many_as_the_share_are_not_too_many_and_one_more_is() -> None:
    assert read({0, 9}, 30, []) == []
    assert read({0, 5, 9}, 10, [])[0] == Crossing(0, 9, over=True, refused={"not_json": 3})


def test_a_log_is_taken_again_when_a_block_has_passed_without_too_many() -> None:
    assert [(one.over, one.offset, one.since) for one in read({10, 11, 12, 13, 20, 21, 22, 31}, 45, [])] == [
        (True, 12, 10),
        (False, 40, 10),
    ]


def test_a_bad_time_lasts_as_long_as_each_block_has_too_many() -> None:
    everything = set(range(100))
    assert [one.over for one in read(everything, 100, [])] == [True]


def test_refusals_spread_over_two_blocks_are_not_added_up() -> None:
    assert read({8, 9, 10, 11}, 40, []) == []


@given(
    refused=st.sets(st.integers(0, 119)),
    end=st.integers(1, 120),
    cuts=st.lists(st.integers(0, 120), max_size=12),
)
def test_what_is_said_does_not_depend_on_the_batches(refused: set[int], end: int, cuts: list[int]) -> None:
    whole = read(refused, end, [])
    assert read(refused, end, cuts) == whole
    assert [one.over for one in whole] == [place % 2 == 0 for place in range(len(whole))]


@pytest.mark.parametrize(("share", "records"), [(0.0, 10), (1.1, 10), (0.5, 0)])
def test_a_share_that_cannot_be_counted_is_refused(share: float, records: int) -> None:
    with pytest.raises(ConfigurationError, match="cannot be counted"):
        ShareSpec(share, records)
