"""Calibration and thresholds of an adapter: right for a population, from a sample that is not like it."""

import numpy as np
import pytest

from detector.narrative.answer import Answer
from detector.narrative.fitting import Fitted, fitted
from detector.narrative.lessons import Lesson
from detector.narrative.prompt import Prompt
from detector.narrative.seam import FixedModel
from stream.errors import ConfigurationError

REACH = 0.02


def population(seed: int, windows: int = 6000) -> tuple[list[Lesson], FixedModel]:
    """Two per cent malicious; a model that is good but twice too sure, and thinks half of all days are malicious."""
    chance = np.random.default_rng(seed)
    truth = chance.random(windows) < 0.02
    logit = np.where(truth, 2.0, -2.0) + chance.normal(0, 1.4, windows)
    triage = 1 / (1 + np.exp(-(np.where(truth, -1.0, -6.0) + chance.normal(0, 1.5, windows))))
    said = {f"w{place}": 1 / (1 + np.exp(-4 * logit[place])) for place in range(windows)}
    lessons = []
    for place in range(windows):
        prompt = Prompt("s", f"w{place}", (), 0)
        answer = Answer("malicious" if truth[place] else "normal", (), "because")
        lessons.append(Lesson(prompt, answer, f"u{place}", float(triage[place])))
    return lessons, FixedModel(lambda prompt: (1 - said[prompt.user], 0.0, said[prompt.user]))


def sampled(lessons: list[Lesson], seed: int) -> list[Lesson]:
    kept = [one for one in lessons if one.triage >= REACH or one.answer.risk == "malicious"]
    rest = [one for one in lessons if one.triage < REACH and one.answer.risk == "normal"]
    drawn = np.random.default_rng(seed).choice(len(rest), 300, replace=False)
    return kept + [Lesson(rest[at].prompt, rest[at].answer, rest[at].user, rest[at].triage, len(rest) / 300) for at in drawn]


@pytest.fixture(scope="module")
def found() -> tuple[Fitted, list[Lesson], FixedModel]:
    lessons, model = population(1)
    return fitted(model, sampled(lessons, 2), REACH), lessons, model


def test_calibrated_probabilities_hold_for_the_whole_population(found: tuple[Fitted, list[Lesson], FixedModel]) -> None:
    fit, lessons, model = found
    slope, shift = fit.calibration
    own = model.label([one.prompt for one in lessons])[:, 2].clip(1e-6, 1 - 1e-6)
    score = 1 / (1 + np.exp(-(slope * np.log(own / (1 - own)) + shift)))
    truth = np.array([one.answer.risk == "malicious" for one in lessons])
    assert score.mean() == pytest.approx(truth.mean(), rel=0.35)
    assert slope < 1
    assert abs(own.mean() - truth.mean()) > 3 * abs(score.mean() - truth.mean())
    assert fit.figures["ece"] < 0.02


def test_the_own_label_is_decided_where_both_kinds_weigh_the_same() -> None:
    lessons, model = population(4)
    biased = FixedModel(lambda prompt: _moved(model.label([prompt])[0], 3.0))
    fit = fitted(biased, sampled(lessons, 5), REACH)
    unbiased = fitted(model, sampled(lessons, 5), REACH)
    assert fit.decision == pytest.approx(unbiased.decision + 3.0, abs=0.2)
    assert fit.figures["balanced_accuracy"] == pytest.approx(unbiased.figures["balanced_accuracy"], abs=0.01)
    assert fit.figures["balanced_accuracy"] > 0.88


def _moved(probabilities: np.ndarray, by: float) -> tuple[float, float, float]:
    odds = probabilities[2] / max(probabilities[0], 1e-300) * np.exp(by)
    return (1 / (1 + odds), 0.0, odds / (1 + odds))


def test_a_budget_is_a_share_of_all_windows(found: tuple[Fitted, list[Lesson], FixedModel]) -> None:
    fit = found[0]
    values = [fit.thresholds[f"alert@{budget}"] for budget in ("1", "5", "20", "100")]
    assert values == sorted(values, reverse=True)
    assert fit.thresholds["suspicious"] <= fit.thresholds["alert@5"]


def test_both_together_rank_better_than_triage_alone(found: tuple[Fitted, list[Lesson], FixedModel]) -> None:
    fit, lessons, model = found
    seen = [one for one in lessons if one.triage >= REACH]
    truth = np.array([one.answer.risk == "malicious" for one in seen])
    triage = np.array([one.triage for one in seen])
    own = model.label([one.prompt for one in seen])[:, 2].clip(1e-6, 1 - 1e-6)
    of_model, of_triage, shift = fit.combination
    both = of_model * np.log(own / (1 - own)) + of_triage * np.log(triage / (1 - triage)) + shift

    def auc(score: np.ndarray) -> float:
        return float((score[truth][:, None] > score[~truth][None, :]).mean())

    assert auc(both) > auc(triage) + 0.02
    assert of_model > 0
    assert of_triage > 0


def test_windows_of_one_kind_cannot_be_calibrated_on() -> None:
    lessons, model = population(3, 200)
    with pytest.raises(ConfigurationError, match="calibrate"):
        fitted(model, [one for one in lessons if one.answer.risk == "normal"], REACH)
