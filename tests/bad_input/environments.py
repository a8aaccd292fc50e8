"""Broken surroundings: servers that are away, full, foreign or changed behind our back, disks that take no more, clocks that lie."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

import redis
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from daywatch.embedded import EmbeddedBroker, EmbeddedStore
from stream.kinds import KINDS, Kind
from stream.marks import encode_mark
from stream.partitioner import partition_of
from tests.bad_input.case import Case
from tests.bad_input.events import event
from tests.bad_input.files import alert_records, good_windows
from tests.bad_input.site import Said, Site
from tests.servers import redis_program

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
T0 = 1_262_563_200_000  # 2010-01-04
WINDOW = ("window", "--hop", "24h", "--until-done")


class Surroundings:
    """Servers to break things on, and directories to do it in."""

    def __init__(self, place: Path, bootstrap_servers: str, store_url: str) -> None:
        self._place, self.bootstrap_servers, self.store_url = place, bootstrap_servers, store_url
        self._lock = Lock()
        self._worked: Site | None = None

    @contextmanager
    def worked(self) -> Iterator[Site]:
        """A site that has worked before, for those who leave it as it is; one at a time."""
        with self._lock:
            self._worked = self._worked or _worked(self)
            yield self._worked

    def site(self, **more: Any) -> Site:
        """A namespace of its own in a directory of its own."""
        site = Site(self._place, self.bootstrap_servers, self.store_url)
        place = self._place / site.namespace
        place.mkdir()
        return replace(site, place=place, **more)

    @contextmanager
    def store(self, *options: str) -> Iterator[EmbeddedStore]:
        """A Redis of one's own."""
        site = self.site()
        store = EmbeddedStore(site.place, redis_program(), options)
        store.start()
        try:
            yield store
        finally:
            store.stop()


@dataclass(frozen=True, slots=True)
class Environment:
    """What is broken, and how to see what comes of it."""

    case: Case
    seen: Callable[[Surroundings], Said]


ENVIRONMENTS: list[Environment] = []


def _environment(
    name: str, command: str, says: str, code: int, ends: str
) -> Callable[[Callable[[Surroundings], Said]], Callable[[Surroundings], Said]]:
    def register(seen: Callable[[Surroundings], Said]) -> Callable[[Surroundings], Said]:
        ENVIRONMENTS.append(Environment(Case(name, command, says, code, ends), seen))
        return seen

    return register


def _running(arguments: Sequence[str], **more: Any) -> Callable[[Surroundings], Said]:
    return lambda around: around.site(**more).run(*arguments)


_WAITS = "nothing is read, so nothing is lost"


# servers that are away ----------------------------------------------------------------------------------------------------------

_AWAY = "no Kafka broker answers…start one or set kafka.bootstrap_servers"
_NOBODY = "127.0.0.1:1"


for _command, _arguments in (
    ("topics create", ("topics", "create")),
    ("window", WINDOW),
    ("detect", ("detect", "--until-done")),
    ("alerts", ("alerts",)),
    ("state", ("state",)),
    ("dead-letters", ("dead-letters",)),
    ("correlate", ("correlate", "--until-done")),
):
    _environment("no broker", _command, _AWAY, 1, _WAITS)(_running(_arguments, bootstrap_servers=_NOBODY))


@_environment("no broker", "replay", _AWAY, 1, _WAITS)
def _replay_without_broker(around: Surroundings) -> Said:
    site = around.site(bootstrap_servers=_NOBODY)
    _write_cert(site.place)
    return site.run("replay", "cert")


@_environment("a broker whose name nobody knows", "alerts", _AWAY, 1, _WAITS)
def _unknown_host(around: Surroundings) -> Said:
    return around.site(bootstrap_servers="nowhere.invalid:9092").run("alerts")


@_environment("no store", "window", "store at 127.0.0.1:1: ConnectionError; is it running, and is store.url right?", 1, _WAITS)
def _no_store(around: Surroundings) -> Said:
    return around.site(store_url="redis://127.0.0.1:1/0").run(*WINDOW)


