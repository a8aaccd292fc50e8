from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from detector.backend import FixedAnswer, FixedBackend
from detector.evaluation.alone import BATCH, Interview, judged, sample_of, sampled_ranking
from detector.evaluation.balanced import ANSWER_SCHEMA, Answers
from detector.evaluation.figures import CITED_SCHEMA
from detector.evaluation.metrics import average_precision, curve
from detector.evaluation.truth import KEY_SCHEMA, AnswerKey
from detector.verdict import EventRef, Verdict
from stream.errors import PoisonError, TransientError
from stream.kinds import Kind
from tests.detector.windows import A_THEFT, window
from windowing.record import Window


class Stumbling:
    """Cannot answer for some users; takes down whatever is judged with them, as a backend does."""

    name = "stumbling"

    def __init__(self, over: set[str]) -> None:
        self.over, self.calls = over, 0

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        self.calls += 1
        if any(one.user in self.over for one in windows):
            raise PoisonError("no answer")
        return FixedBackend({}).judge(windows)


class Reader(FixedBackend):
    """Cites the first event, and says that its model gets to read two."""

    def __init__(self) -> None:
        super().__init__(
            lambda one: FixedAnswer("malicious", 0.9, (EventRef(Kind(one.events[0]["kind"]), one.events[0]["id"]),), "a theft", True)
        )

    def shown(self, one: Window) -> Sequence[EventRef]:
        return [EventRef(Kind(event["kind"]), event["id"]) for event in one.events[:2]]


WINDOWS = [window(A_THEFT, user=f"u{place}") for place in range(40)]
DAYS = pl.DataFrame([(one.user, 1, 0) for one in WINDOWS], schema=["user", "day", "end_ms"], orient="row")


def _interview(backend: object) -> Interview:
    return Interview(backend, DAYS, lambda some: [WINDOWS[place] for place in some])  # type: ignore[arg-type]


def test_one_bad_answer_does_not_spoil_those_beside_it() -> None:
    backend = Stumbling({"u3", "u17"})
    found = judged(backend, WINDOWS)
    assert [place for place, verdict in enumerate(found) if verdict is None] == [3, 17]
    assert [verdict.user for verdict in found if verdict] == [one.user for one in WINDOWS if one.user not in {"u3", "u17"}]
    assert backend.calls < 2 * 2 * len(WINDOWS)


def test_a_server_that_is_away_is_no_bad_answer() -> None:
    class Away(Stumbling):
        def judge(self, windows: Sequence[Window]) -> list[Verdict]:
            raise TransientError("away")

    with pytest.raises(TransientError):
        judged(Away(set()), WINDOWS)


def test_nobody_is_asked_twice() -> None:
    asked: list[int] = []
    held = Interview(FixedBackend({}), DAYS, lambda some: [asked.append(place) or WINDOWS[place] for place in some])  # type: ignore[func-returns-value]
    told: list[tuple[int, int]] = []
    held.ask(np.array([5, 1, 5, 9]), lambda done, total: told.append((done, total)))
    held.ask(np.arange(BATCH + 8))
    assert asked == [1, 5, 9, *(place for place in range(BATCH + 8) if place not in {1, 5, 9})]
    assert (told, len(held)) == ([(0, 3)], BATCH + 8)


def test_an_answer_is_written_down_with_its_citations_and_one_that_cannot_be_used_as_none() -> None:
    held = _interview(Reader())
    held.ask(np.array([2]))
    answers = held.answers()
    assert answers.days.rows() == [(2, "u2", 1, "malicious", 0.9, True, True, 1, 0, True)]
    assert answers.cited.rows() == [("u2", 1, "logon", "{logon-1}")]
    held = _interview(Stumbling({"u2"}))
    held.ask(np.array([1, 2]))
    assert held.answers().days.select("label", "valid", "alert").rows() == [("normal", True, False), ("", False, False)]


def test_what_the_model_gets_to_read_is_known_where_the_backend_says_it() -> None:
    found = _interview(Reader()).shown(np.array([4]))
    assert found is not None
    assert sorted(found.rows()) == [("u4", 1, "device", "{device-1}"), ("u4", 1, "logon", "{logon-1}")]
    assert _interview(FixedBackend({})).shown(np.array([4])) is None


def test_a_sample_holds_every_malicious_place_and_so_many_others() -> None:
    truth = np.arange(100) % 10 == 0
    found = sample_of(truth, 25, seed=3)
    assert truth[found].sum() == 10
    assert len(found) == len(set(found.tolist())) == 35
    assert np.array_equal(found, sample_of(truth, 25, seed=3))
    assert len(sample_of(truth, 1000, seed=3)) == 100


KEY = AnswerKey((), pl.DataFrame([(f"u{n}", 1, f"u{n}", "http", "h", 0, 1, "PC", "") for n in range(8)], schema=KEY_SCHEMA, orient="row"))
TRUTH = np.arange(40) < 8


def _answers(places: list[int], score: "np.ndarray") -> Answers:
    rows = [(place, f"u{place}", 1, "normal", float(score[place]), False, True, 0, 0, True) for place in places]
    return Answers(pl.DataFrame(rows, ANSWER_SCHEMA, orient="row"), pl.DataFrame(schema=CITED_SCHEMA))


def test_asked_about_everybody_the_ranking_is_the_plain_one() -> None:
    score = np.random.default_rng(0).random(40)
    found = sampled_ranking(_answers(list(range(40)), score), TRUTH, DAYS, KEY, seed=0, replicates=50)
    assert found["pr_auc"] == pytest.approx(average_precision(curve(TRUTH, score)))
    low, high = found["pr_auc_interval"]
    assert low < found["pr_auc"] < high


def test_a_false_alarm_of_a_sample_counts_for_as_many_as_it_stands_for() -> None:
    score = np.where(TRUTH, 0.5, 0.1)
    score[30] = 0.9
    asked = [*range(8), 12, 20, 25, 30]
    found = sampled_ranking(_answers(asked, score), TRUTH, DAYS, KEY, seed=0, replicates=0)
    assert found["sample"] == {"malicious": 8, "malicious_in_all": 8, "normal": 4, "normal_in_all": 32}
    assert found["pr_auc"] == pytest.approx(8 / (8 + 8))  # the one above all the others stands for eight
    assert np.isnan(found["recall_at_fpr"]["0.01"]["recall"])  # four rows cannot tell one per cent
    assert found["ece"] == pytest.approx((8 * 0.9 + 24 * 0.1 + 8 * 0.5) / 40)


def test_who_is_caught_is_said_only_when_every_malicious_day_was_asked_about() -> None:
    chance = np.random.default_rng(1)
    truth, users = np.arange(400) < 8, [f"u{n}" for n in range(400)]
    days = pl.DataFrame([(user, 1, 0) for user in users], schema=["user", "day", "end_ms"], orient="row")
    score = np.where(truth, 0.9, chance.random(400) * 0.5)
    rows = [(place, users[place], 1, "normal", float(score[place]), False, True, 0, 0, True) for place in range(400)]
    table = pl.DataFrame(rows, ANSWER_SCHEMA, orient="row")
    none = pl.DataFrame(schema=CITED_SCHEMA)
    whole = sampled_ranking(Answers(table.filter(pl.col("place") != 200), none), truth, days, KEY, seed=0, replicates=0)
    assert whole["recall_at_fpr"]["0.01"]["insiders"]["caught"] == 8
    part = sampled_ranking(Answers(table.filter(pl.col("place") != 2), none), truth, days, KEY, seed=0, replicates=0)
    assert "insiders" not in part["recall_at_fpr"]["0.01"]
