"""A language model under evaluation: the cascade over everybody, the model alone over draws and a sample. Its twin stands in for it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from detector.evaluation.evaluate import Evaluation, Plan, evaluate
from detector.evaluation.figures import json_safe
from detector.evaluation.several import combined
from detector.verdict import EventRef, Verdict
from sinks.evaluation_report import evaluation_page, overview_page
from sinks.report import render
from stream.errors import PoisonError
from tests.detector.evaluation.organisation import write_organisation
from tests.detector.evaluation.test_evaluate import Nights
from windowing.record import Window


class Cascade(Nights):
    """Its triage sees the drive alone, so that innocent days with none are ranked as one."""

    name = "narrative"

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        found = super().judge(windows)
        return [
            replace(verdict, triage_score=0.5 if len(window.events) > 8 else 0.1) for verdict, window in zip(found, windows, strict=True)
        ]


class Alone(Nights):
    """The model by itself; counts what it is asked, and cannot answer about `over`."""

    name = "narrative"

    def __init__(self, over: str = "") -> None:
        super().__init__()
        self.over, self.asked = over, 0

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        if any(window.user == self.over for window in windows):
            raise PoisonError("no answer")
        self.asked += len(windows)
        return super().judge(windows)

    def shown(self, window: Window) -> Sequence[EventRef]:
        return [ref for ref in self._judge(window).cited if ref.kind == "device"]


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_organisation(tmp_path_factory.mktemp("organisation"))


PLAN = Plan(tracks=("all",), folds=3, seeds=(0,), replicates=20, balanced=8, draws=2, sample=30, deleted=3)


@pytest.fixture(scope="module")
def whole(organisation: Path) -> tuple[Evaluation, Alone]:
    alone = Alone()
    return evaluate(organisation, PLAN, None, {"all": Cascade()}, alone={"all": alone}), alone


@pytest.fixture(scope="module")
def drawn(organisation: Path) -> tuple[Evaluation, Alone, Cascade]:
    alone, cascade = Alone(), Cascade()
    return evaluate(organisation, replace(PLAN, only_drawn=True), None, {"all": cascade}, alone={"all": alone}), alone, cascade


def test_the_cascade_is_held_against_its_triage_at_the_same_number_of_alerts(whole: tuple[Evaluation, Alone]) -> None:
    found = whole[0].tracks["all"].figures
    compared = found["against_triage"]
    assert compared["pr_auc"]["cascade"] == found["pr_auc"] == 1.0
    assert compared["pr_auc"]["gain"] == 1.0 - found["triage_pr_auc"] > 0.3
    assert compared["same_alerts"]["cascade"]["alerts"] == 8
    assert compared["same_alerts"]["triage"]["alerts"] <= 8
    assert whole[0].summary["ranked_by"] == "cascade"


def test_the_model_alone_is_asked_about_the_draws_every_malicious_day_and_the_sample_and_no_more(whole: tuple[Evaluation, Alone]) -> None:
    found = whole[0].tracks["all"].figures["one_pass"]
    assert found["sample"]["malicious"] == found["sample"]["malicious_in_all"] == 8
    assert 30 <= found["sample"]["normal"] <= 30 + 8 < found["sample"]["normal_in_all"]
    assert whole[1].asked == found["sample"]["malicious"] + found["sample"]["normal"]


def test_the_model_alone_has_its_line_among_the_baselines(whole: tuple[Evaluation, Alone]) -> None:
    line = whole[0].tracks["all"].figures["baselines"][-1]
    assert (line["name"], line["pr_auc"]) == ("one-pass language model without triage", 1.0)


def test_the_plain_label_figures_of_a_language_model_are_those_of_the_draws(whole: tuple[Evaluation, Alone]) -> None:
    found = whole[0].summary
    assert found["labels_over"] == "balanced draws"
    assert found["accuracy"] == found["balanced"]["accuracy"]
    assert (found["valid_format"], found["actionability"], found["evidence"]["precision"]) == (1.0, 1.0, 1.0)
    assert found["evidence"]["recall"] == pytest.approx(2 / 3)


def test_how_much_of_the_key_the_prompt_still_shows_is_measured(whole: tuple[Evaluation, Alone]) -> None:
    assert whole[0].summary["survival_in_prompt"]["all"] == pytest.approx(1 / 3)
    assert whole[0].tracks["all"].figures["deletion"]["alerts"] == 3


def test_with_draws_alone_nothing_else_is_asked(drawn: tuple[Evaluation, Alone, Cascade]) -> None:
    found, alone, cascade = drawn
    assert not cascade.judged
    assert alone.asked <= 2 * 8
    figures = found.tracks["all"].figures
    assert found.summary["ranked_by"] == "model alone, a sample"
    assert (figures["pr_auc"], figures["accuracy"], figures["balanced"]["draws"]) == (1.0, 1.0, 2)


@pytest.mark.parametrize("which", ["whole", "drawn"])
def test_the_names_that_scripts_rely_on_are_there_either_way(which: str, request: pytest.FixtureRequest) -> None:
    found = json.loads(json.dumps(json_safe(request.getfixturevalue(which)[0].as_dict()), allow_nan=False))
    names = {"accuracy", "macro_f1", "malicious_recall", "valid_format", "actionability", "recall_at_fpr", "ece", "windows_per_s"}
    assert names <= set(found)
    assert all(isinstance(found[name], float) for name in names - {"recall_at_fpr"})
    assert isinstance(found["pr_auc"]["all"], float)
    assert {"precision", "recall", "f1", "invalid"} <= set(found["evidence"])


def test_an_answer_that_cannot_be_used_costs_format_and_accuracy_and_nothing_else(organisation: Path) -> None:
    found = evaluate(organisation, replace(PLAN, only_drawn=True, draws=1, balanced=40), None, {}, alone={"all": Alone("USR0000")})
    lost = found.tracks["all"].figures["balanced"]
    asked = lost["by_draw"][0]["rows"]
    assert 0 < (1 - lost["valid_format"]) * asked < asked
    assert lost["accuracy"] == pytest.approx(lost["valid_format"])


@pytest.mark.parametrize("which", ["whole", "drawn"])
def test_the_page_shows_the_draws_and_the_comparison(which: str, request: pytest.FixtureRequest) -> None:
    page = render(evaluation_page(request.getfixturevalue(which)[0]))
    assert "Balanced draws" in page
    assert ("At the same number of alerts" in page) == (which == "whole")
    assert ("The model alone" in page) == (which == "drawn")
    assert "nan" not in page.lower().replace("finance", "")


@pytest.mark.parametrize("which", ["whole", "drawn"])
def test_the_overview_of_several_has_a_line_for_each_and_says_what_is_an_estimate(which: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(which)[0].as_dict()
    page = overview_page(combined({"one": found, "two": found}))
    labels, ranks = (section.tables[0] for section in page.sections)
    assert [row.cells[0] for row in labels.rows] == ["one", "two", "mean", "±"]
    assert [row.cells[0] for row in ranks.rows] == ["one, all features", "two, all features", "mean, all features"]
    assert ("gain" in ranks.columns) == (which == "whole")
    assert all(len(row.cells) == len(table.columns) for table in (labels, ranks) for row in table.rows)
    assert any("estimate" in tile.name for tile in page.tiles) == (which == "drawn")
    assert "nan" not in render(page)
