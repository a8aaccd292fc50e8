"""The open panes of one partition, in memory and as blobs for the store. Knows no store and no broker.

A pane holds event frames by kind, each with one more column, `first`: the first window that may hold the event, because its
own topic's clock had already closed the ones before. Within a kind rows stand in the order of their log, so that of two
records of one event the lowest offset is the one that comes first.
"""

import io
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from stream.errors import PipelineError, of_later_version
from stream.kinds import KINDS, Kind, frame_schema
from windowing.clocks import LONG_AGO

Events = Mapping[Kind, pl.DataFrame]


class Between(NamedTuple):
    """The users from `first` to `last`, both included, in their order."""

    first: str
    last: str


_VERSION = 1
_ARROW, _LINES = 0, 1
_HEADER = struct.Struct("<BBBI")  # version, kind, encoding, length
_SMALL = 256  # rows; below it Arrow's own metadata weighs more than the rows
_SCHEMAS = {kind: frame_schema(kind) | {"first": pl.Int64()} for kind in KINDS}


class UnreadableStateError(PipelineError):
    """The store holds a pane that this version cannot read."""


def encode_blob(events: Events) -> bytes:
    """Pack the frames of one pane and one batch for the store; empty kinds take no room."""
    parts = []
    for number, kind in enumerate(KINDS):
        frame = events.get(kind)
        if frame is None or frame.is_empty():
            continue
        if frame.height < _SMALL:
            encoding, body = _LINES, zlib.compress(frame.write_ndjson().encode(), 1)
        else:
            sink = io.BytesIO()
            frame.write_ipc(sink, compression="lz4", record_batch_size=None)
            encoding, body = _ARROW, sink.getvalue()
        parts.append(_HEADER.pack(_VERSION, number, encoding, len(body)) + body)
    return b"".join(parts)


def decode_blobs(blobs: Iterable[bytes]) -> dict[Kind, pl.DataFrame]:
    """Read the blobs of one pane, in the order in which they were written.

    Raises:
        UnreadableStateError: a blob is of another version or damaged.
    """
    try:
        return _decoded(blobs)
    except (struct.error, zlib.error, ValueError, pl.exceptions.PolarsError) as error:
        cure = "use a new namespace, or reset this one"
        raise UnreadableStateError(f"the store holds a pane that cannot be read: it is damaged; {cure}") from error


def _decoded(blobs: Iterable[bytes]) -> dict[Kind, pl.DataFrame]:
    frames: dict[Kind, list[pl.DataFrame]] = {kind: [] for kind in KINDS}
    lines: dict[Kind, list[bytes]] = {kind: [] for kind in KINDS}
    for blob in blobs:
        at = 0
        while at < len(blob):
            version, number, encoding, length = _HEADER.unpack_from(blob, at)
            if version > _VERSION:
                raise UnreadableStateError(of_later_version("a stored pane", version, _VERSION))
            if version != _VERSION or number >= len(KINDS):
                raise UnreadableStateError(f"a stored pane has layout version {version}; this version reads {_VERSION}")
            at += _HEADER.size
            kind, body = KINDS[number], blob[at : at + length]
            at += length
            if encoding == _LINES:
                lines[kind].append(zlib.decompress(body))
            else:
                # small batches before this one must stay before it
                _flush(kind, lines, frames)
                frames[kind].append(pl.read_ipc(io.BytesIO(body)))
    for kind in KINDS:
        _flush(kind, lines, frames)
    return {kind: pl.concat(found) for kind, found in frames.items() if found}


def _flush(kind: Kind, lines: dict[Kind, list[bytes]], frames: dict[Kind, list[pl.DataFrame]]) -> None:
    if lines[kind]:
        frames[kind].append(pl.read_ndjson(io.BytesIO(b"".join(lines[kind])), schema=_SCHEMAS[kind]))
        lines[kind].clear()


