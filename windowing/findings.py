"""Operational findings of a windowing worker on their way out: which are new, their records, and how many there were."""

from collections.abc import Iterable, Sequence

import numpy as np

from stream.kinds import Kind
from stream.log import Out
from stream.metrics import FINDINGS
from stream.operations import Noticed, Operation
from windowing.cycle import Cycle, Held
from windowing.intake import Refused, Taken


def notice(cycle: Cycle, held: Held, kind: Kind, taken: Taken, refused: Sequence[Refused]) -> list[Noticed]:
    """What a batch of one log shows of how it is used to being silent, and of how much of it is refused."""
    if cycle.operations is None:
        return []
    frame, stamps = taken.arrivals.frame, taken.arrivals.stamps
    rows = frame["row"].to_numpy().astype(np.int64)
    # only events of the present show when a source speaks: recorded ones arrive when somebody replays them
    live = rows[np.abs(frame["ts"].to_numpy() - stamps[rows]) <= cycle.rules.clocks.max_jump_ms]
    return held.watch.read(kind, taken.records, live, refused, cycle.operations)


def new_findings(cycle: Cycle, noticed: Sequence[Noticed]) -> list[Noticed]:
    """Those that no earlier life has sent: what lies before the committed offset is out."""
    kinds = {topic: kind for kind, topic in cycle.topics.events.items()}
    return [each for each in noticed if each.offset >= cycle.held[each.operation.at.partition].out_to[kinds[each.operation.at.topic]]]


def findings_out(cycle: Cycle, operations: Iterable[Operation]) -> list[Out]:
    """Their records."""
    return [cycle.operations.out(each) for each in operations] if cycle.operations is not None else []


def count_findings(cycle: Cycle, operations: Iterable[Operation]) -> None:
    """Count those that were raised."""
    for each in operations:
        if not each.closed:
            cycle.telemetry.count(FINDINGS, about=each.about)
