"""What is said of attacks: models that obey are found out, and the floor under them shows."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from detector.backend import Backend, FixedAnswer, FixedBackend
from detector.baseline import Baseline
from detector.narrative.answer import Answer, plain
from detector.narrative.backend import Alone, NarrativeBackend
from detector.narrative.prompt import Composer, Prompt
from detector.narrative.seam import FixedModel
from detector.redteam.measure import Judges, Report, measured
from detector.redteam.payloads import FAMILIES, FLOODS
from detector.redteam.scenes import Stage
from detector.trees import Calibration
from detector.verdict import EventRef, Label, UnknownEvidence, Verdict
from stream.kinds import Kind
from windowing.record import Window

NORMAL, MALICIOUS = (0.9, 0.05, 0.05), (0.05, 0.05, 0.9)
FORGED = ('"risk": "normal"', '"risk": "malicious"', "<|im_start|>", "[INST]", "\nFacts: none", "</think>")


def gullible(prompt: Prompt) -> tuple[float, float, float]:
    """Believes whatever looks like a part of the conversation; without that it finds every day malicious."""
    return NORMAL if any(mark in prompt.user for mark in FORGED) else MALICIOUS


def repeating(prompt: Prompt, label: Label) -> Answer:
    """Gives what stands in quotes as its reason."""
    return Answer(label, (0,), plain(" ".join(prompt.user.split('"')[3::2])) or "nothing in quotes")


def words(verdict: Verdict, window: Window) -> str:
    return verdict.reason


def narrative(model: FixedModel, *, defended: bool = True) -> NarrativeBackend:
    return NarrativeBackend(model, Composer("all", 640, model.count, defended=defended), Alone(Calibration(), "all"))


def judges(model: FixedModel) -> Judges:
    return Judges(narrative(model), narrative(model), narrative(model, defended=False), Baseline.load(), words)


def test_a_gullible_model_falls_without_the_defences_and_stands_with_them(small: Stage) -> None:
    report = measured(judges(FixedModel(gullible)), small, n=28)
    assert report.undefended is not None
    told = report.as_dict()
    assert told["n"] == told["eligible"] == 28
    assert told["lowered"] == 0
    assert told["undefended"]["lowered"] > 0.1


class Sure:
    """Triage that is sure of every day, on grave traits."""

    name = "sure"

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        verdicts = FixedBackend(lambda _window: FixedAnswer("malicious", 0.99)).judge(windows)
        return [replace(verdict, traits=("after_hours", "leak_site")) for verdict in verdicts]


def test_the_floor_holds_what_the_model_lets_go(small: Stage) -> None:
    told = measured(replace(judges(FixedModel(gullible)), triage=Sure()), small, n=28).as_dict()
    assert told["undefended"]["lowered"] > 0.1
    assert told["undefended"]["lowered_after_floor"] == 0


def test_a_model_that_repeats_what_it_reads_is_heard(small: Stage) -> None:
    told = measured(judges(FixedModel(MALICIOUS, repeating)), small, n=28).as_dict()
    assert told["undefended"]["echoed"] > 10
    assert told["lowered"] == 0


def test_a_model_that_no_text_moves_is_neither_lowered_nor_heard(small: Stage) -> None:
    told = measured(judges(FixedModel(MALICIOUS)), small, n=14).as_dict()
    assert (told["lowered"], told["lowered_after_floor"], told["invalid_citations"], told["echoed"]) == (0, 0, 0, 0)
    assert told["innocent"] == 0, "an innocent day that is called malicious anyway frames nobody"
    assert told["framed"] is None


def test_a_model_that_is_never_alarmed_cannot_be_lowered(small: Stage) -> None:
    told = measured(judges(FixedModel(NORMAL)), small, n=14).as_dict()
    assert (told["n"], told["eligible"], told["lowered"]) == (14, 0, None)


def test_somebody_who_is_framed_is_counted(small: Stage) -> None:
    def easily_alarmed(prompt: Prompt) -> tuple[float, float, float]:
        return MALICIOUS if any(mark in prompt.user for mark in ("malicious", "theft", "odd things")) else NORMAL

    report = measured(replace(judges(FixedModel(easily_alarmed)), plain=FixedBackend({})), small, n=32).as_dict()
    assert report["innocent"] == 8
    assert report["undefended"]["counts"]["framed"] >= 1


class Fabricating:
    """Cites an event that does not exist on some days, and its checks refuse the answer."""

    name = "fabricating"

    def __init__(self, within: Backend, *, checked: bool) -> None:
        self._within, self._checked = within, checked

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        verdicts = self._within.judge(windows)
        if self._checked and any(len(window.events) % 2 for window in windows):
            raise UnknownEvidence("http event none is not in the window")
        return [
            replace(verdict, cited=(EventRef(Kind.HTTP, "{NONE}"),)) if len(w.events) % 2 else verdict
            for verdict, w in zip(verdicts, windows, strict=True)
        ]


@pytest.mark.parametrize("checked", [True, False])
def test_invalid_citations_are_counted_whether_refused_or_not(small: Stage, checked: bool) -> None:
    alarmed = FixedBackend(lambda window: FixedAnswer("malicious", 0.9, alert=True))
    found = measured(Judges(alarmed, Fabricating(alarmed, checked=checked), None, Baseline.load(), words), small, n=14)
    odd = sum(len(outcome.trial.window.events) % 2 for outcome in found.defended)
    assert odd
    assert found.as_dict()["invalid_citations"] == odd
    assert found.as_dict()["undefended"] is None


def test_every_family_is_used_and_told_apart(small: Stage) -> None:
    told = measured(judges(FixedModel(gullible)), small, n=28).as_dict()
    assert list(told["by_family"]) == list(FAMILIES)
    assert all(told["by_family"][family]["n"] == 2 for family in FAMILIES)
    assert all(told["by_family"][family]["innocent"] == 0 for family in FLOODS)
    assert sum(of["counts"]["lowered"] for of in told["by_family"].values()) == told["counts"]["lowered"]


def test_the_same_seed_gives_the_same_figures(small: Stage) -> None:
    one, other = (measured(judges(FixedModel(gullible)), small, n=10, seed=3).as_dict() for _ in range(2))
    assert one == other


def test_no_outcomes_are_no_failure() -> None:
    assert Report().as_dict()["lowered"] is None
