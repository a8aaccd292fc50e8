"""Operating a namespace on a real broker and store: looking at it, resetting it, reading what was refused, stopping its workers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from daywatch.cli import app
from daywatch.commands.window import build_worker
from daywatch.settings import load
from stream.errors import PipelineError
from stream.kafka_groups import KafkaGroups
from stream.kafka_source import KafkaSource
from stream.synth import write_organisation
from tests.servers import ApacheKafka, EmbeddedStore, read_values

PARTITIONS = 2
JUNK = 4


@dataclass(frozen=True, slots=True)
class Site:
    """A namespace of its own, and `daywatch` in this process with its addresses."""

    broker: str
    store: str
    namespace: str
    home: Path

    def run(self, *arguments: str, code: int = 0) -> Result:
        environment = {
            "DAYWATCH_NAMESPACE": self.namespace,
            "DAYWATCH_KAFKA__BOOTSTRAP_SERVERS": self.broker,
            "DAYWATCH_STORE__URL": self.store,
            "DAYWATCH_TOPICS__PARTITIONS": str(PARTITIONS),
            "DAYWATCH_WINDOW__HOP": "24h",
            "HOME": str(self.home),
        }
        done = CliRunner().invoke(app, list(arguments), env=environment)
        assert done.exit_code == code, (done.stderr[-2000:], done.exception)
        return done

    def refused(self, *arguments: str) -> str:
        """What a command says that ends with an error."""
        done = self.run(*arguments, code=1)
        assert isinstance(done.exception, PipelineError)
        return str(done.exception)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("state", "--json").stdout)
        return found

    def records(self, topic: str) -> list[bytes]:
        return sorted(read_values(self.broker, f"{self.namespace}.{topic}"))

    @property
    def groups(self) -> KafkaGroups:
        return KafkaGroups({"bootstrap.servers": self.broker})

    def profiles(self) -> dict[bytes, bytes]:
        """All profiles, read apart from our own store."""
        with redis.Redis.from_url(self.store) as client:
            return {
                user: blob
                for number in range(PARTITIONS)
                for user, blob in client.hgetall(f"{self.namespace}:{{p{number}}}:profiles").items()
            }

    def read_one_event(self) -> None:
        """What a live worker does until it has read an event; behind a replay's last mark nothing says where it would be done."""
        flags = {
            "namespace": self.namespace, "kafka.bootstrap_servers": self.broker, "store.url": self.store, "window.hop": "24h",
        }  # fmt: skip
        worker, close = build_worker(load(flags=flags, alone=True), until_done=False)
        try:
            worker.run(lambda: sum(worker.totals.read.values()) > 0)
        finally:
            close()

    def lose_store(self) -> None:
        """What an emptied store looks like."""
        with redis.Redis.from_url(self.store) as client:
            for key in client.scan_iter(match=f"{self.namespace}:*"):
                client.delete(key)


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("organisation") / "r4.2"
    write_organisation(place, 12, 16, seed=3, insiders=0)
    return place


@pytest.fixture
def site(apache_kafka: ApacheKafka, redis_server: EmbeddedStore, namespace: str, tmp_path: Path, organisation: Path) -> Iterator[Site]:
    """A namespace whose events, with some junk among them, have become windows."""
    site = Site(apache_kafka.bootstrap_servers, redis_server.url, namespace, tmp_path)
    site.run("topics", "create")
    producer = Producer({"bootstrap.servers": site.broker})
    for number in range(JUNK):
        producer.produce(f"{namespace}.http", b'{"password": "tell nobody"', b"ana", partition=number % PARTITIONS)
    assert not producer.flush(30)
    site.run("replay", str(organisation), "-q")
    site.run("window", "--until-done", "-q")
    yield site
    site.lose_store()


def test_state_shows_partitions_groups_and_what_was_refused(site: Site) -> None:
    found = site.state()
    assert [one["partition"] for one in found["partitions"]] == list(range(PARTITIONS))
    assert {one["epoch"] for one in found["partitions"]} == {1}
    assert found["totals"]["open_windows"] == 0
    assert found["totals"]["lag"] == 0
    assert found["totals"]["profiles"] == len(site.profiles()) > 0
    assert found["totals"]["watermark_ms"] == max(log["clock_ms"] for one in found["partitions"] for log in one["logs"])
    assert all(one["bytes"] > 0 and one["owner"] is None for one in found["partitions"])
    assert found["dead_letters"] == {"records": JUNK, "exact": True, "reasons": {"not_json": JUNK}}
    groups = {group["role"]: group for group in found["groups"]}
    windows = len(site.records("windows"))
    assert groups["window"]["state"] == "empty"
    assert groups["detect"]["lag"] >= windows > 0
    told = site.run("state").stdout
    assert f"namespace {site.namespace}" in told
    assert f"dead letters: {JUNK} ({JUNK} not_json)" in told


