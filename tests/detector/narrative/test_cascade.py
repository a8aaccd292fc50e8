from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.backend import FixedAnswer, FixedBackend
from detector.baseline import Baseline
from detector.narrative.calibrated import Combination
from detector.narrative.cascade import Cascade, alert_at, reach_of, share_of_seconds
from detector.trees import Calibration
from detector.verdict import Label, Verdict
from stream.errors import ConfigurationError
from tests.detector.windows import window

CASCADE = Cascade(0.05, reach=0.1, malicious=0.8, suspicious=0.3, alert=0.5, calibration=Calibration(), combination=Combination())
KNOWN = {"0.01": 0.6, "0.05": 0.3, "0.1": 0.1}


def triage(score: float, label: Label = "normal", learning: bool = False, traits: tuple[str, ...] = ()) -> Verdict:
    (verdict,) = FixedBackend(lambda _: FixedAnswer(label, score)).judge([window(learning=learning)])
    return replace(verdict, traits=traits)


class Known(Baseline):
    """A triage of which only the thresholds are asked for."""

    alert_at = 0.4

    def __init__(self) -> None: ...

    def threshold_at(self, budget: float) -> float:
        return 2.0 / budget


@pytest.fixture
def baseline() -> Baseline:
    return Known()


def test_a_window_reaches_the_model_by_its_own_score_alone() -> None:
    assert [CASCADE.reached(triage(score)) for score in (0.0999, 0.1, 0.9)] == [False, True, True]


def test_a_known_share_has_its_threshold_and_others_lie_between(baseline: Baseline) -> None:
    assert [reach_of(share, KNOWN, baseline) for share in (0.01, 0.05, 0.1)] == [0.6, 0.3, 0.1]
    assert 0.1 < reach_of(0.07, KNOWN, baseline) < 0.3
    assert 0 < reach_of(0.5, KNOWN, baseline) < 0.1
    assert reach_of(0.001, KNOWN, baseline) == 0.6


def test_without_notes_the_baselines_own_thresholds_say_what_a_share_is(baseline: Baseline) -> None:
    assert reach_of(0.005, {}, baseline) == baseline.threshold_at(5)
    assert reach_of(0.05, {}, baseline) == baseline.threshold_at(50)


@given(st.floats(0.001, 1), st.floats(0.001, 1))
def test_a_larger_share_never_has_a_higher_threshold(one: float, other: float) -> None:
    model = Known()
    small, large = sorted((one, other))
    assert reach_of(large, KNOWN, model) <= reach_of(small, KNOWN, model)


def test_the_share_of_everything_is_everything(baseline: Baseline) -> None:
    assert reach_of(1.0, KNOWN, baseline) == 0.0


@pytest.mark.parametrize("share", [0.0, -1.0, 1.01])
def test_what_is_no_share_is_refused_by_name(share: float, baseline: Baseline) -> None:
    with pytest.raises(ConfigurationError, match=r"detect\.share"):
        reach_of(share, KNOWN, baseline)


def test_machine_time_becomes_a_share() -> None:
    assert share_of_seconds(3_600, 100_000, 0.5) == pytest.approx(0.072)
    assert share_of_seconds(1e9, 100, 0.5) == 1.0
    with pytest.raises(ConfigurationError):
        share_of_seconds(3_600, 0, 0.5)


def test_label_and_alert_follow_the_combined_score() -> None:
    found = [CASCADE.judged(triage(0.2), score, "normal") for score in (0.1, 0.4, 0.6, 0.9)]
    assert [one.label for one in found] == ["normal", "suspicious", "suspicious", "malicious"]
    assert [one.alert for one in found] == [False, False, True, True]
    assert not any(one.held for one in found)


def test_the_models_word_makes_an_alert_graver_and_raises_none_by_itself() -> None:
    assert CASCADE.judged(triage(0.2), 0.6, "malicious").label == "malicious"
    below = CASCADE.judged(triage(0.2), 0.4, "malicious")
    assert (below.label, below.alert) == ("suspicious", False)


def test_somebody_who_is_hardly_known_alerts_only_where_the_label_does() -> None:
    assert not CASCADE.judged(triage(0.2, learning=True), 0.6, "malicious").alert
    assert CASCADE.judged(triage(0.2, learning=True), 0.9, "normal").alert


def test_grave_numbers_hold_label_alert_and_score_up() -> None:
    sure = triage(0.95, "malicious", traits=("after_hours", "leak_site"))
    held = CASCADE.judged(sure, 0.01, "normal")
    assert (held.label, held.alert, held.held, held.score) == ("malicious", True, True, CASCADE.malicious)
    free = CASCADE.judged(sure, 0.9, "normal")
    assert (free.label, free.held, free.score) == ("malicious", False, 0.9)


def test_lesser_numbers_keep_a_window_visible() -> None:
    held = CASCADE.judged(triage(0.95, "malicious", traits=("removable_drive",)), 0.01, "normal")
    assert (held.label, held.alert, held.held, held.score) == ("suspicious", False, True, 0.01)


@given(st.floats(0, 1), st.sampled_from(["normal", "suspicious", "malicious"]), st.booleans(), st.booleans())
def test_a_malicious_label_always_alerts_and_has_the_score_for_it(score: float, own: Label, grave: bool, learning: bool) -> None:
    traits = ("after_hours", "leak_site") if grave else ()
    found = CASCADE.judged(triage(0.95, "malicious" if grave else "normal", learning, traits), score, own)
    assert (found.label == "malicious") <= found.alert
    assert (found.label == "malicious") <= (found.score >= CASCADE.alert)


def test_an_alert_threshold_is_that_of_its_budget() -> None:
    known = {"malicious": 0.9, "alert@1": 0.8, "alert@10": 0.2}
    assert [alert_at(budget, known, 0.5) for budget in (1, 10, 100)] == [0.8, 0.2, 0.2]
    assert 0.2 < alert_at(5, known, 0.5) < 0.8
    assert alert_at(5, {"malicious": 0.9}, 0.5) == 0.5