@_environment("something else than Redis at the store's address", "window", "store at…is it running, and is store.url right?", 1, _WAITS)
def _no_redis(around: Surroundings) -> Said:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"redis://127.0.0.1:{other.getsockname()[1]}/0?socket_timeout=1"
        return around.site(store_url=address).run(*WINDOW)


@_environment("a Redis at the broker's address", "alerts", "the broker at…takes connections and answers nothing", 1, _WAITS)
def _no_kafka(around: Surroundings) -> Said:
    with around.store() as store:
        return around.site(bootstrap_servers=store.url.removeprefix("redis://").removesuffix("/0")).run("alerts")


@_environment(
    "a broker that vanishes",
    "window",
    "no broker answers any more; waiting for one, nothing is lost",
    0,
    "it waits; SIGTERM ends it within 10 s",
)
def _broker_vanishes(around: Surroundings) -> Said:
    broker = EmbeddedBroker(around.site().place)
    broker.start()
    try:
        site = around.site(bootstrap_servers=broker.bootstrap_servers, more={"DAYWATCH_KAFKA__EMBEDDED": "true"})
        site.create_topics()
        worker = site.start("window")
        worker.wait_for("holds 2 of 2 partitions")
        broker.kill()
        worker.wait_for("no broker answers any more")
        worker.process.terminate()
        return worker.said(within_s=30)
    finally:
        broker.stop()


@_environment(
    "a window beyond the end of its log, on the embedded broker",
    "verify",
    "window…is not in…offset 1000000: it has expired, or was never there",
    1,
    "nothing is judged again; it does not wait for what cannot come",
)
def _beyond_the_end(around: Surroundings) -> Said:
    broker = EmbeddedBroker(around.site().place)
    broker.start()
    try:
        site = around.site(bootstrap_servers=broker.bootstrap_servers, more={"DAYWATCH_KAFKA__EMBEDDED": "true"})
        site.create_topics(1)
        alert = json.loads(alert_records()[0])
        alert["unmapped"]["window"] |= {"topic": site.topic("windows"), "partition": 0, "offset": 1_000_000}
        (site.place / "alerts.jsonl").write_text(json.dumps(alert))
        began = time.monotonic()
        said = site.run("verify", alert["metadata"]["uid"], "--alerts", "alerts.jsonl")
        assert time.monotonic() - began < 25
        return said
    finally:
        broker.stop()


# topics and groups ----------------------------------------------------------------------------------------------------------------


for _command, _arguments, _says in (
    ("window", WINDOW, "there is no topic…create the topics with `daywatch topics create`"),
    ("detect", ("detect", "--until-done"), "there is no topic…create the topics with `daywatch topics create`"),
    ("alerts", ("alerts",), "there is no topic…create the topics with `daywatch topics create`"),
):
    _environment("topics missing", _command, _says, 1, _WAITS)(_running(_arguments))


@_environment("topics missing", "replay", "no topic…create it with: daywatch topics create --namespace", 1, "nothing is sent")
def _replay_without_topics(around: Surroundings) -> Said:
    site = around.site()
    _write_cert(site.place)
    return site.run("replay", "cert")


def _uneven(around: Surroundings) -> Site:
    site = around.site()
    site.create_topics(2, [*(kind.value for kind in KINDS if kind is not Kind.HTTP), "verdicts", "alerts", "dead-letters", "operations"])
    site.create_topics(3, ["http", "windows"])
    return site


@_environment("partition counts that differ", "window", "topics must have equal partition counts, but they have", 1, _WAITS)
def _uneven_window(around: Surroundings) -> Said:
    return _uneven(around).run(*WINDOW)


@_environment(
    "partition counts that differ", "detect", "topics must have equal partition counts, but they have…use a new namespace", 1, _WAITS
)
def _uneven_detect(around: Surroundings) -> Said:
    return _uneven(around).run("detect", "--until-done")


@_environment(
    "partition counts that differ",
    "topics create",
    "http has 3 partitions, not 2…choose another namespace, or delete the topics",
    1,
    "nothing is created",
)
def _uneven_create(around: Surroundings) -> Said:
    return _uneven(around).run("topics", "create", "--partitions", "2")


@_environment(
    "partition counts that differ", "replay", "partition counts differ (…); all topics of a namespace need the same", 1, "nothing is sent"
)
def _uneven_replay(around: Surroundings) -> Said:
    site = _uneven(around)
    _write_cert(site.place)
    return site.run("replay", "cert")


