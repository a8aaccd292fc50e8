"""Evaluations of several directories as one: means over directories, sums of what is counted. Numbers in, numbers out."""

from collections.abc import Mapping
from typing import Final

from detector.evaluation.balanced import PLAIN
from detector.evaluation.figures import Figures, mean_of
from detector.evaluation.metrics import summary

COUNTED: Final = ("users", "user_days", "positive_days", "key_events", "windows", "missed_days")


def combined(found: Mapping[str, Figures]) -> Figures:
    """What several evaluations say together, by the names that one has; every single one stands under `directories`.

    Args:
        found: name of the directory to its figures (`Evaluation.as_dict`), at least one, evaluated in the same way.
    """
    each = list(found.values())
    headlines = [{name: value for name, value in one.items() if name not in {"tracks", "balanced", "insiders"}} for one in each]
    draws = [draw for one in each for draw in one["balanced"]["by_draw"]]
    spread = {name: summary([draw[name] for draw in draws])[1] for name in PLAIN}
    spread |= {f"evidence_{name}": summary([draw["evidence"][name] for draw in draws])[1] for name in ("precision", "recall", "f1")}
    together = mean_of(headlines) | {name: sum(one[name] for one in each) for name in COUNTED}
    together["evidence"] = together["evidence"] | {"invalid": sum(one["evidence"]["invalid"] for one in each)}
    tracks = {name: mean_of([_of_track(one["tracks"][name]) for one in each]) for name in each[0]["tracks"]}
    return together | {
        "balanced": mean_of([_without_draws(one["balanced"]) for one in each]) | {"draws_in_all": len(draws), "spread": spread},
        "tracks": tracks,
        "directories": dict(found),
    }


def _of_track(figures: Figures) -> Figures:
    """What is worth a mean: headline figures; intervals, curves and draws are one directory's."""
    names = ("accuracy", "macro_f1", "malicious_recall", "pr_auc", "triage_pr_auc", "ece")
    found = {name: figures[name] for name in names if name in figures}
    found["balanced"] = _without_draws(figures["balanced"])
    if "against_triage" in figures:
        compared = figures["against_triage"]
        found["against_triage"] = {"pr_auc": {name: compared["pr_auc"][name] for name in ("cascade", "triage", "gain")}}
    if "one_pass" in figures:
        found["one_pass"] = {name: figures["one_pass"][name] for name in ("pr_auc", "ece")}
    if "survival_in_prompt" in figures:
        found["survival_in_prompt"] = {"all": figures["survival_in_prompt"]["all"]}
    return found


def _without_draws(balanced: Figures) -> Figures:
    return {name: value for name, value in balanced.items() if name not in {"by_draw", "spread"}}
