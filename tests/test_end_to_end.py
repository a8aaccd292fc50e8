"""The commands themselves, one after the other, from files to a scorecard, on real brokers and stores."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daywatch.embedded import EmbeddedBroker, EmbeddedStore
from stream.synth import write_organisation
from tests.servers import ApacheKafka, read_values
from windowing.calendar import DAY_MS, WindowSpec
from windowing.directory import Directory
from windowing.offline import windows_of

ZONE = "America/New_York"


@dataclass(frozen=True, slots=True)
class Site:
    """A broker, a store and a namespace; `run` is `daywatch` with these addresses in its environment."""

    environment: dict[str, str]
    place: Path

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command and hold its exit code and its standard output to the promise."""
        done = subprocess.run(
            [sys.executable, "-m", "daywatch", *arguments],
            env=os.environ | self.environment,
            cwd=self.place,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        assert done.returncode == code, done.stderr[-2000:]
        return done

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command whose standard output is JSON lines."""
        return [json.loads(line) for line in self.run(*arguments).stdout.splitlines()]


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three weeks over the change to summer time are a lot of edges for a few people."""
    place = tmp_path_factory.mktemp("organisation") / "r4.2"
    write_organisation(place, 24, 24, seed=5, insiders=3, zone=ZONE)
    return place


@pytest.fixture(params=["apache kafka and redis", "embedded broker and valkey"])
def site(request: pytest.FixtureRequest, namespace: str, tmp_path: Path) -> Site:
    real = request.param.startswith("apache")
    broker: ApacheKafka | EmbeddedBroker = request.getfixturevalue("apache_kafka" if real else "embedded_broker")
    store: EmbeddedStore = request.getfixturevalue("redis_server" if real else "valkey_server")
    return Site(
        {
            "DAYWATCH_NAMESPACE": namespace,
            "DAYWATCH_ZONE": ZONE,
            "DAYWATCH_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "DAYWATCH_KAFKA__EMBEDDED": str(not real).lower(),
            "DAYWATCH_KAFKA__SESSION_TIMEOUT": "10s" if real else "2s",
            "DAYWATCH_STORE__URL": store.url,
            "HOME": str(tmp_path),  # replay keeps its place there
        },
        tmp_path,
    )


def in_memory(organisation: Path) -> list[bytes]:
    """The windows of the same directory without any server."""
    spec = WindowSpec(hop_ms=DAY_MS)
    people = Directory.read(organisation / "LDAP")
    return sorted(text.encode() for batch in windows_of(organisation, spec, ZONE, people=people) for text in batch.windows["value"])


def records(site: Site, topic: str) -> list[bytes]:
    """What a topic holds, read apart from all our own readers."""
    return read_values(site.environment["DAYWATCH_KAFKA__BOOTSTRAP_SERVERS"], f"{site.environment['DAYWATCH_NAMESPACE']}.{topic}")


def test_from_files_to_the_scorecard_by_the_commands_of_the_readme(site: Site, organisation: Path) -> None:
    assert site.run("topics", "create").stdout == ""
    assert site.run("replay", str(organisation)).stdout == ""
    done = site.run("window", "--hop", "24h", "--directory", str(organisation / "LDAP"), "--until-done")
    assert done.stdout == ""
    assert "0 stay open" in done.stderr
    assert sorted(records(site, "windows")) == in_memory(organisation)
    assert records(site, "dead-letters") == []

    assert site.run("detect", "--until-done").stdout == ""
    windows = {json.loads(text)["id"] for text in in_memory(organisation)}
    verdicts = [json.loads(text) for text in records(site, "verdicts")]
    assert sorted(verdict["window_id"] for verdict in verdicts) == sorted(windows)

    alerts = site.lines("alerts", "--json")
    assert {alert["class_uid"] for alert in alerts} <= {2004}
    raised = {verdict["alert_uid"] for verdict in verdicts} - {None}
    assert {alert["finding_info"]["uid"] for alert in alerts} == raised
    assert raised, "an organisation with three insiders and no alert shows nothing"

    card = json.loads(site.run("score", str(organisation), "--out", "card", "--json").stdout)
    assert card == json.loads((site.place / "card" / "scorecard.json").read_text())
    assert {path.name for path in (site.place / "card").iterdir()} == {"scorecard.json", "report.html"}


def test_a_second_run_finds_nothing_left_to_do(site: Site, organisation: Path) -> None:
    if site.environment["DAYWATCH_KAFKA__EMBEDDED"] == "true":
        pytest.skip("workers on the embedded broker are never restarted")
    site.run("topics", "create")
    site.run("replay", str(organisation))
    found: list[list[int]] = []
    for _ in range(2):
        site.run("window", "--hop", "24h", "--until-done")
        site.run("detect", "--until-done")
        found.append([len(records(site, topic)) for topic in ("windows", "verdicts", "alerts")])
    assert found[0] == found[1]
    assert found[0][0] == found[0][1] > 0


def test_processes_share_the_partitions_and_say_in_the_end_what_they_came_to(site: Site, organisation: Path) -> None:
    # more than there are partitions: one has nothing to do
    site.run("topics", "create", "--set", "topics.partitions=2")
    site.run("replay", str(organisation))
    people = ["--directory", str(organisation / "LDAP")]
    done = site.run("window", "--hop", "24h", *people, "--processes", "3", "--until-done")
    assert sorted(records(site, "windows")) == in_memory(organisation)
    assert done.stdout == ""
    assert done.stderr.count("windows closed, 0 stay open") == 1
    assert f"{len(in_memory(organisation)):,} windows closed" in done.stderr
    # each of them worked on partitions of its own
    holds = [line for line in done.stderr.splitlines() if "holds 1 of 2 partitions" in line]
    assert len(holds) >= 2


def test_processes_say_once_what_is_wrong(site: Site) -> None:
    failed = site.run("window", "--processes", "2", "--store-url", "redis://127.0.0.1:1/0", "--until-done", code=1)
    assert failed.stderr.count("daywatch: error: ") == 1
    assert "Traceback" not in failed.stderr
    assert "processes" in site.run("window", "--processes", "0", code=2).stderr


def test_a_worker_refuses_what_would_lose_or_double_something(site: Site, organisation: Path) -> None:
    if site.environment["DAYWATCH_KAFKA__EMBEDDED"] == "true":
        pytest.skip("the embedded broker creates topics as soon as they are asked for")
    assert "daywatch topics create" in site.run("window", "--until-done", code=1).stderr
    site.run("topics", "create")
    site.run("replay", str(organisation), "--to", "2010-01-06")
    site.run("window", "--until-done")
    refused = site.run("window", "--hop", "24h", "--until-done", code=1)
    assert refused.stdout == ""
    assert refused.stderr.splitlines()[-1].startswith("daywatch: error: ")
    assert "new namespace" in refused.stderr
