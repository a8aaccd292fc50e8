import numpy as np
import polars as pl
import pytest

from detector.evaluation.evidence import citation_figures, day_counts, evidence_figures, invalid_citations, survival, user_sums

EVENT = ["user", "day", "kind", "id"]


def _events(*rows: tuple[str, int, str, str]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema={"user": pl.String(), "day": pl.Int64(), "kind": pl.String(), "id": pl.String()}, orient="row")


def _judged(*rows: tuple[str, int, bool, str]) -> pl.DataFrame:
    return pl.DataFrame(
        list(rows), schema={"user": pl.String(), "day": pl.Int64(), "alert": pl.Boolean(), "label": pl.String()}, orient="row"
    )


KEY = _events(("a", 1, "http", "1"), ("a", 1, "http", "2"), ("a", 2, "http", "3"), ("b", 1, "device", "1"))


def test_a_citation_is_right_only_for_its_kind_account_and_day() -> None:
    cited = _events(("a", 1, "http", "1"), ("a", 1, "device", "2"), ("b", 1, "http", "1"), ("a", 2, "http", "2"))
    found = citation_figures(cited, KEY, KEY)
    assert (found.days, found.cited, found.right, found.key) == (3, 4, 1, 4)
    assert (found.precision, found.recall, found.f1) == (0.25, 0.25, 0.25)


def test_citing_an_event_twice_counts_once() -> None:
    assert day_counts(pl.concat([KEY, KEY]), KEY, KEY).rows() == [("a", 1, 2, 2, 2), ("a", 2, 1, 1, 1), ("b", 1, 1, 1, 1)]


def test_pooled_f1_weighs_events_and_daily_f1_weighs_days() -> None:
    cited = _events(("a", 1, "http", "1"), ("a", 1, "http", "2"))
    found = citation_figures(cited, KEY, KEY)
    assert found.f1 == pytest.approx(2 * 2 / (2 + 4))
    assert found.f1_per_day == pytest.approx(1 / 3)
    assert found.complete == pytest.approx(1 / 3)


def test_right_alerts_leave_out_misses_and_false_alarms_and_end_to_end_counts_both() -> None:
    judged = _judged(("a", 1, True, "malicious"), ("a", 2, False, "normal"), ("b", 1, False, "suspicious"), ("c", 1, True, "malicious"))
    cited = _events(("a", 1, "http", "1"), ("c", 1, "http", "9"), ("b", 1, "device", "1"))
    found = evidence_figures(judged, cited, KEY)
    assert (found.right_alerts.cited, found.right_alerts.right, found.right_alerts.key) == (1, 1, 2)
    assert (found.end_to_end.cited, found.end_to_end.right, found.end_to_end.key) == (2, 1, 4)
    assert found.label_and_complete == 0.0


def test_label_and_evidence_are_right_only_when_labelled_malicious_with_every_key_event_cited() -> None:
    judged = _judged(("a", 1, True, "malicious"), ("a", 2, True, "suspicious"), ("b", 1, True, "malicious"))
    found = evidence_figures(judged, pl.concat([KEY, _events(("a", 1, "http", "8"))]), KEY)
    assert found.label_and_complete == pytest.approx(2 / 3)


def test_an_event_cited_from_outside_the_window_is_invalid() -> None:
    assert invalid_citations(_events(("a", 1, "http", "1"), ("a", 2, "http", "1")), KEY) == 1
    assert invalid_citations(KEY, KEY) == 0


def test_survival_is_told_by_kind_and_scenario() -> None:
    key = KEY.with_columns(pl.Series("scenario", [1, 1, 2, 2]))
    shares = survival(KEY.head(2), key)
    assert shares == {"all": 0.5, "kind:device": 0.0, "kind:http": pytest.approx(2 / 3), "scenario:1": 1.0, "scenario:2": 0.0}


def test_user_sums_line_up_with_the_users_and_are_zero_for_those_without_days() -> None:
    above, below = user_sums(day_counts(KEY.head(1), KEY, KEY), ["b", "c", "a"])
    assert np.array_equal(above, [0, 0, 2])
    assert np.array_equal(below, [1, 0, 4])
