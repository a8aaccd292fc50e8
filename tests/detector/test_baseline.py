from dataclasses import asdict, replace

import numpy as np
import orjson
import pytest

from detector.baseline import Baseline
from detector.budget import BUDGETS, Thresholds
from detector.matrix import ForeignWindow
from detector.model_file import Model
from detector.verdict import Verdict
from tests.detector.conftest import Taught
from tests.detector.windows import window


def judging(taught: Taught, track: str = "all", budget: float = 5.0) -> Baseline:
    return Baseline(taught.model, taught.model.sha256, track, budget)


def bytes_of(verdicts: list[Verdict]) -> list[bytes]:
    return [orjson.dumps(asdict(verdict)) for verdict in verdicts]


def with_thresholds(taught: Taught, malicious: float, budget: float) -> Baseline:
    """The same trees; suspicious from `budget` on whatever the budget, malicious from `malicious` on."""
    thresholds = Thresholds(malicious, (budget,) * len(BUDGETS))
    track = replace(taught.model.tracks["all"], thresholds=thresholds)
    return Baseline(Model(taught.model.made, taught.model.peers, {"all": track}), "sha", "all")


@pytest.mark.parametrize("track", ["all", "shortcut-free"])
def test_a_window_is_judged_the_same_in_any_company(taught: Taught, track: str) -> None:
    backend = judging(taught, track)
    some = taught.windows[::3]
    together = bytes_of(backend.judge(some))
    assert bytes_of(backend.judge(some[::-1]))[::-1] == together
    telling = [place for place, verdict in enumerate(backend.judge(some)) if verdict.label != "normal"]
    places = [*telling[:20], 0, 1, 2]
    for place in places:
        assert bytes_of(backend.judge([some[place]])) == [together[place]]


def test_every_citation_is_in_its_window_and_every_alert_cites(taught: Taught) -> None:
    for one, verdict in zip(taught.windows, judging(taught).judge(taught.windows), strict=True):
        held = {(event["kind"], event["id"]) for event in one.events}
        assert {(ref.kind.value, ref.id) for ref in verdict.cited} <= held
        assert bool(verdict.cited) == (verdict.label != "normal")
        assert verdict.window_id == one.id
        assert 0 <= verdict.score <= 1
        assert verdict.score == verdict.triage_score


def test_it_finds_what_it_was_shown_and_cites_it(taught: Taught) -> None:
    verdicts = judging(taught).judge(taught.windows)
    bad = np.array([bool(key) for key in taught.keys])
    score = np.array([verdict.score for verdict in verdicts])
    assert score[bad].mean() > 10 * score[~bad].mean()
    right = [
        (len({(ref.kind.value, ref.id) for ref in verdict.cited} & key), len(verdict.cited))
        for verdict, key in zip(verdicts, taught.keys, strict=True)
        if key and verdict.alert
    ]
    assert len(right) > 0.7 * bad.sum()
    assert sum(hit for hit, _ in right) > 0.7 * sum(cited for _, cited in right)


def test_malicious_alerts_and_normal_does_not(taught: Taught) -> None:
    for verdict in judging(taught).judge(taught.windows):
        assert verdict.alert or verdict.label != "malicious"
        assert not verdict.alert or verdict.label != "normal"


def test_suspicious_alerts_from_the_threshold_of_the_budget_on(taught: Taught) -> None:
    known = [one for one in taught.windows if not one.learning]
    found = with_thresholds(taught, malicious=1.0, budget=0.05).judge(known)
    assert {(verdict.label, verdict.alert) for verdict in found} == {("suspicious", True), ("normal", False)}
    assert all(verdict.alert == (verdict.score >= 0.05) for verdict in found)


def test_somebody_who_is_hardly_known_alerts_only_at_the_high_threshold(taught: Taught) -> None:
    young = [replace(one, learning=True) for one in taught.windows if taught.keys[taught.windows.index(one)]]
    low = with_thresholds(taught, malicious=1.0, budget=0.0).judge(young)
    assert {(verdict.label, verdict.alert, verdict.learning) for verdict in low} == {("suspicious", False, True)}
    high = with_thresholds(taught, malicious=0.2, budget=0.0).judge(young)
    assert any(verdict.alert for verdict in high)
    assert all(verdict.alert == (verdict.score >= 0.2) for verdict in high)


def test_a_larger_budget_never_alerts_less(taught: Taught) -> None:
    alerts = [sum(verdict.alert for verdict in judging(taught, budget=budget).judge(taught.windows)) for budget in (0.5, 5, 50, 100)]
    assert alerts == sorted(alerts)


def test_the_shortcut_free_track_does_not_look_at_counts(taught: Taught) -> None:
    backend = judging(taught, "shortcut-free")
    plain, loud = window(n_http=10.0, pages=10.0, pages_z=0.0), window(n_http=9000.0, pages=9000.0, pages_z=40.0, outside_kb=1e6)
    assert bytes_of(backend.judge([plain])) == bytes_of(backend.judge([loud]))


def test_a_verdict_says_where_it_comes_from(taught: Taught) -> None:
    (verdict,) = judging(taught).judge(taught.windows[:1])
    assert verdict.by == "baseline"
    assert verdict.track == "all"
    assert verdict.provenance["model_sha256"] == taught.model.sha256
    assert verdict.provenance["window_digest"] == taught.windows[0].digest
    assert all(isinstance(value, str) for value in verdict.provenance.values())


def test_a_reason_repeats_nothing_that_a_user_wrote(taught: Taught) -> None:
    for one, verdict in zip(taught.windows, judging(taught).judge(taught.windows), strict=True):
        written = [str(event.get(field)) for event in one.events for field in ("url", "filename", "to") if event.get(field)]
        assert not any(text in verdict.reason for text in [*written, one.user])


def test_windows_of_another_version_are_refused(taught: Taught) -> None:
    foreign = replace(window(), features={"n_http": 1.0})
    with pytest.raises(ForeignWindow):
        judging(taught).judge([foreign])


def test_no_windows_get_no_verdicts(taught: Taught) -> None:
    assert judging(taught).judge([]) == []


def test_an_empty_window_can_be_judged(taught: Taught) -> None:
    backend = with_thresholds(taught, malicious=0.0, budget=0.0)
    (verdict,) = backend.judge([window()])
    assert verdict.label == "malicious"
    assert verdict.cited == ()
