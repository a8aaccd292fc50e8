import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from daywatch.__main__ import main
from detector.logline import classifier
from detector.logline.labels import LABELS

Run = Callable[..., tuple[int, list[dict[str, object]], str]]


class ByWord:
    """A classifier that finds its label in the line, or says Normal."""

    def scores(self, lines: Sequence[str]) -> np.ndarray:
        places = [next((n for n, label in enumerate(LABELS) if label.lower() in line.lower()), 0) for line in lines]
        return np.eye(len(LABELS))[places] * 0.75 + 0.05 if lines else np.zeros((0, len(LABELS)))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> Run:
    """Run `daywatch classify ARGS` in this process, with a classifier that needs no weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(classifier.LineClassifier, "load", lambda *_args, **_more: ByWord())

    def run(*arguments: str) -> tuple[int, list[dict[str, object]], str]:
        monkeypatch.setattr(sys, "argv", ["daywatch", "classify", *arguments])
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        shown = capfdbinary.readouterr()
        return code, [json.loads(line) for line in shown.out.splitlines()], shown.err.decode()

    return run


def test_every_line_of_a_file_gives_a_json_line_in_order(run: Run, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("an error\n\nall normal\nmalicious doing\n")
    code, records, err = run("app.log", "--batch", "2")
    assert code == 0
    assert [(record["n"], record["label"]) for record in records] == [(1, "Error"), (3, "Normal"), (4, "Malicious")]
    assert records[0] == {"n": 1, "label": "Error", "score": 0.8, "text": "an error"}
    assert "3 lines read as text" in err


def test_lines_can_be_left_out_and_all_scores_put_in(run: Run, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("an error\n")
    _, [record], _ = run("app.log", "--no-text", "--scores")
    assert set(record) == {"n", "label", "score", "scores"}
    assert set(record["scores"]) == set(LABELS)  # type: ignore[call-overload]


def test_rows_of_a_cert_file_keep_kind_and_id(run: Run, tmp_path: Path) -> None:
    (tmp_path / "logon.csv").write_text("id,date,user,pc,activity\n{A1},01/02/2010 06:49:00,U,PC-1,Logon\n")
    _, [record], err = run("logon.csv")
    assert (record["kind"], record["id"], record["text"]) == ("logon", "{A1}", "logon activity=Logon")
    assert "read as cert" in err


def test_a_line_that_cannot_be_used_says_so_and_the_rest_goes_on(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"message": "error"}\n{"other": 1}\n{"message": "normal"}\n')
    code, records, err = run("x.json")
    assert code == 0
    assert [record["label"] for record in records] == ["Error", None, "Normal"]
    assert records[1]["error"]
    assert "1 unusable" in err


def test_quiet_means_quiet(run: Run, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("an error\n")
    assert run("app.log", "-q")[2] == ""


def test_a_file_that_is_not_there_is_a_line_and_exit_code_1(run: Run) -> None:
    code, records, err = run("nosuch.log")
    assert (code, records) == (1, [])
    assert err.startswith("daywatch: error: nosuch.log: ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--from-topic", "a"],
        ["--from-topic", "a", "--to-topic", "a"],
        ["app.log", "--from-topic", "a", "--to-topic", "b"],
        ["app.log", "--alert-on", "Malicious"],
        ["app.log", "--format", "xml"],
        ["app.log", "--labels", "Evil,Good"],
        ["--from-topic", "a", "--to-topic", "b", "--alert-on", "Evil"],
    ],
)
def test_wrong_usage_exits_with_2(run: Run, arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("x\n")
    code, records, _ = run(*arguments)
    assert (code, records) == (2, [])
