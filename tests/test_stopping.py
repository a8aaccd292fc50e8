"""Every worker that is told to stop with a backlog before it has gone within ten seconds, and its successor carries on."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from daywatch.extras import installed
from stream.kafka_groups import KafkaGroups
from stream.kafka_transactions import producer_config
from stream.synth import write_organisation
from tests.plain_processes import PlainProcess, until
from tests.servers import ApacheKafka, EmbeddedStore, create_topics, read_values
from windowing.calendar import DAY_MS, WindowSpec
from windowing.offline import windows_of

WITHIN_S = 10.0
LINES = 20_000


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("organisation") / "r4.2"
    write_organisation(place, 24, 40, seed=7, insiders=1)
    return place


class Site:
    """Workers as processes of their own in one namespace."""

    def __init__(self, broker: str, store: str, namespace: str, place: Path) -> None:
        self.broker, self.namespace, self._place, self._count = broker, namespace, place, 0
        self._environment = {
            "DAYWATCH_NAMESPACE": namespace,
            "DAYWATCH_KAFKA__BOOTSTRAP_SERVERS": broker,
            "DAYWATCH_STORE__URL": store,
            "DAYWATCH_TOPICS__PARTITIONS": "2",
            "DAYWATCH_WINDOW__HOP": "12h",
        }
        self.groups = KafkaGroups({"bootstrap.servers": broker})

    def start(self, *words: str, **environment: str) -> PlainProcess:
        self._count += 1
        return PlainProcess(
            [sys.executable, "-m", "daywatch", *words], self._environment | environment, self._place / f"{words[0]}-{self._count}"
        )

    def run(self, *words: str, code: int = 0, **environment: str) -> str:
        process = self.start(*words, **environment)
        assert process.code() == code, process.err[-2000:]
        return process.err

    def committed(self, group: str) -> int:
        """The sum of what a group has committed."""
        return sum(commit.offset for commit in self.groups.look(f"{self.namespace}.{group}").commits.values())

    def stop_in_the_midst(self, group: str, *words: str, **environment: str) -> str:
        """Start a worker, let it commit something, tell it to stop, and see it go; what it said."""
        before = self.committed(group)
        process = self.start(*words, **environment)
        try:
            until(lambda: self.committed(group) > before or not process.runs())
            return _gone(process)
        finally:
            process.kill()

    def records(self, topic: str) -> list[bytes]:
        return sorted(read_values(self.broker, f"{self.namespace}.{topic}"))


def _gone(process: PlainProcess, code: int = 0) -> str:
    began = time.monotonic()
    assert process.stop(120) == code, process.err[-2000:]
    took = time.monotonic() - began
    # on a machine that others keep busy, a process gets but its share of the time
    share = min(1.0, (os.cpu_count() or 1) / max(os.getloadavg()[0], 1.0))
    assert took * share < WITHIN_S, f"{took:.1f} s, of which {share:.0%} were its own"
    assert "Traceback" not in process.err
    return process.err


@pytest.fixture
def site(apache_kafka: ApacheKafka, redis_server: EmbeddedStore, namespace: str, tmp_path: Path) -> Site:
    site = Site(apache_kafka.bootstrap_servers, redis_server.url, namespace, tmp_path)
    site.run("topics", "create")
    return site


def expected_windows(organisation: Path) -> list[bytes]:
    spec = WindowSpec(hop_ms=DAY_MS // 2)
    return sorted(text.encode() for batch in windows_of(organisation, spec) for text in batch.windows["value"])


def test_the_chain_stops_worker_by_worker_and_ends_as_if_nobody_had_stopped(site: Site, organisation: Path) -> None:
    home = str(organisation.parent / "state.json")
    replay = site.start("replay", str(organisation), "--speed", "40000x", "--state", home)
    topic = f"{site.namespace}.http"
    until(lambda: len(read_values(site.broker, topic)) > 50 or not replay.runs())
    assert "start again to go on" in _gone(replay, code=1)
    site.run("replay", str(organisation), "--state", home)

    site.stop_in_the_midst("window", "window", "-q", "--processes", "2")
    # whoever leaves says so: nobody waits for a session to time out
    assert not site.groups.look(f"{site.namespace}.window").alive
    site.run("window", "--until-done", "-q")
    assert site.records("windows") == expected_windows(organisation)

    site.stop_in_the_midst("detect", "detect", "-q")
    site.run("detect", "--until-done", "-q")
    judged = [json.loads(value)["window_id"] for value in site.records("verdicts")]
    assert sorted(judged) == sorted(json.loads(value)["id"] for value in site.records("windows"))

    if installed("faust"):
        correlate = site.start("correlate", "-q")
        try:
            until(lambda: site.committed("correlate") > 0 or not correlate.runs())
            _gone(correlate)
        finally:
            correlate.kill()


def test_processes_that_are_killed_together_lose_and_double_nothing(site: Site, organisation: Path) -> None:
    site.run("replay", str(organisation), "--state", str(organisation.parent / "killed.json"))
    process = site.start("window", "-q", "--processes", "2")
    try:
        until(lambda: site.committed("window") > 0 or not process.runs())
    finally:
        process.kill()  # the parent alone: the others must not work on without it
    site.run("window", "--processes", "2", "--until-done", "-q")
    assert site.records("windows") == expected_windows(organisation)


def test_triage_of_log_lines_stops_and_labels_every_line_once(site: Site, tiny_classifier: Path) -> None:
    names = [f"{site.namespace}.{name}" for name in ("lines", "labels")]
    create_topics(site.broker, names, 2)
    producer = Producer(producer_config({"bootstrap.servers": site.broker}))
    for number in range(LINES):
        producer.produce(names[0], f"line {number} of the log".encode(), key=b"host%d" % (number % 7))
        producer.poll(0)
    assert not producer.flush(60)
    words = ["classify", "--from-topic", names[0], "--to-topic", names[1], "--model", str(tiny_classifier), "--device", "cpu", "-q"]
    group = f"classify.{names[0]}"
    site.stop_in_the_midst(group, *words)
    assert site.committed(group) > 0
    site.run(*words, "--until-done")
    lines = [json.loads(value)["line"] for value in site.records("labels")]
    assert len(lines) == LINES
    assert len(set(lines)) == LINES
