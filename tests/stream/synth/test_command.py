"""`daywatch synth` says what it did on standard error, nothing on standard output, and fails in words."""

import subprocess
import sys
from pathlib import Path


def synth(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "daywatch", "synth", *arguments], capture_output=True, text=True, check=False)


def test_it_writes_the_directory_and_keeps_standard_output_for_data(tmp_path: Path) -> None:
    out = tmp_path / "organisation"
    done = synth("--out", str(out), "--users", "15", "--days", "26", "--seed", "4", "--insiders", "2", "--zone", "Asia/Kolkata")
    assert done.returncode == 0
    assert done.stdout == ""
    assert "2 insiders" in done.stderr
    assert (out / "answers" / "insiders.csv").is_file()
    again = synth("--out", str(out), "--users", "15", "--days", "26")
    assert again.returncode == 1
    assert again.stderr.startswith("daywatch: error: ")
    assert "--overwrite" in again.stderr
    assert synth("--out", str(out), "--users", "15", "--days", "26", "--overwrite").returncode == 0


def test_wrong_usage_exits_2_and_what_cannot_be_exits_1(tmp_path: Path) -> None:
    assert synth().returncode == 2
    assert synth("--out", str(tmp_path / "x"), "--users", "many").returncode == 2
    refused = synth("--out", str(tmp_path / "x"), "--users", "3")
    assert refused.returncode == 1
    assert "users must be between" in refused.stderr
    assert not (tmp_path / "x").exists()
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "cannot write" in synth("--out", str(blocked / "below"), "--users", "15", "--days", "26").stderr
