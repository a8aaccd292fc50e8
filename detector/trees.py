"""Gradient-boosted trees as a value: grown from numbers, kept as plain lists, asked for scores and contributions. Knows no windows.

LightGBM (Ke et al. 2017) grows them, on one thread and in its deterministic mode; judging needs numpy alone. Scores are worked out
as in QuickScorer (Lucchese et al. 2015): every split that a row fails strikes the leaves below its other side from the tree's bit
mask, and the leftmost leaf that is left is the row's. A row's answer does not depend on its neighbours.

    x0 <= 3 ?            leaves, left to right   A B C      mask 111
     |     `-- C         x0 <= 3 fails           strikes A B     -> 100, C
    x1 <= 5 ?            x1 <= 5 fails           strikes A       -> 110, B
     |     `-- B
     A

A column's contribution is the sum, over the splits on it along a row's path, of how far the mean of the training rows moves from
the parent to the child (Saabas 2014): it depends on the leaf only, so that explaining is looking up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detector.openmp import load_lightgbm
from stream.errors import PipelineError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


MOST_LEAVES: Final = 16
_BLOCK: Final = 512
_FULL: Final = (1 << MOST_LEAVES) - 1


class BrokenTrees(PipelineError):
    """These lists are no trees."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How trees are grown; LightGBM's own words."""

    rounds: int = 260
    learning_rate: float = 0.04
    num_leaves: int = 15
    min_data_in_leaf: int = 16
    feature_fraction: float = 0.4
    bagging_fraction: float = 0.8
    lambda_l2: float = 5.0

    def settings(self, seed: int) -> dict[str, Any]:
        """Parameters for one growth; every source of chance is fixed."""
        return {
            "objective": "binary",
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_data_in_leaf,
            "feature_fraction": self.feature_fraction,
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": 1,
            "lambda_l2": self.lambda_l2,
            "max_bin": 127,
            "seed": seed,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree. Split i sends a row left when `column[i] <= threshold[i]`; children are splits, or leaves as their number's complement.

    `weight` is how many training rows each leaf held.
    """

    column: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    leaf: list[float]
    weight: list[int]


class Trees:
    """Grown trees over a fixed number of columns."""

    def __init__(self, trees: Sequence[Tree], columns: int) -> None:
        """Make trees ready to be asked.

        Raises:
            BrokenTrees: a tree is none, or asks for a column that is not there.
        """
        self.trees, self.columns = tuple(trees), columns
        laid = [_lay_out(tree, columns) for tree in trees]
        self._column = np.array([c for one in laid for c in one.column], np.int64)
        self._threshold = np.array([t for one in laid for t in one.threshold], np.float64)
        self._strikes = np.array([m for one in laid for m in one.keeps], np.uint16)
        self._starts = np.cumsum([0] + [len(one.column) for one in laid[:-1]])
        self._first_leaf = np.cumsum([0] + [len(one.values) for one in laid[:-1]])
        self._values = np.array([v for one in laid for v in one.values], np.float64)
        self._steps = [step for one in laid for step in one.steps]

    @classmethod
    def grow(cls, rows: Floats, truth: Flags, growth: Growth, seed: int) -> "Trees":
        """Fit trees to rows, shape (n, columns), and their truth, shape (n,)."""
        lightgbm = load_lightgbm()
        data = lightgbm.Dataset(rows, truth.astype(np.float64), params={"verbosity": -1, "max_bin": 127, "num_threads": 1})
        booster = lightgbm.train(growth.settings(seed), data, num_boost_round=growth.rounds)
        return cls([_read(part) for part in booster.model_to_string().split("\nTree=")[1:]], rows.shape[1])

    def plain(self) -> list[dict[str, list[Any]]]:
        """As JSON values."""
        return [asdict(tree) for tree in self.trees]

    @classmethod
    def from_plain(cls, plain: Sequence[Mapping[str, Any]], columns: int) -> "Trees":
        """Read what `plain` gave.

        Raises:
            BrokenTrees: it did not.
        """
        try:
            trees = [
                Tree(
                    [int(c) for c in one["column"]],
                    [float(t) for t in one["threshold"]],
                    [int(n) for n in one["left"]],
                    [int(n) for n in one["right"]],
                    [float(v) for v in one["leaf"]],
                    [int(w) for w in one["weight"]],
                )
                for one in plain
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenTrees("a tree lacks a part") from error
        return cls(trees, columns)

    def score(self, rows: Floats) -> Floats:
        """Log-odds of each row, shape (n,)."""
        found = np.zeros(len(rows))
        for begin in range(0, len(rows), _BLOCK):
            some = self._leaves(rows[begin : begin + _BLOCK])
            found[begin : begin + _BLOCK] = self._values[some].sum(axis=1)
        return found

    def _leaves(self, rows: Floats) -> Ints:
        """The leaf that each row reaches in each tree, numbered through, shape (n, trees)."""
        if not self.trees:
            return np.zeros((len(rows), 0), np.int64)
        failed = np.take(rows, self._column, axis=1) > self._threshold
        kept = np.where(failed, self._strikes, np.uint16(_FULL))
        masks = np.bitwise_and.reduceat(kept, self._starts, axis=1)
        leaves: Ints = _lowest_bit()[masks] + self._first_leaf
        return leaves

    def shares(self, group: Ints, groups: int) -> Floats:
        """What reaching each leaf says for each group of columns, shape (leaves, groups); `group` gives each column's."""
        table = np.zeros((len(self._values), groups))
        for leaf, column, step in self._steps_of_leaves():
            table[leaf, group[column]] += step
        return table

    def _steps_of_leaves(self) -> Iterator[tuple[int, int, float]]:
        for leaf, steps in enumerate(self._steps):
            for column, step in steps:
                yield leaf, column, step

    def contributions(self, rows: Floats, shares: Floats) -> Floats:
        """How much each group adds to each row's log-odds, shape (n, groups); what is left is the same for all rows."""
        leaves = self._leaves(rows)
        found = np.zeros((len(rows), shares.shape[1]))
        for tree in range(leaves.shape[1]):
            found += shares[leaves[:, tree]]
        return found


@dataclass(frozen=True, slots=True)
class _Laid:
    """A tree as it is asked: `keeps` are the masks of failed splits; leaves from left to right with the steps on the way to each."""

    column: list[int]
    threshold: list[float]
    keeps: list[int]
    values: list[float]
    steps: list[list[tuple[int, float]]]


def _lay_out(tree: Tree, columns: int) -> _Laid:
    splits, leaves = len(tree.column), len(tree.leaf)
    fits = len(tree.threshold) == len(tree.left) == len(tree.right) == splits == leaves - 1 and len(tree.weight) == leaves
    if not fits or not 1 <= leaves <= MOST_LEAVES or any(not 0 <= column < columns for column in tree.column):
        raise BrokenTrees("a tree's lists do not fit together")
    if not splits:  # a mask needs a split: one that nobody fails
        return _Laid([0], [np.inf], [_FULL], [tree.leaf[0]], [[]])
    values: list[float] = []
    steps: list[list[tuple[int, float]]] = []
    keeps = [_FULL] * splits
    seen: set[int] = set()

    def walk(node: int, path: list[tuple[int, float]]) -> None:
        if node in seen or not -leaves <= node < splits:
            raise BrokenTrees("a tree's branches do not make a tree")
        seen.add(node)
        if node < 0:
            values.append(tree.leaf[~node])
            steps.append(path)
            return
        here, column, begin = means[node], tree.column[node], len(values)
        walk(tree.left[node], [*path, (column, _mean_of(tree.left[node]) - here)])
        keeps[node] = _FULL & ~(((1 << (len(values) - begin)) - 1) << begin)
        walk(tree.right[node], [*path, (column, _mean_of(tree.right[node]) - here)])

    def _mean_of(node: int) -> float:
        return tree.leaf[~node] if node < 0 else means[node]

    means = _means(tree)
    walk(0, [])
    return _Laid(list(tree.column), list(tree.threshold), keeps, values, steps)


def _means(tree: Tree) -> list[float]:
    """Mean leaf value of the training rows that came through each split."""
    found: dict[int, tuple[float, float]] = {}

    def of(node: int, depth: int) -> tuple[float, float]:
        if depth > MOST_LEAVES or not -len(tree.leaf) <= node < len(tree.column):
            raise BrokenTrees("a tree's branches do not make a tree")
        if node < 0:
            return tree.leaf[~node] * tree.weight[~node], float(tree.weight[~node])
        one, other = of(tree.left[node], depth + 1), of(tree.right[node], depth + 1)
        found[node] = one[0] + other[0], one[1] + other[1]
        return found[node]

    of(0, 0)
    return [found[node][0] / max(found[node][1], 1.0) if node in found else 0.0 for node in range(len(tree.column))]


def _read(part: str) -> Tree:
    """One tree of LightGBM's model text."""
    fields = dict(line.split("=", 1) for line in part.split("\n\n", 1)[0].splitlines() if "=" in line)

    def numbers(name: str) -> list[str]:
        return fields.get(name, "").split()

    leaves = [float(value) for value in numbers("leaf_value")]
    return Tree(
        [int(column) for column in numbers("split_feature")],
        [float(threshold) for threshold in numbers("threshold")],
        [int(node) for node in numbers("left_child")],
        [int(node) for node in numbers("right_child")],
        leaves,
        [int(weight) for weight in numbers("leaf_count")] or [1] * len(leaves),
    )


@lru_cache(maxsize=1)
def _lowest_bit() -> Ints:
    """The number of the lowest set bit of each mask; shape (65536,)."""
    masks = np.arange(1 << MOST_LEAVES)
    lowest: Ints = np.zeros(len(masks), np.int64)
    for bit in reversed(range(MOST_LEAVES)):
        lowest[masks & (1 << bit) > 0] = bit
    return lowest


def sigmoid(logits: Floats) -> Floats:
    """Log-odds as probabilities."""
    odds: Floats = 1.0 / (1.0 + np.exp(-np.clip(logits, -35.0, 35.0)))
    return odds


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt's scaling: probability = sigmoid(slope * log-odds + shift) (Platt 1999). It keeps the order of scores."""

    slope: float = 1.0
    shift: float = 0.0

    @classmethod
    def fit(cls, logits: Floats, truth: Flags) -> "Calibration":
        """From log-odds given by trees that never saw those rows, by Newton's method on Platt's smoothed targets."""
        positives = int(truth.sum())
        negatives = len(truth) - positives
        if not positives or not negatives:
            return cls()
        target = np.where(truth, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
        columns = np.stack([logits, np.ones(len(logits))], axis=1)
        weights = np.array([1.0, 0.0])

        def loss(at: Floats) -> float:
            drawn = columns @ at
            return float(np.sum(np.logaddexp(0.0, drawn) - target * drawn))

        for _ in range(100):
            said = sigmoid(columns @ weights)
            gradient = columns.T @ (said - target)
            curvature = (columns * (said * (1 - said))[:, None]).T @ columns + 1e-9 * np.eye(2)
            step, before = np.linalg.solve(curvature, gradient), loss(weights)
            # a full step can leap over the valley and away: halve it until it goes down
            while loss(weights - step) > before and float(np.abs(step).max()) > 1e-12:
                step = step / 2
            weights = weights - step
            if float(np.abs(step).max()) < 1e-9:
                break
        # a slope that is not positive would turn the ranking round: there was nothing to calibrate with
        return cls(round(float(weights[0]), 9), round(float(weights[1]), 9)) if weights[0] > 0 else cls()

    def probability(self, logits: Floats) -> Floats:
        """Calibrated probabilities, rounded to six decimals, shape (n,)."""
        found: Floats = np.round(sigmoid(self.slope * logits + self.shift), 6)
        return found
