from collections.abc import Callable

import pytest

from sinks.incidents.memory import Place, encode_place, place_key
from sinks.incidents.running import refuse_to_lose, run_through
from sinks.incidents.stories import StoryTotals
from stream.errors import PipelineError, RefusedError, TransientError
from stream.log import TopicPartition
from stream.metrics import RECOVERIES
from stream.telemetry import MemoryTelemetry
from tests.sinks.incidents.telling import TOPICS

VERDICTS, ALERTS = TopicPartition(TOPICS.verdicts, 0), TopicPartition(TOPICS.alerts, 0)
BOUNDS = {VERDICTS: (10, 90), ALERTS: (0, 5)}
KNOWN = {0: {place_key(0): encode_place(Place(clock_ms=1))}}


class Flaky:
    """Breaks down as often as it is told, having read something each time or not."""

    def __init__(self, failures: int, verdicts: int = 1) -> None:
        self.failures, self.verdicts, self.made = failures, verdicts, 0

    def __call__(self) -> "Flaky.One":
        self.made += 1
        return Flaky.One(self)

    class One:
        def __init__(self, of: "Flaky") -> None:
            self.of, self.totals = of, StoryTotals(verdicts=of.verdicts)

        def run(self, stop: Callable[[], bool], after_step: Callable[[], None]) -> None:
            after_step()
            if self.of.made <= self.of.failures:
                raise TransientError("the broker is away")


def test_a_worker_that_breaks_down_is_followed_by_another_and_all_their_work_counts() -> None:
    flaky, telemetry, waited = Flaky(3), MemoryTelemetry(), []
    totals = run_through(flaky, lambda: False, wait=waited.append, telemetry=telemetry)
    assert (flaky.made, totals.verdicts, len(waited), telemetry.value(RECOVERIES)) == (4, 4, 3, 3)


def test_one_that_never_gets_on_gives_up() -> None:
    flaky = Flaky(1000, verdicts=0)
    with pytest.raises(TransientError, match="the broker is away"):
        run_through(flaky, lambda: False, wait=lambda _: None)
    assert flaky.made == 60


def test_asked_to_stop_it_does_not_begin_anew() -> None:
    flaky = Flaky(1000)
    run_through(flaky, lambda: True, wait=lambda _: None)
    assert flaky.made == 1


def test_on_the_embedded_broker_nothing_begins_anew() -> None:
    with pytest.raises(PipelineError, match="start the run anew"):
        run_through(Flaky(1), lambda: False, again=False)


def test_it_begins_where_memory_and_positions_fit() -> None:
    refuse_to_lose(TOPICS, {VERDICTS: 50, ALERTS: 5}, BOUNDS, KNOWN)
    refuse_to_lose(TOPICS, {}, BOUNDS, {})
    refuse_to_lose(TOPICS, {VERDICTS: 10}, BOUNDS, {})
    refuse_to_lose(TOPICS, {}, BOUNDS, KNOWN)


@pytest.mark.parametrize(
    ("commits", "memories", "words"),
    [
        ({VERDICTS: 9}, KNOWN, "position 9 in ns.verdicts, partition 0, lies outside its log"),
        ({ALERTS: 6}, KNOWN, "position 6 in ns.alerts"),
        ({VERDICTS: 50}, {}, "ns.incident-memory knows nothing of it"),
        ({}, {0: {place_key(0): b"junk"}}, "cannot be read"),
    ],
)
def test_it_refuses_to_lose_what_expired_or_what_was_forgotten(commits: object, memories: object, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        refuse_to_lose(TOPICS, commits, BOUNDS, memories)  # type: ignore[arg-type]
