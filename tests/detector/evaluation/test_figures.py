import json
import math

import numpy as np
import polars as pl
import pytest

from detector.evaluation.figures import (
    CITED_SCHEMA,
    JUDGED_SCHEMA,
    Judged,
    figures,
    intervals,
    json_safe,
    mean_of,
    ranking_figures,
    truth_of,
    with_missed_days,
)
from detector.evaluation.truth import KEY_SCHEMA, AnswerKey

HOUR = 3_600_000
KEY = AnswerKey(
    (),
    pl.DataFrame(
        [
            ("ana", 1, "ana", "http", "h1", 24 * HOUR + 5 * HOUR, 1, "PC", ""),
            ("ana", 1, "ana", "http", "h2", 24 * HOUR + 6 * HOUR, 1, "PC", ""),
            ("bob", 3, "eve", "email", "e1", 72 * HOUR, 3, "PC", ""),
        ],
        schema=KEY_SCHEMA,
        orient="row",
    ),
)


def _judged(*rows: tuple[str, int, float, bool, str], cited: tuple[tuple[str, int, str, str], ...] = ()) -> Judged:
    table = [(user, day, (day + 1) * 24 * HOUR, score, score / 2, label, alert, False) for user, day, score, alert, label in rows]
    return Judged.of(pl.DataFrame(table, schema=JUDGED_SCHEMA, orient="row"), pl.DataFrame(list(cited), schema=CITED_SCHEMA, orient="row"))


WORKED = _judged(
    ("ana", 1, 0.9, True, "malicious"),
    ("ana", 2, 0.8, True, "malicious"),
    ("eve", 3, 0.4, False, "suspicious"),
    ("bob", 3, 0.2, False, "normal"),
    cited=(("ana", 1, "http", "h1"), ("ana", 2, "http", "h9")),
)


def test_a_worked_example() -> None:
    found = figures(WORKED, KEY, replicates=0)
    assert (found["user_days"], found["positive_days"], found["key_events"]) == (4, 2, 3)
    assert found["pr_auc"] == pytest.approx((1 + 2 / 3) / 2)
    assert (found["accuracy"], found["malicious_recall"], found["suspicious"]) == (0.5, 0.5, 1)
    assert found["macro_f1"] == pytest.approx((2 * 1 / (2 + 2) + 2 * 1 / (1 + 2)) / 2)
    assert (found["alerts"]["precision"], found["alerts"]["recall"], found["alerts"]["per_day_per_1000_users"]) == (0.5, 0.5, 500)
    assert found["insiders"]["by_scenario"] == {"1": {"caught": 1, "total": 1}, "3": {"caught": 0, "total": 1}}
    assert found["insiders"]["delay_h"]["median"] == 19
    assert found["recall_at_fpr"]["0.01"]["recall"] == 0.5
    assert found["at_alert_budget"]["10"]["alerts"] == 0  # 10 alerts in 1,000 user/days are none in 4
    assert (found["evidence"]["precision"], found["evidence"]["recall"], found["evidence"]["complete"]) == (1.0, 0.5, 0.0)
    assert found["evidence"]["end_to_end"]["f1"] == pytest.approx(2 * 1 / (2 + 3))


def test_a_budget_of_n_alerts_a_day_per_1000_users_is_n_alerts_in_1000_user_days() -> None:
    days = pl.DataFrame([(f"u{n}", 1, 48 * HOUR) for n in range(400)], schema=["user", "day", "end_ms"], orient="row")
    found = ranking_figures(np.arange(400) < 3, np.linspace(1, 0, 400), days, KEY)["at_alert_budget"]
    assert {budget: point["alerts"] for budget, point in found.items()} == {"1": 0, "2": 0, "5": 2, "10": 4}


def test_truth_keeps_the_order_of_the_rows() -> None:
    assert truth_of(WORKED.days[[3, 2, 0, 1]], KEY).tolist() == [False, True, True, False]


def test_positive_days_that_nobody_judged_become_misses() -> None:
    days, missed = with_missed_days(WORKED.days.filter(pl.col("user") != "eve"), KEY, {3: 96 * HOUR})
    assert missed == 1
    assert days.filter(pl.col("user") == "eve").rows() == [("eve", 3, 96 * HOUR, 0.0, 0.0, "normal", False, False)]


def test_every_figure_fits_into_json() -> None:
    nobody = Judged.of(WORKED.days.clear(), WORKED.cited.clear())
    for judged in (WORKED, nobody):
        json.dumps(json_safe(figures(judged, KEY, replicates=20)), allow_nan=False)


def test_intervals_hold_the_mean_over_repeats_and_depend_on_the_seed_alone() -> None:
    users = [f"u{n}" for n in range(30)]
    rows = [(user, day, (0.9 if user < "u2" and day == 1 else 0.3) + day / 100, False, "normal") for user in users for day in range(5)]
    key = AnswerKey((), pl.DataFrame([(u, 1, u, "http", u, HOUR * 25, 1, "PC", "") for u in users[:12]], schema=KEY_SCHEMA, orient="row"))
    found = json_safe(intervals([_judged(*rows)], key, seed=1, replicates=200))
    assert found["pr_auc"][0] < figures(_judged(*rows), key, replicates=0)["pr_auc"] < found["pr_auc"][1]
    assert found == json_safe(intervals([_judged(*rows), _judged(*rows)], key, seed=1, replicates=200))
    assert found != json_safe(intervals([_judged(*rows)], key, seed=2, replicates=200))


def test_means_leave_out_what_is_unknown_and_keep_whole_numbers_whole() -> None:
    found = mean_of([{"a": 3, "b": math.nan, "c": "x"}, {"a": 3, "b": 2.0, "c": "x"}])
    assert found == {"a": 3, "b": 2.0, "c": "x"}
    assert isinstance(found["a"], int)
