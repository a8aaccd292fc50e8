"""Windows as rows of numbers, with what their peers do beside what their own profile says. Knows no trees and no labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar

import numpy as np

from detector.peers import COMPARED, COMPARED_COUNTS, PREFIX, Peers
from detector.trees import Floats
from stream.errors import PoisonError
from windowing.features import names_of
from windowing.record import Window


class ForeignWindow(PoisonError):
    """A window lacks a feature: what made it computes others than the model was fitted to."""

    code: ClassVar[str] = "foreign_window"


def compared(track: str) -> tuple[str, ...]:
    """Features that are held against peers in a track."""
    names = COMPARED if track == "shortcut-free" else COMPARED + COMPARED_COUNTS
    known = frozenset(names_of(track))
    return tuple(name for name in names if name in known)


def columns_of(track: str) -> tuple[str, ...]:
    """Names of a track's columns: its features, then the peer columns."""
    return names_of(track) + tuple(PREFIX + name for name in compared(track))


@dataclass(frozen=True, slots=True)
class Rows:
    """Feature values of some windows, shape (windows, names), and the role of each window's user, "" when unknown."""

    names: tuple[str, ...]
    values: Floats
    role: list[str]

    def column(self, name: str) -> Floats:
        """One feature, shape (windows,)."""
        found: Floats = self.values[:, self.names.index(name)]
        return found

    def matrix(self, track: str, peers: Peers) -> Floats:
        """What the trees of a track see, shape (windows, columns of the track)."""
        own = self.values if self.names == names_of(track) else self.values[:, [self.names.index(name) for name in names_of(track)]]
        against = peers.bits({name: self.column(name) for name in compared(track)}, self.role)
        return np.column_stack([own, *against.values()])


@lru_cache(maxsize=8)
def _getter(names: tuple[str, ...]) -> Any:
    return itemgetter(*names)


def rows_of(windows: Sequence[Window], names: tuple[str, ...]) -> Rows:
    """The features `names` of windows.

    Raises:
        ForeignWindow: a window lacks one of them.
    """
    get = _getter(names)
    table = np.empty((len(windows), len(names)))
    for row, window in enumerate(windows):
        try:
            table[row] = get(window.features)
        except KeyError as error:
            raise ForeignWindow(f"window {window.id[:32]} lacks feature {error.args[0]}: another version made it") from error
    return Rows(names, table, [window.context.get("role", "") for window in windows])
