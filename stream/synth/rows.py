"""Events as columns of numbers, before they become text. Knows nothing of strings and files.

Columns of every kind: `t` (seconds of local wall time since midnight of the organisation's first day), `user`, `pc`, and `insider`
(whose doing it is; -1 for an honest event). The rest is the kind's own, see `FIELDS`.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from stream.kinds import KINDS, Kind
from stream.synth.chance import Flags, Ints

Rows: TypeAlias = dict[str, Ints]
Events: TypeAlias = dict[Kind, Rows]

COMMON: Final = ("t", "user", "pc", "insider")
FIELDS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.LOGON: ("activity",),  # 0 logon, 1 logoff
    Kind.DEVICE: ("activity",),  # 0 connect, 1 disconnect
    Kind.FILE: ("name", "extension", "phrase", "phrase2"),
    Kind.EMAIL: ("to", "to2", "to3", "cc", "bcc", "sender", "size", "attachments", "phrase", "phrase2"),
    Kind.HTTP: ("page", "phrase", "phrase2"),
}
NOBODY: Final = -1


def columns(kind: Kind) -> tuple[str, ...]:
    """Column names of one kind, in order."""
    return COMMON + FIELDS[kind]


def empty(kind: Kind) -> Rows:
    """No events of this kind."""
    return {name: np.empty(0, np.int64) for name in columns(kind)}


def joined(kind: Kind, parts: Sequence[Mapping[str, Ints]]) -> Rows:
    """Rows of several parts, one after the other."""
    if not parts:
        return empty(kind)
    return {name: np.concatenate([part[name] for part in parts]) for name in columns(kind)}


def picked(rows: Rows, which: Ints | Flags) -> Rows:
    """The rows chosen by index or flag."""
    return {name: column[which] for name, column in rows.items()}


def in_time_order(rows: Rows) -> Rows:
    """Rows by time, then person; what ties keeps its order."""
    return picked(rows, np.lexsort((rows["user"], rows["t"])))


def none() -> Events:
    """No events at all."""
    return {kind: empty(kind) for kind in KINDS}
