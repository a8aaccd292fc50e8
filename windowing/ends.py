"""Whether logs have been worked off: marked ones to their last mark, the others to where they ended when this worker started."""

from collections.abc import Mapping

from stream.kinds import KINDS, Kind, Millis
from stream.log import TopicPartition
from windowing.clocks import LONG_AGO
from windowing.cycle import Cycle, Held
from windowing.ledger import Place, decode_clocks
from windowing.partition import Partition

_STANDS_MS: Millis = 2_000


class Ends:
    """Compares positions with the ends of the logs; `bounds` are those of all logs when the worker started."""

    def __init__(self, cycle: Cycle) -> None:
        self._cycle = cycle

    def reached(self, held: Held, kind: Kind) -> bool:
        """Whether a log of ours has been worked off."""
        clock = held.partition.clocks[kind]
        if clock.marked:
            return clock.last_ms != LONG_AGO and self._at_start_end(held, kind)
        return self._at_start_end(held, kind)

    def _at_start_end(self, held: Held, kind: Kind) -> bool:
        if self._cycle.settings.trust_bounds:
            return max(held.position(kind), held.end_seen[kind]) >= held.ends[kind]
        if held.partition.clocks[kind].last_ms != LONG_AGO:
            return True
        return held.silence.for_ms(kind) >= _STANDS_MS

    def all_reached(self, bounds: Mapping[TopicPartition, tuple[int, int]]) -> bool:
        """Whether nothing is left to do, in other workers' partitions neither.

        One of them may have died, and its partitions come here when the group has noticed; never where they have been dealt out for good.

        Raises:
            TransientError: the store cannot be asked.
        """
        cycle = self._cycle
        for held in cycle.held.values():
            if held.partition.due() or not all(self.reached(held, kind) for kind in KINDS):
                return False
        if cycle.settings.dealt_out:
            return True
        foreign = sorted(set(range(cycle.topics.partitions)) - set(cycle.held))
        return not foreign or (cycle.settings.trust_bounds and all(self._reached_by_others(number, bounds) for number in foreign))

    def _reached_by_others(self, number: int, bounds: Mapping[TopicPartition, tuple[int, int]]) -> bool:
        cycle = self._cycle
        at, state = cycle.store.look(number)
        if not at:
            return all(low == high for low, high in (bounds[cycle.at(kind, number)] for kind in KINDS))
        seen = Partition(cycle.rules)
        place, seen.clocks = Place.decode(at), decode_clocks(state)
        seen.closed = place.closed
        return not seen.due() and all(
            position >= bounds[cycle.at(kind, number)][1] and (not seen.clocks[kind].marked or seen.clocks[kind].last_ms != LONG_AGO)
            for kind, position in zip(KINDS, place.positions, strict=True)
        )