def _worked(around: Surroundings, **more: Any) -> Site:
    """A site whose events have been made into windows, with more events waiting behind them."""
    site = around.site(**more)
    site.create_topics()
    _send(site, day=0)
    said = site.run(*WINDOW)
    assert said.code == 0, said.err
    assert "1 windows closed" in said.err, said.err
    return site


@_environment(
    "a topic made anew",
    "window",
    "its log…the topic was made anew. Use a new namespace, or reset this one",
    1,
    "nothing is read twice or passed over",
)
def _recreated(around: Surroundings) -> Said:
    site = _worked(around)
    _recreate(site, "http")
    return site.run(*WINDOW)


@_environment(
    "the windows' topic made anew",
    "detect",
    "verdicts holds records…a topic that is made anew. Judging from the start would double them; use a new namespace",
    1,
    "nothing is judged twice or passed over",
)
def _windows_recreated(around: Surroundings) -> Said:
    site = _worked(around)
    assert site.run("detect", "--until-done").code == 0
    _recreate(site, "windows")
    _send_windows(site)
    return site.run("detect", "--until-done")


@_environment(
    "a group whose offsets have expired",
    "window",
    "the store holds state, but the group has no committed offsets",
    1,
    "nothing is counted twice",
)
def _expired(around: Surroundings) -> Said:
    site = _worked(around)
    _forget_group(site, "window")
    return site.run(*WINDOW)


@_environment(
    "a detector's group whose offsets have expired",
    "detect",
    "verdicts holds records…Judging from the start would double them; use a new namespace",
    1,
    "no verdict twice",
)
def _expired_detector(around: Surroundings) -> Said:
    site = _worked(around)
    assert site.run("detect", "--until-done").code == 0
    _forget_group(site, "detect")
    return site.run("detect", "--until-done")


@_environment("commits of another program", "window", "the group's commits were written by something else than this worker", 1, _WAITS)
def _foreign_commits(around: Surroundings) -> Said:
    site = _worked(around)
    group = Consumer({"bootstrap.servers": site.bootstrap_servers, "group.id": f"{site.namespace}.window"})
    group.commit(offsets=[TopicPartition(site.topic("http"), 0, 0, "by hand")], asynchronous=False)
    group.close()
    return site.run(*WINDOW)


@_environment(
    "an alert memory of another program", "detect", "alert memory cannot be read…use a new namespace", 1, "no alert is raised anew"
)
def _foreign_memory(around: Surroundings) -> Said:
    with around.worked() as site:
        producer = site.producer()
        producer.produce(site.topic("alert-memory"), key=b"ana", value=b"{broken", partition=partition_of(b"ana", 2))
        assert producer.flush(30) == 0
        return site.run("detect", "--until-done")


@_environment(
    "another hop than before",
    "window",
    "window state was made with hop_ms = 86400000, and the settings say 21600000. Restore that setting",
    1,
    _WAITS,
)
def _other_hop(around: Surroundings) -> Said:
    with around.worked() as site:
        return site.run("window", "--hop", "6h", "--until-done")


@_environment("another zone than before", "window", "window state was made with zone = UTC, and the settings say Europe/Berlin", 1, _WAITS)
def _other_zone(around: Surroundings) -> Said:
    with around.worked() as site:
        return site.run(*WINDOW, "--zone", "Europe/Berlin")


@_environment(
    "windows of another version of Daywatch",
    "detect",
    "…made by another version of Daywatch…",
    1,
    "no verdict and no dead letter: they wait for a detector that knows them",
)
def _other_version(around: Surroundings) -> Said:
    from windowing.record import content_digest

    site = around.site()
    site.create_topics()
    producer = site.producer()
    for value in good_windows():
        record = json.loads(value)
        record["features"] = {f"{name}_v2": number for name, number in record["features"].items()}
        record.pop("digest")
        body = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()[:-1]
        made = body + b',"digest":"' + content_digest(body).encode() + b'"}'
        key = record["user"].encode()
        producer.produce(site.topic("windows"), value=made, key=key, partition=partition_of(key, 2))
    assert producer.flush(30) == 0
    said = site.run("detect", "--until-done")
    assert site.read("dead-letters") == site.read("verdicts") == []
    return said


