"""The cycle of a windowing worker: claim, close what is due, read when nothing is. Follows the delivery protocol.

Effects happen in one order only: first the transaction that sends and commits, then the script that moves the state on
(`cycle.py`). After anything uncertain the worker forgets what it had in memory and claims again (`claiming.py`); recovery compares
store and commit. Talks to the devices through the seams `Source`, `Outlet` and `WindowStore` alone.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from stream.clock import Clock
from stream.errors import FencedError, PipelineError, StaleError, TransientError
from stream.kinds import KINDS, Millis
from stream.log import Outlet, Source
from stream.measured import MeasuredOutlet
from stream.metrics import (
    ASSIGNMENTS,
    CLOCK,
    DUPLICATES,
    EVENTS,
    FINDINGS,
    LAST_TURN,
    LATE,
    PANES,
    PARTITIONS,
    POSITION,
    RECOVERIES,
    SILENCE_MARKS,
    WATERMARK,
    WINDOWS_CLOSED,
    WINDOWS_OPEN,
)
from stream.notes import logger_of, note
from stream.operations import About, Operations
from stream.telemetry import NO_TELEMETRY, Beat, Telemetry
from windowing.claiming import Claims
from windowing.clocks import LONG_AGO
from windowing.closing import Closer
from windowing.cycle import Cycle, Totals, WorkerSettings
from windowing.ends import Ends
from windowing.intake import Topics
from windowing.listening import Listener
from windowing.measured_store import MeasuredStore
from windowing.partition import Partition, Rules
from windowing.reading import Reader
from windowing.store import WindowStore

__all__ = ["Totals", "WindowWorker", "WorkerSettings"]

_MOST_FAILURES: Final = 60
_TELL_EVERY_MS: Final[Millis] = 10_000
_TELL_SHARE: Final = 50
"""Of so many parts of a worker's time, telling where it stands takes one at most."""


