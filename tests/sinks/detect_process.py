"""A detect worker in a process of its own, for tests that kill it.

    python -m tests.sinks.detect_process BROKER NAMESPACE INSTANCE [STEP:N]

With STEP:N it kills itself at that step of its N-th transaction; with `paced` it waits for a line on its standard input after each batch.
"""

import os
import signal
import sys
from typing import Any

from sinks.detect_worker import DetectSettings, DetectWorker, Topics
from stream.clock import SystemClock
from stream.kafka_reader import KafkaPast
from stream.kafka_source import KafkaOutlet, KafkaSource
from stream.kafka_transactions import TransactionalProducer, still_open
from tests.sinks.windows import FixedBackend
from tests.stepping import stepping


def topics(namespace: str, partitions: int) -> Topics:
    names = {role: f"{namespace}.{role}" for role in ("windows", "verdicts", "alerts", "alert_memory", "dead_letters")}
    return Topics(**names, partitions=partitions)


def detect_worker(broker: str, namespace: str, instance: str = "a", on_step: Any = None, **settings: Any) -> tuple[DetectWorker, Any]:
    client = {"bootstrap.servers": broker}
    source = KafkaSource(client, f"{namespace}.detect", [f"{namespace}.windows"], session_timeout_ms=2_500, heartbeat_interval_ms=500)
    embedded = not settings.get("trust_bounds", True)
    ends = None if embedded else still_open(client)
    producer = TransactionalProducer(client, f"{namespace}.detect.{instance}", make=stepping(on_step), still_open=ends)
    producer.reopen()
    outlet = KafkaOutlet(producer)
    chosen = DetectSettings(**{"batch_windows": 20, "until_done": True, **settings})
    past = KafkaPast(client, embedded=embedded)
    worker = DetectWorker(source, outlet, past, FixedBackend(), topics(namespace, source.partitions), chosen, SystemClock())

    def close() -> None:
        source.close()
        outlet.close()

    return worker, close


def main() -> None:
    broker, namespace, instance, *when = sys.argv[1:]
    count = 0

    def on_step(step: str) -> None:
        nonlocal count
        count += step == "begun"
        if when and when[0] == f"{step}:{count}":
            os.kill(os.getpid(), signal.SIGKILL)

    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    worker, close = detect_worker(broker, namespace, instance, on_step)
    print("started", flush=True)

    def after_step(one: DetectWorker) -> None:
        print(one.totals.windows, flush=True)
        if when == ["paced"]:
            sys.stdin.readline()

    worker.run(lambda: bool(asked), after_step)
    close()
    print(worker.totals, flush=True)


if __name__ == "__main__":
    main()
