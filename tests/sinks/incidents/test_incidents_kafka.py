"""The incidents' guarantees on Apache Kafka: no story is lost or told in two ways, whatever dies; only what is committed counts."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest
from confluent_kafka import Producer

from sinks.incidents.faust_app import Correlator
from sinks.incidents.running import run_through
from sinks.incidents.stories import Received, Stories
from stream.errors import TransientError
from stream.kafka_reader import read_all
from stream.kafka_transactions import producer_config
from stream.marks import parse_mark
from stream.partitioner import partition_of
from tests.servers import ApacheKafka, EmbeddedBroker, create_topics
from tests.sinks.incidents.correlate_process import MERGING, ROLES, correlator, topics_of
from tests.sinks.incidents.telling import Detector, end_of

PARTITIONS = 3
USERS = [f"user{number}" for number in range(9)]
WINDOWS = 40
Revision: TypeAlias = tuple[str, int]
Content: TypeAlias = tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]


def create(broker: str, namespace: str) -> None:
    create_topics(broker, [f"{namespace}.{role}" for role in ROLES if role != "incident_memory"], partitions=PARTITIONS)
    create_topics(broker, [f"{namespace}.incident_memory"], partitions=PARTITIONS, cleanup_policy="compact")


def detected(namespace: str, *, last: bool = True) -> Detector:
    """Alerts at random, the same each time."""
    detector, chance = Detector(topics_of(namespace, PARTITIONS)), random.Random(4)
    for number in range(WINDOWS):
        for user in USERS:
            detector.window(user, number, round(chance.uniform(0.55, 1.0), 2) if chance.random() < 0.08 else 0.1)
        detector.mark(number, last=last and number == WINDOWS - 1)
    return detector


class Log:
    """Writes as a detect worker does: verdicts and alerts of a batch in one transaction. Between any two stands one that was aborted."""

    def __init__(self, broker: str, namespace: str) -> None:
        self._producer = Producer({**producer_config({"bootstrap.servers": broker}), "transactional.id": f"{namespace}.test"})
        self._producer.init_transactions(30)
        self._decoys = Detector(topics_of(namespace, PARTITIONS))

    def write(self, detector: Detector, batches: int = 8) -> None:
        for part in range(batches):
            self._abort(part)
            share = [
                records[len(records) * part // batches : len(records) * (part + 1) // batches]
                for records in (detector.verdicts, detector.alerts)
            ]
            self._transact([*share[0], *share[1]])
            self._producer.commit_transaction(30)

    def _abort(self, number: int) -> None:
        """What must never be seen: alerts of these very users, and of one that does not exist."""
        for user in (*USERS, "eve"):
            self._decoys.window(user, 100 + 20 * number, 1.0)
        self._transact([*self._decoys.verdicts[-10:], *self._decoys.alerts[-10:]])
        self._producer.abort_transaction(30)

    def _transact(self, records: Sequence[Received]) -> None:
        self._producer.begin_transaction()
        for record in records:
            for partition in range(PARTITIONS) if record.key is None else [partition_of(record.key, PARTITIONS)]:
                self._producer.produce(record.topic, record.value, record.key, partition, headers=list(record.headers))
        assert self._producer.flush(30) == 0


def fill(broker: str, namespace: str) -> None:
    create(broker, namespace)
    Log(broker, namespace).write(detected(namespace))


def revisions(broker: str, namespace: str, embedded: bool = False) -> tuple[dict[Revision, Content], Counter[Revision]]:
    """What readers see, by incident and revision, and how often; what stands there twice must be the same."""
    found: dict[Revision, Content] = {}
    often: Counter[Revision] = Counter()
    for batch in read_all({"bootstrap.servers": broker}, [f"{namespace}.incidents"], embedded=embedded):
        for message in batch:
            if (value := message.value()) is not None:
                about = orjson.loads(value)["unmapped"]["incident"]
                key = (about["uid"], about["revision"])
                content = (message.key(), value, tuple(message.headers() or []))
                assert found.setdefault(key, content) == content
                assert message.partition() == partition_of(message.key() or b"", PARTITIONS)
                often[key] += 1
    return found, often


def last_marks(broker: str, namespace: str) -> dict[int, Any]:
    found = {}
    for batch in read_all({"bootstrap.servers": broker}, [f"{namespace}.incidents"]):
        for message in batch:
            if message.value() is None:
                found[message.partition()] = parse_mark(message.key(), message.headers())
    return found


@pytest.fixture(scope="module")
def expected() -> dict[Revision, Content]:
    """What the alerts come to, by merging alone."""
    found: dict[Revision, Content] = {}
    detector = detected("anything")
    for number in range(PARTITIONS):
        desk = Stories(number, {}, topics_of("anything", PARTITIONS), MERGING, "insider risk")
        records = [r for r in (*detector.verdicts, *detector.alerts) if r.key is None or partition_of(r.key, PARTITIONS) == number]
        for out in desk.take(records).out:
            if out.value is not None:
                about = orjson.loads(out.value)["unmapped"]["incident"]
                found[about["uid"], about["revision"]] = (out.key, out.value, tuple(out.headers))
    steps = Counter(orjson.loads(value or b"")["activity_name"] for _, value, _ in found.values())
    assert min(steps["Create"], steps["Update"], steps["Close"]) >= 5
    return found


@contextmanager
def start(broker: str, namespace: str, *when: str) -> "Iterator[subprocess.Popen[str]]":
    """A correlate worker in a process of its own, which ends with the block at the latest."""
    command = [sys.executable, "-m", "tests.sinks.incidents.correlate_process", broker, namespace, *when]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=root) as process:
        try:
            yield process
        finally:
            process.kill()


def test_stories_are_told_once_each_when_nothing_dies_and_uncommitted_records_are_not_read(
    apache_kafka: ApacheKafka, namespace: str, expected: dict[Revision, Content]
) -> None:
    broker = apache_kafka.bootstrap_servers
    fill(broker, namespace)
    worker = correlator(broker, namespace)
    worker.run(lambda: False)
    found, often = revisions(broker, namespace)
    assert found == expected
    assert set(often.values()) == {1}
    assert worker.totals.verdicts == len(USERS) * WINDOWS
    assert worker.totals.refused == {}
    mark = (end_of(WINDOWS - 1), True)
    assert {number: (mark.at_ms, mark.last) for number, mark in last_marks(broker, namespace).items()} == dict.fromkeys(
        range(PARTITIONS), mark
    )
    # again: there is nothing left, and it says so at once
    again = correlator(broker, namespace)
    again.run(lambda: False)
    assert (again.totals.opened, again.totals.closed) == (0, 0)
    assert revisions(broker, namespace)[1] == often


@pytest.mark.parametrize("when", ["taken:2", "sent:1", "remembered:2"])
def test_killed_at_a_step_of_a_batch_its_successor_tells_the_rest_and_repeats_at_most_the_same_bytes(
    apache_kafka: ApacheKafka, namespace: str, expected: dict[Revision, Content], when: str
) -> None:
    broker = apache_kafka.bootstrap_servers
    fill(broker, namespace)
    with start(broker, namespace, when) as first:
        assert first.wait(60) == -signal.SIGKILL
    run_through(lambda: correlator(broker, namespace), lambda: False)
    found, often = revisions(broker, namespace)
    assert found == expected
    # what was sent and not remembered is sent again; what was remembered is not, though its position was not committed
    assert any(number > 1 for number in often.values()) == when.startswith("sent")


def test_killed_at_random_moments_no_story_is_lost_or_told_in_two_ways(
    apache_kafka: ApacheKafka, namespace: str, expected: dict[Revision, Content]
) -> None:
    broker, chance = apache_kafka.bootstrap_servers, random.Random(3)
    fill(broker, namespace)
    for _ in range(3):
        with start(broker, namespace) as process:
            assert process.stdout is not None
            process.stdout.readline()
            until = time.monotonic() + chance.uniform(0.0, 0.4)
            while time.monotonic() < until:
                pass
            process.kill()
    run_through(lambda: correlator(broker, namespace), lambda: False)
    assert revisions(broker, namespace)[0] == expected


def test_partitions_move_between_workers_and_no_story_is_lost_or_told_in_two_ways(
    apache_kafka: ApacheKafka, namespace: str, expected: dict[Revision, Content]
) -> None:
    broker = apache_kafka.bootstrap_servers
    create(broker, namespace)
    log, detector = Log(broker, namespace), detected(namespace)
    early, late = part(detector, 0, 2), part(detector, 1, 2)
    log.write(early)
    with start(broker, namespace) as one:
        assert one.stdout is not None
        one.stdout.readline()
        with start(broker, namespace) as two:
            assert two.stdout is not None
            # the group parts its partitions while the second half comes in; then the first leaves, and a third joins
            two.stdout.readline()
            log.write(late)
            one.send_signal(signal.SIGTERM)
            assert one.wait(60) == 0
            with start(broker, namespace) as three:
                assert two.wait(90) == 0
                assert three.wait(90) == 0
    assert revisions(broker, namespace)[0] == expected


def part(detector: Detector, number: int, of: int) -> Detector:
    """A stretch of both logs, cut at the same verdict."""
    half = Detector()
    cut = [len(detector.verdicts) * at // of for at in (number, number + 1)]
    half.verdicts = detector.verdicts[cut[0] : cut[1]]
    ends = [max((_end(record) for record in detector.verdicts[:at]), default=0) for at in cut]
    half.alerts = [record for record in detector.alerts if ends[0] < orjson.loads(record.value or b"")["time"] <= ends[1]]
    return half


def _end(record: Received) -> int:
    from stream.times import instant

    return 0 if record.value is None else instant(orjson.loads(record.value)["end"])


def test_a_group_whose_positions_are_gone_reads_all_again_and_says_nothing_twice(
    apache_kafka: ApacheKafka, namespace: str, expected: dict[Revision, Content]
) -> None:
    broker = apache_kafka.bootstrap_servers
    fill(broker, namespace)
    correlator(broker, namespace).run(lambda: False)
    again = correlator(broker, namespace, group=f"{namespace}.anew")
    again.run(lambda: False)
    assert again.totals.repeated > 0
    found, often = revisions(broker, namespace)
    assert found == expected
    assert set(often.values()) == {1}


def test_an_alert_in_a_transaction_that_is_still_open_is_waited_for(apache_kafka: ApacheKafka, namespace: str) -> None:
    """Its verdict can be read before it where somebody else's open transaction lies between them and the alert."""
    broker = apache_kafka.bootstrap_servers
    create(broker, namespace)
    detector = Detector(topics_of(namespace, PARTITIONS))
    detector.window("ana", 0, 0.9)
    detector.window("ana", 4, 0.9)
    detector.mark(60, last=True)
    at = partition_of(b"ana", PARTITIONS)
    other = Producer({**producer_config({"bootstrap.servers": broker}), "transactional.id": f"{namespace}.other"})
    other.init_transactions(30)
    other.begin_transaction()
    other.produce(f"{namespace}.alerts", b"{}", b"line", at)
    assert other.flush(30) == 0
    Log(broker, namespace).write(detector, batches=1)
    worker = correlator(broker, namespace)
    read: list[float] = []

    def after_step() -> None:
        if worker.totals.verdicts == 2:
            read.append(time.monotonic())
            # for longer than an end must stand to be believed
            if read[-1] - read[0] > 5 and not ended:
                ended.append(other.abort_transaction(30))

    ended: list[None] = []
    worker.run(lambda: False, after_step)
    assert (worker.totals.opened, worker.totals.grown, worker.totals.closed) == (1, 1, 1)


