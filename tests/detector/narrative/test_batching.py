"""Batches: every row once, within the budget, little padding."""

from hypothesis import given
from hypothesis import strategies as st

from detector.narrative.batching import batches, shared

LENGTHS = st.lists(st.integers(1, 2000), max_size=60)


@given(LENGTHS, st.integers(1, 8000))
def test_every_row_is_in_one_batch_and_no_batch_is_over_its_budget(lengths: list[int], budget: int) -> None:
    made = batches(lengths, budget)
    assert sorted(place for batch in made for place in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= budget


@given(LENGTHS, st.integers(1, 8000))
def test_the_longest_come_first(lengths: list[int], budget: int) -> None:
    order = [lengths[place] for batch in batches(lengths, budget) for place in batch]
    assert order == sorted(lengths, reverse=True)


def test_a_batch_is_as_full_as_its_budget_allows() -> None:
    assert batches([10] * 10, 40) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batches([10, 11], 20) == [[1], [0]]
    assert batches([10, 10], 20) == [[0, 1]]
    assert batches([], 20) == []


def test_what_two_rows_share_ends_at_the_first_difference() -> None:
    assert shared([], [1]) == 0
    assert shared([1, 2], [1, 2, 3]) == 2
    assert shared([1, 2, 3], [1, 5, 3]) == 1
