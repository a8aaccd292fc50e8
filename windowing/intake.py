"""From records to arrivals: sorts out clock marks, decodes the rest, and says what cannot be used. Knows no store and no window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, count, pairwise
from operator import not_
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl

from stream.decode import Decoded, DecodeLimits, decode
from stream.kinds import Kind
from stream.log import Records
from stream.marks import BadMark, parse_mark
from stream.partitioner import partition_of
from stream.times import MAX_TS
from windowing.clocks import Longs, Mark
from windowing.partition import Arrivals

_T = TypeVar("_T")


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
            values += _without(records.values, sorted_out.nulls)  # type: ignore[arg-type]
            keys += _without(records.keys, sorted_out.nulls)
        decoded = decode(kind, values, keys, self.zone, self.limits)
        rows = decoded.frame["row"].to_numpy()
        return [self._part(kind, decoded, rows, *part) for part in parts]

    def _part(self, kind: Kind, decoded: Decoded, rows: Longs, records: Records, mine: "_SortedOut", start: int) -> Taken:
        """One topic-partition's share of what was decoded together, with its rows counted from its own first record."""
        places = np.arange(len(records.values))
        if mine.nulls:
            places = np.delete(places, mine.nulls)
        stop = start + len(places)
        low, high = np.searchsorted(rows, [start, stop]).tolist()
        frame = decoded.frame.slice(low, high - low)
        frame.replace_column(0, pl.Series("row", places[rows[low:high] - start]))
        refused = mine.refused + [
            Refused(int(places[bad.row - start]), bad.reason, bad.message) for bad in decoded.rejected if start <= bad.row < stop
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
    """Clock marks, refused null values, and the rows of both."""

    marks: list[Mark]
    refused: list[Refused]
    nulls: list[int]


def _sort_out(records: Records) -> _SortedOut:
    marks, refused = [], []
    # comparing each value with None takes several times as long as seeing that only an empty one can be it
    nulls = [row for row in compress(count(), map(not_, records.values)) if records.values[row] is None]
    for row in nulls:
        try:
            marks.append(_mark(row, records))
        except BadMark as error:
            refused.append(Refused(row, error.code, str(error)))
    return _SortedOut(marks, refused, nulls)


def _without(items: list[_T], rows: Sequence[int]) -> list[_T]:
    """All but a few of the items; `rows` ascending."""
    if not rows:
        return items
    found: list[_T] = []
    for start, stop in pairwise((-1, *rows, len(items))):
        found += items[start + 1 : stop]
    return found


def _mark(row: int, records: Records) -> Mark:
    at_ms, last, idle = parse_mark(records.keys[row], records.raw[row].headers())
    if not 0 <= at_ms < MAX_TS:
        # believed, it would close everything for good
        raise BadMark("a clock mark must lie between 1970 and 2200")
    return Mark(row, at_ms, last, idle)
