import numpy as np

from detector.evaluation.baselines import FeatureTable
from detector.evaluation.rules import RULES, rules_score
from windowing.features import FREE


def _score(**features: float) -> float:
    values = np.zeros((1, len(FREE)))
    for name, value in features.items():
        values[0, FREE.index(name)] = value
    return float(rules_score(FeatureTable(FREE, values, np.zeros(1, np.int64)))[0])


def test_the_rules_need_nothing_but_shortcut_free_features_and_nothing_scores_nothing() -> None:
    assert _score() == 0


def test_points_add_up() -> None:
    assert _score(leak_any=1) == 3
    assert _score(leak_any=1, after_hours_connects=2, connects_first=1) == 7
    assert _score(cloud_any=1) == 0
    assert _score(cloud_any=1, files=4) == 1


def test_every_rule_can_hold() -> None:
    everything = FeatureTable(FREE, np.full((1, len(FREE)), 9.0), np.zeros(1, np.int64))
    assert rules_score(everything)[0] == sum(weight for weight, _ in RULES.values())
