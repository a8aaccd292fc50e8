"""Promises of `daywatch models`: added, listed, verified, and told in one line when something is not what it was."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from daywatch.__main__ import main
from tests.detector.models.test_registry import a_base, an_adapter

Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `daywatch models ARGS` with a registry of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str) -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "argv", ["daywatch", "models", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out.splitlines(), shown.err

    return run


def test_a_model_and_its_adapter_are_added_listed_and_verified(run: Run, tmp_path: Path) -> None:
    base = a_base(tmp_path / "base")
    code, out, told = run("add", str(base), "--name", "mine")
    assert (code, out) == (0, [])
    assert told.startswith(f"mine: base from {base}, 3 files")
    code, _, told = run("add", str(an_adapter(tmp_path / "adapter", "?")), "--base", "mine")
    assert code == 0
    assert "for the base mine (" in told
    code, out, _ = run("list")
    assert code == 0
    assert [line.split()[:2] for line in out[1:3]] == [["adapter", "adapter"], ["mine", "base"]]
    assert [line.split()[0] for line in out[3:]] == ["package:smollm2-135m", "package:mpnet", "package:minilm"]
    assert run("verify") == (0, ["adapter: as recorded", "mine: as recorded"], "")


def test_the_list_as_json_has_every_file_with_its_hash(run: Run, tmp_path: Path) -> None:
    run("add", str(a_base(tmp_path / "base")))
    _, out, _ = run("list", "--json")
    (row,) = [row for row in map(json.loads, out) if row["source"] == str(tmp_path / "base")]
    assert sorted(row["files"]) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert all(len(file["sha256"]) == 64 for file in row["files"].values())


def test_what_differs_is_named_and_the_exit_code_is_1(run: Run, tmp_path: Path) -> None:
    base = a_base(tmp_path / "base")
    run("add", str(base))
    run("add", str(a_base(tmp_path / "other")))
    (base / "tokenizer.json").write_text("{ }")
    code, out, told = run("verify")
    assert code == 1
    assert out[0] == "base: differs"
    assert out[1].startswith("base: tokenizer.json has changed (")
    assert out[2] == "other: as recorded"
    assert told.startswith("daywatch: error: 1 of 2 models")
    assert run("verify", "other")[0] == 0


def test_a_pickle_is_not_added(run: Run, tmp_path: Path) -> None:
    base = a_base(tmp_path / "base")
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    code, out, told = run("add", str(base))
    assert (code, out) == (1, [])
    assert "pytorch_model.bin, which may run code" in told


def test_a_name_that_was_not_added_is_refused(run: Run) -> None:
    code, _, told = run("verify", "nobody")
    assert code == 1
    assert "no model was added by that name" in told
