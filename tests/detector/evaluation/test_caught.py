import math

import polars as pl

from detector.evaluation.caught import HOUR_MS, insiders_caught

KEY = pl.DataFrame(
    [
        ("ana", 1, "ana", 10, 10 * 24 * HOUR_MS + 20 * HOUR_MS),
        ("ana", 1, "ana", 12, 12 * 24 * HOUR_MS),
        ("bob", 3, "bob", 20, 20 * 24 * HOUR_MS),
        ("bob", 3, "eve", 21, 21 * 24 * HOUR_MS),
        ("cat", 3, "cat", 5, 5 * 24 * HOUR_MS),
    ],
    schema=["insider", "scenario", "user", "day", "ts"],
    orient="row",
)


def _alerts(*rows: tuple[str, int]) -> pl.DataFrame:
    table = [(user, day, (day + 1) * 24 * HOUR_MS) for user, day in rows]
    return pl.DataFrame(table, schema={"user": pl.String(), "day": pl.Int64(), "end_ms": pl.Int64()}, orient="row")


def test_an_insider_is_caught_by_an_alert_on_a_positive_day_of_any_account_used() -> None:
    found = insiders_caught(_alerts(("eve", 21), ("ana", 11)), KEY)
    assert (found.caught, found.total) == (1, 3)
    assert found.by_scenario == {1: (0, 1), 3: (1, 2)}


def test_delay_runs_from_the_first_malicious_event_to_the_end_of_the_first_right_window() -> None:
    found = insiders_caught(_alerts(("ana", 9), ("ana", 12), ("ana", 10)), KEY)
    assert found.median_delay_h == 4.0
    assert insiders_caught(_alerts(("eve", 21)), KEY).median_delay_h == 48.0


def test_without_a_catch_there_is_no_delay() -> None:
    assert math.isnan(insiders_caught(_alerts(), KEY).median_delay_h)
