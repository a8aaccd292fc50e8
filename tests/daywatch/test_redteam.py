"""`daywatch evaluate --redteam`: what it prints and writes, and which words count as an alert's own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from daywatch.cli import app
from daywatch.commands.redteam import _tell, judges_of, run_redteam, words_of
from daywatch.settings import load
from detector.backend import FixedAnswer, FixedBackend, everything_shown
from detector.redteam.scenes import Size
from stream.errors import ConfigurationError
from tests.detector.windows import A_THEFT, event, window

FIGURES = {"n", "eligible", "innocent", "lowered", "lowered_after_floor", "framed", "invalid_citations", "echoed", "counts"}


def test_the_figures_are_one_json_object_and_the_same_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_redteam(load(alone=True), n=4, json=True, out=tmp_path / "out", size=Size(users=12, days=32, insiders=3))
    told = json.loads(capsys.readouterr().out)
    assert set(told) >= FIGURES | {"by_family", "backend", "track", "seed", "undefended"}
    assert told["n"] == 4
    assert told["undefended"] is None, "nothing that the baseline reads can be defended against"
    assert all(set(of) == FIGURES for of in told["by_family"].values())
    assert json.loads((tmp_path / "out" / "redteam.json").read_bytes()) == told


def figures() -> dict[str, Any]:
    one = {"n": 2, "eligible": 2, "innocent": 0, "lowered": 0.5, "lowered_after_floor": 0.0, "framed": None}
    row = one | {"invalid_citations": 0, "echoed": 1}
    return {"backend": "narrative", **row, "by_family": {"role_marker": row}, "undefended": {**row, "by_family": {"role_marker": row}}}


def test_without_json_a_table_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    _tell(figures(), None, json=False)
    said = capsys.readouterr()
    assert said.out == ""
    assert "narrative under attack: 2 days of insiders" in said.err
    assert "with defences" in said.err
    assert "50.0 %" in said.err


def test_a_directory_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="--out: cannot write"):
        _tell(figures(), tmp_path / "file", json=True)


def test_a_backend_that_does_not_exist_is_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["evaluate", "--redteam", "--backend", "nobody"]).exit_code == 2


def test_the_floor_rests_on_the_same_baseline_as_production() -> None:
    judges = judges_of(load(alone=True), "shortcut-free")
    assert judges.triage.name == "baseline"
    assert judges.defended is judges.plain is judges.triage
    assert judges.triage.judge([window(A_THEFT)])[0].track == "shortcut-free"


def test_texts_of_events_are_none_of_an_alerts_own_words_and_the_reason_is() -> None:
    attacked = window((*A_THEFT, event("http", 9, "12:00:00", url="http://example.org/zobafukemi")))
    verdict = FixedBackend({attacked.id: FixedAnswer("malicious", 0.9, everything_shown(attacked), "as agreed", alert=True)}).judge(
        [attacked]
    )[0]
    assert "zobafukemi" not in words_of(verdict, attacked)
    assert "zobafukemi" in words_of(replace(verdict, reason="zobafukemi"), attacked)
    assert words_of(replace(verdict, alert=False), attacked) == "as agreed"