class Pane:
    """One stretch of time of all the users of a partition."""

    __slots__ = ("_begins", "_frames", "_newest_first", "_settled", "_users", "duplicates", "height")

    def __init__(self) -> None:
        self._frames: dict[Kind, list[pl.DataFrame]] = {}
        self._settled: dict[Kind, pl.DataFrame] = {}
        self._begins: dict[Kind, tuple[list[str], list[int]]] = {}
        """Per kind, once sorted: its users, and where the rows of each begin; the end of all comes last."""
        self._newest_first: dict[Kind, int] = {}
        self._users: list[str] | None = None
        self.duplicates = dict.fromkeys(KINDS, 0)
        self.height = 0
        """Number of events, duplicates included."""

    def append(self, kind: Kind, frame: pl.DataFrame) -> None:
        """Add events (with their `first` column) behind those that are there."""
        self._frames.setdefault(kind, []).append(frame)
        self._settled.pop(kind, None)
        self._begins.pop(kind, None)
        self._newest_first.pop(kind, None)
        self._users = None
        self.height += frame.height

    def settled(self, kind: Kind) -> pl.DataFrame:
        """This pane's events of a kind, with `first`, without duplicates: the lowest offset of an id wins."""
        if kind not in self._settled:
            frames = self._frames.get(kind)
            if not frames:
                return pl.DataFrame(schema=_SCHEMAS[kind])
            whole = frames[0] if len(frames) == 1 else pl.concat(frames)
            self._frames[kind] = [whole]
            alone = whole
            if whole["id"].n_unique() != whole.height:
                alone = whole.unique(["user", "id"], keep="first", maintain_order=True)
            self.duplicates[kind] = whole.height - alone.height
            self._settled[kind] = alone
        return self._settled[kind]

    def between(self, kind: Kind, users: Between) -> pl.DataFrame:
        """Those of `settled` whose users lie in a range: a slice, once the pane has been sorted by user."""
        frame = self.settled(kind)
        if not frame.height:
            return frame
        if kind not in self._begins:
            frame = self._sort(kind)
        names, begins = self._begins[kind]
        low, high = begins[bisect_left(names, users.first)], begins[bisect_right(names, users.last)]
        return frame.slice(low, high - low)

    def _sort(self, kind: Kind) -> pl.DataFrame:
        # the order of one user's events stays, so that of two records of an event the first one still comes first
        frame = self._settled[kind].sort("user", maintain_order=True)
        if not self.duplicates[kind]:
            self._frames[kind] = [frame]
        self._settled[kind] = frame
        runs = frame["user"].rle().struct.unnest()
        self._begins[kind] = runs["value"].to_list(), [0, *runs["len"].cum_sum().to_list()]
        return frame

    def newest_first(self, kind: Kind) -> int:
        """The latest of the windows that are the first ones for an event of this kind; from there on all of them are in every window."""
        if kind not in self._newest_first:
            self._newest_first[kind] = int(np.asarray(self.settled(kind)["first"]).max(initial=LONG_AGO))
        return self._newest_first[kind]

    def users(self) -> list[str]:
        """Everybody with an event here, sorted."""
        if self._users is None:
            found = [self.settled(kind)["user"] for kind in self._frames]
            self._users = sorted(pl.concat(found).unique().to_list()) if found else []
        return self._users


def users_of(panes: Sequence[Pane]) -> list[str]:
    """Everybody with an event in any of these panes, sorted."""
    return panes[0].users() if len(panes) == 1 else sorted(set[str]().union(*(pane.users() for pane in panes)))


def users_between(pane: Pane, users: Between | None) -> list[str]:
    """Everybody with an event in a pane and a name in the range, sorted; all when None."""
    found = pane.users()
    return found if users is None else found[bisect_left(found, users.first) : bisect_right(found, users.last)]


def inside(panes: Sequence[Pane], window: int, users: Between | None) -> dict[Kind, pl.DataFrame]:
    """What window `window` holds: events of its panes for whose own clock it was still open; all users when None."""
    found = {}
    for kind in KINDS:
        parts = [(pane, pane.settled(kind) if users is None else pane.between(kind, users)) for pane in panes]
        parts = [(pane, frame) for pane, frame in parts if frame.height]
        if not parts:
            continue
        whole = parts[0][1].clone() if len(parts) == 1 else pl.concat([frame for _, frame in parts])
        if any(pane.newest_first(kind) > window for pane, _ in parts):
            whole = whole.filter(pl.Series(np.asarray(whole["first"]) <= window))
        # in place on a frame of our own: its columns are shared, and no query is planned for it
        whole.drop_in_place("first")
        found[kind] = whole
    return found
