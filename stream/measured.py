"""An outlet that tells how its transactions end and how long they take. Changes nothing of what they do."""

import time
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence

from stream.errors import FencedError, PipelineError
from stream.log import Commit, Out, Outlet, OutletAround, TopicPartition
from stream.metrics import RECORDS_SENT, TRANSACTION_SECONDS, TRANSACTIONS
from stream.telemetry import Beat, Telemetry


class MeasuredOutlet(OutletAround):
    """The `Outlet` seam around another one."""

    def __init__(self, outlet: Outlet, telemetry: Telemetry, timer: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(outlet)
        self._telemetry, self._timer = telemetry, timer
        for outcome in ("committed", "failed", "fenced"):
            telemetry.count(TRANSACTIONS, 0, outcome=outcome)

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        """One transaction."""
        began = self._timer()
        try:
            super().transact(records, commits, group)
        except PipelineError as error:
            self._telemetry.count(TRANSACTIONS, outcome="fenced" if isinstance(error, FencedError) else "failed")
            raise
        self._telemetry.count(TRANSACTIONS, outcome="committed")
        self._telemetry.observe(TRANSACTION_SECONDS, self._timer() - began)
        self._telemetry.beat(Beat.BROKER)
        for topic, sent in Tally(record.at.topic for record in records).items():
            self._telemetry.count(RECORDS_SENT, sent, topic=topic)
