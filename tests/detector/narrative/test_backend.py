from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from detector.backend import Backend, FixedAnswer, FixedBackend, everything_shown, judged
from detector.narrative.answer import Answer, BadAnswer
from detector.narrative.backend import Alone, NarrativeBackend
from detector.narrative.calibrated import BadProbabilities, Combination
from detector.narrative.cascade import Cascade
from detector.narrative.prompt import Composer, Prompt
from detector.narrative.seam import FixedModel, NarrativeModel
from detector.trees import Calibration
from detector.verdict import EventRef, Label, Verdict
from stream.errors import PoisonError
from stream.kinds import Kind
from tests.detector.windows import A_THEFT, window
from windowing.record import Window

CASCADE = Cascade(0.05, reach=0.1, malicious=0.8, suspicious=0.3, alert=0.5, calibration=Calibration(), combination=Combination())
SURE, UNSURE, CALM = (0.02, 0.03, 0.95), (0.3, 0.3, 0.4), (0.97, 0.02, 0.01)


def thefts(*users: str) -> list[Window]:
    return [window(A_THEFT, user=user) for user in users]


def scored(scores: Mapping[str, float], label: Label = "normal", alert: bool = False) -> FixedBackend:
    """A triage that gives each user's window a score."""
    return FixedBackend(
        lambda one: FixedAnswer(label if scores.get(one.user, 0) else "normal", scores.get(one.user, 0.0), alert=alert, reason="triage")
    )


def backend(
    model: NarrativeModel, triage: Backend | None = None, how: Cascade | Alone = CASCADE, lines: Mapping[EventRef, str] | None = None
) -> NarrativeBackend:
    return NarrativeBackend(
        model, Composer("all", 400, model.count), how, triage or scored({}), lines=lambda _: lines or {}, timer=iter(range(10**6)).__next__
    )


def test_only_windows_above_the_threshold_reach_the_model_and_verdicts_keep_their_order() -> None:
    model = FixedModel(SURE)
    found = backend(model, scored({"BOB": 0.5, "DAN": 0.2})).judge(thefts("ANA", "BOB", "CYD", "DAN"))
    assert [verdict.user for verdict in found] == ["ANA", "BOB", "CYD", "DAN"]
    assert [verdict.provenance["judged_by"] for verdict in found] == ["triage", "model", "triage", "model"]
    assert len(model.labelled) == 2
    assert [verdict.triage_score for verdict in found] == [0.0, 0.5, 0.0, 0.2]


def test_a_verdict_does_not_depend_on_who_came_before_or_with_it() -> None:
    triage = scored({"ANA": 0.5, "BOB": 0.5, "CYD": 0.5})
    together = backend(FixedModel(SURE), triage).judge(thefts("ANA", "BOB", "CYD"))
    one_by_one = backend(FixedModel(SURE), triage)
    assert [one_by_one.judge([one])[0] for one in thefts("ANA", "BOB", "CYD")] == together


def test_what_is_not_normal_is_explained_and_nothing_else_is() -> None:
    model = FixedModel(lambda prompt: SURE if "R:/a" in prompt.user or prompt.aliases else CALM)
    calm = window(user="BOB")
    first, second = backend(model, scored({"ANA": 0.6, "BOB": 0.11})).judge([*thefts("ANA"), calm])
    assert first.label == "malicious"
    assert first.cited == model.labelled[0].aliases[:1]
    assert first.reason == "fixed answer"
    assert (second.label, second.cited) == ("normal", ())
    assert [label for _, label in model.explained] == ["malicious"]


def test_the_model_moves_the_score_both_ways_and_what_it_is_unsure_of_little() -> None:
    triage = scored({"ANA": 0.4})
    up, same, down = (backend(FixedModel(of), triage).judge(thefts("ANA"))[0].score for of in (SURE, (0.25, 0.25, 0.5), CALM))
    assert down < same == 0.4 < up


def test_citations_become_event_ids_traits_and_techniques() -> None:
    model = FixedModel(SURE, lambda prompt, label: Answer(label, tuple(range(len(prompt.aliases))), "all of it"))
    (verdict,) = backend(model, scored({"ANA": 0.7})).judge(thefts("ANA"))
    assert verdict.cited == model.labelled[0].aliases
    assert set(verdict.cited) <= set(everything_shown(thefts("ANA")[0]))
    assert "leak_site" in verdict.traits
    assert "T1567" in verdict.techniques


@pytest.mark.parametrize("places", [(99,), (-1,), (1, 0), (1, 1)])
def test_an_answer_that_cites_what_was_not_shown_or_out_of_order_is_poison(places: tuple[int, ...]) -> None:
    class Loose(FixedModel):
        def explain(self, prompts: Sequence[Prompt], labels: Sequence[Label]) -> list[Answer]:
            found = super().explain(prompts, labels)
            for answer in found:
                object.__setattr__(answer, "evidence", places)  # what a model behind the seam might do, whatever `Answer` allows
            return found

    with pytest.raises(BadAnswer):
        backend(Loose(SURE), scored({"ANA": 0.7})).judge(thefts("ANA"))


def test_an_answer_to_another_question_is_poison() -> None:
    model = FixedModel(SURE, lambda _prompt, _label: Answer("suspicious", (0,), "another label"))
    with pytest.raises(BadAnswer, match="asked why the window is malicious"):
        backend(model, scored({"ANA": 0.7})).judge(thefts("ANA"))


