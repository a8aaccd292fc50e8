"""The chain as processes that are watched: their numbers are those of the topics, and neither numbers, lines nor errors name anybody."""

import csv
import json
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from daywatch.embedded import EmbeddedStore
from stream.kafka_producer import producer_config
from stream.kafka_reader import read_all
from stream.kinds import KINDS
from stream.metrics import METRICS
from stream.synth import write_organisation
from tests.plain_processes import PlainProcess, until
from tests.servers import ApacheKafka, read_values

ZONE = "Europe/Paris"


class Watched:
    """A command that runs and is watched."""

    def __init__(self, name: str, words: list[str], environment: dict[str, str], place: Path) -> None:
        self.name = name
        self.process = PlainProcess(["daywatch", *words], environment, place / name)

    def lines(self) -> list[dict[str, Any]]:
        """What it has written, whole lines only: every one is a JSON object."""
        return [json.loads(line) for line in self.process.err.splitlines(keepends=True) if line.endswith("\n")]

    def port(self) -> int:
        def told() -> int:
            assert self.process.runs(), self.process.err
            return next((line["facts"]["port"] for line in self.lines() if line["event"] == "metrics"), 0)

        return int(until(told))

    def ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port()}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            raise AssertionError(f"{self.name} does not answer: {error}; it has said {self.process.err[-2000:]}") from error

    def numbers(self) -> "Numbers":
        return Numbers(self.ask("/metrics")[1])


