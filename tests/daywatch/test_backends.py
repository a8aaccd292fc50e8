import json
from pathlib import Path
from typing import Any

import pytest

import daywatch.backends as backends
from daywatch.backends import Choice, choice_of, made, spent_by, with_model
from daywatch.settings import load
from detector.baseline import Baseline
from detector.narrative.backend import NarrativeBackend
from detector.narrative.calibrated import Combination
from detector.narrative.cascade import Cascade
from detector.narrative.notes import Notes, write_notes
from detector.narrative.prompt import identity_of
from detector.narrative.seam import FixedModel
from stream.errors import ConfigurationError, UsageError


@pytest.fixture(scope="module")
def triage() -> Baseline:
    return Baseline.load()


def notes(**more: Any) -> Notes:
    made: dict[str, Any] = {
        "base": "some/base",
        "base_sha256": "ab" * 32,
        "track": "all",
        "prompt": identity_of("all", 500, 0),
        "budget": 500,
        "calibration": (0.5, -1.0),
        "combination": (0.7, 0.9, -0.2),
        "thresholds": {"malicious": 0.61, "suspicious": 0.21, "alert@5": 0.41},
        "triage": {"0.05": 0.123, "0.1": 0.05},
    }
    return Notes(**(made | more))


def cascade(triage: Baseline, choice: Choice, found: Notes | None) -> Cascade:
    backend = with_model(FixedModel(), choice, triage, found)
    assert isinstance(backend, NarrativeBackend)
    assert isinstance(backend._how, Cascade)
    return backend._how


def test_an_adapters_numbers_are_those_of_its_notes(triage: Baseline) -> None:
    found = cascade(triage, Choice("narrative"), notes())
    assert (found.share, found.reach, found.malicious, found.suspicious, found.alert) == (0.05, 0.123, 0.61, 0.21, 0.41)
    assert found.combination == Combination(triage=0.9, model=0.7, shift=-0.2)
    assert (found.calibration.slope, found.calibration.shift) == (0.5, -1.0)


def test_without_notes_or_behind_another_triage_its_own_numbers_hold(triage: Baseline) -> None:
    for choice, found in ((Choice("narrative"), None), (Choice("narrative", model=Path("other.gz")), notes())):
        how = cascade(triage, choice, found)
        assert (how.malicious, how.suspicious, how.alert) == (triage.malicious_at, triage.suspicious_at, triage.alert_at)
        assert how.reach == pytest.approx(triage.threshold_at(50), abs=1e-6)
        assert how.combination == Combination()


def test_an_adapter_that_was_trained_on_other_prompts_is_refused(triage: Baseline) -> None:
    with pytest.raises(ConfigurationError, match=r"detect\.adapter: it was trained on prompts 1:000"):
        with_model(FixedModel(), Choice("narrative"), triage, notes(prompt="1:000"))


def test_a_prompt_that_shows_more_than_the_track_may_is_refused(triage: Baseline) -> None:
    with pytest.raises(ConfigurationError, match=r"detect\.track"):
        with_model(FixedModel(), Choice("narrative", track="shortcut-free"), triage, notes())


def test_settings_become_a_choice_and_machine_time_a_share() -> None:
    found = choice_of(load(alone=True, flags={"detect.backend": "narrative", "detect.share": 0.2, "detect.shots": 3, "detect.base": "b"}))
    assert (found.backend, found.share, found.shots, found.base, found.server) == ("narrative", 0.2, 3, "b", None)
    seconds = {"detect.seconds_a_day": 3600, "detect.windows_a_day": 100_000, "detect.seconds_per_window": 0.5}
    assert choice_of(load(alone=True, flags=seconds)).share == pytest.approx(0.072)


@pytest.mark.parametrize("flags", [{"detect.seconds_a_day": 60}, {"detect.share": 0.1, "detect.seconds_a_day": 60}, {"detect.share": 0}])
def test_half_a_budget_or_two_are_wrong_usage(flags: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        load(alone=True, flags=flags)


def test_the_servers_key_is_handed_on_and_never_shown() -> None:
    settings = load(alone=True, flags={"remote.url": "http://h/v1", "remote.api_key": "hunter2", "remote.timeout": "5s"})
    server = choice_of(settings).server
    assert server is not None
    assert (server.api_key(), server.timeout_s) == ("hunter2", 5.0)
    assert "hunter2" not in f"{settings!r} {choice_of(settings)!r}"


def test_base_and_adapter_are_filled_in_from_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_shipped", lambda: None)
    assert backends.weights_of(Choice(adapter="none")) == ("package:smollm2-135m", None, None)
    assert backends.weights_of(Choice(base="other/base")) == ("other/base", None, None)
    with pytest.raises(ConfigurationError, match="the adapter that comes with Daywatch is missing"):
        backends.weights_of(Choice())
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "their/base"}))
    write_notes(tmp_path, notes(base="package:smollm2-135m"))
    monkeypatch.setattr(backends, "_shipped", lambda: tmp_path)
    for choice in (Choice(), Choice(adapter="shipped")):
        base, adapter, found = backends.weights_of(choice)
        assert (base, adapter, found is not None) == ("package:smollm2-135m", str(tmp_path), True)


def test_a_backend_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigurationError, match="use baseline, narrative, remote"):
        made(Choice("oracle"))


def test_only_language_models_say_what_they_cost(triage: Baseline) -> None:
    assert spent_by(triage) is None
    text = spent_by(with_model(FixedModel(), Choice("narrative"), triage, None))
    assert text is not None
    assert text.startswith("the model has read 0 of 0 windows")
