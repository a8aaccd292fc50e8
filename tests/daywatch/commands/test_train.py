import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from daywatch.__main__ import main
from detector.baseline import Baseline
from stream.synth import write_organisation

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["daywatch", "train", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return run


def test_a_model_fitted_to_a_directory_can_be_used_at_once(run: Run, tmp_path: Path) -> None:
    write_organisation(tmp_path / "organisation", 40, 30, 3, 6)
    code, out, err = run("baseline", "organisation", "--out", "model.gz", "--track", "all")
    assert (code, out) == (0, "")
    assert "SHA-256" in err
    assert Baseline.load(tmp_path / "model.gz").judge([]) == []
    before = (tmp_path / "model.gz").read_bytes()
    assert run("baseline", "organisation", "--out", "model.gz", "--track", "all")[0] == 0
    assert (tmp_path / "model.gz").read_bytes() == before


def test_what_cannot_be_trained_on_is_said_without_a_traceback(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = run("baseline", "empty", "--out", "model.gz")
    assert code == 1
    assert err.startswith("daywatch: error: ")
    assert "answers" in err
    code, _, err = run("baseline", "empty", "--out", "nowhere/model.gz")
    assert code == 1
    assert "--out" in err


def test_wrong_usage_is_told_apart(run: Run) -> None:
    assert run("baseline", "organisation")[0] == 2
    assert run("baseline", "organisation", "--out", "F", "--track", "shortcut")[0] == 2