def test_numbers_that_are_none_are_poison() -> None:
    with pytest.raises(BadProbabilities):
        backend(FixedModel((float("nan"), 0.5, 0.5)), scored({"ANA": 0.7})).judge(thefts("ANA"))


def test_whoever_makes_the_model_stumble_does_not_make_an_alert_vanish() -> None:
    def stumbles(prompt: Prompt, label: Label) -> Answer:
        raise BadAnswer("no answer at all")

    alarmed = scored({"ANA": 0.9, "BOB": 0.9}, "malicious", alert=True)
    found = judged(backend(FixedModel(SURE, stumbles), alarmed), thefts("ANA", "BOB"))
    verdicts = [verdict for verdict in found if isinstance(verdict, Verdict)]
    assert [(one.alert, one.reason, one.provenance["refused"]) for one in verdicts] == [(True, "triage", "bad_answer")] * 2
    [calm] = judged(backend(FixedModel(SURE, stumbles), scored({"ANA": 0.7})), thefts("ANA"))
    assert isinstance(calm, PoisonError)


def test_grave_numbers_stand_whatever_the_model_says() -> None:
    class Sure(FixedBackend):
        def judge(self, windows: Sequence[Window]) -> list[Verdict]:
            return [replace(verdict, traits=("after_hours", "leak_site")) for verdict in super().judge(windows)]

    triage = Sure(lambda _: FixedAnswer("malicious", 0.95, alert=True))
    (verdict,) = backend(FixedModel(CALM), triage).judge(thefts("ANA"))
    assert (verdict.label, verdict.alert, verdict.provenance["floor"], verdict.provenance["model_label"]) == (
        "malicious",
        True,
        "malicious",
        "normal",
    )
    assert verdict.cited


def test_a_verdict_names_what_it_takes_to_make_it_again() -> None:
    (verdict,) = backend(FixedModel(SURE), scored({"ANA": 0.7})).judge(thefts("ANA"))
    assert {
        "base", "base_sha256", "precision", "prompt", "calibration", "combination", "triage", "triage_share", "triage_threshold",
        "alert_threshold", "malicious_threshold", "model_label", "model_score", "window_digest",
    } <= set(verdict.provenance)  # fmt: skip
    assert all(isinstance(value, str) for value in verdict.provenance.values())


def test_what_a_window_cost_is_told_without_anything_that_differs_between_runs() -> None:
    made = backend(FixedModel(SURE), scored({"ANA": 0.7}))
    first, second = made.judge(thefts("ANA")), made.judge(thefts("ANA"))
    assert first == second
    cost = first[0].extras["cost"]
    assert cost["share"] == 0.05
    assert cost["prompt_tokens"] > cost["answer_tokens"] > 0
    assert "seconds" not in cost


def test_what_all_of_it_cost_is_counted() -> None:
    made = backend(FixedModel(SURE), scored({"ANA": 0.7}))
    made.judge(thefts("ANA", "BOB", "CYD", "DAN"))
    spent = made.spent
    assert (spent.windows, spent.reached, spent.explained, spent.alerts, spent.share) == (4, 1, 1, 1, 0.25)
    assert spent.seconds == 2  # the timer of this test counts calls: one span for labels, one for the answer
    assert "1 of 4 windows (25.0 %)" in spent.text()


def test_alone_the_model_judges_every_window_by_its_likeliest_label() -> None:
    model = FixedModel(lambda prompt: SURE if len(prompt.aliases) > 1 else CALM)
    found = backend(model, None, Alone(Calibration(), "all")).judge([*thefts("ANA"), window(user="BOB")])
    assert [(one.label, one.alert) for one in found] == [("malicious", True), ("normal", False)]
    assert [one.score for one in found] == [pytest.approx(0.95, abs=0.01), pytest.approx(0.01, abs=0.01)]
    assert found[0].cited
    assert found[0].provenance["judged_by"] == "model"
    assert len(model.explained) == 1


def test_alone_it_explains_everything_or_nothing_if_asked() -> None:
    everything, nothing = FixedModel(CALM), FixedModel(SURE)
    backend(everything, None, Alone(Calibration(), "all", "all")).judge(thefts("ANA", "BOB"))
    (silent,) = backend(nothing, None, Alone(Calibration(), "all", "nothing")).judge(thefts("ANA"))
    assert (len(everything.explained), len(nothing.explained)) == (2, 0)
    assert (silent.label, silent.cited) == ("malicious", ())


def test_labels_of_log_lines_reach_the_prompt() -> None:
    model = FixedModel(SURE)
    backend(model, scored({"ANA": 0.7}), lines={EventRef(Kind.FILE, "{file-1}"): "Malicious"}).judge(thefts("ANA"))
    assert "line Malicious" in model.labelled[0].user


def test_no_windows_cost_nothing() -> None:
    made = backend(FixedModel(SURE))
    assert made.judge([]) == []
    assert made.spent.windows == 0


def test_a_cascade_needs_triage() -> None:
    model = FixedModel()
    with pytest.raises(ValueError, match="needs triage"):
        NarrativeBackend(model, Composer("all", 400, model.count), CASCADE)
