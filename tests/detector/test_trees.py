import numpy as np
import pytest

from detector.openmp import load_lightgbm
from detector.trees import BrokenTrees, Calibration, Floats, Growth, Tree, Trees, _read, sigmoid


def numbers(rows: int = 3000, columns: int = 12, seed: int = 1) -> Floats:
    return np.round(np.random.default_rng(seed).normal(size=(rows, columns)), 2)


def grown(rows: Floats, rounds: int = 40) -> Trees:
    return Trees.grow(rows, rows[:, 0] + rows[:, 1] * rows[:, 2] > 0.5, Growth(rounds=rounds), 7)


def test_scores_are_those_of_the_library_that_grew_the_trees() -> None:
    lightgbm = load_lightgbm()
    rows = numbers()
    data = lightgbm.Dataset(rows, (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0.5).astype(float), params={"verbosity": -1})
    booster = lightgbm.train(Growth(rounds=40).settings(7), data, num_boost_round=40)
    ours = Trees([_read(part) for part in booster.model_to_string().split("\nTree=")[1:]], rows.shape[1])
    unseen = np.concatenate([numbers(500, seed=2), np.full((1, 12), 1e9), np.full((1, 12), -1e9), np.zeros((1, 12))])
    theirs = booster.predict(unseen, raw_score=True, num_threads=1)
    assert np.abs(ours.score(unseen) - theirs).max() < 1e-12


def test_a_row_equal_to_a_threshold_goes_left() -> None:
    trees = Trees([Tree([0], [2.0], [-1], [-2], [-1.0, 1.0], [5, 5])], 1)
    assert trees.score(np.array([[2.0], [np.nextafter(2.0, 3.0)]])).tolist() == [-1.0, 1.0]


def test_a_row_scores_the_same_whatever_its_neighbours() -> None:
    rows = numbers()
    trees = grown(rows)
    together = trees.score(rows[:700])
    alone = np.array([trees.score(rows[place : place + 1])[0] for place in range(0, 700, 53)])
    assert together[::53].tobytes() == alone.tobytes()
    assert trees.score(rows[:700][::-1])[::-1].tobytes() == together.tobytes()


def test_contributions_add_up_to_the_score_but_for_one_constant() -> None:
    rows = numbers()
    trees = grown(rows)
    shares = trees.shares(np.arange(12), 12)
    left = trees.score(rows[:200]) - trees.contributions(rows[:200], shares).sum(axis=1)
    assert np.ptp(left) < 1e-9
    by_group = trees.contributions(rows[:200], trees.shares(np.array([0, 0, 0] + [1] * 9), 2))
    assert np.abs(by_group[:, 0]).mean() > 5 * np.abs(by_group[:, 1]).mean()


def test_the_same_rows_grow_the_same_trees() -> None:
    rows = numbers()
    assert grown(rows).plain() == grown(rows).plain()


def test_trees_read_back_from_plain_lists_score_the_same() -> None:
    rows = numbers()
    trees = grown(rows)
    assert Trees.from_plain(trees.plain(), 12).score(rows).tobytes() == trees.score(rows).tobytes()


def test_a_tree_without_a_split_says_the_same_of_everything() -> None:
    trees = Trees([Tree([], [], [], [], [0.5], [9]), Tree([0], [0.0], [-1], [-2], [-1.0, 1.0], [1, 1])], 1)
    assert trees.score(np.array([[-1.0], [1.0]])).tolist() == [-0.5, 1.5]


@pytest.mark.parametrize(
    "tree",
    [
        Tree([3], [0.0], [-1], [-2], [0.0, 1.0], [1, 1]),  # a column that is not there
        Tree([0], [0.0], [-1], [-2], [0.0], [1]),  # a leaf too few
        Tree([0, 0], [0.0, 1.0], [1, 1], [-1, -2], [0.0, 1.0, 2.0], [1, 1, 1]),  # a circle
        Tree([0, 0], [0.0, 1.0], [1, -1], [-1, -2], [0.0, 1.0, 2.0], [1, 1, 1]),  # a leaf twice
        Tree([0], [0.0], [-1], [-9], [0.0, 1.0], [1, 1]),  # a leaf that is not there
    ],
)
def test_lists_that_are_no_tree_are_refused(tree: Tree) -> None:
    with pytest.raises(BrokenTrees):
        Trees([tree], 1)


def test_calibration_meets_the_share_of_positives_and_keeps_the_order() -> None:
    chance = np.random.default_rng(3)
    logits = chance.normal(size=20_000) * 3
    truth = chance.random(20_000) < sigmoid(0.5 * logits - 2)
    fitted = Calibration.fit(logits, truth)
    said = fitted.probability(logits)
    assert abs(said.mean() - truth.mean()) < 0.01
    assert abs(fitted.slope - 0.5) < 0.05
    assert abs(fitted.shift + 2) < 0.1
    assert (np.diff(said[np.argsort(logits)]) >= 0).all()


def test_calibration_leaves_scores_alone_when_there_is_nothing_to_learn_from() -> None:
    assert Calibration.fit(np.array([1.0, -1.0]), np.array([False, False])) == Calibration()
    assert Calibration.fit(np.array([1.0, -1.0] * 50), np.array([False, True] * 50)) == Calibration()
