"""The five kinds of event and their fields. Knows nothing of files, brokers or windows.

An *event frame* is a polars frame of one kind: the columns `user, ts, id, pc` and then that kind's own
fields, in the order given here. `ts` is event time in whole UTC milliseconds.
"""

from enum import StrEnum
from typing import TypeAlias

import polars as pl

Millis: TypeAlias = int


class Kind(StrEnum):
    """What happened. The order is the order of topics, counts and ties everywhere."""

    LOGON = "logon"
    DEVICE = "device"
    FILE = "file"
    EMAIL = "email"
    HTTP = "http"


KINDS: tuple[Kind, ...] = tuple(Kind)

COMMON: dict[str, pl.DataType] = {"user": pl.String(), "ts": pl.Int64(), "id": pl.String(), "pc": pl.String()}

FIELDS: dict[Kind, dict[str, pl.DataType]] = {
    Kind.LOGON: {"activity": pl.String()},
    Kind.DEVICE: {"activity": pl.String()},
    Kind.FILE: {"filename": pl.String(), "content": pl.String()},
    Kind.EMAIL: {
        "to": pl.String(),
        "cc": pl.String(),
        "bcc": pl.String(),
        "from": pl.String(),
        "size": pl.Int64(),
        "attachments": pl.Int64(),
        "content": pl.String(),
    },
    Kind.HTTP: {"url": pl.String(), "content": pl.String()},
}


def frame_schema(kind: Kind) -> dict[str, pl.DataType]:
    """Columns and types of an event frame of this kind."""
    return COMMON | FIELDS[kind]


def empty_frame(kind: Kind) -> pl.DataFrame:
    """An event frame of this kind without rows."""
    return pl.DataFrame(schema=frame_schema(kind))
