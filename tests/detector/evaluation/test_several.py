import json
import math
from typing import Any

from detector.evaluation.figures import json_safe
from detector.evaluation.several import combined


def _figures(accuracy: list[float], users: int, pr_auc: float, invalid: int = 0) -> dict[str, Any]:
    draws = [
        {"accuracy": each, "macro_f1": each, "malicious_recall": each, "malicious_precision": each, "suspicious": 0, "valid_format": 1.0,
         "actionability": 1.0, "actionability_of_all": 0.5, "evidence": {"precision": each, "recall": each, "f1": each}}
        for each in accuracy
    ]  # fmt: skip
    mean = sum(accuracy) / len(accuracy)
    balanced = draws[0] | {"accuracy": mean, "each": 25, "draws": len(draws), "spread": {"accuracy": 9.0}, "by_draw": draws}
    track = {"accuracy": mean, "pr_auc": pr_auc, "ece": 0.1, "balanced": balanced, "intervals": {"pr_auc": [0, 1]}}
    counted = {"users": users, "user_days": 10 * users, "positive_days": 3, "key_events": 9, "windows": 10 * users, "missed_days": 0}
    return counted | {
        "accuracy": mean, "balanced": balanced, "pr_auc": {"all": pr_auc}, "ece": 0.1, "insiders": None, "ranked_by": "backend",
        "recall_at_fpr": {"all": {"0.01": math.nan if users == 20 else 0.5}},
        "evidence": {"f1": mean, "invalid": invalid}, "tracks": {"all": track},
    }  # fmt: skip


def test_the_figures_of_several_are_means_and_what_is_counted_is_added_up() -> None:
    found = combined({"one": _figures([0.8, 1.0], 10, 0.5), "two": _figures([0.6, 0.6], 20, 0.7, invalid=2)})
    assert (found["accuracy"], found["balanced"]["accuracy"], found["pr_auc"]["all"]) == (0.75, 0.75, 0.6)
    assert (found["users"], found["user_days"], found["positive_days"], found["evidence"]["invalid"]) == (30, 300, 6, 2)
    assert found["recall_at_fpr"]["all"]["0.01"] == 0.5  # of the directory that can tell
    assert found["tracks"]["all"]["pr_auc"] == 0.6
    assert "intervals" not in found["tracks"]["all"]
    assert list(found["directories"]) == ["one", "two"]


def test_the_spread_is_over_all_draws_of_all_directories() -> None:
    found = combined({"one": _figures([0.8, 1.0], 10, 0.5), "two": _figures([0.6, 0.6], 20, 0.7)})
    assert found["balanced"]["draws_in_all"] == 4
    assert math.isclose(found["balanced"]["spread"]["accuracy"], (0.11 / 3) ** 0.5)
    json.dumps(json_safe(found), allow_nan=False)