class WindowWorker:
    """Turns the five topics' events into window records, once each, whatever dies."""

    def __init__(
        self,
        source: Source,
        outlet: Outlet,
        store: WindowStore,
        topics: Topics,
        rules: Rules,
        settings: WorkerSettings,
        clock: Clock,
        wait: Callable[[float], None] = time.sleep,
        telemetry: Telemetry = NO_TELEMETRY,
        operations: Operations | None = None,
    ) -> None:
        measured = MeasuredOutlet(outlet, telemetry), MeasuredStore(store, telemetry)
        self._cycle = Cycle(source, *measured, topics, rules, settings, clock, telemetry, operations)
        self._claims, self._ends = Claims(self._cycle), Ends(self._cycle)
        self._listener = Listener(self._cycle, self._ends)
        self._reader = Reader(self._cycle, self._listener)
        self._closer = Closer(self._cycle, self._listener, self._reader)
        self._wait, self._assignment, self._tell_again_ms = wait, 0, 0
        self._log = logger_of("window")
        for each in (ASSIGNMENTS, RECOVERIES, WINDOWS_CLOSED):
            telemetry.count(each, 0)
        for kind in KINDS:
            for metric in (EVENTS, LATE, DUPLICATES, SILENCE_MARKS):
                telemetry.count(metric, 0, kind=kind)
        # known from the start: Prometheus sees no increase in a series whose first value is not 0
        for about in About:
            telemetry.count(FINDINGS, 0, about=about)

    @property
    def totals(self) -> Totals:
        """What it has done since it started."""
        return self._cycle.totals

    @property
    def partitions(self) -> Mapping[int, Partition]:
        """The partitions held at present."""
        return {number: held.partition for number, held in self._cycle.held.items()}

    def run(self, stop: Callable[[], bool], after_step: Callable[["WindowWorker"], None] = lambda _: None) -> None:
        """Work until told to stop, or, with `until_done`, until everything has been worked off.

        Raises:
            RefusedError: going on would lose or double something.
        """
        cycle, failures, finished = self._cycle, 0, False
        while not stop():
            cycle.telemetry.beat(Beat.LOOP)
            try:
                if failures:
                    # whoever has lost the partitions learns of it here, before it claims them again and disturbs their owner
                    cycle.source.poll(1, cycle.settings.poll_ms)
                self.step()
                finished = cycle.settings.until_done and self.done()
                failures = 0
            except (StaleError, FencedError, TransientError) as error:
                failures += 1
                self._after_failure(error, failures)
            self._tell()
            after_step(self)
            if finished:
                break
        self._tell(at_once=True)

    def _after_failure(self, error: PipelineError, failures: int) -> None:
        """Forget everything: whatever of the cycle took effect, recovery finds out."""
        if not self._cycle.settings.trust_bounds:
            raise PipelineError(f"the embedded broker cannot say whether this was written: {error}; start the run anew") from error
        if failures > _MOST_FAILURES:
            raise error
        self.totals.recoveries += 1
        self._cycle.telemetry.count(RECOVERIES)
        note(self._log, logging.WARNING, "recovery", f"recovering: {error}", cause=type(error).__name__, failures=failures)
        self._forget()
        self._wait(min(0.05 * 2 ** min(failures, 7), 5.0))

    def step(self) -> None:
        """One cycle: claim what is new, then close, or read when nothing is due."""
        cycle = self._cycle
        generation, partitions = cycle.source.assignment()
        if generation != self._assignment:
            self._forget()
            if partitions:
                self._claims.claim(sorted(partitions))
                self._listener.begin()
                cycle.telemetry.count(ASSIGNMENTS)
            else:
                self._claims.look()
            self._assignment = generation
            note(
                self._log, logging.INFO, "assigned", f"holds {len(partitions)} of {cycle.topics.partitions} partitions",
                partitions=sorted(partitions), of=cycle.topics.partitions,
            )  # fmt: skip
            self._tell(at_once=True)
        if cycle.source.joined():
            cycle.telemetry.beat(Beat.GROUP)
        if not self._closer.close(self._assignment):
            self._reader.read(self._assignment)

    def done(self) -> bool:
        """Whether every log has been worked off, those of other workers included: see `Ends.all_reached`.

        Raises:
            TransientError: the store or the broker cannot be asked.
        """
        source = self._cycle.source
        generation, partitions = source.assignment()
        if not source.joined() or generation != self._assignment or partitions != set(self._cycle.held):
            return False
        if self._cycle.unwritten() or self._reader.waiting:
            return False
        return self._ends.all_reached(self._claims.bounds)

    def _forget(self) -> None:
        self._cycle.held.clear()
        self._reader.forget()
        self._assignment = 0

    def _tell(self, at_once: bool = False) -> None:
        """Say where it stands, a few times a minute, and less often where counting open windows takes its time: it goes by users."""
        cycle, now = self._cycle, self._cycle.clock.now_ms()
        if not cycle.telemetry.wanted or (not at_once and now < self._tell_again_ms):
            return
        held = sorted(cycle.held.items())
        logs = [(cycle.at(kind, number), kind, each) for number, each in held for kind in KINDS]
        clocks = {at: each.partition.clocks[kind].at_ms for at, kind, each in logs}
        watermarks = {number: each.partition.watermark_ms for number, each in held}
        tell = cycle.telemetry.levels
        tell(LAST_TURN, {(): now / 1000})
        tell(PARTITIONS, {(): len(held)})
        tell(POSITION, {(at.topic, str(at.partition)): max(each.position(kind), each.end_seen[kind]) for at, kind, each in logs})
        tell(CLOCK, {(at.topic, str(at.partition)): at_ms / 1000 for at, at_ms in clocks.items() if at_ms != LONG_AGO})
        tell(WATERMARK, {(str(number),): at_ms / 1000 for number, at_ms in watermarks.items() if at_ms != LONG_AGO})
        tell(WINDOWS_OPEN, {(str(number),): each.partition.open_windows for number, each in held})
        tell(PANES, {(str(number),): len(each.partition.panes) for number, each in held})
        self._tell_again_ms = now + max(_TELL_EVERY_MS, _TELL_SHARE * (cycle.clock.now_ms() - now))
