"""A correlate worker in a process of its own, for tests that kill it.

    python -m tests.sinks.incidents.correlate_process BROKER NAMESPACE [STEP:N]

With STEP:N it kills itself the N-th time it comes to that step; sending counts where something was sent. It says `held PARTITIONS`
when it has been given some, and a number when it has dealt with so many records.
"""

import os
import signal
import sys
from collections import Counter
from typing import Any

from sinks.incidents.faust_app import CorrelateSettings, Correlator
from sinks.incidents.running import run_through
from sinks.incidents.stories import StoryTopics
from sinks.incidents.story import Merging
from stream.kafka_consumer import Place, bounds, partitions_of
from stream.kafka_reader import KafkaPast
from stream.log import TopicPartition
from tests.sinks.incidents.telling import DAY

ROLES = ("verdicts", "alerts", "incidents", "incident_memory", "dead_letters")
MERGING = Merging(gap_ms=2 * DAY, half_life_ms=DAY)


def topics_of(namespace: str, partitions: int) -> StoryTopics:
    return StoryTopics(**{role: f"{namespace}.{role}" for role in ROLES}, partitions=partitions)


def correlator(broker: str, namespace: str, on_step: Any = lambda _: None, **settings: Any) -> Correlator:
    client = {"bootstrap.servers": broker}
    topics = topics_of(namespace, partitions_of(client, f"{namespace}.verdicts"))
    logs = [Place(name, number) for name in (topics.verdicts, topics.alerts) for number in range(topics.partitions)]
    found = {TopicPartition(*at): (bound.start, bound.end) for at, bound in bounds(client, logs).items()}
    chosen: dict[str, Any] = {
        "until_done": True,
        "session_timeout_ms": 6_000,
        "merging": MERGING,
        **settings,
    }
    how = CorrelateSettings(**{"group": f"{namespace}.correlate", "client": client, "bounds": found, **chosen})
    past = KafkaPast(client, embedded=not how.trust_bounds)
    return Correlator(how, topics, past, on_step=on_step)


def main() -> None:
    broker, namespace, *when = sys.argv[1:]
    counts: Counter[str] = Counter()
    said = ""

    def on_step(step: str) -> None:
        counts[step] += 1
        if when and when[0] == f"{step}:{counts[step]}":
            os.kill(os.getpid(), signal.SIGKILL)

    def after_step(worker: Correlator) -> None:
        nonlocal said
        work = worker.totals.verdicts + worker.totals.alerts
        now = str(work) if work else f"held {worker.partitions}" if worker.partitions else ""
        if now != said:
            said = now
            print(now, flush=True)

    asked: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    print(run_through(lambda: correlator(broker, namespace, on_step), lambda: bool(asked), after_step), flush=True)


if __name__ == "__main__":
    main()
