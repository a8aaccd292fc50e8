import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daywatch.cli import app
from tests.detector.evaluation.organisation import write_organisation


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_organisation(tmp_path_factory.mktemp("organisation"))


def test_figures_come_as_json_on_standard_output_and_as_files(organisation: Path, tmp_path: Path) -> None:
    arguments = [
        "evaluate",
        str(organisation),
        "--track",
        "shortcut-free",
        "--folds",
        "3",
        "--seeds",
        "1",
        "--json",
        "--out",
        str(tmp_path),
    ]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found == json.loads((tmp_path / "evaluation.json").read_text())
    assert (found["backend"], found["model"], found["folds"], found["seeds"]) == ("baseline", None, 3, [0])
    assert found["evidence"]["invalid"] == 0
    assert list(found["tracks"]) == ["shortcut_free"]
    assert "Daywatch evaluation" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("wrong", [["--track", "both"], ["--backend", "oracle"], ["--folds", "1"]])
def test_what_there_is_not_is_wrong_usage(organisation: Path, wrong: list[str]) -> None:
    assert CliRunner().invoke(app, ["evaluate", str(organisation), *wrong]).exit_code == 2
