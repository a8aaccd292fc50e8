import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from confluent_kafka import Consumer, Producer

from daywatch.embedded import Child, EmbeddedBroker, EmbeddedStore, ServerError, free_port, servers
from tests.servers import ApacheKafka, create_topics


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(condition, within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def round_trip(bootstrap_servers: str, topic: str) -> bytes:
    create_topics(bootstrap_servers, [topic], partitions=1)
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    producer.produce(topic, b"hello", key=b"ana")
    assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        found = consumer.poll(30)
        assert found is not None
        return found.value()
    finally:
        consumer.close()


def test_what_is_written_to_the_embedded_broker_can_be_read_back(embedded_broker: EmbeddedBroker, namespace: str) -> None:
    assert round_trip(embedded_broker.bootstrap_servers, f"{namespace}.echo") == b"hello"


def test_what_is_written_to_apache_kafka_can_be_read_back(apache_kafka: ApacheKafka, namespace: str) -> None:
    assert round_trip(apache_kafka.bootstrap_servers, f"{namespace}.echo") == b"hello"


def test_the_store_never_evicts_and_keeps_an_append_only_file(valkey_server: EmbeddedStore) -> None:
    with redis.Redis.from_url(valkey_server.url) as client:
        assert client.config_get("maxmemory-policy") == {b"maxmemory-policy": b"noeviction"} or client.config_get("maxmemory-policy") == {
            "maxmemory-policy": "noeviction"
        }
        assert "yes" in str(client.config_get("appendonly"))
        assert "everysec" in str(client.config_get("appendfsync"))


def test_the_store_has_its_data_again_after_a_kill_and_a_restart(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path, options=["--appendfsync", "always"])
    store.start()
    try:
        url = store.url
        with redis.Redis.from_url(url) as client:
            client.set("k", "v")
        store.kill()
        assert store.pid is None
        store.restart()
        assert store.url == url
        with redis.Redis.from_url(url) as client:
            assert client.get("k") == b"v"
    finally:
        store.stop()


def test_servers_end_with_the_block_that_runs_them(tmp_path: Path) -> None:
    with servers(tmp_path) as (broker, store):
        pids = [broker.pid, store.pid]
        assert all(pid and alive(pid) for pid in pids)
    assert not any(pid and alive(pid) for pid in pids)


def test_servers_end_when_the_process_that_runs_them_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from daywatch.embedded import servers\n"
        f"with servers(Path({str(tmp_path)!r})) as (b, s): print(b.pid, s.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(alive(pid) for pid in pids)
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_a_server_that_ends_while_starting_is_reported_with_its_log(tmp_path: Path) -> None:
    child = Child("the server", lambda _port: ["false"], lambda _port: False, tmp_path / "log")
    with pytest.raises(ServerError, match="the server ended while starting; its log is .*log"):
        child.start()


def test_a_fixed_port_is_kept(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store._child.port = port = free_port()
    store.start()
    try:
        assert store.url == f"redis://127.0.0.1:{port}/0"
    finally:
        store.stop()
