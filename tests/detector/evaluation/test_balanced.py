import numpy as np
import polars as pl
import pytest

from detector.evaluation.balanced import ANSWER_SCHEMA, Answers, balanced_figures, drawn_places
from detector.evaluation.figures import CITED_SCHEMA
from detector.evaluation.truth import KEY_SCHEMA

MALICIOUS = 6
TRUTH = np.arange(30) < MALICIOUS
KEY = pl.DataFrame(
    [(f"u{place}", 1, f"u{place}", "http", name, 0, 1, "PC", "") for place in range(MALICIOUS) for name in ("a", "b")],
    schema=KEY_SCHEMA,
    orient="row",
)


def _answers(said: dict[int, tuple[str, tuple[str, ...], bool]], otherwise: str = "normal") -> Answers:
    """Answers by place: label, cited pages, reason; an empty label is an answer that could not be used."""
    rows, cited = [], []
    for place in range(len(TRUTH)):
        label, pages, reason = said.get(place, (otherwise, (), True))
        rows.append((place, f"u{place}", 1, label, 0.5, label not in {"normal", ""}, label != "", len(pages), 0, reason))
        cited += [(f"u{place}", 1, "http", page) for page in pages]
    return Answers(pl.DataFrame(rows, ANSWER_SCHEMA, orient="row"), pl.DataFrame(cited, CITED_SCHEMA, orient="row"))


def _perfect() -> dict[int, tuple[str, tuple[str, ...], bool]]:
    return dict.fromkeys(range(MALICIOUS), ("malicious", ("a", "b"), True))


def test_a_perfect_model_gets_perfect_figures_without_spread() -> None:
    found = balanced_figures(TRUTH, _answers(_perfect()), KEY, in_all=8, draws=3, seed=7)
    for name in ("accuracy", "macro_f1", "malicious_recall", "valid_format", "actionability"):
        assert (found[name], found["spread"][name]) == (1.0, 0.0)
    assert (found["evidence"]["f1"], found["evidence"]["end_to_end"]["f1"], found["evidence"]["label_and_complete"]) == (1.0, 1.0, 1.0)
    assert (found["each"], found["draws"], found["seeds"]) == (4, 3, [7, 8, 9])
    assert [draw["rows"] for draw in found["by_draw"]] == [8, 8, 8]


def test_figures_are_means_over_draws_that_depend_on_the_seed_alone() -> None:
    answers = _answers({place: one for place, one in _perfect().items() if place % 2})
    found = balanced_figures(TRUTH, answers, KEY, in_all=4, draws=5, seed=0)
    recalls = [draw["malicious_recall"] for draw in found["by_draw"]]
    assert found["malicious_recall"] == pytest.approx(np.mean(recalls))
    assert found["spread"]["malicious_recall"] == pytest.approx(np.std(recalls, ddof=1))
    assert found["spread"]["malicious_recall"] > 0
    assert found == balanced_figures(TRUTH, answers, KEY, in_all=4, draws=5, seed=0)
    assert [places.tolist() for places in drawn_places(TRUTH, 4, 2, 1)] == [places.tolist() for places in drawn_places(TRUTH, 4, 3, 0)[1:]]


def test_suspicious_is_wrong_for_either_label_and_still_an_alert_with_evidence() -> None:
    found = balanced_figures(TRUTH, _answers(dict.fromkeys(range(30), ("suspicious", ("a",), True))), KEY, 12, 1, 0)
    assert (found["accuracy"], found["macro_f1"], found["malicious_recall"], found["suspicious"]) == (0.0, 0.0, 0.0, 12)
    assert (found["evidence"]["precision"], found["evidence"]["recall"]) == (1.0, 0.5)
    assert found["evidence"]["end_to_end"]["precision"] == 0.5  # six false alarms cite a page each


def test_an_answer_that_cannot_be_used_is_wrong_of_bad_format_and_nothing_to_act_on() -> None:
    said = _perfect() | {0: ("", (), False), 20: ("", (), False)}
    found = balanced_figures(TRUTH, _answers(said), KEY, in_all=60, draws=1, seed=0)
    draw = found["by_draw"][0]
    assert draw["rows"] == 30
    assert draw["valid_format"] == pytest.approx(28 / 30)
    assert draw["actionability"] == pytest.approx(5 / 7)
    assert draw["malicious_recall"] == pytest.approx(5 / 6)
    assert draw["accuracy"] == pytest.approx(28 / 30)


@pytest.mark.parametrize("flaw", [("malicious", (), True), ("malicious", ("a",), False)])
def test_an_alert_without_evidence_or_without_a_reason_is_not_actionable(flaw: tuple[str, tuple[str, ...], bool]) -> None:
    found = balanced_figures(TRUTH, _answers(_perfect() | {0: flaw}), KEY, in_all=60, draws=1, seed=0)
    assert found["valid_format"] == 1.0
    assert found["actionability"] == pytest.approx(5 / 6)
    assert found["actionability_of_all"] == pytest.approx(5 / 30)


def test_evidence_is_held_to_the_drawn_days_alone() -> None:
    found = balanced_figures(TRUTH, _answers({}), KEY, in_all=4, draws=1, seed=0)["by_draw"][0]["evidence"]
    assert (found["recall"], found["end_to_end"]["recall"]) == (0.0, 0.0)
    answers = _answers(_perfect())
    assert balanced_figures(TRUTH, answers, KEY, in_all=4, draws=1, seed=0)["evidence"]["end_to_end"]["recall"] == 1.0


def test_a_drawn_day_that_nobody_was_asked_about_is_an_error() -> None:
    answers = _answers(_perfect())
    with pytest.raises(ValueError, match="not asked about"):
        balanced_figures(TRUTH, Answers(answers.days.filter(pl.col("place") > 0), answers.cited), KEY, in_all=60, draws=1, seed=0)
