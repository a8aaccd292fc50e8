"""The yardstick: a loop that only consumes. `python -m bench.raw_consume BOOTSTRAP TOPICS PARTITIONS` prints JSON.

Reads the topics from their beginning to their end and looks at nothing but whether a message is an error.
"""

import json
import sys
import time

from confluent_kafka import Consumer, KafkaError, TopicPartition


def consume(bootstrap_servers: str, topics: list[str], partitions: int) -> dict[str, float]:
    """Records (clock marks included), seconds from the first to the last one, processor seconds."""
    logs = [TopicPartition(topic, number, 0) for topic in topics for number in range(partitions)]
    consumer = Consumer({
        "bootstrap.servers": bootstrap_servers, "group.id": "raw", "enable.auto.commit": False, "enable.partition.eof": True,
        "fetch.queue.backoff.ms": 5, "fetch.message.max.bytes": 4_000_000, "queued.max.messages.kbytes": 32_768,
        "isolation.level": "read_committed",
    })  # fmt: skip
    consumer.assign(logs)
    ended: set[tuple[str, int]] = set()
    records, began, newest, cpu = 0, 0.0, 0.0, 0.0
    while len(ended) < len(logs):
        # the first one alone: it starts the watch
        messages = consumer.consume(10_000 if records else 1, 0.1)
        if not messages:
            continue
        if not records:
            began, cpu = time.perf_counter(), time.process_time()
        faults = [message for message in messages if message.error() is not None]
        for message in faults:
            error = message.error()
            if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
                raise RuntimeError(error.str())
            ended.add((message.topic(), message.partition()))
        records += len(messages) - len(faults)
        newest = time.perf_counter()
    consumer.close()
    return {"records": records, "seconds": newest - began, "cpu_s": time.process_time() - cpu}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(consume(sys.argv[1], sys.argv[2].split(","), int(sys.argv[3]))) + "\n")
