import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daywatch.__main__ import main
from tests.detector.groups.bundle import write_bundle

Run = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    def run(*arguments: str, given: str = "") -> tuple[int, list[dict[str, Any]], str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["daywatch", *arguments])
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(given.encode())))
        with pytest.raises(SystemExit) as left:
            main()
        shown = capsys.readouterr()
        return int(left.value.code or 0), [json.loads(line) for line in shown.out.splitlines()], shown.err

    return run


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "bundle.json")


def test_each_line_gets_ids_names_and_scores_whether_text_or_json(run: Run) -> None:
    given = '﻿APT28 used a drive\n\n{"text": "sends invoices"}\n"a quoted text"\n{"texts": ["one", "two"]}\n{broken json\n'
    code, out, err = run("groups", "-", "--top", "2", given=given)
    assert (code, err) == (0, "")
    assert [(one["line"], one["texts"]) for one in out] == [(1, 1), (3, 1), (4, 1), (5, 2), (6, 1)]
    assert out[0]["groups"][0] == {"id": "G0007", "name": "APT28", "score": out[0]["groups"][0]["score"], "named": True}
    assert all(len(one["groups"]) == 2 and one["attack_version"] == "18.1" for one in out)


def test_a_file_may_be_one_report(run: Run, tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("one text\nanother\nAPT28\n")
    code, out, _ = run("groups", "texts", "--report")
    assert code == 0
    assert [one["texts"] for one in out] == [3]
    assert out[0]["groups"][0]["named"]


def test_lines_without_text_are_said_and_the_others_answered(run: Run) -> None:
    code, out, err = run("groups", "-", given='{"a": 1}\nsome text\n{"text": 3}\n')
    assert code == 1
    assert [one["line"] for one in out] == [2]
    assert err.splitlines()[:2] == ["daywatch groups: line 1: no text in it", "daywatch groups: line 3: no text in it"]
    assert "daywatch: error: 2 lines hold no text" in err


def test_a_missing_file_and_a_broken_model_are_errors_of_one_sentence(run: Run, tmp_path: Path) -> None:
    code, out, err = run("groups", "nothing.txt")
    assert (code, out) == (1, [])
    assert err.startswith("daywatch: error: nothing.txt")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    code, _, err = run("groups", "-", "--model", "broken.npz", given="a\n")
    assert code == 1
    assert "no model of threat groups" in err


def test_on_a_terminal_texts_are_shown_as_text_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from daywatch.commands.groups import _table
    from detector.groups.likeness import Like
    from detector.groups.shipped import shipped_groups

    _table(1, ["[red]\x1b[2J bold[/red]", "x"], [Like("G0007", "APT28", 0.5, named=True)], "words", shipped_groups())
    shown = capsys.readouterr().out
    assert "[red] [2J bold[/red] (and 1 more)" in shown
    assert "\x1b" not in shown
    assert "no attribution" in shown


def test_a_bundle_becomes_a_table_and_a_model_that_is_used_at_once(run: Run, small: Path) -> None:
    code, out, err = run("train", "groups", str(small), "--out", "words.npz", "--folds", "3", "--json")
    assert code == 0
    assert "SHA-256" in err
    rows = {(row["split"], row["text"], row["model"].split(":")[0]): row for row in out[0]["rows"]}
    assert out[0]["attack_version"] == "99.1"
    for split in ("paraphrases together", "equal texts together"):
        for model in ("nearest centroid", "TF-IDF + linear SVM", "words"):
            assert rows[split, "masked", model]["accuracy"] > 0.8
        assert rows[split, "unmasked", "TF-IDF + linear SVM"]["accuracy"] > 0.95
    assert rows["paraphrases together", "masked, technique named", "TF-IDF + linear SVM"]["n"] == 81
    _, answers, _ = run("groups", "-", "--model", "words.npz", "--top", "1", given="the group moved to rclone mega\nDune Heron\n")
    assert [one["groups"][0]["name"] for one in answers] == ["Amber Fox", "Dune Heron"]
    assert answers[0]["attack_version"] == "99.1"


def test_the_same_bundle_gives_the_same_model(run: Run, small: Path, tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        assert run("train", "groups", str(small), "--out", name, "--no-table")[0] == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_training_says_what_cannot_be(run: Run, small: Path, tmp_path: Path) -> None:
    code, _, err = run("train", "groups", str(small), "--attack-version", "18.1")
    assert code == 1
    assert "is ATT&CK 99.1, not 18.1" in err
    assert run("train", "groups", str(small), "--out", "nowhere/a.npz")[0] == 1
    assert run("train", "groups", str(small), "--kind", "magic")[0] == 2
    assert run("train", "groups", "nothing.json")[0] == 1


def test_mpnet_is_tuned_compared_written_and_asked(run: Run, small: Path, tiny_mpnet: Path) -> None:
    how = (
        "--kind",
        "mpnet",
        "--base",
        str(tiny_mpnet),
        "--layers",
        "1",
        "--epochs",
        "1",
        "--folds",
        "3",
        "--tuned-folds",
        "1",
        "--device",
        "cpu",
    )
    code, out, err = run("train", "groups", str(small), "--out", "tuned", "--json", *how)
    assert code == 0, err
    rows = {(row["text"], row["model"]): row for row in out[0]["rows"] if row["split"] == "paraphrases together"}
    assert rows["masked", "MPNet, fine-tuned"]["n"] < rows["masked", "TF-IDF + linear SVM"]["n"]
    assert ("unmasked", "words and MPNet together") in rows
    code, answers, _ = run("groups", "-", "--model", "tuned", "--top", "8", "--device", "cpu", given="the group moved to rclone mega\n")
    assert code == 0
    assert sorted(one["id"] for one in answers[0]["groups"]) == [f"G000{number}" for number in range(1, 9)]
    assert answers[0]["by"] == "tuned"


def test_the_setting_wraps_the_backend_and_without_a_model_it_is_off() -> None:
    from daywatch.backends import backend_of, spent_by
    from daywatch.settings import Settings
    from detector.baseline import Baseline
    from detector.groups.match import Resembling

    plain = backend_of(Settings())
    wrapped = backend_of(Settings.model_validate({"detect": {"groups": True}}))
    assert isinstance(plain, Baseline)
    assert isinstance(wrapped, Resembling)
    assert isinstance(wrapped.backend, Baseline)
    assert wrapped.name == plain.name
    assert spent_by(wrapped) is None


def test_without_pytorch_a_sentence_says_what_to_install(run: Run, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for arguments in (("train", "groups", str(small), "--kind", "mpnet"), ("groups", "-", "--model", "package:mpnet")):
        code, _, err = run(*arguments, given="a\n")
        assert code == 1
        assert "pip install 'daywatch[llm]'" in err
