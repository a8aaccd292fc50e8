"""`daywatch forget` and `daywatch reveal` on Apache Kafka and Redis, with workers that run, die, and know people by pseudonyms."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import Producer

from daywatch.embedded import EmbeddedStore
from stream.forget_request import is_forget_request
from stream.kafka_reader import read_all
from stream.kafka_transactions import producer_config
from stream.kinds import KINDS, Kind
from stream.marks import encode_mark
from stream.partitioner import partition_of
from tests.daywatch.commands.conftest import Daywatch
from tests.servers import ApacheKafka
from tests.sinks.detect_process import detect_worker
from tests.sinks.windows import day_of
from tests.windowing.logs import HOUR, T0, iso

PARTITIONS = 2
DAY = 24 * HOUR
KEY = "0123456789abcdef0123456789abcdef"


@dataclass
class Site:
    """A namespace on real servers; commands run in this process, workers in their own."""

    kafka: str
    store: str
    namespace: str
    daywatch: Daywatch

    @property
    def where(self) -> list[str]:
        named = ["--namespace", self.namespace, "--bootstrap-servers", self.kafka, "--store-url", self.store]
        return [*named, "--set", "kafka.session_timeout=6s", "--set", "topics.partitions=2", "--set", "window.max_jump=400d"]

    def run(self, *arguments: str, code: int = 0, stdin: bytes = b"") -> tuple[str, str]:
        found, out, err = self.daywatch(*arguments, *self.where, stdin=stdin)
        assert found == code, err
        return out, err

    @contextmanager
    def worker(self, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
        """`daywatch` in a process of its own, which ends with the block at the latest."""
        with subprocess.Popen([sys.executable, "-m", "daywatch", *arguments, *self.where, "--quiet"], stderr=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    def days(self, first: int, last: int, *users: str, over: bool = False) -> None:
        """Logons and pages of some users on these days, and marks that close them.

        With `over`, the last mark is a replay's last one, and one more logon of each user waits for the day after it.
        """
        producer = Producer(producer_config({"bootstrap.servers": self.kafka}))
        for day in range(first, last + 1):
            for user in users:
                for kind, more in ((Kind.LOGON, {"activity": "Logon"}), (Kind.HTTP, {"url": f"http://news.example.org/{user}"})):
                    event = {
                        "id": f"{kind[0]}{ord(user[0])}-{day}",
                        "kind": kind,
                        "ts": iso(T0 + day * DAY + 9 * HOUR),
                        "user": user,
                        "pc": "PC-1",
                    }
                    producer.produce(f"{self.namespace}.{kind}", json.dumps(event | more), key=user.encode())
            for user in users if over and day == last else ():
                event = {"id": f"x{ord(user[0])}", "kind": "logon", "ts": iso(T0 + (day + 1) * DAY + HOUR), "user": user, "pc": "PC-1"}
                producer.produce(f"{self.namespace}.logon", json.dumps(event | {"activity": "Logon"}), key=user.encode())
            for kind in KINDS:
                for partition in range(PARTITIONS):
                    headers = list(encode_mark(T0 + (day + 1) * DAY, last=over and day == last))
                    producer.produce(f"{self.namespace}.{kind}", None, partition=partition, headers=headers)
        assert producer.flush(30) == 0

    def read(self, role: str) -> list[Any]:
        """Messages of a topic."""
        found = read_all({"bootstrap.servers": self.kafka}, [f"{self.namespace}.{role}"])
        return [message for batch in found for message in batch]

    def windows(self) -> list[dict[str, Any]]:
        return [json.loads(message.value()) for message in self.read("windows") if message.value() is not None]

    def await_windows(self, number: int) -> list[dict[str, Any]]:
        wait_for(lambda: len(self.windows()) >= number)
        return self.windows()


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.1)


@pytest.fixture
def site(apache_kafka: ApacheKafka, redis_server: EmbeddedStore, namespace: str, daywatch: Daywatch) -> Site:
    made = Site(apache_kafka.bootstrap_servers, redis_server.url, namespace, daywatch)
    made.run("topics", "create")
    return made


def stays(document: str) -> dict[str, dict[str, Any]]:
    return {each["topic"].partition(".")[2]: each for each in json.loads(document)["stays"]}


def learning(windows: list[dict[str, Any]], day: int) -> dict[str, bool]:
    start = iso(T0 + day * DAY)[:10]
    return {window["user"]: window["learning"] for window in windows if window["start"].startswith(start)}


def test_workers_that_run_or_were_killed_forget_somebody_and_lose_nobody_else(site: Site) -> None:
    site.days(0, 15, "ana", "bo")
    with site.worker("window", "--hop", "24h") as worker:
        assert learning(site.await_windows(32), 15) == {"ana": False, "bo": False}
        done, err = site.run("forget", "-", "--yes", "--json", stdin=b"ana\n")
        found = json.loads(done)
        assert found["removed"] == {"profile": True, "events_of_open_windows": 0, "pseudonyms": 0}
        assert "ana" not in done + err
        kept = stays(done)
        assert {name: kept[name]["records"] for name in ("logon", "http", "windows", "device", "alerts")} == {
            "logon": 16, "http": 16, "windows": 16, "device": 0, "alerts": 0,
        }  # fmt: skip
        assert kept["logon"]["retention_ms"] == 7 * DAY
        assert kept["logon"]["until_ms"] == kept["logon"]["newest_ms"] + 2 * 7 * DAY  # and the segment's own week
        assert (kept["windows"]["retention_ms"], kept["windows"]["until_ms"]) == (-1, None)
        site.days(16, 16, "ana", "bo")
        assert learning(site.await_windows(34), 16) == {"ana": True, "bo": False}
        # the dead hold nothing back: what they had in memory died with them
        site.days(17, 17, "bo")
        worker.kill()
    assert json.loads(site.run("forget", "bo", "--yes", "--json")[0])["removed"]["profile"]
    site.days(18, 18, "ana", "bo")
    with site.worker("window", "--hop", "24h"):
        wait_for(lambda: learning(site.windows(), 18).keys() == {"ana", "bo"})
    windows = site.windows()
    assert learning(windows, 18) == {"ana": True, "bo": True}
    identities = [window["id"] for window in windows]
    assert len(identities) == len(set(identities)), "a window went out twice"
    assert [day for day in range(19) if day != 17 and "bo" not in learning(windows, day)] == []


def test_nothing_of_somebody_is_left_in_the_store(site: Site) -> None:
    site.days(0, 1, "ana", "bo", over=True)
    site.run("window", "--hop", "24h", "--until-done", "--quiet")
    client = redis.Redis.from_url(site.store)
    prefix = f"{site.namespace}:{{p{partition_of(b'ana', PARTITIONS)}}}"

    def everything() -> bytes:
        hashes = [client.hgetall(f"{prefix}:{name}") for name in ("meta", "profiles")]
        return repr([hashes, [client.lrange(key, 0, -1) for key in sorted(client.scan_iter(f"{prefix}:pane:*"))]]).encode()

    out, _ = site.run("forget", "ana", "--yes")
    assert "events of open windows   1 removed" in out
    assert b"'ana'" not in everything()
    assert client.hkeys(f"{prefix}:profiles") == ([b"bo"] if partition_of(b"bo", PARTITIONS) == partition_of(b"ana", PARTITIONS) else [])


def test_the_detect_worker_that_runs_forgets_too_before_the_command_ends(site: Site) -> None:
    names = [("alert_memory", "alert_memory"), ("dead_letters", "dead_letters")]
    renamed = [part for role, name in names for part in ("--set", f"topics.{role}={name}")]
    site.run("topics", "create", *renamed)
    producer = Producer(producer_config({"bootstrap.servers": site.kafka}))

    def put(number: int) -> None:
        for user in ("ana", "bob"):
            producer.produce(f"{site.namespace}.windows", day_of(user, number, 0.9, [Kind.FILE]), key=user.encode())
        assert producer.flush(30) == 0

    put(0)
    over = threading.Event()
    worker, close = detect_worker(site.kafka, site.namespace, until_done=False)
    thread = threading.Thread(target=worker.run, args=(over.is_set,))
    thread.start()
    try:
        wait_for(lambda: len(site.read("verdicts")) == 2)
        out, _ = site.run("forget", "ana", "--yes", "--json", "--wait", "60", *renamed)
        assert json.loads(out)["alert_memory_gone"]
        put(1)
        wait_for(lambda: sum(message.value() is not None for message in site.read("verdicts")) == 4)
    finally:
        over.set()
        thread.join(60)
        close()
    alerts = [json.loads(message.value()) for message in site.read("alerts") if message.value() is not None]
    said = {(each["actor"]["user"]["name"], each["activity_id"]) for each in alerts}
    assert said == {("ana", 1), ("bob", 1), ("bob", 2)}, "ana's second alert is new, bob's goes on"
    requests = [each for each in site.read("verdicts") if is_forget_request(each.key(), each.value(), each.headers())]
    assert [each.key() for each in requests] == [b"ana"]


def test_nobody_is_forgotten_without_being_asked_about(site: Site) -> None:
    _, err = site.run("forget", "ana", code=2)
    assert "--yes" in err
    _, err = site.run("forget", "-", "--yes", code=2)
    assert "empty" in err
    _, err = site.run("forget", "ana", "--yes", "--set", "kafka.embedded=true", code=1)
    assert "embedded" in err


def test_the_chain_knows_people_by_pseudonyms_and_the_map_alone_by_name(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text(f"{KEY}\n", encoding="utf-8")
    private = ("--set", "privacy.pseudonyms=true", "--set", f"privacy.key_file={secret}")
    site.days(0, 2, "ana", "bo", over=True)
    flags = ("window", "--hop", "24h", "--until-done", "--quiet")
    site.run(*flags, *private)
    site.run("detect", "--until-done", "--quiet", *private)
    windows, verdicts = site.read("windows"), [each for each in site.read("verdicts") if each.value() is not None]
    users = {json.loads(each.value())["user"] for each in windows if each.value() is not None}
    assert (len(users), len(verdicts), site.read("dead-letters")) == (2, 6, [])
    for each in [*verdicts, *(each for each in windows if each.value() is not None)]:
        assert each.key().decode() in users
        assert partition_of(each.key(), PARTITIONS) == each.partition()
        assert b'ana"' not in each.value()
        assert b"/ana" not in each.value()

    names = {}
    for user in sorted(users):
        out, err = site.run("reveal", user, "--why", "case 7", *private)
        names[out.strip()] = user
        assert KEY not in out + err
        assert out.strip() not in err
    assert names.keys() == {"ana", "bo"}
    log = [json.loads(line) for line in site.run("reveal", "--log", "--json")[0].splitlines()]
    assert [(each["pseudonym"], each["why"], each["known"]) for each in log] == [(user, "case 7", True) for user in sorted(users)]
    _, err = site.run("reveal", names["ana"], code=2)
    assert "--why" in err

    # a worker without the key, or with another, would call the same people by other names
    for other in ((), ("--set", "privacy.pseudonyms=true", "--set", f"privacy.key={KEY[::-1]}")):
        _, err = site.run(*flags, *other, code=1)
        assert "pseudonyms" in err

    done = json.loads(site.run("forget", "ana", "--yes", "--json", *private)[0])
    assert done["removed"]["pseudonyms"] == 1
    assert stays(json.dumps(done))["windows"]["records"] == 3
    _, err = site.run("reveal", names["ana"], "--why", "case 8", code=1)
    assert "no such pseudonym" in err
    assert site.run("reveal", names["bo"], "--why", "case 8")[0] == "bo\n"
