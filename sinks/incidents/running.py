"""What surrounds a correlate worker: whether it may begin, and beginning anew when one has broken down. Knows neither Faust nor Kafka."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from sinks.incidents.memory import decode_place, place_key
from sinks.incidents.stories import StoryTopics, StoryTotals
from stream.errors import PipelineError, RefusedError, TransientError
from stream.log import TopicPartition
from stream.metrics import RECOVERIES
from stream.notes import logger_of, note
from stream.telemetry import NO_TELEMETRY, Telemetry

_MOST_FAILURES = 60
_LOG = logger_of("correlate")


class Worker(Protocol):
    """A correlate worker."""

    totals: StoryTotals

    def run(self, stop: Callable[[], bool], after_step: "Callable[[], None]") -> None:
        """Work until told to stop, or until all is done."""
        ...


AnyWorker = TypeVar("AnyWorker", bound=Worker)


def run_through(
    make: Callable[[], AnyWorker],
    stop: Callable[[], bool],
    after_step: Callable[[AnyWorker], None] = lambda _: None,
    *,
    again: bool = True,
    wait: Callable[[float], None] = time.sleep,
    telemetry: Telemetry = NO_TELEMETRY,
) -> StoryTotals:
    """Run a worker until it is done or told to stop, and a new one after anything that mends itself; returns what all have done.

    `again` is False for the embedded broker, whose state cannot be read back.

    Raises:
        RefusedError: going on would lose something.
        TransientError: it has failed sixty times without getting on.
    """
    totals, failures = StoryTotals(), 0
    while True:
        worker = make()
        try:
            worker.run(stop, lambda one=worker: after_step(one))  # type: ignore[misc]
        except TransientError as error:
            if not again:
                raise PipelineError(f"the embedded broker cannot say whether this was written: {error}; start the run anew") from error
            failures = 1 if worker.totals.verdicts + worker.totals.alerts else failures + 1
            if failures >= _MOST_FAILURES:
                raise
            telemetry.count(RECOVERIES)
            note(_LOG, logging.WARNING, "recovery", f"recovering: {error}", cause=type(error).__name__, failures=failures)
            totals.add(worker.totals)
            if stop():
                return totals
            wait(min(0.05 * 2 ** min(failures, 7), 5.0))
        else:
            totals.add(worker.totals)
            return totals


def refuse_to_lose(
    topics: StoryTopics,
    commits: Mapping[TopicPartition, int],
    bounds: Mapping[TopicPartition, tuple[int, int]],
    memories: Mapping[int, Mapping[bytes, bytes]],
) -> None:
    """Refuse to go on where records have expired unread, or where stories have been forgotten that the group is past.

    A memory without the group's position is no fault: what is read again is known, and nothing is said twice.

    Raises:
        RefusedError: so it is.
    """
    for at, offset in sorted(commits.items()):
        start, end = bounds[at]
        if not start <= offset <= end:
            raise RefusedError(
                f"the group's position {offset} in {at.topic}, partition {at.partition}, lies outside its log ({start} to {end}): records "
                "expired unread, or the topic was made anew; use a new namespace"
            )
        memory = memories.get(at.partition, {})
        if at.topic == topics.verdicts and offset > start and place_key(at.partition) not in memory:
            raise RefusedError(
                f"the group has a position in {at.topic}, partition {at.partition}, but {topics.incident_memory} knows nothing of it: "
                "stories would lose their beginnings. Delete the consumer group, so that all is read again, or use a new namespace"
            )
    for partition, memory in memories.items():
        if (kept := memory.get(place_key(partition))) is not None:
            decode_place(kept)
