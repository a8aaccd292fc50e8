import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer

from stream.kafka_transactions import producer_config
from tests.servers import ApacheKafka, create_topics
from tests.sinks.test_show import records
from tests.sinks.windows import day_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    lines = [
        *records(day_of("ana", 0, 0.6), day_of("ana", 1, 0.9)),
        *records(day_of("bob", 3, 0.55)),
        *records(day_of("cyd", 8, 0.75)),
    ]
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def daywatch(*arguments: object, stdin: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "daywatch", "alerts", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)


def users(done: "subprocess.CompletedProcess[bytes]") -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line.split()[2] for line in done.stdout.decode().splitlines() if line[:1] == " " and line[1:4].strip().isdigit()]


def test_alerts_of_a_file_are_shown_folded_and_oldest_first(file: Path) -> None:
    done = daywatch(file)
    assert users(done) == ["ana", "bob", "cyd"]
    assert b"\x1b" not in done.stdout
    assert done.stderr == b"3 alerts, 3 users\n"


def test_filters_narrow_them_down(file: Path) -> None:
    assert users(daywatch(file, "--user", "bob")) == ["bob"]
    assert users(daywatch(file, "--min-risk", "75")) == ["ana", "cyd"]
    assert users(daywatch(file, "--since", "2010-07-07")) == ["cyd"]
    assert users(daywatch(file, "--since", "1d")) == []


def test_json_lines_are_the_records_themselves_and_nothing_else(file: Path) -> None:
    done = daywatch(file, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["activity_id"] for line in lines] == [1, 2, 1, 1]
    assert done.stderr == b""
    assert [json.loads(line) for line in file.read_bytes().splitlines()] == lines
    assert len(daywatch(file, "--json", "--min-risk", "75").stdout.splitlines()) == 2


def test_standard_input_is_a_file_too(file: Path) -> None:
    assert users(daywatch("-", stdin=file.read_bytes())) == ["ana", "bob", "cyd"]


def test_a_file_that_is_not_there_or_holds_something_else_is_told_and_exits_with_1(tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_text("{}\n")
    for path, words in ((tmp_path / "none", b"none: No such file"), (junk, b"record 1: no OCSF Detection Finding")):
        done = daywatch(path)
        assert done.returncode == 1
        assert b"daywatch: error: " in done.stderr
        assert words in done.stderr
        assert done.stdout == b""


@pytest.mark.parametrize("wrong", [["--min-risk", "101"], ["--since", "tomorrow"], ["--follow"]])
def test_wrong_usage_exits_with_2(file: Path, wrong: list[str]) -> None:
    assert daywatch(file, *wrong).returncode == 2


def test_a_topic_is_shown_and_followed_until_interrupted(apache_kafka: ApacheKafka, namespace: str) -> None:
    broker = apache_kafka.bootstrap_servers
    create_topics(broker, [f"{namespace}.alerts"], partitions=2)
    producer = Producer(producer_config({"bootstrap.servers": broker}))
    first, update = records(day_of("ana", 0, 0.6), day_of("ana", 1, 0.9))

    def put(record: bytes) -> None:
        producer.produce(f"{namespace}.alerts", record, key=b"ana")
        assert producer.flush(30) == 0

    where = ["--namespace", namespace, "--bootstrap-servers", broker]
    put(first)
    assert users(daywatch(*where)) == ["ana"]
    command = [sys.executable, "-m", "daywatch", "alerts", *where, "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = [process.stdout.readline() for _ in range(12)]
        assert shown[0].startswith(" 60 MEDIUM    ana")
        put(update)
        while not (line := process.stdout.readline()).startswith(" 90"):
            assert process.poll() is None
        assert "update: risk 60 → 90, 2 more events" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert [json.loads(line)["activity_id"] for line in daywatch(*where, "--json").stdout.splitlines()] == [1, 2]


def test_a_missing_topic_is_an_error_with_its_cure(apache_kafka: ApacheKafka, namespace: str) -> None:
    done = daywatch("--namespace", namespace, "--bootstrap-servers", apache_kafka.bootstrap_servers)
    assert done.returncode == 1
    assert b"daywatch topics create" in done.stderr.splitlines()[-1]
