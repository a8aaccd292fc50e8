import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daywatch.commands.demo import KEPT, _ready
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
