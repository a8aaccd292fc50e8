"""Whether what a contestant wrote is right: its records held against the polars batch computation. Knows no broker.

A figure counts only when its output was right; every kind of fault is counted apart.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import orjson
import polars as pl

from stream.kinds import KINDS

_KINDS = [kind.value for kind in KINDS]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found: how many records there should be, and how many are missing, double, not wanted, or hold something else."""

    expected: int
    missing: int = 0
    double: int = 0
    unwanted: int = 0
    different: int = 0

    @property
    def right(self) -> bool:
        """Nothing was found."""
        return not (self.missing or self.double or self.unwanted or self.different)

    def __str__(self) -> str:
        """As a person reads it."""
        if self.right:
            return "right"
        return "WRONG: " + ", ".join(f"{count:,} {name}" for name, count in asdict(self).items() if count and name != "expected")


def check_user_days(records: Iterable[bytes], expected: pl.DataFrame) -> Verdict:
    """Hold a peer's records, `{"user", "day", "counts": {kind: n}, "pcs": n, "size": n, "ids": [...]}`, against `workload.user_days`."""
    rows = []
    for record in records:
        found = orjson.loads(record)
        counts = tuple(found["counts"].get(kind, 0) for kind in _KINDS)
        rows.append(((found["user"], found["day"]), (*counts, found["pcs"], found["size"], sorted(found["ids"]))))
    right = {(row[0], row[1]): row[2:] for row in expected.select("user", "day", *_KINDS, "pcs", "size", "ids").iter_rows()}
    return _compare(rows, right, sorted_ids=True)


def check_windows(records: Iterable[bytes], expected: pl.DataFrame) -> Verdict:
    """Hold window records against `workload.windows`: the counts must be equal, and every event shown one of the window's, shown once."""
    rows = []
    for record in records:
        found = orjson.loads(record)
        start = round(datetime.fromisoformat(found["start"]).timestamp() * 1000)
        shown = [event["id"] for event in found["events"]]
        told = len(shown) + sum(found["omitted"].values())
        counts = tuple(found["counts"][kind] for kind in _KINDS)
        rows.append(((found["user"], start), (*counts, shown if told == sum(counts) else None)))
    right = {(row[0], row[1]): row[2:] for row in expected.select("user", "start", *_KINDS, "ids").iter_rows()}
    return _compare(rows, right, sorted_ids=False)


def _compare(
    rows: Sequence[tuple[tuple[str, int], tuple[object, ...]]], right: dict[tuple[str, int], tuple[object, ...]], *, sorted_ids: bool
) -> Verdict:
    times = Counter(key for key, _ in rows)
    different = 0
    for key, found in rows:
        if key in right:
            same = found == right[key] if sorted_ids else found[:-1] == right[key][:-1] and _among(found[-1], right[key][-1])
            different += not same
    return Verdict(
        len(right),
        missing=len(right.keys() - times.keys()),
        double=sum(count - 1 for count in times.values()),
        unwanted=len(times.keys() - right.keys()),
        different=different,
    )


def _among(shown: object, ids: object) -> bool:
    """Whether each id is shown once, and is one of the window's."""
    if not isinstance(shown, list) or not isinstance(ids, list):
        return False
    # two events of different kinds may have one id
    return not Counter(shown) - Counter(ids)
