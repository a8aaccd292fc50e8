"""Is the synthetic organisation a fair exam? Plain boosted trees and single rules, on organisations of seeds never trained on.

    python -m bench.exam [--users 300] [--days 60] [--train 101,102,103,104] [--test 201,202,203,204] [--json]

Writes organisations at their natural rate, describes every user/day against that user's own profile as the windowing package does, fits
LightGBM with ordinary settings on the training seeds and scores the test seeds. Then every feature is tried as a rule of its own, at
all thresholds in both directions, for the best precision at a recall of at least one half. Knows nothing of the shipped detector.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from stream.synth import write_organisation
from windowing.calendar import DAY_MS, WindowSpec
from windowing.describe import DescribeSettings
from windowing.directory import Directory
from windowing.features import NAMES, names_of
from windowing.offline import windows_of

LEAST, MOST = 0.35, 0.75  # the shortcut-free PR-AUC of a fair exam
RULE_PRECISION, RULE_RECALL = 0.35, 0.5  # what no single rule may reach


@dataclass(frozen=True, slots=True)
class Result:
    """Figures of one exam."""

    days: int
    positives: int
    insiders: int
    pr_auc_shortcut_free: float
    pr_auc_all: float
    by_seed: dict[int, float]  # shortcut-free
    rules: dict[str, float]  # best precision at a recall of at least one half
    recall_by_scenario: dict[int, float]  # of days, where as many days are chosen as there are positives
    caught: float  # insiders with one of those days


def user_days(directory: Path) -> pl.DataFrame:
    """One row for each user/day: `user, day, positive, insider, scenario` and the features of the window, in the order of days."""
    spec = WindowSpec(size_ms=DAY_MS, hop_ms=DAY_MS)
    people = Directory.read(directory)
    who: list[tuple[str, str]] = []
    rows: list[list[float]] = []
    for batch in windows_of(directory, spec, people=people, settings=DescribeSettings(cap=0)):
        for value in batch.windows["value"]:
            record = orjson.loads(value)
            who.append((record["user"], record["start"][:10]))
            rows.append([record["features"][name] for name in NAMES])
    table = pl.DataFrame(who, schema={"user": pl.String(), "day": pl.String()}, orient="row")
    table = table.hstack(pl.DataFrame(np.array(rows, np.float64), schema=list(NAMES)))
    return table.join(_truth(directory), on=["user", "day"], how="left", maintain_order="left").with_columns(
        pl.col("scenario").is_not_null().alias("positive")
    )


def _truth(directory: Path) -> pl.DataFrame:
    rows = []
    for path in sorted((directory / "answers").glob("r4.2-*/*.csv")):
        scenario, insider = path.stem.split("-")[1:]
        for line in path.read_text().splitlines():
            _, _, date, user, _ = line.split(",", 4)
            rows.append((user, f"{date[6:10]}-{date[:2]}-{date[3:5]}", insider, int(scenario)))
    schema = {"user": pl.String(), "day": pl.String(), "insider": pl.String(), "scenario": pl.Int64()}
    return pl.DataFrame(rows, schema=schema, orient="row").unique(["user", "day"], keep="first", maintain_order=True)


def scores(train: pl.DataFrame, test: pl.DataFrame, track: str) -> npt.NDArray[np.float64]:
    """Scores of plain boosted trees for the test days, shape (days,)."""
    import lightgbm

    names = list(names_of(track))
    model = lightgbm.LGBMClassifier(
        n_estimators=300,
        learning_rate=0.04,
        num_leaves=15,
        min_child_samples=30,
        subsample=0.8,
        subsample_freq=1,
        colsample_bytree=0.5,
        reg_lambda=5.0,
        random_state=7,
        deterministic=True,
        force_row_wise=True,
        n_jobs=1,  # threads that wait for each other by spinning cost more than they give on a busy machine
        verbose=-1,
    )
    model.fit(train.select(names).to_numpy(), train["positive"].to_numpy())
    found: npt.NDArray[np.float64] = np.asarray(model.predict_proba(test.select(names).to_numpy()))[:, 1]
    return found


def rules(test: pl.DataFrame) -> dict[str, float]:
    """Best precision at a recall of at least one half of each feature alone, at any threshold in either direction."""
    truth = test["positive"].to_numpy()
    return {name: _best_precision(test[name].to_numpy(), truth) for name in NAMES}


def _best_precision(values: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]) -> float:
    best = 0.0
    for signed in (values, -values):
        order = np.argsort(-signed, kind="stable")
        hits = np.cumsum(truth[order])
        ends = np.append(np.flatnonzero(np.diff(signed[order])), len(order) - 1)  # a threshold takes all that tie
        enough = ends[hits[ends] >= RULE_RECALL * truth.sum()]
        best = max(best, float((hits[enough] / (enough + 1)).max()))
    return best


def examine(users: int, days: int, train: Sequence[int], test: Sequence[int]) -> Result:
    """Sit the exam: organisations of these seeds, at their natural rate."""
    from sklearn.metrics import average_precision_score

    learned = pl.concat([_made(users, days, seed) for seed in train])
    unseen = pl.concat([_made(users, days, seed) for seed in test])
    truth = unseen["positive"].to_numpy()
    free, every = (scores(learned, unseen, track) for track in ("shortcut-free", "all"))
    cut = np.sort(free)[-int(truth.sum())]
    unseen = unseen.with_columns(pl.Series("score", free), pl.Series("chosen", free >= cut))
    positives = unseen.filter("positive")
    stories = positives.group_by("seed", "insider").agg(pl.any("chosen"))
    scenarios = positives.group_by("scenario").agg(pl.mean("chosen")).sort("scenario")
    parts = unseen.partition_by("seed", maintain_order=True)
    return Result(
        days=unseen.height,
        positives=positives.height,
        insiders=stories.height,
        pr_auc_shortcut_free=float(average_precision_score(truth, free)),
        pr_auc_all=float(average_precision_score(truth, every)),
        by_seed={int(part["seed"][0]): float(average_precision_score(part["positive"], part["score"])) for part in parts},
        rules=rules(unseen),
        recall_by_scenario={int(scenario): float(share) for scenario, share in scenarios.iter_rows()},
        caught=float(np.mean(stories["chosen"].to_numpy())),
    )


def _made(users: int, days: int, seed: int) -> pl.DataFrame:
    with tempfile.TemporaryDirectory() as place:
        write_organisation(Path(place) / "organisation", users, days, seed)
        return user_days(Path(place) / "organisation").with_columns(pl.lit(seed).alias("seed"))


def main() -> None:
    """Print the exam's table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--train", default="101,102,103,104")
    parser.add_argument("--test", default="201,202,203,204")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    seeds: Any = ([int(s) for s in given.train.split(",")], [int(s) for s in given.test.split(",")])
    result = examine(given.users, given.days, *seeds)
    sys.stdout.write((json.dumps(asdict(result), indent=2) if given.json else _table(result)) + "\n")


def _table(result: Result) -> str:
    best = sorted(result.rules.items(), key=lambda rule: -rule[1])[:10]
    lines = [
        (
            f"{result.days:,} user/days of unseen seeds, {result.positives} positive ({result.positives / result.days:.2%}), "
            f"{result.insiders} insiders"
        ),
        "",
        "| plain boosted trees | PR-AUC | wanted |",
        "|---|---|---|",
        f"| shortcut-free | {result.pr_auc_shortcut_free:.3f} | {LEAST}-{MOST} |",
        *(f"| seed {seed} | {figure:.3f} | {LEAST}-{MOST} |" for seed, figure in result.by_seed.items()),
        f"| all features | {result.pr_auc_all:.3f} | |",
        "",
        "| single rule (the ten best) | precision at recall >= 0.5 | wanted |",
        "|---|---|---|",
        *(f"| {name} | {figure:.3f} | < {RULE_PRECISION} |" for name, figure in best),
        "",
        "Where as many days are chosen as there are positives: "
        + ", ".join(f"scenario {number} {share:.2f}" for number, share in result.recall_by_scenario.items())
        + f" of days; {result.caught:.2f} of insiders have one of theirs chosen.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
