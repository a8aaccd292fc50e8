"""Dealing out partitions for good, where no consumer group does it."""

from typing import NamedTuple


class Part(NamedTuple):
    """One of `of` processes that share the partitions of their topics; `number` counts from 0."""

    number: int
    of: int

    def held(self, partitions: int) -> frozenset[int]:
        """Which of so many partitions are its own; each is somebody's.

        >>> sorted(Part(1, 3).held(8)), Part(2, 3).held(2)
        ([1, 4, 7], frozenset())
        """
        return frozenset(range(self.number, partitions, self.of))
