"""What the README tells a newcomer to type, typed in an empty clone."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from daywatch.commands.demo import KEPT


def commands(repository: Path) -> list[str]:
    """The first block of shell in the README."""
    block = re.search(r"```sh\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return block.group(1).split("\n")[:-1]


@pytest.fixture(scope="module")
def clone(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git has of this repository, nothing more."""
    place = tmp_path_factory.mktemp("newcomer") / "daywatch"
    made = subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", repository, place], check=False, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"not a git working tree: {made.stderr.strip()}")
    return place


def type_in(clone: Path, command: str, within_s: float) -> subprocess.CompletedProcess[str]:
    """Run a line of shell as somebody would whose shell knows nothing of this virtual environment or these settings."""
    hidden = ("DAYWATCH_", "VIRTUAL_ENV", "PYTEST_", "PYTHON", "MAKE")
    around = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    # whoever runs these tests may have the project's own environment first on the PATH
    around["PATH"] = os.pathsep.join(part for part in around["PATH"].split(os.pathsep) if not (Path(part).parent / "pyvenv.cfg").exists())
    return subprocess.run(
        command, shell=True, cwd=clone, env=around, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=within_s
    )


def test_the_readme_has_two_commands(repository: Path) -> None:
    assert commands(repository) == ["make demo", "make test"]


def test_the_first_command_shows_the_chain_from_events_to_the_scorecard(repository: Path, clone: Path) -> None:
    done = type_in(clone, commands(repository)[0], within_s=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(path.name for path in (clone / "demo").iterdir()) == sorted(KEPT)
    lines = {name: (clone / "demo" / f"{name}.jsonl").read_bytes().splitlines() for name in ("windows", "verdicts", "alerts")}
    assert len(lines["windows"]) == len(lines["verdicts"]) > 0
    assert lines["alerts"]
    # what the README shows as the demonstration's alert is one that it has just raised
    alert, story = re.findall(r"```text\n(.*?)```", (repository / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    ids = set(re.findall(r"\{\w{4}-\w{8}-\w{8}\}", alert))
    cited = [{event["uid"] for event in json.loads(line)["finding_info"]["related_events"]} for line in lines["alerts"]]
    assert ids in cited, "show another alert in the README: run `make demo`"
    assert all(event in done.stderr for event in ids)
    # and the story is one that it has told, and holds that alert
    [uid] = re.findall(r"incident ([0-9a-f]{32})", story)
    told = [json.loads(line) for line in (clone / "demo" / "incidents.jsonl").read_bytes().splitlines()]
    held = {finding["uid"] for record in told if uid in json.dumps(record) for finding in record["finding_info_list"]}
    assert f"incident {uid}" in done.stderr, "show another story in the README: run `make demo`"
    assert re.search(r"alert ([0-9a-f]{32})", alert)[1] in held


def test_the_second_command_runs_the_tests(repository: Path, clone: Path) -> None:
    # all of them would include this one; and the models, a few gigabytes, were installed in the same way to run it
    done = type_in(clone, commands(repository)[1] + " MODELS=no TESTS=tests/windowing/test_calendar.py", within_s=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r"\d+ passed", done.stdout)
