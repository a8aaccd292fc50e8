import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daywatch.__main__ import main
from daywatch.settings import load, parse_duration, setting_names
from daywatch.settings_shown import example, format_duration, hide

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """`daywatch config ARGS` in this process and an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["daywatch", "config", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return run


def rows(text: str) -> dict[str, dict[str, object]]:
    return {row["setting"]: row for row in map(json.loads, text.splitlines())}


def test_every_setting_is_shown_with_what_is_in_force_and_where_it_came_from(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "daywatch.toml").write_text('zone = "Asia/Kolkata"\n[window]\nhop = "3h"\nsize = "2d"\n')
    monkeypatch.setenv("DAYWATCH_WINDOW__HOP", "12h")
    monkeypatch.setenv("DAYWATCH_TOPICS", '{"partitions": 8}')
    code, out, err = run("--json", "--set", "window.cap=7", "--namespace", "acme")
    found = rows(out)
    assert code == 0
    assert list(found) == setting_names()
    assert err == "daywatch config: settings file daywatch.toml\n"
    said = {name: (row["value"], row["source"], row["place"]) for name, row in found.items() if row["source"] != "default"}
    assert said == {
        "namespace": ("acme", "flag", "--namespace"),
        "zone": ("Asia/Kolkata", "file", "daywatch.toml"),
        "topics.partitions": (8, "environment", "DAYWATCH_TOPICS"),
        "window.size": ("2d", "file", "daywatch.toml"),
        "window.hop": ("12h", "environment", "DAYWATCH_WINDOW__HOP"),
        "window.cap": (7, "flag", "--set window.cap"),
    }
    assert (found["topics.retention"]["value"], found["topics.results_retention"]["value"]) == ("7d", "forever")
    assert rows(run("--json", "--changed", "--set", "window.cap=7", "--namespace", "acme")[1]).keys() == said.keys()


def test_the_table_says_the_same_for_people(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("daywatch_window__hop", "12h")
    code, out, err = run()
    assert code == 0
    assert err == "daywatch config: no settings file (./daywatch.toml is not there)\n"
    assert re.search(r"^window\.hop +12h +environment daywatch_window__hop$", out, re.MULTILINE)
    assert re.search(r"^window\.size +1d +default$", out, re.MULTILINE)
    assert re.search(r"^window\.directory +– +default$", out, re.MULTILINE)


def test_no_secret_is_shown_wherever_it_came_from(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    (tmp_path / "daywatch.toml").write_text(
        '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_mechanism = "PLAIN"\nsasl_username = "ana"\n[remote]\nurl = "https://bo:hunter3@h/v1"\n'
    )
    monkeypatch.setenv("DAYWATCH_KAFKA__SASL_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("DAYWATCH_STORE__URL", "redis://ana:hunter4@r:6379/0?password=hunter5")
    code, out, err = run("--json", "--set", "remote.api_key=hunter6")
    found = rows(out)
    assert (code, "hunter" in out, "hunter" in err) == (0, False, False)
    password = found["kafka.sasl_password"]
    assert (password["value"], password["source"], password["secret"]) == ("********", "environment", True)
    assert password["place"] == "DAYWATCH_KAFKA__SASL_PASSWORD_FILE"
    assert found["store.url"]["value"] == "redis://ana:********@r:6379/0?password=********"
    assert found["remote.url"]["value"] == "https://bo:********@h/v1"
    assert found["remote.api_key"]["value"] == "********"
    code, out, err = run("--set", "remote.api_key=hunter6")
    assert (code, "hunter" in out, "hunter" in err) == (0, False, False)


def test_what_cannot_be_used_ends_with_2_and_nothing_on_standard_output(run: Run) -> None:
    code, out, err = run("--set", "kafka.sasl_pasword=hunter2")
    assert (code, out) == (2, "")
    assert "did you mean kafka.sasl_password?" in err
    assert "hunter2" not in err


def test_the_example_names_every_setting_and_its_defaults_are_the_defaults(run: Run, tmp_path: Path) -> None:
    code, out, err = run("--example")
    assert (code, err) == (0, "")
    assert tomllib.loads(out).keys() <= {name.split(".")[0] for name in setting_names()}
    lines = out.splitlines()
    assert len([line for line in lines if line.startswith("# ") and " = " in line]) == len(setting_names())
    # everything that has a default, made effective, changes nothing
    file = tmp_path / "all.toml"
    file.write_text("\n".join(line.removeprefix("# ") if " = " in line and "not set" not in line else line for line in lines[1:]))
    assert load(file) == load()
    assert sum(len(group) if isinstance(group, dict) else 1 for group in tomllib.loads(file.read_text()).values()) > 30


def test_the_example_marks_secrets_and_shows_choices() -> None:
    text = "\n".join(example())
    assert '# sasl_password = ""  # secret; not set' in text
    assert '# security_protocol = "PLAINTEXT"  # PLAINTEXT | SSL | SASL_PLAINTEXT | SASL_SSL' in text


@given(st.integers(0, 10**12))
def test_a_duration_is_read_as_it_is_written(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:p@ss@h:6379/0", "redis://:********@h:6379/0"),
        ("unix://ana:x@/tmp/redis.sock?db=1", "unix://ana:********@/tmp/redis.sock?db=1"),
        ("https://h/v1?api_key=x&a=b#c", "https://h/v1?api_key=********&a=b#c"),
        ("kafka-1:9092,kafka-2:9092", "kafka-1:9092,kafka-2:9092"),
    ],
)
def test_addresses_are_shown_without_their_passwords(text: str, shown: str) -> None:
    assert hide(text) == shown
