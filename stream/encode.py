"""An event frame to JSON records, whole columns at a time; the way back is `stream.decode`. Knows no broker."""

from collections.abc import Iterator
from typing import Final

import orjson
import polars as pl

from stream.kinds import FIELDS, Kind
from stream.times import format_iso

SPEC_VERSION: Final = ("ce_specversion", b"1.0")
CONTENT_TYPE: Final = ("content-type", b"application/json")


def encode(kind: Kind, frame: pl.DataFrame) -> list[bytes]:
    """The records of an event frame, one JSON object a row in the order of rows; null fields are left out.

    >>> frame = pl.DataFrame({"user": ["ana"], "ts": [1262592753000], "id": ["e1"], "pc": ["PC-1"], "activity": ["Logon"]})
    >>> encode(Kind.LOGON, frame)
    [b'{"id":"e1","kind":"logon","ts":"2010-01-04T08:12:33Z","user":"ana","pc":"PC-1","activity":"Logon"}']
    """
    if not frame.height:
        return []
    # a column without any value is one that the source does not have
    own = [name for name in FIELDS[kind] if frame[name].null_count() < frame.height]
    table = frame.select("id", pl.lit(kind.value).alias("kind"), format_iso(frame["ts"]).alias("ts"), "user", "pc", *own)
    if any(table[name].null_count() for name in own):
        return [orjson.dumps({name: field for name, field in row.items() if field is not None}) for row in table.iter_rows(named=True)]
    encoded = table.select(pl.struct(pl.all()).struct.json_encode().cast(pl.Binary).alias("value"))["value"]
    values: list[bytes] = encoded.to_list()
    return values


class CloudHeaders:
    """CloudEvents 1.0 headers (Kafka binary mode) of the rows of an event frame, made only when they are asked for."""

    def __init__(self, kind: Kind, frame: pl.DataFrame, source: str) -> None:
        self._of_type = ("ce_type", f"daywatch.{kind}".encode())
        self._of_source = ("ce_source", source.encode())
        self._ids: list[bytes] = frame["id"].cast(pl.Binary).to_list()
        self._times: list[bytes] = format_iso(frame["ts"]).cast(pl.Binary).to_list()

    def rows(self, start: int, stop: int) -> Iterator[list[tuple[str, bytes]]]:
        """The headers of the rows from start up to stop."""
        of_type, of_source = self._of_type, self._of_source
        for own_id, time in zip(self._ids[start:stop], self._times[start:stop], strict=True):
            yield [SPEC_VERSION, ("ce_id", own_id), of_type, of_source, ("ce_time", time), CONTENT_TYPE]
