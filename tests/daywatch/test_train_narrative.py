"""`daywatch train narrative` from beginning to end on a tiny model: an adapter that the backend takes, and clear words when it cannot."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="needs the extra llm")
pytest.importorskip("peft", reason="needs the extra llm")

from daywatch.cli import app
from detector.narrative.notes import Notes, read_notes
from stream.synth import write_organisation

runner = CliRunner()
FEW = ["--examples", "16", "--rank", "4", "--prompt-tokens", "1500", "--batch", "4", "--lookalikes", "0.5"]


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("train") / "organisation"
    write_organisation(directory, 32, 30, 4712, 8)
    return directory


@pytest.fixture(scope="module")
def trained(organisation: Path, tiny_qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("train") / "adapter"
    done = runner.invoke(app, ["train", "narrative", str(organisation), "--out", str(out), "--base", str(tiny_qwen2), *FEW])
    assert done.exit_code == 0, done.output
    return out, done.stderr


def test_it_writes_an_adapter_with_notes_card_and_curve(trained: tuple[Path, str]) -> None:
    out, told = trained
    assert {path.name for path in out.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "daywatch.json", "evidence_head.safetensors", "README.md", "history.json",
        "loss.svg",
    }  # fmt: skip
    notes = read_notes(out)
    assert isinstance(notes, Notes)
    assert notes.track == "shortcut-free"
    assert notes.calibration is not None
    assert {"malicious", "suspicious", "alert@5"} <= set(notes.thresholds)
    assert notes.triage["0.01"] >= notes.triage["0.1"]
    card = (out / "README.md").read_text()
    assert notes.base_sha256 in card
    assert notes.prompt in card
    assert "training" in told
    assert "calibration error" in told


def test_the_backend_takes_it(trained: tuple[Path, str], tiny_qwen2: Path, organisation: Path) -> None:
    from daywatch.backends import Choice, made
    from detector.from_directory import USER_DAYS
    from windowing.offline import windows_of
    from windowing.record import parse_window

    backend = made(Choice("narrative", track="shortcut-free", base=str(tiny_qwen2), adapter=str(trained[0]), alone=True, explain="all"))
    batch = next(iter(windows_of(organisation, USER_DAYS)))
    windows = [parse_window(value.encode()) for value in batch.windows["value"][:4]]
    verdicts = backend.judge(windows)
    assert [verdict.window_id for verdict in verdicts] == [window.id for window in windows]
    assert all(verdict.provenance["adapter_sha256"] for verdict in verdicts)


def test_a_directory_with_an_adapter_is_not_written_over(trained: tuple[Path, str], organisation: Path) -> None:
    done = runner.invoke(app, ["train", "narrative", str(organisation), "--out", str(trained[0])], catch_exceptions=True)
    assert done.exit_code != 0
    assert "holds an adapter already" in str(done.exception) + done.output


def test_an_unknown_track_is_wrong_usage(organisation: Path, tmp_path: Path) -> None:
    done = runner.invoke(app, ["train", "narrative", str(organisation), "--out", str(tmp_path / "x"), "--track", "some"])
    assert done.exit_code == 2
    assert "shortcut-free" in done.output


def test_the_curve_is_a_picture(trained: tuple[Path, str]) -> None:
    from xml.etree import ElementTree as ET

    root = ET.fromstring((trained[0] / "loss.svg").read_text())
    assert root.tag.endswith("svg")
    assert len(root.findall(".//{*}polyline")) == 3
