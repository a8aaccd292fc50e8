"""Which logs run ahead, which are silent, and what that calls for: pausing, clock marks, findings. Takes no event."""

from collections.abc import Sequence

from stream.kinds import KINDS, Kind
from stream.log import Out, Polled
from stream.marks import encode_mark
from stream.metrics import SILENCE_MARKS
from stream.operations import Operation
from windowing.clocks import LONG_AGO
from windowing.cycle import Cycle, Held
from windowing.ends import Ends
from windowing.findings import count_findings, findings_out

_HEARD_MS = 10_000
"""A log must have been found at its end for so long before its silence counts."""


class Listener:
    """Hears whether logs speak, for one worker."""

    def __init__(self, cycle: Cycle, ends: Ends) -> None:
        self._cycle, self._ends = cycle, ends
        self._polled_at_ms: int | None = None
        self.behind = True
        """Whether the last poll brought so much that there is a backlog, and nobody waits for the single event."""

    def begin(self) -> None:
        """Partitions have been claimed: what was before does not count."""
        self._polled_at_ms = None

    def align(self) -> None:
        """Let topics that have run ahead in event time wait for the slowest, so that memory stays bounded."""
        cycle = self._cycle
        for held in cycle.held.values():
            ahead = self._ahead(held)
            if ahead != held.paused:
                cycle.source.pause([cycle.at(kind, held.number) for kind in sorted(ahead - held.paused)])
                cycle.source.resume([cycle.at(kind, held.number) for kind in sorted(held.paused - ahead)])
                held.paused = ahead

    def _ahead(self, held: Held) -> set[Kind]:
        settings = self._cycle.settings
        clocks = {kind: clock.at_ms for kind, clock in held.partition.clocks.items()}
        running = [kind for kind in KINDS if not (settings.until_done and self._ends.reached(held, kind))]
        # a topic that has shown nothing yet counts as standing where the oldest event is that waits for it
        slowest = max(min((clocks[kind] for kind in running), default=LONG_AGO), held.partition.oldest_ms)
        if slowest == LONG_AGO:
            return set()
        allowed = settings.max_ahead_ms
        return {kind for kind in running if clocks[kind] - slowest > (allowed // 2 if kind in held.paused else allowed)}

    def listen(self, polled: Polled) -> None:
        """Note which logs spoke, which ended, and which could not be heard."""
        cycle, now = self._cycle, self._cycle.clock.now_ms()
        # a long gap between two polls is this worker's own doing, not the world's silence
        passed = min(now - self._polled_at_ms, 10 * cycle.settings.poll_ms) if self._polled_at_ms is not None else 0
        self._polled_at_ms = now
        self.behind = sum(len(found.values) for found in polled.records) >= cycle.settings.backlog_records
        spoke = {found.at for found in polled.records if any(value is not None for value in found.values)}
        for held in cycle.held.values():
            places = {kind: cycle.at(kind, held.number) for kind in KINDS}
            ended = {kind for kind, at in places.items() if at in polled.ended}
            held.end_seen |= {kind: polled.ended[places[kind]] for kind in ended}
            spoken = {kind for kind, at in places.items() if at in spoke}
            held.silence.listen(passed, spoken, ended, unheard=held.paused if polled.answered else KINDS)

    def mark_silence(self) -> None:
        """Write clock marks into logs that have been silent for long enough, in a transaction that a zombie cannot commit."""
        cycle, idle = self._cycle, self._cycle.settings.idle_after_ms
        if idle is None or cycle.settings.until_done:
            return
        out, owners, kinds = list[Out](), list[Held](), list[Kind]()
        for held in cycle.held.values():
            clocks = {kind: clock.at_ms for kind, clock in held.partition.clocks.items()}
            jump_ms = cycle.rules.clocks.max_jump_ms
            marks = held.silence.marks(clocks, held.paused, idle, cycle.clock.now_ms(), jump_ms, cycle.rules.calendar)
            if marks:
                owners.append(held)
                kinds += marks
                out += [Out(cycle.at(kind, held.number), None, None, encode_mark(to, idle=True)) for kind, to in marks.items()]
        if out:
            cycle.transact(out, owners)
            for kind in kinds:
                cycle.telemetry.count(SILENCE_MARKS, kind=kind)

    def tell_silence(self) -> None:
        """Raise a finding for every log that is silent beyond its habit now, in a transaction that a zombie cannot commit."""
        how = self._cycle.operations
        if how is None or how.least_silence_ms is None or self._cycle.settings.until_done:
            return
        told = self._overdue(how.least_silence_ms)
        if told:
            findings = [finding for _, _, finding in told]
            self._cycle.transact(findings_out(self._cycle, findings), {held.number: held for held, _, _ in told}.values())
            for held, kind, _ in told:
                held.watch.tell(kind)
            count_findings(self._cycle, findings)

    def _overdue(self, least_ms: int) -> Sequence[tuple[Held, Kind, Operation]]:
        cycle, now, found = self._cycle, self._cycle.clock.now_ms(), list[tuple[Held, Kind, Operation]]()
        for held in cycle.held.values():
            newest = max(clock.at_ms for clock in held.partition.clocks.values())
            if abs(now - newest) > cycle.rules.clocks.max_jump_ms:
                continue  # a replay, whose sources are files
            for kind in KINDS:
                # at its end, heard, and not just come back after the broker was away
                if kind not in held.paused and held.silence.for_ms(kind) >= _HEARD_MS:
                    finding = held.watch.overdue(kind, cycle.at(kind, held.number), now, least_ms)
                    found += [(held, kind, finding)] if finding is not None else []
        return found
