"""The demonstration with a language model, on real small weights: nothing is asked of a hub, and nothing of a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import detector
from tests.detector.model_fixtures import needs_models

SHIPPED = Path(detector.__file__).parent / "data" / "narrative" / "adapter_config.json"


@pytest.fixture(scope="module")
def watched(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small demonstration that has run: what it kept, and what it said."""
    needs_models()
    kept = tmp_path_factory.mktemp("demo")
    # without the adapter the base's word is worth little, but the chain is the same
    model = [] if SHIPPED.is_file() else ["--set", "detect.adapter=none"]
    small = ["--users", "12", "--days", "28", "--insiders", "1", "--out", str(kept), *model]
    done = subprocess.run(
        [sys.executable, "-m", "daywatch", "demo", "--backend", "narrative", *small],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return kept, done.stderr


def records(kept: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (kept / f"{name}.jsonl").read_bytes().splitlines()]


def test_few_windows_reach_the_model_and_all_are_judged_by_it_or_its_triage(watched: tuple[Path, str]) -> None:
    verdicts = records(watched[0], "verdicts")
    read = [verdict for verdict in verdicts if verdict["provenance"].get("judged_by") == "model"]
    assert 0 < len(read) < len(verdicts) / 5
    assert {verdict["by"] for verdict in verdicts} == {"narrative"}
    assert len(verdicts) == len(records(watched[0], "windows"))


def test_the_end_says_how_many_windows_the_model_has_read_and_how_long_it_took(watched: tuple[Path, str]) -> None:
    kept, said = watched
    verdicts = records(kept, "verdicts")
    read = sum(verdict["provenance"].get("judged_by") == "model" for verdict in verdicts)
    assert f"The model has read {read:,} of {len(verdicts):,} windows" in said
    assert " tokens, " in said


def test_every_cited_event_is_in_its_window(watched: tuple[Path, str]) -> None:
    events = {window["id"]: {(event["kind"], event["id"]) for event in window["events"]} for window in records(watched[0], "windows")}
    cited = [(verdict["window_id"], ref["kind"], ref["id"]) for verdict in records(watched[0], "verdicts") for ref in verdict["cited"]]
    assert cited
    assert all((kind, event) in events[window] for window, kind, event in cited)