def test_a_story_grows_and_closes_as_records_come(apache_kafka: ApacheKafka, namespace: str) -> None:
    broker = apache_kafka.bootstrap_servers
    create(broker, namespace)
    detector, log = Detector(topics_of(namespace, PARTITIONS)), Log(broker, namespace)
    worker = correlator(broker, namespace, until_done=False)
    given = 0
    steps = [("opened", 0, 0.9), ("grown", 4, 0.8), ("closed", 30, 0.1)]

    def after_step() -> None:
        nonlocal given
        if not worker.partitions or (given and not getattr(worker.totals, steps[given - 1][0])) or given == len(steps):
            return
        before = (len(detector.verdicts), len(detector.alerts))
        detector.window("ana", *steps[given][1:])
        news = Detector()
        news.verdicts, news.alerts = detector.verdicts[before[0] :], detector.alerts[before[1] :]
        log.write(news, batches=1)
        given += 1

    deadline = time.monotonic() + 60
    worker.run(lambda: bool(worker.totals.closed) or time.monotonic() > deadline, after_step)
    assert (worker.totals.opened, worker.totals.grown, worker.totals.closed) == (1, 1, 1)


def test_one_worker_on_the_embedded_broker_works_all_off(
    embedded_broker: EmbeddedBroker, namespace: str, expected: dict[Revision, Content]
) -> None:
    broker = embedded_broker.bootstrap_servers
    create(broker, namespace)
    detector = detected(namespace)
    producer = Producer(producer_config({"bootstrap.servers": broker}))
    for record in (*detector.verdicts, *detector.alerts):
        for partition in range(PARTITIONS) if record.key is None else [partition_of(record.key, PARTITIONS)]:
            producer.produce(record.topic, record.value, record.key, partition, headers=list(record.headers))
    assert producer.flush(30) == 0
    correlator(broker, namespace, trust_bounds=False).run(lambda: False)
    assert revisions(broker, namespace, embedded=True)[0] == expected


def test_what_nobody_foresaw_ends_the_worker_and_commits_nothing(
    apache_kafka: ApacheKafka, namespace: str, expected: dict[Revision, Content]
) -> None:
    broker = apache_kafka.bootstrap_servers
    fill(broker, namespace)

    def on_step(step: str) -> None:
        if step == "taken":
            raise OSError("a disk")

    worker: Correlator = correlator(broker, namespace, on_step)
    with pytest.raises(TransientError, match=r"correlating broke down \(OSError\)"):
        worker.run(lambda: False)
    # the next one finds everything as it was
    correlator(broker, namespace).run(lambda: False)
    assert revisions(broker, namespace)[0] == expected
