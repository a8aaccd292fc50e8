"""`daywatch topics` and `daywatch replay` as a person types them, against a real broker."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import ApacheKafka
from tests.stream.cert_files import write_directory

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(apache_kafka: ApacheKafka, namespace: str, tmp_path: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("DAYWATCH_")},
        "DAYWATCH_KAFKA__BOOTSTRAP_SERVERS": apache_kafka.bootstrap_servers,
        "DAYWATCH_NAMESPACE": namespace,
        "HOME": str(tmp_path / "home"),
    }


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "daywatch", *arguments],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    return run


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "cert").mkdir()
    write_directory(tmp_path / "cert", events=200)
    return tmp_path / "cert"


def records(run: Run) -> dict[str, int]:
    listed = run("topics", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    return {row["topic"].split(".")[1]: row["records"] for row in map(json.loads, listed.stdout.splitlines())}


def test_topics_are_created_listed_and_refused_when_they_differ(run: Run, namespace: str) -> None:
    made = run("topics", "create", "--partitions", "2", "--retention", "3d", "--json")
    assert made.returncode == 0, made.stderr
    rows = [json.loads(line) for line in made.stdout.splitlines()]
    assert [row["topic"] for row in rows][:2] == [f"{namespace}.logon", f"{namespace}.device"]
    assert all(row["created"] and row["partitions"] == 2 for row in rows)
    again = run("topics", "create", "--partitions", "2", "--retention", "3d")
    assert (again.returncode, again.stdout) == (0, "")
    assert "0 created, 13 there already" in again.stderr
    listed = [json.loads(line) for line in run("topics", "list", "--json").stdout.splitlines()]
    assert [row["retention_ms"] for row in listed if row["topic"].endswith(".http")] == [3 * 86_400_000]
    other = run("topics", "create", "--partitions", "3")
    assert other.returncode == 1
    assert f"topic {namespace}.logon has 2 partitions, not 3" in other.stderr
    assert "Traceback" not in other.stderr


def test_a_directory_is_replayed_and_a_second_time_warned_about(run: Run, directory: Path) -> None:
    assert run("topics", "create", "--partitions", "2").returncode == 0
    first = run("replay", str(directory))
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    assert "200 events sent" in first.stderr
    assert "warning" not in first.stderr
    found = records(run)
    marks = (sum(found.values()) - 200) // 10
    assert sum(found.values()) == 200 + marks * 10, "the same marks on five topics of two partitions"
    assert marks == 49, "hourly, to the end of the window over the newest event: two days"
    second = run("replay", str(directory), "--quiet")
    assert second.returncode == 0
    assert "late; use a new namespace" in second.stderr


def test_a_replay_that_was_stopped_goes_on_where_it_was(run: Run, directory: Path, environment: dict[str, str], tmp_path: Path) -> None:
    assert run("topics", "create", "--partitions", "1").returncode == 0
    slow = subprocess.Popen(
        [sys.executable, "-m", "daywatch", "replay", str(directory), "--speed", "3600x"],
        env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while sum(records(run).values()) < 20:
        assert time.monotonic() < deadline, "nothing arrives"
    slow.terminate()
    _, said = slow.communicate(timeout=60)
    assert slow.returncode == 1
    assert "no last mark written" in said
    stopped_at = sum(records(run).values())
    rest = run("replay", str(directory))
    assert rest.returncode == 0, rest.stderr
    assert "going on after" in rest.stderr
    assert "warning" not in rest.stderr
    sent = [int(said.split("stopped after ")[1].split(" events")[0]), int(rest.stderr.split("replay: ")[-1].split(" events")[0])]
    assert sum(sent) == 200
    assert sum(records(run).values()) > stopped_at


def test_where_no_place_can_be_kept_a_replay_goes_on_without_but_not_if_it_was_asked_for(run: Run, directory: Path, tmp_path: Path) -> None:
    assert run("topics", "create", "--partitions", "1").returncode == 0
    (tmp_path / "home").write_text("a file where the home should be")
    asked_for = run("replay", str(directory), "--state", str(tmp_path / "home" / "place.json"))
    assert asked_for.returncode == 1
    assert "--state" in asked_for.stderr
    assert sum(records(run).values()) == 0
    done = run("replay", str(directory))
    assert done.returncode == 0, done.stderr
    assert "cannot go on where it was" in done.stderr


def test_without_topics_the_cure_is_named(run: Run, directory: Path) -> None:
    refused = run("replay", str(directory))
    assert refused.returncode == 1
    assert "daywatch topics create" in refused.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--speed", "fast"], ["--speed", "-1x"], ["--kinds", "printer"], ["--from", "yesterday"], ["--to", "2010-02-30"], ["--nonsense"]],
)
def test_wrong_usage_exits_with_2(run: Run, directory: Path, arguments: list[str]) -> None:
    assert run("replay", str(directory), *arguments).returncode == 2


def test_a_dry_run_sends_nothing_and_needs_no_broker(directory: Path, environment: dict[str, str], tmp_path: Path) -> None:
    away = environment | {"DAYWATCH_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    command = [sys.executable, "-m", "daywatch", "replay", str(directory), "--dry-run", "--shift-to-now", "--kinds", "logon,http"]
    done = subprocess.run(command, env=away, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "events would be sent" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["logon", "device", "file", "email", "http", "window", "verdict", "alert"])
def test_every_schema_is_printed_as_json(run: Run, name: str) -> None:
    printed = run("schema", name)
    assert printed.returncode == 0, printed.stderr
    assert json.loads(printed.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_an_unknown_schema_is_wrong_usage(run: Run) -> None:
    assert run("schema", "printer").returncode == 2
