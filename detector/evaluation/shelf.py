"""All windows of a directory, kept for several readings: features in memory, records compressed on disk. Knows no labels, no model.

Evaluation reads every window once for each seed, and trains on most of them for each fold. Building them again each time would be
slow, holding them parsed would take tens of kilobytes each.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Self

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import zstandard

from detector.evaluation.baselines import FeatureTable
from detector.evaluation.figures import CITED_SCHEMA
from detector.evaluation.metrics import Ints
from windowing.features import NAMES
from windowing.offline import Batch
from windowing.record import Window, parse_window


class Shelf:
    """The windows of user/days, one row each, in the order in which they were put; a context, since it holds a file.

    Raises:
        BadWindow: a record that is none, from `put`.
    """

    def __init__(self) -> None:
        self._disk: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the shelf
        self._ends: list[int] = [0]
        self._features: list[npt.NDArray[np.float32]] = []
        self._pack, self._unpack = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()
        self.users: list[str] = []
        self.days: list[int] = []
        self.kept: list[tuple[str, int, str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._disk.close()

    def __len__(self) -> int:
        return len(self.users)

    def put(self, batch: Batch, watched: Callable[[str, str, str], bool]) -> None:
        """Take over the windows of one day; which of the shown events to remember is `watched`'s to say, by user, kind and id."""
        for value in batch.windows["value"]:
            record = orjson.loads(value)
            user = record["user"]
            self.users.append(user)
            self.days.append(batch.window)
            features = record["features"]
            self._features.append(np.array([features[name] for name in NAMES], np.float32))
            self.kept += [
                (user, batch.window, event["kind"], event["id"]) for event in record["events"] if watched(user, event["kind"], event["id"])
            ]
            packed = self._pack.compress(value.encode())
            self._disk.write(packed)
            self._ends.append(self._ends[-1] + len(packed))

    def windows(self, rows: Iterable[int] | None = None) -> Iterator[Window]:
        """The windows of these rows, in that order; all of them by default."""
        self._disk.flush()
        for row in range(len(self)) if rows is None else rows:
            self._disk.seek(self._ends[row])
            yield parse_window(self._unpack.decompress(self._disk.read(self._ends[row + 1] - self._ends[row])))

    def kept_events(self) -> pl.DataFrame:
        """The remembered events, `user, day, kind, id`."""
        return pl.DataFrame(self.kept, schema=CITED_SCHEMA, orient="row")

    def table(self) -> tuple[FeatureTable, Ints]:
        """All features ordered by user, then day, and for each of its rows the row of the shelf."""
        _, user = np.unique(np.array(self.users), return_inverse=True)
        order = np.lexsort((np.array(self.days), user))
        values = np.stack(self._features).astype(np.float64) if self._features else np.empty((0, len(NAMES)))
        return FeatureTable(NAMES, values[order], user[order].astype(np.int64)), order.astype(np.int64)
