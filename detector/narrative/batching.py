"""Which rows go through a model together. Integers in, integers out; knows no model."""

from collections.abc import Sequence


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Places of rows in batches whose rows, padded to the longest of them, stay within a budget of tokens.

    Longest first: little padding, and what does not fit shows at once. A row that is longer than the budget goes alone.

    >>> batches([5, 100, 90, 7], budget=200)
    [[1, 2], [3, 0]]
    """
    made: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        row = made[-1] if made else []
        if row and (len(row) + 1) * lengths[row[0]] <= budget:
            row.append(place)
        else:
            made.append([place])
    return made


def shared(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two rows have in common at their beginning.

    >>> shared([1, 2, 3], [1, 2, 4, 5])
    2
    """
    both = zip(first, second, strict=False)
    return next((place for place, (a, b) in enumerate(both) if a != b), min(len(first), len(second)))