def test_state_names_the_owner_and_counts_what_is_still_open(site: Site) -> None:
    event = {"id": "late-1", "kind": "http", "ts": "2010-02-20T10:00:00Z", "user": "zoe", "pc": "PC-1", "url": "http://a.b", "content": "x"}
    producer = Producer({"bootstrap.servers": site.broker, "partitioner": "murmur2_random"})
    producer.produce(f"{site.namespace}.http", json.dumps(event).encode(), b"zoe")
    assert not producer.flush(30)
    assert site.state()["totals"]["lag"] == 1
    site.read_one_event()
    topics = [f"{site.namespace}.{kind}" for kind in ("logon", "device", "file", "email", "http")]
    member = KafkaSource({"bootstrap.servers": site.broker}, f"{site.namespace}.window", topics, client_id="the-owner")
    try:
        while not member.joined():
            member.poll(10, 200)
        found = site.state()
        assert {one["owner"].partition("@")[0] for one in found["partitions"]} == {"the-owner"}
        assert found["totals"]["open_windows"] == 1
        assert "members" in site.refused("reset", "window", "--yes")
        assert "members" in site.refused("reset", "all", "--yes")
    finally:
        member.close()


def test_a_rebuilt_state_is_the_same_and_nothing_is_sent_twice(site: Site) -> None:
    windows, letters, profiles = site.records("windows"), site.records("dead-letters"), site.profiles()
    told = site.run("reset", "window", "--yes").stderr
    assert f"all records of all topics, {site.namespace}.windows included" in told
    assert site.profiles() == {}
    assert {one["epoch"] for one in site.state()["partitions"]} == {2}
    site.run("window", "--until-done", "-q")
    assert site.profiles() == profiles
    assert site.records("windows") == windows
    assert site.records("dead-letters") == letters


def test_a_lost_store_is_refused_and_rebuilt_by_a_reset(site: Site) -> None:
    windows, profiles = site.records("windows"), site.profiles()
    site.lose_store()
    assert "the store holds no state" in site.refused("window", "--until-done", "-q")
    site.run("reset", "window", "--yes")
    site.run("window", "--until-done", "-q")
    assert (site.records("windows"), site.profiles()) == (windows, profiles)


def test_lost_commits_are_refused_and_made_anew_by_a_reset(site: Site) -> None:
    windows, letters, profiles = site.records("windows"), site.records("dead-letters"), site.profiles()
    site.groups.delete(f"{site.namespace}.window")
    assert "no committed offsets" in site.refused("window", "--until-done", "-q")
    site.run("reset", "window", "--yes")
    site.run("window", "--until-done", "-q")
    assert (site.records("windows"), site.profiles()) == (windows, profiles)
    assert site.records("dead-letters") == letters


def test_both_lost_is_rebuilt_from_what_the_topics_say(site: Site) -> None:
    windows, letters = site.records("windows"), site.records("dead-letters")
    site.groups.delete(f"{site.namespace}.window")
    site.lose_store()
    site.run("reset", "window", "--yes")
    site.run("window", "--until-done", "-q")
    assert site.records("windows") == windows
    assert site.records("dead-letters") == letters


def test_reset_detect_judges_every_window_again_and_once(site: Site) -> None:
    site.run("detect", "--until-done", "-q")
    verdicts, alerts = site.records("verdicts"), site.records("alerts")
    assert len(verdicts) == len(site.records("windows"))
    site.run("reset", "detect", "--yes")
    assert site.records("verdicts") == []
    site.run("detect", "--until-done", "-q")
    assert (site.records("verdicts"), site.records("alerts")) == (verdicts, alerts)


def test_reset_all_begins_as_if_nothing_had_run_and_another_hop_may_be_chosen(site: Site) -> None:
    windows, profiles = site.records("windows"), site.profiles()
    other = "window", "--until-done", "-q", "--hop", "12h"
    assert "hop_ms" in site.refused(*other)
    assert "hop_ms" in site.refused("reset", "window", "--yes", "--set", "window.hop=12h")
    site.run("reset", "all", "--yes")
    assert site.records("windows") == []
    assert not any(one["epoch"] < 2 for one in site.state()["partitions"])
    site.run(*other)
    assert len(site.records("windows")) > len(windows)
    site.run("reset", "all", "--yes")
    site.run("window", "--until-done", "-q")
    assert (site.records("windows"), site.profiles()) == (windows, profiles)


def test_a_reset_asks_first_and_a_dry_run_does_nothing(site: Site) -> None:
    before = site.state()["partitions"]
    done = site.run("reset", "window", code=2)
    assert "--yes" in done.stderr
    site.run("reset", "all", "--dry-run")
    assert site.state()["partitions"] == before
    assert site.records("windows")


def test_dead_letters_say_why_and_where_and_show_values_when_asked(site: Site, tmp_path: Path) -> None:
    done = site.run("dead-letters", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(one["reason"], one["topic"]) for one in found} == {("not_json", f"{site.namespace}.http")}
    assert sorted((one["partition"], one["offset"]) for one in found) == [(p, o) for p in range(PARTITIONS) for o in range(2)]
    assert "tell nobody" not in done.stdout + site.run("dead-letters").stdout
    assert "tell nobody" in site.run("dead-letters", "--show-values").stdout
    assert site.run("dead-letters", "--reason", "late", "--json").stdout == ""
    assert len(site.run("dead-letters", "--last", "1", "--json", "--topic", "http").stdout.splitlines()) == 1
    assert json.loads(site.run("dead-letters", "--summary", "--json").stdout) == {
        "reason": "not_json",
        "topic": f"{site.namespace}.http",
        "count": JUNK,
    }
    site.run("dead-letters", "--save", str(tmp_path / "letters"))
    saved = sorted((tmp_path / "letters").iterdir())
    assert [path.name for path in saved] == [f"{site.namespace}.http-{p}-{o}" for p in range(PARTITIONS) for o in range(2)]
    assert saved[0].read_bytes() == b'{"password": "tell nobody"'
