"""An outlet that tells how its transactions end and how long they take. Changes nothing of what they do."""

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence

from stream.errors import FencedError, PipelineError
from stream.log import Commit, Out, Outlet, TopicPartition
from stream.metrics import RECORDS_SENT, TRANSACTION_SECONDS, TRANSACTIONS
from stream.telemetry import Beat, Telemetry


class MeasuredOutlet:
    """The `Outlet` seam around another one."""

    def __init__(self, outlet: Outlet, telemetry: Telemetry, timer: Callable[[], float] = time.perf_counter) -> None:
        self._outlet, self._telemetry, self._timer = outlet, telemetry, timer
        for outcome in ("committed", "failed", "fenced"):
            telemetry.count(TRANSACTIONS, 0, outcome=outcome)

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        """One transaction."""
        began = self._timer()
        try:
            self._outlet.transact(records, commits, group)
        except PipelineError as error:
            self._telemetry.count(TRANSACTIONS, outcome="fenced" if isinstance(error, FencedError) else "failed")
            raise
        self._telemetry.count(TRANSACTIONS, outcome="committed")
        self._telemetry.observe(TRANSACTION_SECONDS, self._timer() - began)
        self._telemetry.beat(Beat.BROKER)
        for topic, sent in Tally(record.at.topic for record in records).items():
            self._telemetry.count(RECORDS_SENT, sent, topic=topic)

    def settle(self) -> None:
        """Return when what was sent last is out for good."""
        self._outlet.settle()

    def lying_open(self, logs: Iterable[TopicPartition]) -> Sequence[TopicPartition]:
        """Those of the logs in which a transaction lies open."""
        return self._outlet.lying_open(logs)

    def end_left_open(
        self, writers: Iterable[str], logs: Iterable[TopicPartition], commits: Iterable[TopicPartition], group: object
    ) -> None:
        """End what one of these writers has left open."""
        self._outlet.end_left_open(writers, logs, commits, group)

    def close(self) -> None:
        """Let go of the outlet."""
        self._outlet.close()
