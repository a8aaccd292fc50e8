"""Real processes against Apache Kafka and Redis: killed at every step of the write path, and with their servers killed under them."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka import Producer

from daywatch.embedded import EmbeddedStore
from stream.kafka_reader import read_all
from stream.log import MemoryLog
from tests.servers import ApacheKafka, create_topics, kafka_launcher, redis_program
from tests.windowing.logs import EVENTS, PARTITIONS, TOPICS, complaints, make_log, parsed_dead, parsed_windows, truth
from tests.windowing.test_delivery import run_schedule

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = ["begun", "produced", "offsets", "committed", "stored"]


def fill(bootstrap_servers: str, namespace: str, log: MemoryLog) -> None:
    """Write a log's records to a broker, each into its own partition, in order."""
    names = {topic: topic.replace("x.", f"{namespace}.") for topic in (*EVENTS.values(), TOPICS.windows, TOPICS.dead_letters)}
    create_topics(bootstrap_servers, [*names.values(), f"{namespace}.operations"], PARTITIONS)
    producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True})
    for at, kept in log.logs.items():
        for record in kept:
            if at.topic in EVENTS.values():
                producer.produce(
                    names[at.topic], value=record.value, key=record.key, partition=at.partition, headers=record.headers() or []
                )
        producer.poll(0)
    assert producer.flush(60) == 0


def read(bootstrap_servers: str, topic: str) -> list[tuple[bytes | None, list[tuple[str, bytes]]]]:
    """Value and headers of all committed records of a topic."""
    return [
        (message.value(), cast("list[tuple[str, bytes]]", message.headers() or []))
        for batch in read_all({"bootstrap.servers": bootstrap_servers}, [topic])
        for message in batch
    ]


def work(flags: dict[str, object], step: str = "never", number: int = 0) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.windowing.dying_worker", json.dumps(flags), step, str(number)],
        cwd=REPOSITORY, stderr=subprocess.PIPE,
    )  # fmt: skip


def flags_for(bootstrap_servers: str, store_url: str, namespace: str) -> dict[str, object]:
    return {
        "kafka.bootstrap_servers": bootstrap_servers, "store.url": store_url, "namespace": namespace, "window.hop": "6h",
        "window.allowed_lateness": "1h", "window.out_of_orderness": "10m", "window.max_jump": "400d", "kafka.session_timeout": "6s",
    }  # fmt: skip


def check(bootstrap_servers: str, namespace: str, seed: int) -> None:
    """Hold what is on the broker against the oracle and against a run in memory."""
    plain, _ = run_schedule(seed, 0)
    windows = parsed_windows([value for value, _ in read(bootstrap_servers, f"{namespace}.windows") if value is not None])
    letters = [
        [(name, value.replace(namespace.encode(), b"x") if name == "daywatch-topic" else value) for name, value in headers]
        for _, headers in read(bootstrap_servers, f"{namespace}.dead-letters")
    ]
    assert complaints(windows, parsed_dead(letters), plain, plain.values(TOPICS.windows)) == ""
    assert len(truth(plain)[0]) > 20


def test_killed_at_every_step_of_the_write_path_every_window_still_goes_out_once(
    apache_kafka: ApacheKafka, redis_server: EmbeddedStore, namespace: str
) -> None:
    fill(apache_kafka.bootstrap_servers, namespace, make_log(random.Random(77)))
    flags = flags_for(apache_kafka.bootstrap_servers, redis_server.url, namespace)
    rnd = random.Random(5)
    for step in STEPS:
        dying = work(flags, step, rnd.randint(2, 4))
        _, errors = dying.communicate(timeout=120)
        assert dying.returncode == -9, errors.decode()
    last = work(flags)
    _, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors.decode()
    check(apache_kafka.bootstrap_servers, namespace, 77)


@pytest.fixture
def own_servers(tmp_path: Path) -> Iterator[tuple[ApacheKafka, EmbeddedStore]]:
    """Servers that this test may kill."""
    launcher, program = kafka_launcher(), redis_program()
    if launcher is None or program is None:
        pytest.skip("needs Apache Kafka and redis-server")
    kafka, store = ApacheKafka(launcher, tmp_path / "kafka"), EmbeddedStore(tmp_path, program)
    try:
        kafka.start()
        store.start()
        yield kafka, store
    finally:
        kafka.kill()
        store.stop()


def test_with_redis_and_then_kafka_killed_under_it_every_window_still_goes_out_once(
    own_servers: tuple[ApacheKafka, EmbeddedStore], namespace: str
) -> None:
    kafka, store = own_servers
    log = make_log(random.Random(78))
    fill(kafka.bootstrap_servers, namespace, log)
    worker = work(flags_for(kafka.bootstrap_servers, store.url, namespace))
    wait_for_windows(kafka.bootstrap_servers, namespace, 1)
    store.kill()
    store.start()
    wait_for_windows(kafka.bootstrap_servers, namespace, 5)
    kafka.kill()
    kafka.restart()
    _, errors = worker.communicate(timeout=180)
    assert worker.returncode == 0, errors.decode()
    check(kafka.bootstrap_servers, namespace, 78)


def wait_for_windows(bootstrap_servers: str, namespace: str, n: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if sum(value is not None for value, _ in read(bootstrap_servers, f"{namespace}.windows")) >= n:
            return
    raise AssertionError("no windows came")


def test_two_workers_share_the_partitions_and_one_takes_over_when_the_other_dies(
    apache_kafka: ApacheKafka, redis_server: EmbeddedStore, namespace: str
) -> None:
    fill(apache_kafka.bootstrap_servers, namespace, make_log(random.Random(79)))
    flags = flags_for(apache_kafka.bootstrap_servers, redis_server.url, namespace)
    first = work(flags)
    wait_for_windows(apache_kafka.bootstrap_servers, namespace, 1)
    second = work(flags, "committed", 2)
    _, errors = second.communicate(timeout=120)
    assert second.returncode in (0, -9), errors.decode()
    # it is not done before the dead worker's partitions are
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 0, errors.decode()
    check(apache_kafka.bootstrap_servers, namespace, 79)
