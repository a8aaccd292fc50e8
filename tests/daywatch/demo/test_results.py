import json
from pathlib import Path

import pytest
from confluent_kafka import Producer

from daywatch.demo.results import Results, by_finding, by_revision, by_window
from daywatch.embedded import EmbeddedBroker
from stream.marks import encode_mark
from tests.servers import create_topics


def window(user: str, end: str) -> bytes:
    return json.dumps({"end": end, "user": user}).encode()


@pytest.fixture
def client(embedded_broker: EmbeddedBroker) -> dict[str, str]:
    return {"bootstrap.servers": embedded_broker.bootstrap_servers}


def test_records_of_all_logs_are_merged_in_the_order_of_event_time(client: dict[str, str], namespace: str, tmp_path: Path) -> None:
    topic = f"{namespace}.windows"
    create_topics(client["bootstrap.servers"], [topic], partitions=2)
    producer = Producer(client)
    # ten in the morning in New York is later than noon in Berlin, whatever the text says
    early, late = "2010-03-01T12:00:00+01:00", "2010-03-01T10:00:00-05:00"
    for partition, users in enumerate((("ana", "eva"), ("bob", "kim"))):
        for end in (early, late):
            for user in users:
                producer.produce(topic, window(user, end), partition=partition)
        producer.produce(topic, None, partition=partition, headers=encode_mark(5_000 + partition))
        producer.produce(topic, None, partition=partition, headers=encode_mark(9_000, last=True))
    producer.flush()

    seen: list[bytes] = []
    results = Results(client, {"windows": topic}, 2, tmp_path / "logs")
    while not (results.done("windows") and results.at_end("windows")):
        results.poll(0.1, lambda name, value: seen.append(value))
    assert (results.progress["windows"].records, len(seen), results.clock_ms("windows")) == (8, 8, 9_000)
    results.close()
    results.merge("windows", by_window, tmp_path / "windows.jsonl")
    found = [json.loads(line) for line in (tmp_path / "windows.jsonl").read_text().splitlines()]
    assert [(w["user"], w["end"]) for w in found] == [(u, end) for end in (early, late) for u in ("ana", "bob", "eva", "kim")]


def test_a_topic_is_done_only_when_every_log_has_shown_its_last_mark(client: dict[str, str], namespace: str, tmp_path: Path) -> None:
    topic = f"{namespace}.verdicts"
    create_topics(client["bootstrap.servers"], [topic], partitions=2)
    producer = Producer(client)
    producer.produce(topic, None, partition=0, headers=encode_mark(1, last=True))
    producer.produce(topic, None, partition=1, headers=encode_mark(1))
    producer.flush()
    results = Results(client, {"verdicts": topic}, 2, tmp_path)
    try:
        while not results.at_end("verdicts"):
            results.poll(0.1, lambda name, value: None)
        assert not results.done("verdicts")
        producer.produce(topic, None, partition=1, headers=encode_mark(2, last=True))
        producer.flush()
        while not results.done("verdicts"):
            results.poll(0.1, lambda name, value: None)
    finally:
        results.close()


def test_an_end_that_was_seen_before_does_not_count_after_it_is_asked_for_anew(
    client: dict[str, str], namespace: str, tmp_path: Path
) -> None:
    topic = f"{namespace}.alerts"
    create_topics(client["bootstrap.servers"], [topic], partitions=1)
    results = Results(client, {"alerts": topic}, 1, tmp_path)
    try:
        while not results.at_end("alerts"):
            results.poll(0.1, lambda name, value: None)
        results.expect_end("alerts")
        assert not results.at_end("alerts")
        while not results.at_end("alerts"):
            results.poll(0.1, lambda name, value: None)
        results.expect_end("alerts")
        producer = Producer(client)
        producer.produce(topic, b'{"time": 1}')
        producer.flush()
        while not results.at_end("alerts"):
            results.poll(0.1, lambda name, value: None)
        assert results.progress["alerts"].records == 1
    finally:
        results.close()


def test_findings_of_one_moment_keep_their_order() -> None:
    assert by_finding(b'{"time": 3, "finding_info": {"uid": "b"}}') == by_finding(b'{"time": 3, "finding_info": {"uid": "a"}}')


def test_incidents_stand_in_the_order_of_time_and_of_their_revisions() -> None:
    def record(time: int, uid: str, revision: int) -> bytes:
        return json.dumps({"time": time, "unmapped": {"incident": {"uid": uid, "revision": revision}}}).encode()

    ordered = [record(1, "b", 1), record(2, "a", 1), record(2, "b", 2), record(2, "b", 10), record(10, "a", 2)]
    backwards = ordered[::-1]
    assert sorted(backwards, key=by_revision) == ordered
