"""Where chance comes from: one independent stream of random numbers for each purpose and day of a seed.

Because a stream depends on its purpose and day alone, a day comes out the same whatever was generated before it, in whatever
chunks. Knows nothing of people or events.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Chance:
    """The root of all random numbers of one organisation."""

    seed: int

    def stream(self, *purpose: int) -> np.random.Generator:
        """An independent generator for one purpose (any tuple of small non-negative integers)."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence((self.seed, *purpose))))


def mix64(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit integers one to one (SplitMix64's finaliser, Steele et al. 2014): distinct in, distinct out."""
    with np.errstate(over="ignore"):
        z = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def at_least_one(rng: np.random.Generator, mean: Floats | float, size: int) -> Ints:
    """Counts of at least one with about this mean (one plus Poisson)."""
    drawn: Ints = 1 + rng.poisson(np.maximum(np.asarray(mean) - 1.0, 0.0), size)
    return drawn


def skewed(rng: np.random.Generator, choices: int, size: int, power: float = 2.5) -> Ints:
    """Indexes 0..choices-1, low ones far more often."""
    drawn: Ints = (rng.random(size) ** power * choices).astype(np.int64)
    return drawn


def within_runs(counts: Ints) -> Ints:
    """Position of each element inside its run, for runs of these lengths.

    >>> within_runs(np.array([2, 0, 3])).tolist()
    [0, 1, 0, 1, 2]
    """
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    positions: Ints = np.arange(total, dtype=np.int64) - np.repeat(ends - counts, counts)
    return positions
