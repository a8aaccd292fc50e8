from pathlib import Path

import pytest

from daywatch.demo.chain import Worker
from stream.errors import PipelineError


def finish(worker: Worker) -> None:
    while worker.running():
        pass


def test_a_command_runs_with_the_settings_it_is_given_and_nothing_from_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAYWATCH_ZONE", "Mars/Olympus")
    monkeypatch.chdir(tmp_path)
    worker = Worker("help", ["--help"], {"zone": "UTC"}, tmp_path)
    finish(worker)
    assert worker.said()


def test_a_command_that_fails_is_reported_with_its_last_words(tmp_path: Path) -> None:
    worker = Worker("window", ["window"], {"window.hop": "7h"}, tmp_path)
    with pytest.raises(PipelineError, match="the window process ended with 2: window.size, window.hop: .* must divide"):
        finish(worker)


def test_a_command_that_is_stopped_is_gone(tmp_path: Path) -> None:
    worker = Worker("window", ["window"], {"kafka.bootstrap_servers": "127.0.0.1:1"}, tmp_path)
    worker.stop()
    worker.stop()


def test_what_a_command_said_in_passing_can_be_asked_for(tmp_path: Path) -> None:
    worker = Worker("help", ["--help"], {}, tmp_path)
    finish(worker)
    assert worker.said_of("synth").startswith("synth")
    assert worker.said_of("no such words") == ""
