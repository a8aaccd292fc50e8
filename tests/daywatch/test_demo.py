import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daywatch.commands import demo as command
from daywatch.commands.demo import KEPT, Judge, _flags_with, _ready
from stream.errors import ConfigurationError


def test_what_an_earlier_demonstration_left_is_replaced(tmp_path: Path) -> None:
    for name in KEPT:
        if name != "organisation":
            (tmp_path / name).write_text("old")
    (tmp_path / "organisation").mkdir()
    (tmp_path / "organisation" / "organisation.json").write_text("{}")
    assert _ready(tmp_path) == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_other_peoples_things_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "windows.jsonl").write_text("old")
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"--out: .* holds other things \(thesis.tex\)"):
        _ready(tmp_path)
    assert (tmp_path / "windows.jsonl").exists()


def test_a_directory_of_the_same_name_that_was_not_made_up_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "organisation").mkdir()
    (tmp_path / "organisation" / "chart.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="holds other things"):
        _ready(tmp_path)
    assert (tmp_path / "organisation" / "chart.txt").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="--out: cannot write"):
        _ready(tmp_path / "file" / "demo")


def test_without_a_directory_a_new_one_is_made() -> None:
    made = _ready(None)
    assert list(made.iterdir()) == []
    made.rmdir()


def test_a_language_model_judges_days_and_few_of_them_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "installed", lambda name: True)
    assert _flags_with({}, None) == {"detect.backend": "baseline"}
    assert _flags_with({}, Judge.NARRATIVE) == {"detect.backend": "narrative", "window.hop": "24h", "detect.share": "0.02"}
    own = _flags_with({"detect.share": "0.1", "zone": "UTC", "detect.backend": "narrative"}, None)
    assert own == {"detect.backend": "narrative", "window.hop": "24h", "detect.share": "0.1", "zone": "UTC"}


def test_models_named_from_here_are_found_by_workers_that_run_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "installed", lambda name: True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    flags = _flags_with({"detect.adapter": "mine", "detect.base": "package:smollm2-135m"}, Judge.NARRATIVE)
    assert flags["detect.adapter"] == str(tmp_path / "mine")
    assert flags["detect.base"] == "package:smollm2-135m"


def test_without_the_libraries_the_model_is_refused_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "installed", lambda name: False)
    with pytest.raises(ConfigurationError, match=r"needs the extra llm, but torch is not installed: pip install 'daywatch\[llm\]'"):
        _flags_with({}, Judge.NARRATIVE)
    assert _flags_with({}, Judge.REMOTE)["detect.backend"] == "remote"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_demonstration_that_is_asked_to_end_leaves_nothing_running_and_no_litter(sent: int, code: int, tmp_path: Path) -> None:
    litter = tmp_path / "tmp"
    litter.mkdir()
    arguments = ["demo", "--out", str(tmp_path / "out"), "--users", "12", "--days", "28"]
    with subprocess.Popen(
        [sys.executable, "-m", "daywatch", *arguments], env=os.environ | {"TMPDIR": str(litter)}, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stderr is not None
        for line in demo.stderr:
            if "events" in line:  # the organisation is made: servers and workers are there
                break
        demo.send_signal(sent)
        rest = demo.stderr.read()
    assert demo.returncode == code, rest
    assert "Traceback" not in rest
    assert list(litter.iterdir()) == []
    mentions = [
        line for line in subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout.splitlines()
        if str(litter) in line
    ]  # fmt: skip
    assert mentions == []
