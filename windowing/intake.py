"""From records to arrivals: sorts out clock marks, decodes the rest, and says what cannot be used. Knows no store and no window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from stream.decode import Decoded, DecodeLimits, decode
from stream.kinds import Kind
from stream.log import Records
from stream.marks import BadMark, parse_mark
from stream.partitioner import partition_of
from stream.times import MAX_TS
from windowing.clocks import Mark
from windowing.partition import Arrivals


class Refused(NamedTuple):
    """A row of a batch that cannot be used, and why."""

    row: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of the topics that a windowing worker touches, and their partition count."""

    events: Mapping[Kind, str]
    windows: str
    dead_letters: str
    partitions: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A topic-partition's records, what of them arrives, and what is refused."""

    records: Records
    arrivals: Arrivals
    refused: list[Refused]


@dataclass(slots=True)
class Intake:
    """Decodes batches for one worker; remembers which users it has seen to belong where they are."""

    topics: Topics
    zone: str
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    _proven: dict[int, set[str]] = field(default_factory=dict)

    def take(self, kind: Kind, batch: Sequence[Records]) -> list[Taken]:
        """Decode all partitions' records of a kind in one go, then part them again."""
        values: list[bytes] = []
        keys: list[bytes | None] = []
        parts = []
        for records in batch:
            sorted_out = _sort_out(records)
            parts.append((records, sorted_out, len(values)))
            rows = sorted_out.data
            values += records.values if rows is None else [records.values[row] for row in rows]  # type: ignore[arg-type, misc]
            keys += records.keys if rows is None else [records.keys[row] for row in rows]
        decoded = decode(kind, values, keys, self.zone, self.limits)
        return [self._part(kind, decoded, *part) for part in parts]

    def _part(self, kind: Kind, decoded: Decoded, records: Records, mine: "_SortedOut", start: int) -> Taken:
        """One topic-partition's share of what was decoded together, with its rows counted from its own first record."""
        stop = start + (len(records.values) if mine.data is None else len(mine.data))
        low, high = np.searchsorted(decoded.frame["row"].to_numpy(), [start, stop])
        frame = decoded.frame.slice(int(low), int(high - low))
        places = frame["row"].to_numpy().astype(np.int64) - start
        frame.replace_column(0, pl.Series("row", places if mine.data is None else np.array(mine.data, np.int64)[places]))
        refused = mine.refused + [
            Refused(bad.row - start if mine.data is None else mine.data[bad.row - start], bad.reason, bad.message)
            for bad in decoded.rejected
            if start <= bad.row < stop
        ]
        frame, astray = self._of_this_partition(records.at.partition, frame)
        refused += [Refused(row, "misrouted", "this user's records belong into another partition") for row in astray]
        return Taken(records, Arrivals(kind, frame, np.asarray(records.stamps, np.int64), mine.marks), refused)

    def _of_this_partition(self, number: int, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[int]]:
        """Part the events whose user belongs to this partition from those that do not; each user is worked out once."""
        proven = self._proven.setdefault(number, set())
        new = [user for user in frame["user"].unique().to_list() if user not in proven]
        foreign = {user for user in new if partition_of(user.encode(), self.topics.partitions) != number}
        proven.update(user for user in new if user not in foreign)
        if not foreign:
            return frame, []
        astray = frame["user"].is_in(list(foreign))
        return frame.filter(~astray), frame.filter(astray)["row"].to_list()


class _SortedOut(NamedTuple):
    """Clock marks, refused null values, and the rows that hold data (None when all do)."""

    marks: list[Mark]
    refused: list[Refused]
    data: list[int] | None


def _sort_out(records: Records) -> _SortedOut:
    # only an empty record or none at all is false, and to see that takes a fraction of comparing each with None
    if all(records.values) or None not in records.values:
        return _SortedOut([], [], None)
    marks, refused, data = [], [], []
    for row, value in enumerate(records.values):
        if value is not None:
            data.append(row)
            continue
        try:
            marks.append(_mark(row, records))
        except BadMark as error:
            refused.append(Refused(row, error.code, str(error)))
    return _SortedOut(marks, refused, data)


def _mark(row: int, records: Records) -> Mark:
    at_ms, last, idle = parse_mark(records.keys[row], records.raw[row].headers())
    if not 0 <= at_ms < MAX_TS:
        # believed, it would close everything for good
        raise BadMark("a clock mark must lie between 1970 and 2200")
    return Mark(row, at_ms, last, idle)
