import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl
import pytest

from detector.backend import Backend
from detector.evaluation.evaluate import Evaluation, Plan, Truth, evaluate
from detector.evaluation.figures import json_safe
from detector.verdict import EventRef, Verdict
from sinks.evaluation_report import write_evaluation
from stream.errors import ConfigurationError
from stream.kinds import Kind
from tests.detector.evaluation.organisation import write_organisation
from windowing.record import Window


class Nights:
    """Alerts on a drive and a leak site in one day and cites both, and with `wrong` an event that is not in the window."""

    name = "nights"

    def __init__(self, known: frozenset[str] = frozenset(), wrong: bool = False) -> None:
        self.known, self.wrong, self.judged = known, wrong, set[str]()

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        self.judged |= {window.user for window in windows}
        return [self._judge(window) for window in windows]

    def _judge(self, window: Window) -> Verdict:
        told = [event for event in window.events if event["kind"] == "device" or "wikileaks" in event.get("url", "")]
        score = min(0.9, 0.45 * len(told)) + 0.01
        cited = [EventRef(Kind(event["kind"]), event["id"]) for event in told] if score > 0.5 else []
        if self.wrong and cited:
            cited.append(EventRef(Kind.FILE, cited[0].id))
        label = "malicious" if score > 0.5 else "normal"
        return Verdict(
            window.id, window.user, window.start, window.end, label, score, score / 2, tuple(cited), "a drive and a leak site",
            (), (), score > 0.5, window.learning, "all", self.name,
        )  # fmt: skip


class Fits:
    """Remembers who each model was trained on."""

    def __init__(self) -> None:
        self.made: list[Nights] = []
        self.truths: list[int] = []

    def __call__(self, windows: Iterable[Window], malicious: Truth, track: str, seed: int) -> Backend:
        made = Nights(frozenset(window.user for window in windows))
        self.made.append(made)
        self.truths.append(len(malicious.events))
        return made


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_organisation(tmp_path_factory.mktemp("organisation"))


PLAN = Plan(tracks=("shortcut-free",), folds=3, seeds=(0, 1), replicates=20)


@pytest.fixture(scope="module")
def fitted(organisation: Path) -> tuple[Evaluation, Fits]:
    fits = Fits()
    return evaluate(organisation, PLAN, fits), fits


def test_nobody_is_judged_by_a_model_that_was_trained_on_them(fitted: tuple[Evaluation, Fits]) -> None:
    _, fits = fitted
    assert len(fits.made) == 2 * 3 + 3  # folds for each seed, and the chronological ones
    for model in fits.made:
        assert model.known
        assert not model.known & model.judged
    assert set().union(*(model.judged for model in fits.made[:3])) == {f"USR{n:04}" for n in range(12)}


def test_a_perfect_detector_gets_perfect_figures(fitted: tuple[Evaluation, Fits]) -> None:
    found = fitted[0].tracks["shortcut-free"].figures
    assert (found["positive_days"], found["key_events"], found["pr_auc"]) == (8, 24, 1.0)
    assert (found["insiders"]["caught"], found["insiders"]["total"]) == (4, 4)
    assert (found["accuracy"], found["macro_f1"], found["malicious_recall"]) == (1.0, 1.0, 1.0)
    assert found["evidence"]["precision"] == 1.0
    assert found["evidence"]["recall"] == pytest.approx(2 / 3)  # the logon is in the key too
    assert (found["evidence"]["invalid"], found["evidence"]["cited_in_all"]) == (0, 2 * 16)
    assert found["evidence"]["survival"]["all"] == 1.0
    assert found["intervals"]["pr_auc"] == [1.0, 1.0]


def test_removing_what_was_cited_lowers_the_score_and_removing_others_seldom_does(fitted: tuple[Evaluation, Fits]) -> None:
    found = fitted[0].tracks["shortcut-free"].figures["deletion"]
    assert found["alerts"] == 8
    assert found["fall_cited"] == pytest.approx(0.9)
    assert found["fall_random"] < 0.5
    assert found["silenced_cited"] == 1.0


def test_the_rule_cites_the_whole_night_on_the_same_alerts(fitted: tuple[Evaluation, Fits]) -> None:
    rule = fitted[0].tracks["shortcut-free"].figures["evidence_of_rule"]
    assert (rule["days"], rule["recall"]) == (8, 1.0)


def test_every_baseline_has_its_line_and_the_detector_comes_first(fitted: tuple[Evaluation, Fits]) -> None:
    lines = fitted[0].tracks["shortcut-free"].figures["baselines"]
    assert [line["name"] for line in lines] == [
        "daywatch", "triage alone", "rules", "per-user z-scores", "isolation forest", "gradient-boosted trees on the features",
        "one-pass language model without triage",
    ]  # fmt: skip
    assert [line["pr_auc"] for line in lines[:3]] == [1.0, 1.0, 1.0]


def test_the_figures_are_json_with_the_names_that_scripts_rely_on(fitted: tuple[Evaluation, Fits]) -> None:
    found = json.loads(json.dumps(json_safe(fitted[0].as_dict()), allow_nan=False))
    assert found["schema"] == "daywatch.evaluation/1"
    assert set(found["pr_auc"]) == {"shortcut_free"}
    assert {"accuracy", "macro_f1", "malicious_recall", "recall_at_fpr", "evidence", "ece", "windows_per_s", "tracks"} <= set(found)
    assert {"precision", "recall", "f1", "invalid"} <= set(found["evidence"])


def test_a_given_model_judges_everybody_once(organisation: Path) -> None:
    model = Nights(wrong=True)
    found = evaluate(organisation, PLAN, None, {"shortcut-free": model}).tracks["shortcut-free"].figures
    assert model.judged == {f"USR{n:04}" for n in range(12)}
    assert (found["pr_auc"], found["evidence"]["invalid"]) == (1.0, 8)
    assert "chronological" not in found


def test_the_report_shows_both_the_figures_and_the_insiders(fitted: tuple[Evaluation, Fits], tmp_path: Path) -> None:
    write_evaluation(fitted[0], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count('class="timeline"') == 4
    assert "gradient-boosted trees" in page
    assert "a drive and a leak site" in page


def test_what_alerts_cite_is_told_with_its_time_and_text(fitted: tuple[Evaluation, Fits]) -> None:
    told = fitted[0].tracks["shortcut-free"].told
    assert told.height == 16
    assert set(told.filter(pl.col("kind") == "http")["detail"]) == {"http://wikileaks.org/up"}


def test_too_many_folds_are_refused_before_anything_is_trained(organisation: Path) -> None:
    with pytest.raises(ConfigurationError, match="--folds 13"):
        evaluate(organisation, Plan(folds=13), Fits())
