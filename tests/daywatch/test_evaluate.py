import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from daywatch import backends
from daywatch.cli import app
from detector.narrative.notes import Notes
from detector.narrative.prompt import Composer, Prompt
from detector.narrative.seam import FixedModel
from stream.errors import ConfigurationError
from tests.detector.evaluation.organisation import write_organisation

MODEL = str(Path(__file__).parents[2] / "detector" / "data" / "baseline.json.gz")


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_organisation(tmp_path_factory.mktemp("organisation"))


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_organisation(tmp_path_factory.mktemp("another"), users=8, days=16, insiders=3, seed=2)


def _reads_the_night(prompt: Prompt) -> tuple[float, float, float]:
    return (0.05, 0.05, 0.9) if "wikileaks" in prompt.user else (0.9, 0.08, 0.02)


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> FixedModel:
    """A language model that calls a leak site malicious stands in for weights."""
    model = FixedModel(_reads_the_night)
    monkeypatch.setattr(backends, "_here", lambda _choice: (model, None, {}))
    return model


def _evaluate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", *arguments], catch_exceptions=False)


def test_figures_come_as_json_on_standard_output_and_as_files(organisation: Path, tmp_path: Path) -> None:
    result = _evaluate(str(organisation), "--track", "shortcut-free", "--folds", "3", "--seeds", "1", "--json", "--out", str(tmp_path))
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found == json.loads((tmp_path / "evaluation.json").read_text())
    assert (found["backend"], found["model"], found["folds"], found["seeds"]) == ("baseline", None, 3, [0])
    assert found["evidence"]["invalid"] == 0
    assert list(found["tracks"]) == ["shortcut_free"]
    assert found["labels_over"] == "all user/days"
    assert "Daywatch evaluation" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--track", "both"],
        ["--backend", "oracle"],
        ["--folds", "1"],
        ["--balanced", "7"],
        ["--balanced", "0"],
        ["--draws", "0"],
        ["--sample", "-1"],
    ],
)
def test_what_there_is_not_is_wrong_usage(organisation: Path, wrong: list[str]) -> None:
    assert CliRunner().invoke(app, ["evaluate", str(organisation), *wrong]).exit_code == 2


def test_a_directory_is_needed() -> None:
    assert CliRunner().invoke(app, ["evaluate"]).exit_code == 2


def test_drawn_user_days_of_several_organisations_give_means_and_a_page_for_each(
    organisation: Path, another: Path, reading: FixedModel, tmp_path: Path
) -> None:
    result = _evaluate(
        *(str(organisation), str(another), "--backend", "narrative", "--balanced", "8", "--draws", "2", "--seed", "3"),
        *("--json", "--out", str(tmp_path)),
    )
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert (found["accuracy"], found["valid_format"], found["actionability"]) == (1.0, 1.0, 1.0)
    assert set(found["pr_auc"]) == {"all", "shortcut_free"}
    assert list(found["directories"]) == [organisation.name, another.name]
    assert [one["balanced"]["seeds"] for one in found["directories"].values()] == [[3, 4], [3, 4]]
    assert found["balanced"]["draws_in_all"] == 4
    assert found["users"] == 20
    # an organisation and track: two draws of eight at most, so nothing near the 400 user/days that there are
    assert len(reading.labelled) <= 2 * 2 * 2 * 8
    assert sorted(page.name for page in tmp_path.glob("*.html")) == sorted(
        ["report.html", f"report-{organisation.name}.html", f"report-{another.name}.html"]
    )


def test_the_cascade_and_a_sample_are_asked_when_the_draws_alone_are_not_asked_for(organisation: Path, reading: FixedModel) -> None:
    chosen = ["--track", "all", "--sample", "20", "--seeds", "1", "--share", "0.2"]
    result = _evaluate(str(organisation), "--backend", "narrative", *chosen, "--json")
    found = json.loads(result.stdout)
    assert found["ranked_by"] == "cascade"
    track: Mapping[str, Any] = found["tracks"]["all"]
    assert {"against_triage", "one_pass", "balanced", "baselines", "deletion", "survival_in_prompt"} <= set(track)
    # reasons are asked for in the draws and for what the cascade says, not for the rest of the sample
    assert len(reading.explained) < len(reading.labelled)


def test_a_budget_moves_the_threshold(organisation: Path) -> None:
    model = ["--model", MODEL, "--track", "all", "--seeds", "1", "--json"]
    few, many = (json.loads(_evaluate(str(organisation), *model, "--budget", budget).stdout) for budget in ("0.5", "100"))
    assert few["tracks"]["all"]["alerts"]["alerts"] < many["tracks"]["all"]["alerts"]["alerts"]
    assert few["pr_auc"] == many["pr_auc"]


def test_with_balanced_the_plain_figures_of_any_backend_are_those_of_the_draws(organisation: Path) -> None:
    found = json.loads(_evaluate(str(organisation), "--model", MODEL, "--track", "all", "--seeds", "1", "--balanced", "6", "--json").stdout)
    assert found["labels_over"] == "balanced draws"
    assert found["accuracy"] == found["balanced"]["accuracy"]
    assert found["balanced"]["each"] == 3


@pytest.mark.parametrize("trained_on", ["all", "shortcut-free"])
def test_an_adapter_is_held_to_what_it_was_trained_on_and_loaded_once(
    organisation: Path, monkeypatch: pytest.MonkeyPatch, trained_on: str
) -> None:
    model = FixedModel(_reads_the_night)
    notes = Notes("fixed", "0" * 64, trained_on, Composer(trained_on, 640, model.count).identity, 640)
    loaded: list[str] = []
    monkeypatch.setattr(backends, "_here", lambda choice: (loaded.append(choice.track) or model, notes, {}))  # type: ignore[func-returns-value]
    ask = [str(organisation), "--backend", "narrative", "--balanced", "4", "--draws", "1", "--json"]
    result = _evaluate(*ask)
    found = json.loads(result.stdout)
    if trained_on == "shortcut-free":
        assert (list(found["tracks"]), loaded) == (["all", "shortcut_free"], ["all"])
    else:
        assert list(found["tracks"]) == ["all"]
        assert found["pr_auc"]["shortcut_free"] is None
        assert "the track shortcut-free is left out" in result.stderr
        with pytest.raises(ConfigurationError, match="shows more than shortcut-free may"):
            _evaluate(*ask, "--track", "shortcut-free")
