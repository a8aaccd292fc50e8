import numpy as np
import pytest

from detector.evaluation.baselines import Z_CAP, FeatureTable, boosted_trees, isolation_forest, z_scores


def _table(values: list[list[float]], user: list[int]) -> FeatureTable:
    return FeatureTable(tuple(f"f{n}" for n in range(len(values[0]))), np.array(values, np.float64), np.array(user))


def test_a_z_score_looks_at_the_same_users_earlier_days_only() -> None:
    chance = np.random.default_rng(0)
    values, user = chance.normal(size=(60, 3)), np.repeat([0, 1, 2], 20)
    found = z_scores(_table(values.tolist(), user.tolist()))
    for row in range(60):
        before = values[(user == user[row]) & (np.arange(60) < row)]
        if len(before) < 5:
            assert found[row] == 0
        else:
            z = np.clip((values[row] - before.mean(axis=0)) / before.std(axis=0), 0, Z_CAP)
            assert found[row] == pytest.approx(z.mean())


def test_later_days_change_nothing() -> None:
    values = np.random.default_rng(1).normal(size=(30, 2))
    whole = z_scores(_table(values.tolist(), [0] * 30))
    assert np.allclose(whole[:20], z_scores(_table(values[:20].tolist(), [0] * 20)))


def test_a_feature_that_never_moved_counts_fully_when_it_first_rises() -> None:
    values = [[0.0, 1.0]] * 8 + [[3.0, 1.0]]
    assert z_scores(_table(values, [0] * 9))[-1] == pytest.approx(Z_CAP / 2)


def test_unknown_values_count_as_nothing() -> None:
    assert np.isfinite(z_scores(_table([[np.nan]] * 8, [0] * 8))).all()


def test_columns_are_taken_by_name() -> None:
    table = _table([[1.0, 2.0, 3.0]], [0]).only(("f2", "f0"))
    assert (table.names, table.values.tolist()) == (("f2", "f0"), [[3.0, 1.0]])


def test_forest_and_trees_rank_the_odd_rows_first_and_repeat_for_a_seed() -> None:
    chance = np.random.default_rng(2)
    train, test = chance.normal(size=(400, 4)), chance.normal(size=(100, 4))
    train[:40] += 5
    test[:10] += 5
    strange = isolation_forest(train[40:], test, seed=1)
    assert strange[:10].min() > np.median(strange[10:])
    likely = boosted_trees(train, np.arange(400) < 40, test, seed=1)
    assert likely[:10].min() > likely[10:].max()
    assert np.array_equal(strange, isolation_forest(train[40:], test, seed=1))
    assert np.array_equal(likely, boosted_trees(train, np.arange(400) < 40, test, seed=1))
