import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from stream.kafka_transactions import producer_config
from stream.partitioner import partition_of
from tests.servers import ApacheKafka, create_topics
from tests.sinks.incidents.correlate_process import ROLES, topics_of
from tests.sinks.incidents.telling import DAY, Detector
from tests.sinks.incidents.test_show import records

PARTITIONS = 2


def daywatch(*arguments: object, stdin: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "daywatch", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)


def heads(done: "subprocess.CompletedProcess[bytes]") -> list[tuple[str, str]]:
    """Whose stories are shown, and how they stand."""
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.decode().splitlines() if re.match(r"[ \d]{3} [A-Z]+ ", line)]
    return [(line.split()[2], line.split()[-1]) for line in lines]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    told = records()
    other = [record.replace(b'"name":"ana"', b'"name":"bob"').replace(b'"uid":"', b'"uid":"f') for record in told[:1]]
    path = tmp_path / "incidents.jsonl"
    # as after a crash: two of them once more
    path.write_bytes(b"\n".join([*told, *told[:2], *other]) + b"\n")
    return path


def test_incidents_of_a_file_are_shown_as_they_stand_and_repeated_records_once(file: Path) -> None:
    done = daywatch("incidents", file)
    assert heads(done) == [("ana", "closed"), ("bob", "open")]
    assert b"\x1b" not in done.stdout
    assert done.stderr == b"2 incidents, 1 open, 2 users\n"


def test_filters_narrow_them_down(file: Path) -> None:
    assert heads(daywatch("incidents", file, "--user", "bob")) == [("bob", "open")]
    assert heads(daywatch("incidents", file, "--open")) == [("bob", "open")]
    assert heads(daywatch("incidents", file, "--min-risk", "75")) == [("ana", "closed")]
    assert heads(daywatch("incidents", file, "--since", "2010-07-07")) == [("ana", "closed")]


def test_json_lines_are_every_revision_once(file: Path) -> None:
    done = daywatch("incidents", "-", "--json", stdin=file.read_bytes())
    assert [json.loads(line)["activity_id"] for line in done.stdout.splitlines()] == [1, 2, 3, 1]
    assert done.stdout.splitlines() == [*file.read_bytes().splitlines()[:3], file.read_bytes().splitlines()[-1]]
    assert done.stderr == b""


def test_what_is_no_incident_is_named_and_exits_with_1(tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_text("{}\n")
    done = daywatch("incidents", junk)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"daywatch incidents: record 1: no OCSF Incident Finding")
    assert daywatch("incidents", junk, "--follow").returncode == 2


def test_without_the_extra_correlate_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from daywatch.cli import app
    from daywatch.commands import correlate
    from stream.errors import ConfigurationError

    monkeypatch.setattr(correlate, "installed", lambda name: False)
    found = CliRunner().invoke(app, ["correlate"])
    assert isinstance(found.exception, ConfigurationError)
    assert "pip install 'daywatch[incidents]'" in str(found.exception)


def test_alerts_of_a_topic_become_incidents_that_can_be_followed_and_a_worker_ends_when_it_is_asked_to(
    apache_kafka: ApacheKafka, namespace: str
) -> None:
    broker = apache_kafka.bootstrap_servers
    names = {role: f"{namespace}.{role.replace('_', '-')}" for role in ROLES}
    create_topics(broker, [name for role, name in names.items() if role != "incident_memory"], partitions=PARTITIONS)
    create_topics(broker, [names["incident_memory"]], partitions=PARTITIONS, cleanup_policy="compact")
    detector = Detector(topics_of(namespace, PARTITIONS))
    for number, risk in ((0, 0.6), (4, 0.9), (20, 0.1)):
        detector.window("ana", number, risk)
    detector.mark(20, last=True)
    producer = Producer(producer_config({"bootstrap.servers": broker}))
    for record in (*detector.verdicts, *detector.alerts):
        for partition in range(PARTITIONS) if record.key is None else [partition_of(record.key, PARTITIONS)]:
            producer.produce(record.topic, record.value, record.key, partition, headers=list(record.headers))
    assert producer.flush(30) == 0

    where = ["--namespace", namespace, "--bootstrap-servers", broker]
    done = daywatch("correlate", *where, "--until-done", "--gap", "2d")
    assert done.returncode == 0, done.stderr
    last = done.stderr.decode().splitlines()[-1]
    assert "3 verdicts and 2 alert records read; incidents: 1 opened, 1 grown, 1 closed" in last
    assert b"ana" not in done.stderr
    assert heads(daywatch("incidents", *where)) == [("ana", "closed")]
    shown = [json.loads(line) for line in daywatch("incidents", *where, "--json").stdout.splitlines()]
    assert [record["unmapped"]["incident"]["revision"] for record in shown] == [1, 2, 3]
    assert shown[0]["unmapped"]["incident"]["gap_ms"] == 2 * DAY

    command = [sys.executable, "-m", "daywatch", "correlate", *where]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        worker.stderr.readline()  # it has started
        asked = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)
        assert worker.returncode == 0
    assert time.monotonic() - asked < 30


def test_a_missing_topic_is_an_error_with_its_cure(apache_kafka: ApacheKafka, namespace: str) -> None:
    done = daywatch("correlate", "--namespace", namespace, "--bootstrap-servers", apache_kafka.bootstrap_servers)
    assert done.returncode == 1
    assert b"daywatch topics create" in done.stderr.splitlines()[-1]
