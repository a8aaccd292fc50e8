"""A detector on as many malicious as normal user/days, drawn several times: labels, format, evidence. Frames in, figures out.

These are the figures that cards of language models give. They say how well the model tells the two apart, nothing about how many
alerts an organisation would see. Knows no backend, windows or files.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from detector.evaluation.evidence import DAY, evidence_figures
from detector.evaluation.figures import Figures
from detector.evaluation.metrics import Bools, balanced_sample, label_figures, summary

ANSWER_SCHEMA: dict[str, pl.DataType] = {
    "place": pl.Int64(),
    "user": pl.String(),
    "day": pl.Int64(),
    "label": pl.String(),
    "score": pl.Float64(),
    "alert": pl.Boolean(),
    "valid": pl.Boolean(),
    "cited": pl.Int64(),
    "invalid": pl.Int64(),
    "reason": pl.Boolean(),
}
NO_ANSWER = ""
"""The label of an answer that could not be used: wrong for either truth."""
PLAIN = (
    "accuracy",
    "macro_f1",
    "malicious_recall",
    "malicious_precision",
    "suspicious",
    "valid_format",
    "actionability",
    "actionability_of_all",
)
_EVIDENCE = ("precision", "recall", "f1", "f1_per_day", "complete")


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered: `days` as in `ANSWER_SCHEMA`, one row an asked user/day; `cited` is `user, day, kind, id` of all answers.

    `place` is the row among all user/days. `cited` counts the citations of the answer and `invalid` those of them that its window
    does not hold; `reason` says whether there is one.
    """

    days: pl.DataFrame
    cited: pl.DataFrame


def drawn_places(truth: Bools, in_all: int, draws: int, seed: int) -> "list[np.ndarray[Any, np.dtype[np.int64]]]":
    """The places of each draw, half of them malicious; draw n has the seed `seed` + n."""
    return [balanced_sample(truth, in_all // 2, seed + n) for n in range(draws)]


def balanced_figures(truth: Bools, answers: Answers, key: pl.DataFrame, in_all: int, draws: int, seed: int) -> Figures:
    """The mean of each figure over draws, its sample standard deviation under `spread`, and every draw's under `by_draw`.

    Args:
        truth: of all user/days, by place.
        answers: at least for every place of every draw.
        key: the key's events, at least `user, day, kind, id`.
        in_all: how many a draw holds, half of them malicious; fewer where there are fewer.
        draws: how many.
        seed: of the first draw; the next one's is one higher.
    """
    found = [
        {"seed": seed + n, **_draw(truth[places], answers, places, key)}
        for n, places in enumerate(drawn_places(truth, in_all, draws, seed))
    ]
    evidence = {name: summary([each["evidence"][name] for each in found]) for name in (*_EVIDENCE, "label_and_complete")}
    end_to_end = {name: summary([each["evidence"]["end_to_end"][name] for each in found]) for name in _EVIDENCE}
    plain = {name: summary([each[name] for each in found]) for name in PLAIN}
    return {
        "each": in_all // 2,
        "draws": draws,
        "seeds": [seed + n for n in range(draws)],
        **{name: mean for name, (mean, _) in plain.items()},
        "evidence": {name: mean for name, (mean, _) in evidence.items()}
        | {"invalid": int(answers.days["invalid"].sum()), "end_to_end": {name: mean for name, (mean, _) in end_to_end.items()}},
        "spread": {name: sd for name, (_, sd) in plain.items()} | {f"evidence_{name}": sd for name, (_, sd) in evidence.items()},
        "by_draw": found,
    }


def _draw(truth: Bools, answers: Answers, places: "np.ndarray[Any, np.dtype[np.int64]]", key: pl.DataFrame) -> Figures:
    asked = pl.DataFrame({"place": places}).join(answers.days, on="place", how="left", maintain_order="left")
    if asked["label"].null_count():
        raise ValueError(f"{asked['label'].null_count()} of the drawn user/days were not asked about")
    days = asked.select(DAY)
    said = label_figures(truth, asked["label"].to_numpy().astype(str))
    evidence = evidence_figures(
        asked.select(*DAY, "alert", "label"), answers.cited.join(days, on=DAY, how="semi"), key.join(days, on=DAY, how="semi")
    )
    full = (asked["valid"] & asked["reason"] & (asked["cited"] > 0) & (asked["invalid"] == 0)).to_numpy()
    telling = (asked["label"] != "normal").to_numpy()  # an answer that could not be used is told of, too: as one nobody can act on
    return {
        "rows": len(places),
        "malicious": int(truth.sum()),
        "accuracy": said.accuracy,
        "macro_f1": said.macro_f1,
        "malicious_recall": said.malicious_recall,
        "malicious_precision": said.malicious_precision,
        "suspicious": said.suspicious,
        "valid_format": float(asked["valid"].sum()) / len(places) if len(places) else float("nan"),
        "actionability": float(full[telling].mean()) if telling.any() else 0.0,
        "actionability_of_all": float(full.mean()) if len(places) else float("nan"),
        "evidence": {name: getattr(evidence.right_alerts, name) for name in _EVIDENCE}
        | {
            "label_and_complete": evidence.label_and_complete,
            "end_to_end": {name: getattr(evidence.end_to_end, name) for name in _EVIDENCE},
        },
    }
