from dataclasses import replace
from typing import get_args

import pytest

from detector.backend import FixedAnswer, FixedBackend
from detector.narrative.floor import GRAVE, floor_of, floored, higher
from detector.techniques import TRAITS
from detector.verdict import Label, Verdict
from tests.detector.windows import window

LABELS: tuple[Label, ...] = get_args(Label)


def triage(label: Label, *traits: str) -> Verdict:
    (verdict,) = FixedBackend(lambda _: FixedAnswer(label, 0.9)).judge([window()])
    return replace(verdict, traits=traits)


@pytest.mark.parametrize("said", LABELS)
def test_no_model_talks_down_what_the_numbers_are_sure_of(said: Label) -> None:
    assert floored(said, triage("malicious", "removable_drive", "after_hours", "first_drive_use")) == "malicious"


@pytest.mark.parametrize("said", LABELS)
def test_what_honest_people_do_too_is_kept_visible_and_no_more(said: Label) -> None:
    assert floored(said, triage("malicious", "removable_drive", "job_hunting", "after_hours")) == higher(said, "suspicious")


@pytest.mark.parametrize("said", LABELS)
@pytest.mark.parametrize("label", ["normal", "suspicious"])
def test_where_triage_is_not_sure_the_model_is_free(said: Label, label: Label) -> None:
    assert floor_of(triage(label, *GRAVE)) == "normal"
    assert floored(said, triage(label, *GRAVE)) == said


def test_grave_traits_are_traits_that_exist() -> None:
    assert {name for name, _ in TRAITS} >= GRAVE
