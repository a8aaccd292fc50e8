"""The detect worker's guarantees on Apache Kafka: every verdict and alert once for read_committed readers, whatever dies."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from sinks.detect_worker import DetectWorker
from stream.errors import RefusedError
from stream.kafka_reader import read_all
from stream.kafka_transactions import producer_config
from stream.kinds import Kind
from stream.marks import encode_mark
from tests.servers import ApacheKafka, EmbeddedBroker, create_topics, kafka_launcher
from tests.sinks.detect_process import detect_worker
from tests.sinks.windows import day_of

HOUR = 3_600_000
USERS = [f"user{number}" for number in range(12)]
WINDOWS = 20
PARTITIONS = 3
RESULTS = ("verdicts", "alerts", "dead_letters")


def create(broker: str, namespace: str) -> None:
    create_topics(broker, [f"{namespace}.{role}" for role in ("windows", *RESULTS)], partitions=PARTITIONS)
    create_topics(broker, [f"{namespace}.alert_memory"], partitions=PARTITIONS, cleanup_policy="compact")


def fill(broker: str, namespace: str, seed: int = 0, last: bool = True) -> None:
    """Overlapping windows of some users, a mark after each hop, a record that cannot be read, and the last mark."""
    create(broker, namespace)
    chance, topic = random.Random(seed), f"{namespace}.windows"
    producer = Producer(producer_config({"bootstrap.servers": broker}))
    for number in range(WINDOWS):
        for user in USERS:
            producer.produce(topic, day_of(user, number, chance.random(), [Kind.FILE, Kind.HTTP]), key=user.encode())
        producer.produce(topic, b"junk", key=b"user1")
        for partition in range(PARTITIONS):
            is_last = last and number == WINDOWS - 1
            producer.produce(topic, None, partition=partition, headers=list(encode_mark(number * 6 * HOUR, last=is_last)))
    assert producer.flush(30) == 0


def results(broker: str, namespace: str) -> dict[tuple[str, int], list[tuple[Any, Any, Any]]]:
    """What readers see, by role and partition; names of the namespace cut off, so that runs can be compared."""
    found: dict[tuple[str, int], list[tuple[Any, Any, Any]]] = {}
    for role in RESULTS:
        for batch in read_all({"bootstrap.servers": broker}, [f"{namespace}.{role}"]):
            for message in batch:
                value, headers = message.value(), [(name, plain(content, namespace)) for name, content in message.headers() or []]
                found.setdefault((role, message.partition() or 0), []).append((message.key(), plain(value, namespace), headers))
    return found


def plain(text: bytes | None, namespace: str) -> bytes | None:
    return text.replace(namespace.encode(), b"NAMESPACE") if text is not None else None


@contextmanager
def start(broker: str, namespace: str, instance: str = "a", *when: str) -> "Iterator[subprocess.Popen[str]]":
    """A detect worker in a process of its own, which ends with the block at the latest."""
    command = [sys.executable, "-m", "tests.sinks.detect_process", broker, namespace, instance, *when]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=root
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def calm(apache_kafka: ApacheKafka) -> dict[tuple[str, int], list[tuple[Any, Any, Any]]]:
    """What an uninterrupted run leaves."""
    namespace = f"calm{random.SystemRandom().randrange(10**9)}"
    fill(apache_kafka.bootstrap_servers, namespace)
    worker, close = detect_worker(apache_kafka.bootstrap_servers, namespace)
    worker.run(lambda: False)
    close()
    found = results(apache_kafka.bootstrap_servers, namespace)
    data = [row for (role, _), rows in found.items() for row in rows if role == "verdicts" and row[1] is not None]
    assert len(data) == len(USERS) * WINDOWS
    assert len([row for (role, _), rows in found.items() for row in rows if role == "alerts"]) > 50
    return found


# instance b is a stranger to the dead a: it has to wait until the broker ends what a left open
@pytest.mark.parametrize(("when", "successor"), [("offsets:2", "a"), ("committed:1", "a"), ("offsets:1", "b")])
def test_killed_at_a_step_of_a_transaction_its_successor_says_the_rest_and_nothing_twice(
    apache_kafka: ApacheKafka, namespace: str, calm: Any, when: str, successor: str
) -> None:
    broker = apache_kafka.bootstrap_servers
    fill(broker, namespace)
    with start(broker, namespace, "a", when) as first:
        assert first.wait(60) == -signal.SIGKILL
    worker, close = detect_worker(broker, namespace, successor)
    worker.run(lambda: False)
    close()
    assert results(broker, namespace) == calm


def test_killed_at_random_moments_every_verdict_and_alert_is_there_once(apache_kafka: ApacheKafka, namespace: str, calm: Any) -> None:
    broker, chance = apache_kafka.bootstrap_servers, random.Random(7)
    fill(broker, namespace)
    done = 0
    for _ in range(4):
        # paced, so that the process cannot run ahead of the one that is to kill it, however busy the machine is
        with start(broker, namespace, "a", "paced") as process:
            assert process.stdout is not None
            assert process.stdin is not None
            process.stdout.readline()
            # after some work of its own, at any moment of the next batch
            enough = chance.randint(20, 60)
            while (judged := int(process.stdout.readline() or enough)) < enough:
                process.stdin.write("\n")
                process.stdin.flush()
            process.stdin.write("\n")
            process.stdin.flush()
            wait_until = time.monotonic() + chance.uniform(0.0, 0.05)
            while time.monotonic() < wait_until:
                pass
            process.kill()
            done += judged
    assert done >= 80
    worker, close = detect_worker(broker, namespace)
    worker.run(lambda: False)
    close()
    assert worker.totals.windows > 0
    assert results(broker, namespace) == calm


def test_two_workers_share_the_work_and_a_third_takes_over_from_one_that_leaves(
    apache_kafka: ApacheKafka, namespace: str, calm: Any
) -> None:
    broker = apache_kafka.bootstrap_servers
    fill(broker, namespace)
    with start(broker, namespace, "a") as one, start(broker, namespace, "b") as two:
        assert one.stdout is not None
        one.stdout.readline()
        one.send_signal(signal.SIGTERM)
        with start(broker, namespace, "c") as three:
            assert three.wait(60) == 0
            assert one.wait(60) == 0
            assert two.wait(60) == 0
    assert results(broker, namespace) == calm


def test_it_refuses_to_start_when_the_groups_offsets_are_gone(apache_kafka: ApacheKafka, namespace: str) -> None:
    from confluent_kafka.admin import AdminClient

    broker = apache_kafka.bootstrap_servers
    fill(broker, namespace)
    worker, close = detect_worker(broker, namespace)
    worker.run(lambda: False)
    close()
    admin = AdminClient({"bootstrap.servers": broker})
    for future in admin.delete_consumer_groups([f"{namespace}.detect"]).values():
        future.result(30)
    again, close = detect_worker(broker, namespace)
    with pytest.raises(RefusedError, match="no committed position"):
        again.run(lambda: False)
    close()


def test_new_windows_are_judged_as_they_come(apache_kafka: ApacheKafka, namespace: str) -> None:
    broker = apache_kafka.bootstrap_servers
    create(broker, namespace)
    worker, close = detect_worker(broker, namespace, until_done=False)
    step_until(worker, lambda: len(worker.partitions) == PARTITIONS)
    producer = Producer(producer_config({"bootstrap.servers": broker}))
    for number in range(2):
        producer.produce(f"{namespace}.windows", day_of("ana", number, 0.9), key=b"ana")
        producer.flush(30)
        step_until(worker, lambda number=number: worker.totals.windows == number + 1)  # type: ignore[misc]
    close()
    assert (worker.totals.alerts, worker.totals.updates) == (1, 1)


def step_until(worker: DetectWorker, condition: Any, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        worker.step()


@pytest.mark.parametrize("last", [True, False])
def test_one_worker_on_the_embedded_broker_works_all_off(embedded_broker: EmbeddedBroker, namespace: str, last: bool) -> None:
    embedded = embedded_broker.bootstrap_servers
    if last:
        fill(embedded, namespace)
    else:
        create(embedded, namespace)
        producer = Producer(producer_config({"bootstrap.servers": embedded}))
        for user in USERS:
            for number in range(WINDOWS):
                producer.produce(f"{namespace}.windows", day_of(user, number, 0.9, [Kind.FILE]), key=user.encode())
        assert producer.flush(30) == 0
    worker, close = detect_worker(embedded, namespace, trust_bounds=False)
    worker.run(lambda: False)
    close()
    assert worker.totals.windows == len(USERS) * WINDOWS
    topics = [f"{namespace}.verdicts"]
    read = [message for batch in read_all({"bootstrap.servers": embedded}, topics, embedded=True) for message in batch]
    assert len([message for message in read if message.value() is not None]) == len(USERS) * WINDOWS


def test_a_broker_that_is_killed_and_comes_back_makes_no_difference(tmp_path: Path, namespace: str, calm: Any) -> None:
    launcher = kafka_launcher()
    assert launcher is not None  # there is one, or calm would have been skipped
    broker = ApacheKafka(launcher, tmp_path / "kafka", ["group.min.session.timeout.ms=1000"])
    broker.start()
    try:
        fill(broker.bootstrap_servers, namespace)
        with start(broker.bootstrap_servers, namespace) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while int(process.stdout.readline() or 60) < 60:
                pass
            assert process.poll() is None
            broker.kill()
            broker.start()
            assert process.wait(120) == 0
        assert results(broker.bootstrap_servers, namespace) == calm
    finally:
        broker.kill()