class Numbers:
    """One look at a worker's metrics."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [one for family in text_string_to_metric_families(text) for one in family.samples]

    def total(self, name: str, **labels: str) -> float:
        return sum(one.value for one in self.samples if one.name == name and labels.items() <= one.labels.items())

    def by(self, name: str, label: str) -> dict[str, float]:
        found: Counter[str] = Counter()
        for one in self.samples:
            if one.name == name:
                found[one.labels[label]] += one.value  # type: ignore[assignment]
        return dict(found)


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("organisation") / "r4.2"
    write_organisation(place, 16, 24, seed=5, insiders=3, zone=ZONE)
    return place


@pytest.fixture
def environment(apache_kafka: ApacheKafka, redis_server: EmbeddedStore, namespace: str) -> dict[str, str]:
    return {
        "DAYWATCH_NAMESPACE": namespace,
        "DAYWATCH_ZONE": ZONE,
        "DAYWATCH_KAFKA__BOOTSTRAP_SERVERS": apache_kafka.bootstrap_servers,
        "DAYWATCH_KAFKA__SESSION_TIMEOUT": "6s",
        "DAYWATCH_STORE__URL": redis_server.url,
        "DAYWATCH_METRICS__PORT": "0",
        "DAYWATCH_LOGS__FORMAT": "json",
        "DAYWATCH_LOGS__LEVEL": "debug",
    }


@pytest.fixture
def started(environment: dict[str, str], tmp_path: Path) -> Iterator[Any]:
    running: list[Watched] = []

    def start(name: str, *words: str, **more: str) -> Watched:
        running.append(Watched(name, list(words), environment | more, tmp_path))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()


def rows(organisation: Path, kind: str) -> list[dict[str, str]]:
    with (organisation / f"{kind}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def told_of(organisation: Path) -> set[str]:
    """Whatever in the files names a person, a machine, a file or an address."""
    found: set[str] = set()
    for kind in KINDS:
        for row in rows(organisation, kind):
            found |= {row["user"], row["pc"], row.get("filename", ""), row.get("url", ""), row["id"]}
            if "url" in row:
                found.add(row["url"].split("/")[2])
            for column in ("to", "cc", "bcc", "from"):
                found |= set(row.get(column, "").split(";"))
    with (organisation / "psychometric.csv").open(encoding="utf-8", newline="") as file:
        found |= {row["employee_name"] for row in csv.DictReader(file)}
    return {word for word in found if len(word) > 4}


def junk(broker: str, namespace: str, organisation: Path) -> dict[str, int]:
    """Records that cannot be used, each with something that must not be told; how many there are by topic."""
    row = rows(organisation, "file")[0]
    user, secret = row["user"], row["filename"]
    good = {"id": "{X}", "kind": "logon", "ts": "2010-01-04T00:00:00Z", "user": user, "pc": row["pc"], "activity": "Logon"}
    broken: list[tuple[str, bytes | None, Any]] = [
        ("logon", user.encode(), f'{{"user": "{user}", "file": "{secret}"'.encode()),
        ("logon", user.encode(), good | {"ts": f"when {user} opened {secret}"}),
        ("logon", user.encode(), good | {"user": f"{user} and {secret}" * 40}),
        ("logon", secret.encode(), good),
        ("logon", user.encode(), {name: value for name, value in good.items() if name != "user"}),
        ("file", user.encode(), good | {"kind": secret}),
        ("file", user.encode(), {**good, "kind": "file", "filename": [secret], "content": user}),
        ("http", None, {**good, "kind": "http", "url": f"http://{user}.example/{secret}"}),
        ("windows", user.encode(), f"{user} {secret}".encode()),
        ("windows", user.encode(), {"schema": "daywatch.window/1", "user": user, "events": [secret]}),
    ]
    producer = Producer(producer_config({"bootstrap.servers": broker}))
    for topic, key, value in broken:
        encoded = value if isinstance(value, bytes) else json.dumps(value).encode()
        producer.produce(f"{namespace}.{topic}", value=encoded, key=key)
    assert producer.flush(30) == 0
    return Counter(topic for topic, _, _ in broken)


def test_what_watched_workers_show_is_true_and_names_nobody(
    started: Any, apache_kafka: ApacheKafka, namespace: str, organisation: Path, environment: dict[str, str]
) -> None:
    broker, written = apache_kafka.bootstrap_servers, []

    def done(name: str, *words: str, code: int = 0, **more: str) -> Watched:
        command: Watched = started(name, *words, **more)
        assert command.process.code() == code, command.process.err
        return command

    written.append(done("topics", "topics", "create"))
    bad = junk(broker, namespace, organisation)
    window = started("window", "window", "--hop", "24h")
    detect = started("detect", "detect")
    until(lambda: window.ask("/readyz")[0] == detect.ask("/readyz")[0] == 200, 300)
    replay = done("replay", "replay", "--hop", "24h", str(organisation))
    written += [window, detect, replay]

    # the numbers ---------------------------------------------------------------------------------------------------------
    events = {kind.value: len(rows(organisation, kind)) for kind in KINDS}
    last = replay.lines()[-1]["message"].rsplit(" ", 1)[1]

    def settled() -> bool:
        one, other = window.numbers(), detect.numbers()
        through = one.total("daywatch_windows_closed_total")
        return (
            one.by("daywatch_events_total", "kind") == {kind: count + bad[kind] for kind, count in events.items()}
            and 0 < through == other.total("daywatch_verdicts_total")
            and len(one.by("daywatch_watermark_timestamp_seconds", "partition")) == 4
            and one.total("daywatch_windows_open") == 0
            and one.total("daywatch_consumer_lag_records") <= 20  # markers of transactions at the ends of logs
        )

    until(settled, 300)
    first, second = window.numbers(), detect.numbers()
    assert last.startswith("2010-")
    assert first.total("daywatch_windows_closed_total") == len(read_values(broker, f"{namespace}.windows")) - bad["windows"]
    assert second.total("daywatch_verdicts_total") == len(read_values(broker, f"{namespace}.verdicts"))
    assert second.total("daywatch_alerts_total") == len(read_values(broker, f"{namespace}.alerts")) > 0
    assert second.total("daywatch_alert_arrival_latency_seconds_count") == second.total("daywatch_alerts_total")
    assert sum(first.by("daywatch_dead_letters_total", "topic").values()) == sum(bad.values()) - bad["windows"]
    assert second.total("daywatch_dead_letters_total") == bad["windows"]
    assert {one.name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for one in first.samples + second.samples} <= {
        metric.name for metric in METRICS
    } | {one.name for one in first.samples if one.name.startswith("process_")}

    # a worker dies, and another one takes its place -----------------------------------------------------------------------
    watermarks = first.by("daywatch_watermark_timestamp_seconds", "partition")
    window.process.kill()
    heir = started("heir", "window", "--hop", "24h")
    written.append(heir)
    until(lambda: heir.numbers().by("daywatch_watermark_timestamp_seconds", "partition") == watermarks, 300)
    assert heir.ask("/healthz")[0] == 200
    assert heir.numbers().total("daywatch_events_total") == 0, "what the dead one has counted is not counted again"

    # errors ------------------------------------------------------------------------------------------------------------------
    taken = done("taken", "detect", code=2, DAYWATCH_METRICS__PORT=str(detect.port()))
    assert "metrics.port" in taken.lines()[-1]["message"]
    lost = done("lost", "window", code=1, DAYWATCH_WINDOW__SIZE="2d")
    assert lost.lines()[-1]["event"] == "failed"
    written += [taken, lost]
    texts = [heir.ask("/metrics")[1], first.text, second.text, heir.ask("/readyz")[1], heir.ask("/nothing")[1]]
    for one in (heir, detect):
        assert one.process.stop(60) == 0
    texts += [one.process.err + one.process.out for one in written]
    texts += [
        value.decode()
        for batch in read_all({"bootstrap.servers": broker}, [f"{namespace}.dead-letters"])
        for message in batch
        for name, value in message.headers() or []
        if name == "daywatch-message"
    ]
    whole = "\n".join(texts)
    assert len(texts) > 20
    assert {line["event"] for one in written[1:] for line in one.lines()} >= {"started", "metrics", "assigned", "progress", "summary"}
    for word in told_of(organisation):
        assert word not in whole, re.findall(f".*{re.escape(word)}.*", whole)[:1]
