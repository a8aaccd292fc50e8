import math

import numpy as np
import polars as pl
import pytest

from detector.evaluation.deletion import choose_random, day_events, deletion


def test_random_events_are_drawn_without_replacement_and_by_the_seed_alone() -> None:
    events = {"http": [f"h{n}" for n in range(20)], "file": ["f1"]}
    drawn = choose_random(events, 5, seed=1)
    assert len(set(drawn)) == 5
    assert drawn == choose_random(dict(reversed(events.items())), 5, seed=1)
    assert drawn != choose_random(events, 5, seed=2)
    assert len(choose_random(events, 50, seed=1)) == 21


def test_a_citation_that_carries_the_score_falls_further_than_chance() -> None:
    found = deletion(
        before=np.array([0.9, 0.8]),
        without_cited=np.array([0.1, 0.8]),
        without_random=np.array([[0.9, 0.7], [0.7, 0.7]]),
        alerts_cited=np.array([0.0, 1.0]),
        alerts_random=np.ones((2, 2)),
    )
    assert found.alerts == 2
    assert found.fall_cited == pytest.approx(0.4)
    assert found.fall_random == pytest.approx(0.1)
    assert (found.cited_falls_more, found.silenced_cited, found.silenced_random) == (0.5, 0.5, 0.0)


def test_without_alerts_there_is_nothing_to_say() -> None:
    empty = np.empty(0)
    assert math.isnan(deletion(empty, empty, np.empty((2, 0)), empty, np.empty((2, 0))).fall_cited)


def test_a_days_events_are_those_of_that_user_and_day() -> None:
    frame = pl.DataFrame({"user": ["a", "a", "b"], "day": [1, 2, 1], "id": ["1", "2", "3"]})
    found = day_events({"http": frame, "file": frame}, pl.DataFrame({"user": ["a"], "day": [1]}))
    assert found.rows() == [("a", 1, "file", "1"), ("a", 1, "http", "1")]
