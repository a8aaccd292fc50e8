import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.evaluation.metrics import average_precision, curve, reliability
from detector.narrative.calibrated import BadProbabilities, Combination, log_odds, model_logits, sound
from detector.trees import Calibration, Flags, Floats, sigmoid


def rows(*given: tuple[float, float, float]) -> Floats:
    return np.array(given, np.float64)


def drawn(seed: int = 1, n: int = 4_000) -> tuple[Flags, Floats, Floats]:
    """Truth at 5 %, and two witnesses that each know a part of it."""
    chance = np.random.default_rng(seed)
    truth: Flags = chance.random(n) < 0.05
    return truth, chance.normal(-3, 1, n) + 2 * truth, chance.normal(-1, 2, n) + 4 * truth


@pytest.mark.parametrize(
    "bad",
    [rows((0.5, 0.5, np.nan)), rows((0.5, 0.6, 0.5)), rows((1.2, -0.2, 0.0)), rows(), rows((1, 0, 0), (1, 0, 0)), rows((np.inf, 0, 0))],
)
def test_what_are_no_probabilities_is_refused(bad: Floats) -> None:
    with pytest.raises(BadProbabilities):
        sound(bad, 1)
    assert sound(rows((0.2, 0.3, 0.5)), 1).tolist() == [[0.2, 0.3, 0.5]]


def test_certainty_has_log_odds_too() -> None:
    found = log_odds(np.array([0.0, 0.5, 1.0]))
    assert np.isfinite(found).all()
    assert found[1] == 0
    assert found[0] == pytest.approx(-found[2])


def test_what_moves_with_the_batch_does_not_reach_the_score() -> None:
    assert model_logits(rows((0.3, 0.2, 0.5)))[0] == model_logits(rows((0.300002, 0.2, 0.499998)))[0]


def test_a_models_score_is_how_malicious_it_calls_the_window() -> None:
    found = model_logits(rows((0.9, 0.05, 0.05), (0.05, 0.9, 0.05), (0.05, 0.05, 0.9)))
    assert found[0] == found[1] < 0 < found[2]


def test_calibrated_scores_mean_what_they_say() -> None:
    truth, _, model = drawn()
    raw = reliability(truth, sigmoid(model)).error
    held_truth, _, held = drawn(seed=2)
    said = Calibration.fit(model, truth).probability(held)
    assert reliability(held_truth, said).error < 0.02 < raw


def test_two_witnesses_together_rank_better_than_each_alone_and_stay_calibrated() -> None:
    known, first, second = drawn()
    found = Combination.fit(first, second, known)
    truth, triage, model = drawn(seed=2)
    both = found.probability(triage, model)
    assert average_precision(curve(truth, both)) > max(average_precision(curve(truth, one)) for one in (triage, model)) + 0.05
    assert reliability(truth, both).error < 0.02


def test_a_witness_that_knows_nothing_gets_no_weight_and_never_a_negative_one() -> None:
    truth, triage, _ = drawn()
    wrong = -triage
    found = Combination.fit(triage, wrong, truth)
    assert (found.model, found.triage > 0) == (0, True)
    assert Combination.fit(triage, triage, np.zeros(len(truth), np.bool_)) == Combination()


def test_rows_drawn_more_often_than_they_occur_count_less() -> None:
    truth, triage, model = drawn()
    kept = truth | (np.random.default_rng(0).random(len(truth)) < 0.1)
    weight = np.where(truth, 1.0, 10.0)[kept]
    plain, weighted = (Combination.fit(triage[kept], model[kept], truth[kept], one) for one in (None, weight))
    said, too_much = (float(one.probability(triage, model).mean()) for one in (weighted, plain))
    assert abs(said - truth.mean()) < 0.01 < too_much - truth.mean()


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0, 5))
def test_a_model_that_is_surer_never_lowers_the_score(triage: float, model: float, more: float) -> None:
    low, high = Combination().probability(np.array([triage, triage]), np.array([model, model + more]))
    assert low <= high


def test_a_combination_survives_being_written() -> None:
    found = Combination(1.25, 0.5, -0.125)
    assert Combination.from_plain(found.plain()) == found
