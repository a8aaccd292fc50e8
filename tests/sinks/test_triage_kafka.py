import json
from typing import Any

import pytest
from confluent_kafka import Producer

from sinks.triage_worker import TriageSettings, TriageTopics, TriageWorker
from stream.clock import SystemClock
from stream.kafka_producer import producer_config
from stream.kafka_reader import KafkaPast, read_all
from stream.kafka_source import KafkaOutlet, KafkaSource
from stream.kafka_transactions import TransactionalProducer
from tests.servers import ApacheKafka, create_topics
from tests.sinks.test_triage_worker import ByFirstWord
from tests.stepping import stepping

PARTITIONS = 2
LINES = 120


def fill(broker: str, namespace: str) -> None:
    create_topics(broker, [f"{namespace}.{name}" for name in ("lines", "labels", "alerts", "dead-letters", "operations")], PARTITIONS)
    producer = Producer(producer_config({"bootstrap.servers": broker}))
    for number in range(LINES):
        value = b"\xff" if number % 20 == 7 else f"{('Normal', 'Malicious', 'Error')[number % 3]} line {number}".encode()
        producer.produce(f"{namespace}.lines", value, key=b"host%d" % (number % 5))
    assert producer.flush(30) == 0


def triage_worker(broker: str, namespace: str, on_step: Any = None) -> tuple[TriageWorker, Any]:
    client = {"bootstrap.servers": broker}
    group = f"{namespace}.classify"
    source = KafkaSource(client, group, [f"{namespace}.lines"], session_timeout_ms=2_500, heartbeat_interval_ms=500)
    producer = TransactionalProducer(client, f"{group}.a", make=stepping(on_step))
    producer.reopen()
    outlet = KafkaOutlet(producer)
    names = [f"{namespace}.{name}" for name in ("lines", "labels", "alerts", "dead-letters")]
    topics = TriageTopics(names[0], names[1], names[2], names[3], source.partitions, PARTITIONS)
    settings = TriageSettings(frozenset({"Malicious"}), batch_lines=10, until_done=True)
    worker = TriageWorker(source, outlet, KafkaPast(client), ByFirstWord(), topics, settings, SystemClock())

    def close() -> None:
        source.close()
        outlet.close()

    return worker, close


def read(broker: str, namespace: str, role: str) -> list[Any]:
    return [message for batch in read_all({"bootstrap.servers": broker}, [f"{namespace}.{role}"]) for message in batch]


class Died(BaseException):
    """Stands for the process's end: nothing catches it, nothing is tidied up."""


@pytest.mark.parametrize("death", ["begun:3", "offsets:3", "committed:3"])
def test_a_worker_that_dies_in_a_transaction_is_carried_on_and_every_line_is_labelled_once(
    apache_kafka: ApacheKafka, namespace: str, death: str
) -> None:
    broker = apache_kafka.bootstrap_servers
    fill(broker, namespace)
    count = 0

    def on_step(step: str) -> None:
        nonlocal count
        count += step == "begun"
        if f"{step}:{count}" == death:
            raise Died

    first, close_first = triage_worker(broker, namespace, on_step)
    with pytest.raises(Died):
        first.run(lambda: False)
    worker, close = triage_worker(broker, namespace)
    close_first()
    worker.run(lambda: False)
    close()
    labelled = [json.loads(message.value()) for message in read(broker, namespace, "labels")]
    places = [(record["source"]["partition"], record["source"]["offset"]) for record in labelled]
    refused = read(broker, namespace, "dead-letters")
    malicious = [record for record in labelled if record["label"] == "Malicious"]
    assert len(places) == len(set(places)) == LINES - len(refused) == LINES - 6
    assert len(read(broker, namespace, "alerts")) == len(malicious) > 0
