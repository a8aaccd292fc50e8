import json
from pathlib import Path

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from daywatch.cli import app
from stream.errors import ConfigurationError
from tests.servers import EmbeddedBroker, create_topics
from tests.sinks.made_up import MadeUp

NAMES = ("windows", "verdicts", "alerts")


@pytest.fixture
def run(tmp_path: Path) -> MadeUp:
    made = MadeUp(users=6, days=25)
    made.write_answers(tmp_path)
    for name in NAMES:
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in getattr(made, name)))
    return made


def _score(directory: Path, *more: str) -> dict:
    result = CliRunner().invoke(app, ["score", str(directory), "--out", str(directory / "out"), "--json", *more], catch_exceptions=False)
    assert result.exit_code == 0
    found: dict = json.loads(result.stdout)
    return found


def _files(directory: Path) -> list[str]:
    return [part for name in NAMES for part in (f"--{name}", str(directory / f"{name}.jsonl"))]


def test_json_lines_are_scored_printed_and_written(run: MadeUp, tmp_path: Path) -> None:
    found = _score(tmp_path, *_files(tmp_path))
    assert found == json.loads((tmp_path / "out" / "scorecard.json").read_text())
    assert (found["verdicts"], found["insiders"]["total"], found["evidence"]["invalid"]) == (len(run.verdicts), 3, 0)
    assert "Daywatch scorecard" in (tmp_path / "out" / "report.html").read_text()


def test_without_json_standard_output_stays_empty(run: MadeUp, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["score", str(tmp_path), "--out", str(tmp_path), *_files(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "insiders caught" in result.stderr


def test_some_files_without_the_others_are_wrong_usage(run: MadeUp, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["score", str(tmp_path), *_files(tmp_path)[:2]]).exit_code == 2


def test_a_directory_without_answers_is_told(run: MadeUp, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ground truth"):
        CliRunner().invoke(app, ["score", str(tmp_path / "elsewhere"), *_files(tmp_path)], catch_exceptions=False)


def test_topics_give_the_same_scorecard_as_json_lines_and_marks_are_passed_over(
    run: MadeUp, tmp_path: Path, embedded_broker: EmbeddedBroker, namespace: str
) -> None:
    servers = embedded_broker.bootstrap_servers
    create_topics(servers, [f"{namespace}.{name}" for name in NAMES], partitions=2)
    producer = Producer({"bootstrap.servers": servers})
    for name in NAMES:
        for record in getattr(run, name):
            user = record["user"] if "user" in record else record["actor"]["user"]["name"]
            producer.produce(f"{namespace}.{name}", json.dumps(record).encode(), user.encode())
        for partition in range(2):
            producer.produce(f"{namespace}.{name}", None, None, partition, headers={"daywatch-clock": b"1"})
    assert producer.flush(30) == 0
    where = ["--namespace", namespace, "--bootstrap-servers", servers, "--set", "kafka.embedded=true"]
    assert _score(tmp_path, *where) == _score(tmp_path, *_files(tmp_path))
