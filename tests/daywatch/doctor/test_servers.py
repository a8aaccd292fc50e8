"""The doctor against real servers, whole and broken: what it finds, and that it finds it in seconds."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from daywatch.commands.topics import layout_of
from daywatch.doctor.checks import CHECKS
from daywatch.doctor.findings import Finding, State, examine
from daywatch.doctor.gather import gather
from daywatch.doctor.kafka_hello import hello
from daywatch.settings import Settings, load
from stream.clock import SystemClock
from stream.kafka_topics import KafkaTopicAdmin
from stream.topics import create_topics as create_all
from tests.servers import ApacheKafka, EmbeddedBroker, EmbeddedStore, RedisCluster, redis_program
from windowing.calendar import Calendar
from windowing.ledger import encode_layout
from windowing.redis_store import RedisStore

NOWHERE = "127.0.0.1:1"
NO_STORE = "redis://127.0.0.1:1/0"
HOUR_MS = 3_600_000


def settings_for(kafka: str, store: str, namespace: str = "acme", **more: object) -> Settings:
    flags = {"kafka.bootstrap_servers": kafka, "store.url": store, "namespace": namespace, "topics.partitions": 2}
    return load(flags={**flags, **{name.replace("__", "."): value for name, value in more.items()}}, alone=True)


def found_with(settings: Settings, patience_s: float = 10.0) -> dict[str, list[Finding]]:
    """What the doctor has to say that is not ok, by check; slow machines are given time."""
    findings: dict[str, list[Finding]] = {}
    for finding in examine(gather(settings, SystemClock(), patience_s), CHECKS):
        if finding.state is not State.OK:
            findings.setdefault(finding.id, []).append(finding)
    return findings


def problems(found: Mapping[str, list[Finding]]) -> set[str]:
    return {name for name, findings in found.items() if any(finding.state is State.PROBLEM for finding in findings)}


def make_topics(settings: Settings) -> None:
    create_all(layout_of(settings), KafkaTopicAdmin(settings.kafka.client()))


def alter(kafka: str, topic: str, name: str, value: str) -> None:
    """Change a topic's setting, and wait until the broker says so, too."""
    admin = AdminClient({"bootstrap.servers": kafka})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    for answer in admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]).values():
        answer.result(30)
    told = None
    while told != value:
        (answer,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        told = answer.result(30)[name].value


@contextlib.contextmanager
def redis_with(directory: Path, *options: str) -> Iterator[EmbeddedStore]:
    program = redis_program()
    if program is None:
        pytest.skip("no Redis: needs redis-server on the PATH or DAYWATCH_TEST_REDIS=PROGRAM")
    server = EmbeddedStore(directory, program, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def whole(apache_kafka: ApacheKafka, redis_server: EmbeddedStore, namespace: str) -> Settings:
    """Settings of a namespace with its topics."""
    settings = settings_for(apache_kafka.bootstrap_servers, redis_server.url, namespace)
    make_topics(settings)
    return settings


def test_a_new_namespace_on_whole_servers_has_nothing_to_mend(whole: Settings) -> None:
    found = found_with(whole)
    # a test broker makes topics when it is asked for them; this machine's disks, zones and libraries are as they are
    beside = [name for name in found if name.split(".")[0] not in ("clock", "disk", "packages") and name != "broker.limits"]
    assert [(name, found[name][0].told) for name in beside] == []
    assert not problems(found) - {"disk.space"}


def test_nothing_there_is_told_in_seconds_and_one_absence_does_not_hide_the_other() -> None:
    began = time.monotonic()
    found = found_with(settings_for(NOWHERE, NO_STORE), patience_s=3.0)
    assert time.monotonic() - began < 30  # nothing waits for a time-out here, but machines may be slow
    assert problems(found) >= {"broker.reachable", "store.reachable"}
    assert "nothing listens" in found["broker.reachable"][0].told
    assert "disk.space" not in found or found["disk.space"][0].state is not State.UNKNOWN


def test_a_port_that_takes_connections_and_says_nothing_costs_one_time_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        found = found_with(settings_for(address, f"redis://{address}/0"), patience_s=1.0)
        assert time.monotonic() - began < 30
    assert "says nothing" in found["broker.reachable"][0].told
    assert "does not answer" in found["store.reachable"][0].told


def test_an_address_that_closes_the_door_is_no_broker_that_lets_us_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        address = f"127.0.0.1:{closing.getsockname()[1]}"
        threading.Thread(target=_close_all, args=(closing,), daemon=True).start()
        found = found_with(settings_for(address, NO_STORE), patience_s=1.0)
    assert "broker.access" in problems(found)
    assert found["broker.access"][0].cure


def _close_all(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            server.accept()[0].close()


def test_a_name_that_nobody_knows_is_told_as_such() -> None:
    greeting = hello("no-such-host.invalid:9092", {}, 5.0)
    assert "cannot be resolved" in greeting.failure


def test_the_release_of_a_broker_is_heard_in_its_greeting(apache_kafka: ApacheKafka) -> None:
    greeting = hello(apache_kafka.bootstrap_servers, {}, 10.0)
    assert greeting.failure == ""
    assert greeting.release is not None
    assert greeting.release >= (4, 0)


def test_missing_topics_and_other_partition_counts_are_found(
    apache_kafka: ApacheKafka, redis_server: EmbeddedStore, namespace: str
) -> None:
    settings = settings_for(apache_kafka.bootstrap_servers, redis_server.url, namespace)
    specs = layout_of(settings).specs()
    email = next(spec for spec in specs if spec.name == f"{namespace}.email")
    admin = KafkaTopicAdmin(settings.kafka.client())
    admin.create([spec for spec in specs if spec not in (email, specs[-1])])
    admin.create([replace(email, partitions=1)])
    found = found_with(settings)
    assert problems(found) - {"disk.space"} == {"topics.exist", "topics.partitions"}
    assert f"1 topic is missing: {specs[-1].name}" in found["topics.exist"][0].told
    assert f"{namespace}.email has 1, the others 2" in found["topics.partitions"][0].told


def test_a_retention_that_is_too_short_is_found(whole: Settings) -> None:
    kafka, namespace = whole.kafka.bootstrap_servers, whole.namespace
    alter(kafka, f"{namespace}.windows", "retention.ms", "86400000")
    alter(kafka, f"{namespace}.logon", "retention.ms", str(HOUR_MS))
    found = found_with(whole)
    assert problems(found) - {"disk.space"} == {"topics.retention"}
    assert {finding.about for finding in found["topics.retention"]} >= {f"{namespace}.windows", f"{namespace}.logon"}
    alter(kafka, f"{namespace}.alert-memory", "cleanup.policy", "delete")
    assert "topics.cleanup" in problems(found_with(whole))


def test_a_group_that_lags_and_one_whose_records_are_gone_are_told_apart(whole: Settings) -> None:
    kafka, topic, group = whole.kafka.bootstrap_servers, f"{whole.namespace}.windows", f"{whole.namespace}.detect"
    producer = Producer({"bootstrap.servers": kafka})
    hour_ago_ms = SystemClock().now_ms() - HOUR_MS
    for number in range(5):
        producer.produce(topic, value=b"{}", key=b"u", partition=0, timestamp=hour_ago_ms + number)
    producer.flush(30)

    nobody = found_with(whole)
    assert {finding.about for finding in nobody["groups.members"]} == {group}
    assert not problems(nobody) - {"disk.space"}

    member = Consumer({"bootstrap.servers": kafka, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    try:
        member.subscribe([topic])
        while not member.assignment():
            member.poll(0.2)
        member.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
        lagging = found_with(whole)
        assert "groups.members" not in lagging
        (late,) = lagging["groups.lag"]
        assert late.about == group
        assert f"60 min ago (lag: {topic} 4)" in late.told or "60" in late.told
        assert f"{topic} 4" in late.told

        admin = AdminClient({"bootstrap.servers": kafka})
        for answer in admin.delete_records([TopicPartition(topic, 0, 3)]).values():
            answer.result(30)
        lost = found_with(whole)
        assert problems(lost) - {"disk.space"} == {"groups.positions"}
        assert "from offset 1, but its log begins at 3" in lost["groups.positions"][0].told
    finally:
        member.close()


def test_state_made_with_other_settings_or_lost_is_found(whole: Settings) -> None:
    store = RedisStore(whole.store.url, whole.namespace)
    store.claim(0, encode_layout(Calendar(whole.window.spec(), "Asia/Tokyo"), 8))
    store.close()
    found = found_with(whole)
    assert problems(found) - {"disk.space"} == {"state.layout"}
    assert "partitions = 8" in found["state.layout"][0].told

    group, topic = f"{whole.namespace}.window", f"{whole.namespace}.logon"
    committer = Consumer({"bootstrap.servers": whole.kafka.bootstrap_servers, "group.id": group, "enable.auto.commit": False})
    committer.commit(offsets=[TopicPartition(topic, 1, 0)], asynchronous=False)
    committer.close()
    found = found_with(whole)
    assert problems(found) - {"disk.space"} == {"state.layout", "state.begun"}
    assert "partition 1" in found["state.begun"][0].told


def test_a_store_that_evicts_keeps_nothing_and_is_full_says_each(tmp_path: Path) -> None:
    options = ("--maxmemory-policy", "allkeys-lru", "--appendonly", "no", "--maxmemory", "900kb")
    with redis_with(tmp_path, *options) as server:
        found = found_with(settings_for(NOWHERE, server.url))
    assert problems(found) - {"disk.space"} == {"broker.reachable", "store.eviction", "store.persistence", "store.memory"}
    assert "allkeys-lru" in found["store.eviction"][0].told


def test_a_wrong_password_and_missing_rights_are_told_without_the_password(tmp_path: Path) -> None:
    with redis_with(tmp_path) as server:
        admin = redis.Redis.from_url(server.url)
        admin.config_set("requirepass", "right-one")
        found = found_with(settings_for(NOWHERE, server.url, store__password="wrong-one"))
        assert "refuses store.username with store.password" in found["store.reachable"][0].told
        assert "wrong-one" not in repr(found)
        admin.execute_command("ACL", "SETUSER", "little", "on", ">pw", "~other:*", "+@read", "+ping", "+eval")
        little = found_with(settings_for(NOWHERE, server.url, store__username="little", store__password="pw"))
        assert problems(little) - {"disk.space"} == {"broker.reachable", "store.permissions"}
        assert "~acme:*" in little["store.permissions"][0].cure
        admin.execute_command("ACL", "SETUSER", "little", "~acme:*", "-hget")
        some = found_with(settings_for(NOWHERE, server.url, store__username="little", store__password="pw"))
        assert {"+hset", "+hget", "+evalsha", "+info"} <= set(some["store.permissions"][0].cure.split())
        # what it may not ask is unknown, and no more than that
        assert {name for name in some if name.startswith("store.")} == {
            "store.permissions", "store.version", "store.persistence", "store.eviction", "store.memory",
        }  # fmt: skip
        admin.close()


def test_the_rights_that_the_documentation_grants_are_enough(tmp_path: Path, repository: Path) -> None:
    page = (repository / "docs" / "security.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("ACL SETUSER daywatch on ")]
    with redis_with(tmp_path) as server:
        admin = redis.Redis.from_url(server.url)
        # not every version knows every command of the list
        words = line.replace("NAMESPACE", "acme").replace("PASSWORD", "pw").split()[2:]
        known = {str(name).lower() for name in admin.command()}
        admin.execute_command("ACL", "SETUSER", *(word for word in words if word[0] != "+" or word[1:].partition("|")[0] in known))
        admin.close()
        found = found_with(settings_for(NOWHERE, server.url, store__username="daywatch", store__password="pw"))
    assert {name for name in problems(found) if name.startswith(("store", "state"))} == set()
    assert "store.permissions" not in found
    assert "store.eviction" not in found


def test_a_replica_is_not_taken_for_a_store(tmp_path: Path) -> None:
    with redis_with(tmp_path, "--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "yes") as replica:
        assert "store.role" in problems(found_with(settings_for(NOWHERE, replica.url)))


def test_a_cluster_is_looked_at_server_by_server_once_the_settings_say_that_it_is_one(redis_cluster: RedisCluster) -> None:
    taken_for_one = found_with(settings_for(NOWHERE, redis_cluster.url))
    assert "set store.cluster = true" in {finding.cure for finding in taken_for_one["store.role"]}
    settings = settings_for(NOWHERE, redis_cluster.url, store__cluster=True)
    assert {name for name in found_with(settings) if name.startswith(("store", "state.layout"))} == set()
    second = redis.Redis.from_url(redis_cluster.stores[1].url)
    second.config_set("maxmemory-policy", "volatile-lru")
    try:
        (found,) = found_with(settings)["store.eviction"]
        assert found.about == redis_cluster.stores[1].url.removeprefix("redis://").removesuffix("/0")
    finally:
        second.config_set("maxmemory-policy", "noeviction")
        second.close()


def test_on_the_embedded_servers_nothing_falls_over(embedded_broker: EmbeddedBroker, valkey_server: EmbeddedStore, namespace: str) -> None:
    settings = settings_for(embedded_broker.bootstrap_servers, valkey_server.url, namespace, kafka__embedded=True)
    make_topics(settings)
    found = found_with(settings)
    assert not problems(found) - {"disk.space"}
    assert not [finding for findings in found.values() for finding in findings if "failed" in finding.told]


def test_the_command_prints_one_json_object_and_exits_with_1_when_something_must_be_mended(tmp_path: Path) -> None:
    where = ("--bootstrap-servers", NOWHERE, "--store-url", NO_STORE)
    done = subprocess.run(
        [sys.executable, "-m", "daywatch", "doctor", "--json", *where], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (1, "")
    told = json.loads(done.stdout)
    assert (told["schema"], told["namespace"], told["state"]) == ("daywatch.doctor/1", "daywatch", "problem")
    assert {finding["id"] for finding in told["findings"]} == {check.id for check in CHECKS}
    assert sum(told["counts"].values()) == len(told["findings"])
    assert all(finding["cure"] for finding in told["findings"] if finding["state"] != "ok")


def test_the_command_exits_with_0_when_nothing_must_be_mended(whole: Settings, tmp_path: Path) -> None:
    where = ("--bootstrap-servers", whole.kafka.bootstrap_servers, "--store-url", whole.store.url, "--namespace", whole.namespace)
    more = ("--set", "topics.partitions=2", "--patience", "20")
    command = [sys.executable, "-m", "daywatch", "doctor", *where, *more]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "nothing to mend: " in done.stdout.splitlines()[-1]