@_environment(
    "a second worker of the same instance",
    "detect",
    "another process works under the same transactional id; give each its own `instance`",
    1,
    "the second goes on alone",
)
def _same_instance(around: Surroundings) -> Said:
    site = around.site(more={"DAYWATCH_INSTANCE": "one"})
    site.create_topics()
    first = site.start("detect")
    first.wait_for("holds 2 of 2 partitions")
    second = site.start("detect")
    try:
        second.wait_for("holds")
        _send_windows(site)
        return first.said(within_s=60)
    finally:
        second.process.terminate()
        second.said()


# stores ---------------------------------------------------------------------------------------------------------------------------


@_environment(
    "a store emptied under a committed group",
    "window",
    "the group has committed offsets, but the store holds no state for it",
    1,
    "nothing is counted from the middle",
)
def _emptied(around: Surroundings) -> Said:
    site = _worked(around)
    _delete_state(site)
    return site.run(*WINDOW)


@_environment(
    "two namespaces mixed up: one name, another broker",
    "window",
    "the store holds state, but the group has no committed offsets…or the broker is a new one",
    1,
    "neither organisation's state is touched",
)
def _mixed_brokers(around: Surroundings) -> Said:
    broker = EmbeddedBroker(around.site().place)
    broker.start()
    try:
        with around.worked() as site:
            other = replace(site, bootstrap_servers=broker.bootstrap_servers, more={"DAYWATCH_KAFKA__EMBEDDED": "true"})
            other.create_topics()
            return other.run(*WINDOW)
    finally:
        broker.stop()


@_environment(
    "two namespaces mixed up: one name, another store",
    "window",
    "the group has committed offsets, but the store holds no state…belongs to another namespace",
    1,
    "nothing is counted from the middle",
)
def _mixed_stores(around: Surroundings) -> Said:
    with around.worked() as site, around.store() as store:
        return replace(site, store_url=store.url).run(*WINDOW)


@_environment(
    "a store that may evict keys",
    "window",
    "store: the server may evict keys (maxmemory-policy is allkeys-lru)…Set it to noeviction",
    1,
    _WAITS,
)
def _evicting(around: Surroundings) -> Said:
    with around.store("--maxmemory-policy", "allkeys-lru") as store:
        return around.site(store_url=store.url).run(*WINDOW)


@_environment(
    "a store that is full",
    "window",
    "store at…is full (maxmemory): give it more memory…nothing is lost",
    1,
    "read again once there is room: every event in its window",
)
def _full(around: Surroundings) -> Said:
    with around.store() as store:
        site = _worked(around, store_url=store.url)
        _send(site, day=1)
        server = redis.Redis.from_url(store.url)
        server.config_set("maxmemory", "1")
        said = site.run(*WINDOW)
        server.config_set("maxmemory", "0")
        server.close()
        _assert_nothing_lost(site)
        return said


@_environment("a store that is a read-only replica", "window", "store at…is a read-only replica: name the primary in store.url", 1, _WAITS)
def _replica(around: Surroundings) -> Said:
    with around.store("--replicaof", "127.0.0.1", "1") as store:
        site = around.site(store_url=store.url)
        site.create_topics()
        return site.run(*WINDOW)


