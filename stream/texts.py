"""Columns of texts cut out of one piece of memory, which is shared instead of copied. Knows nothing of records.

To Arrow, a column of texts is a piece of memory and the places where each text begins, which is where the one before ends. So
texts that lie apart are every other one of a longer column, and what lies between them is never looked at:

    {"id":"e1","user":"ana"}            |e1|","user":"|ana|"}
           |  |         |   |                0             2
"""

from collections.abc import Mapping

import nanoarrow
import numpy as np
import polars as pl

from stream.times import Ints


def cut_texts(memory: bytes, stretches: Mapping[str, tuple[Ints, Ints]]) -> list[pl.Series]:
    """Columns by name from where each text begins and ends in `memory`; all of one length, without nulls.

    In every row the texts must be ASCII and follow each other, each row's behind those of the row before.
    """
    rows = len(next(iter(stretches.values()))[0])
    bounds = np.empty((rows, len(stretches), 2), np.int64)
    for n, (begins, ends) in enumerate(stretches.values()):
        bounds[:, n, 0], bounds[:, n, 1] = begins, ends
    places = np.append(bounds, bounds[-1:, -1, 1])
    column = nanoarrow.c_array_from_buffers(nanoarrow.large_string(), len(places) - 1, [None, places, memory], null_count=0)
    texts = pl.Series(column)
    return [texts.gather_every(2 * len(stretches), 2 * n).alias(name) for n, name in enumerate(stretches)]
