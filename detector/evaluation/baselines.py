"""What anyone could do without us: the rankings every table of results is read against. Matrices in, scores out; knows no windows.

Each follows the no-look-ahead rule by itself: a z-score looks at the same user's earlier days only; forest and trees are fitted
on users that are not tested.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.evaluation.metrics import Bools, Floats, Ints
from detector.openmp import load_lightgbm

Z_CAP = 10.0
LEAST_HISTORY = 5


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """One row a user/day, ordered by user, then day.

    Args:
        names: of the columns.
        values: shape (rows, columns); NaN means unknown.
        user: number of the row's user, shape (rows,).
    """

    names: tuple[str, ...]
    values: Floats
    user: Ints

    def only(self, names: tuple[str, ...]) -> "FeatureTable":
        """The same rows with the columns `names`."""
        places = {name: place for place, name in enumerate(self.names)}
        return FeatureTable(names, self.values[:, [places[name] for name in names]], self.user)


def z_scores(table: FeatureTable, least_history: int = LEAST_HISTORY) -> Floats:
    """How far above the user's own earlier days a day lies: the mean over features of the z-score, clipped to 0 .. `Z_CAP`.

    Mean and deviation are over the user's earlier days alone; a day with fewer than `least_history` of them scores 0. A feature
    that never moved counts as `Z_CAP` when it rises for the first time.
    """
    values = np.nan_to_num(table.values)
    new_user = np.flatnonzero(np.append(True, np.diff(table.user) != 0))
    first = np.repeat(new_user, np.diff(np.append(new_user, len(values))))
    before = (np.arange(len(values)) - first).astype(np.float64)[:, None]
    sums, squares = _sums_before(values, first), _sums_before(values**2, first)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums / before
        deviation = np.sqrt(np.maximum(squares / before - mean**2, 0.0))
        tiny = deviation < 1e-9 * np.maximum(1.0, np.abs(mean))
        z = np.where(tiny, np.where(values > mean + 1e-9, Z_CAP, 0.0), (values - mean) / deviation)
    found: Floats = np.where(before[:, 0] >= least_history, np.clip(z, 0.0, Z_CAP).mean(axis=1), 0.0)
    return found


def _sums_before(values: Floats, first: npt.NDArray[np.int64]) -> Floats:
    """Sum of each column over the same user's earlier rows."""
    running = np.vstack([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    found: Floats = running[np.arange(len(values))] - running[first]
    return found


def isolation_forest(train: Floats, test: Floats, seed: int) -> Floats:
    """Anomaly of each test row, higher is stranger (Liu et al. 2008; scikit-learn's, 300 trees); fitted without labels."""
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=300, random_state=seed, n_jobs=1)
    forest.fit(np.nan_to_num(train))
    found: Floats = -forest.score_samples(np.nan_to_num(test))
    return found


def boosted_trees(train: Floats, truth: Bools, test: Floats, seed: int) -> Floats:
    """Probability of malicious from plain gradient-boosted trees (LightGBM) with ordinary settings, nothing tuned."""
    lightgbm = load_lightgbm()

    settings = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_data_in_leaf": 20,
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    fitted = lightgbm.train(settings, lightgbm.Dataset(train, truth.astype(np.float64)), num_boost_round=200)
    found: Floats = np.asarray(fitted.predict(test), np.float64)
    return found