@_environment(
    "a store whose disk is full",
    "window",
    "store at…cannot write to its disk (MISCONF): make room there",
    1,
    "read again once there is room: every event in its window",
)
def _store_without_disk(around: Surroundings) -> Said:
    with around.store("--appendonly", "no", "--save", "3600 1000000") as store:
        site = _worked(around, store_url=store.url)
        _send(site, day=1)
        server = redis.Redis.from_url(store.url)
        directory = Path(str(server.config_get("dir")["dir"]))
        # a snapshot cannot take the place of a directory, as it could not be written to a full disk
        (directory / "dump.rdb").mkdir()
        server.bgsave()
        _until(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err")
        said = site.run(*WINDOW)
        (directory / "dump.rdb").rmdir()
        server.bgsave()
        _until(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "ok")
        server.close()
        _assert_nothing_lost(site)
        return said


@_environment(
    "a store with other data under our keys",
    "window",
    "store at…holds something else under our keys (WRONGTYPE): use another database or namespace",
    1,
    "what lies there is left alone",
)
def _foreign_keys(around: Surroundings) -> Said:
    site = around.site()
    site.create_topics()
    server = redis.Redis.from_url(site.store_url)
    for number in range(2):
        server.set(f"{site.namespace}:{{p{number}}}:meta", b"shopping list")
    server.close()
    return site.run(*WINDOW)


@_environment(
    "damaged state in the store",
    "window",
    "the store holds a state that cannot be read…Use a new namespace, or reset this one",
    1,
    "what lies there is left alone",
)
def _damaged_state(around: Surroundings) -> Said:
    site = _worked(around)
    server = redis.Redis.from_url(site.store_url)
    for number in range(2):
        server.hset(f"{site.namespace}:{{p{number}}}:meta", "at", b"\xff[[")
    server.close()
    return site.run(*WINDOW)


@_environment(
    "damaged habits in the store",
    "window",
    "the store holds habits of a topic that cannot be read…Use a new namespace, or reset this one",
    1,
    "what lies there is left alone",
)
def _damaged_habits(around: Surroundings) -> Said:
    site = _worked(around)
    server = redis.Redis.from_url(site.store_url)
    for number in range(2):
        server.hset(f"{site.namespace}:{{p{number}}}:meta", "habits", b'{"logon": "[[1], 5]"}')
    server.close()
    return site.run(*WINDOW)


@_environment("a damaged pane in the store", "window", "the store holds a pane that cannot be read", 1, "what lies there is left alone")
def _damaged_pane(around: Surroundings) -> Said:
    site = _worked(around)
    home = partition_of(b"ana", 2)
    server = redis.Redis.from_url(site.store_url)
    server.sadd(f"{site.namespace}:{{p{home}}}:panes", 14_650)
    server.rpush(f"{site.namespace}:{{p{home}}}:pane:14650", b"\x01\x00\x00")
    server.close()
    return site.run(*WINDOW)


@_environment("a store that wants a password", "window", "store.password:…asks for a user and a password", 1, _WAITS)
def _password_wanted(around: Surroundings) -> Said:
    with around.store() as store:
        _set_password(store, "right")
        return around.site(store_url=store.url).run(*WINDOW)


@_environment("a wrong password", "window", "refuses store.username with store.password", 1, _WAITS)
def _wrong_password(around: Surroundings) -> Said:
    with around.store() as store:
        _set_password(store, "right")
        said = around.site(store_url=store.url, more={"DAYWATCH_STORE__PASSWORD": "wr0ng"}).run(*WINDOW)
        assert "wr0ng" not in said.err
        return said


# the machine ----------------------------------------------------------------------------------------------------------------------


@_environment("standard output on a full disk", "schema", "No space left on device", 1, "the exit code says that the output is not whole")
def _full_output(around: Surroundings) -> Said:
    return around.site().run("schema", "window", stdout="/dev/full")


@_environment("standard output on a full disk", "judge", "No space left on device", 1, "the exit code says that the output is not whole")
def _full_verdicts(around: Surroundings) -> Said:
    return around.site().run("judge", "-", stdin=b"\n".join(good_windows()), stdout="/dev/full")


@_environment("a disk that takes 20,000 bytes", "synth", "File too large", 1, "what was begun is not whole, and is told to be so")
def _full_disk(around: Surroundings) -> Said:
    return around.site().run("synth", "--out", "org", "--users", "12", "--days", "3", "--insiders", "0", most_bytes=20_000)


@_environment("an output directory that is a file", "synth", "org", 1, "nothing is written")
def _file_for_directory(around: Surroundings) -> Said:
    site = around.site()
    (site.place / "org").touch()
    return site.run("synth", "--out", "org", "--users", "12", "--days", "3", "--insiders", "0")


@_environment("a state file that cannot be written", "replay --state", "state/place", 1, "nothing is sent: it could not go on where it was")
def _state_not_writable(around: Surroundings) -> Said:
    site = around.site()
    site.create_topics()
    _write_cert(site.place)
    (site.place / "state").touch()
    return site.run("replay", "cert", "--state", "state/place")


@_environment("a port that is taken", "window", "metrics.port: …", 2, _WAITS)
def _port_taken(around: Surroundings) -> Said:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        site = around.site(more={"DAYWATCH_METRICS__PORT": str(other.getsockname()[1])})
        site.create_topics()
        return site.run(*WINDOW)


@_environment("a malformed environment variable", "window", "environment: …DAYWATCH_KAFKA__BOOTSTRAP_SERVERS", 2, _WAITS)
def _malformed_variable(around: Surroundings) -> Said:
    return around.site(more={"DAYWATCH_KAFKA": "{broken"}).run(*WINDOW)


@_environment(
    "a producer whose clock is two hours behind", "window", "2 refused (2 future)", 0, "dead letter `future`; no window is closed too early"
)
def _clock_behind(around: Surroundings) -> Said:
    site = around.site()
    site.create_topics()
    now = datetime.now(UTC)
    producer = site.producer()
    for number in range(2):
        value = json.dumps(event(id=f"e{number}", ts=now.isoformat(timespec="seconds")))
        stamp = round((now - timedelta(hours=2)).timestamp() * 1000)
        producer.produce(site.topic("logon"), value=value, key=b"ana", partition=partition_of(b"ana", 2), timestamp=stamp)
    assert producer.flush(30) == 0
    return site.run(*WINDOW)


# what cases are made with -----------------------------------------------------------------------------------------------------------


def _write_cert(place: Path) -> None:
    (place / "cert").mkdir()
    (place / "cert" / "logon.csv").write_text("id,date,user,pc,activity\n{A},01/04/2010 08:00:00,ana,PC-1,Logon\n")


def _send(site: Site, day: int) -> None:
    """One event of one day, and marks that close the day."""
    producer = site.producer()
    home = partition_of(b"ana", 2)
    ts = datetime.fromtimestamp((T0 + day * DAY_MS + 9 * HOUR_MS) / 1000, UTC).isoformat()
    producer.produce(site.topic("logon"), value=json.dumps(event(id=f"e{day}", ts=ts)), key=b"ana", partition=home)
    for kind in KINDS:
        for partition in range(2):
            producer.produce(site.topic(kind), partition=partition, headers=encode_mark(T0 + (day + 1) * DAY_MS, last=True))
    assert producer.flush(30) == 0


def _send_windows(site: Site) -> None:
    producer = site.producer()
    for value in good_windows():
        key = json.loads(value)["user"].encode()
        producer.produce(site.topic("windows"), value=value, key=key, partition=partition_of(key, 2))
    assert producer.flush(30) == 0


def _assert_nothing_lost(site: Site) -> None:
    """Work on: the events of both days are in their windows, once."""
    said = site.run(*WINDOW)
    assert said.code == 0, said.err
    windows = [json.loads(value) for message in site.read("windows") if (value := message.value())]
    assert sorted((window["start"][:10], window["counts"]["logon"]) for window in windows) == [("2010-01-04", 1), ("2010-01-05", 1)]
    assert site.read("dead-letters") == []


def _recreate(site: Site, role: str) -> None:
    admin = AdminClient({"bootstrap.servers": site.bootstrap_servers})
    for gone in admin.delete_topics([site.topic(role)], operation_timeout=30).values():
        gone.result(30)
    _until(lambda: site.topic(role) not in admin.list_topics(timeout=10).topics)
    site.create_topics(roles=[role])


def _forget_group(site: Site, role: str) -> None:
    admin = AdminClient({"bootstrap.servers": site.bootstrap_servers})
    for gone in admin.delete_consumer_groups([f"{site.namespace}.{role}"]).values():
        gone.result(30)


def _delete_state(site: Site) -> None:
    server = redis.Redis.from_url(site.store_url)
    keys = list(server.scan_iter(f"{site.namespace}:*"))
    assert keys
    server.delete(*keys)
    server.close()


def _set_password(store: EmbeddedStore, password: str) -> None:
    server = redis.Redis.from_url(store.url)
    server.config_set("requirepass", password)
    server.close()


def _until(true: Callable[[], bool], within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
