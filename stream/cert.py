"""CERT directories as event frames, chunk by chunk in time order. Reads files only; knows nothing of brokers or windows.

What the releases have in common is five CSV files of the form `id,date,user,pc,…`, sorted by date. r1 has no header line and
writes users as `DTAA/ABC1234`; r2 says Insert and Remove for Connect and Disconnect; r5 and r6 add columns, which are ignored, and
list the attachments of an email by name. Plain, gzip (`.gz`) and zstd (`.zst`) files are read; memory does not depend on their size.
"""

import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import polars as pl

from stream.errors import ConfigurationError
from stream.kinds import FIELDS, KINDS, Kind, Millis, empty_frame
from stream.times import MAX_TS, MIN_TS, read_cert
from stream.zones import check_zone

CHUNK_BYTES: Final = 8 << 20
_LONGEST_RECORD: Final = 64 << 20
_ZSTD_READ: Final = 1 << 16
_UNCLOSED: Final = "a quotation mark in it is never closed"
_SUFFIXES: Final = ("", ".gz", ".zst")
# columns of a file without a header line (r1)
_UNTITLED: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.LOGON: ("id", "date", "user", "pc", "activity"),
    Kind.DEVICE: ("id", "date", "user", "pc", "activity"),
    Kind.FILE: ("id", "date", "user", "pc", "filename", "content"),
    Kind.EMAIL: ("id", "date", "user", "pc", "to", "cc", "bcc", "from", "size", "attachments", "content"),
    Kind.HTTP: ("id", "date", "user", "pc", "url", "content"),
}
# without this one, whatever else a file holds, it does not hold events of its kind
_TELLING: Final[Mapping[Kind, str]] = {
    Kind.LOGON: "activity",
    Kind.DEVICE: "activity",
    Kind.FILE: "filename",
    Kind.EMAIL: "to",
    Kind.HTTP: "url",
}
_OLD_ACTIVITIES: Final = {"Insert": "Connect", "Remove": "Disconnect"}


@dataclass(slots=True)
class ReadCount:
    """How far a reader has come: bytes of files (compressed ones as they lie on the disk), good rows, and unusable ones by kind."""

    bytes_total: int = 0
    bytes_read: int = 0
    rows: int = 0
    unusable: dict[Kind, int] = field(default_factory=dict)
    usable: int = 0
    """Good rows, those that wait for a later chunk included."""


def find_files(directory: Path, kinds: Sequence[Kind] = KINDS) -> dict[Kind, Path]:
    """The file of each kind, in the order of kinds; a kind without one is left out.

    Raises:
        ConfigurationError: there is no such directory, none of the files is in it, or one is there twice.
    """
    if not directory.is_dir():
        raise ConfigurationError(f"{directory} is no directory")
    found: dict[Kind, Path] = {}
    for kind in kinds:
        candidates = [path for suffix in _SUFFIXES if (path := directory / f"{kind}.csv{suffix}").is_file()]
        if len(candidates) > 1:
            raise ConfigurationError(f"{directory} has {' and '.join(path.name for path in candidates)}; leave one of them")
        if candidates:
            found[kind] = candidates[0]
    if not found:
        raise ConfigurationError(f"{directory} holds none of {', '.join(f'{kind}.csv' for kind in kinds)} (also .gz and .zst)")
    return found


def read_kind(path: Path, kind: Kind, zone: str, chunk_bytes: int = CHUNK_BYTES, count: ReadCount | None = None) -> Iterator[pl.DataFrame]:
    """Event frames of one file in time order, about `chunk_bytes` of CSV each; naive dates mean local time in `zone`.

    Rows are sorted as far as two neighbouring chunks reach. Rows without a proper id, date or user are left out and counted.

    Raises:
        ConfigurationError: the zone is unknown, the file cannot be read, is no CERT file, or is further out of order.
    """
    check_zone(zone)
    count = count if count is not None else ReadCount()
    held = empty_frame(kind)
    emitted: Millis | None = None
    for block, columns in _blocks(path, kind, chunk_bytes, count):
        frame, unusable = _events(_parse(block, columns, path), kind, zone)
        count.unusable[kind] = count.unusable.get(kind, 0) + unusable
        count.usable += frame.height
        # the newer half waits for the next chunk, in which rows that belong before it may still come
        both = pl.concat([held, frame]).sort("ts", maintain_order=True)
        ready, held = both[: both.height // 2], both[both.height // 2 :]
        emitted = _in_order(ready, emitted, path)
        if ready.height:
            count.rows += ready.height
            yield ready
    _in_order(held, emitted, path)
    if held.height:
        count.rows += held.height
        yield held


def read_merged(
    directory: Path, zone: str, kinds: Sequence[Kind] = KINDS, chunk_bytes: int = CHUNK_BYTES, count: ReadCount | None = None
) -> Iterator[dict[Kind, pl.DataFrame]]:
    """The events of a directory as chunks that follow each other in time: all of a chunk is older than all of the next one.

        logon  |--------|      |---|             a chunk ends where the first of the files' buffers does;
        http   |-----|-----|-----|-----|         kinds without events in a chunk are left out
        chunks |-----|-----|-----|-----|

    Raises:
        ConfigurationError: see `find_files` and `read_kind`.
    """
    files = find_files(directory, kinds)
    count = count if count is not None else ReadCount()
    count.bytes_total = sum(path.stat().st_size for path in files.values())
    sources = {kind: read_kind(path, kind, zone, chunk_bytes, count) for kind, path in files.items()}
    buffers = {kind: empty_frame(kind) for kind in files}
    open_kinds = set(files)
    while True:
        for kind in [kind for kind in files if kind in open_kinds and not buffers[kind].height]:
            _refill(kind, sources, buffers, open_kinds)
        if not any(buffer.height for buffer in buffers.values()):
            return
        # of an open file, whatever is as late as its last buffered row may still be followed by its equals
        horizon = min((int(buffers[kind]["ts"][-1]) for kind in open_kinds), default=None)
        chunk: dict[Kind, pl.DataFrame] = {}
        for kind, buffer in buffers.items():
            cut = buffer.height if horizon is None else int(buffer["ts"].search_sorted(horizon, side="left"))
            if cut:
                chunk[kind], buffers[kind] = buffer[:cut], buffer[cut:]
        if chunk:
            yield chunk
        for kind in [kind for kind in open_kinds if horizon is not None and int(buffers[kind]["ts"][-1]) == horizon]:
            _refill(kind, sources, buffers, open_kinds)


def _refill(kind: Kind, sources: Mapping[Kind, Iterator[pl.DataFrame]], buffers: dict[Kind, pl.DataFrame], open_kinds: set[Kind]) -> None:
    more = next(sources[kind], None)
    if more is None:
        open_kinds.discard(kind)
    else:
        buffers[kind] = pl.concat([buffers[kind], more]) if buffers[kind].height else more


# ------------------------------------------------------------------------------------------------------------------ bytes


def _blocks(path: Path, kind: Kind, chunk_bytes: int, count: ReadCount) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """Stretches of a file that end with a record, and what its columns are called."""
    columns: tuple[str, ...] = ()
    rest = b""
    before = 0
    try:
        with path.open("rb") as disk, closing(_opened(path, disk)) as file:
            while block := file.read(chunk_bytes):
                now = disk.tell()
                count.bytes_read, before = count.bytes_read + now - before, now
                rest += block
                if not columns:
                    columns, rest = _titles(rest.removeprefix(b"\xef\xbb\xbf"), kind, path)
                cut = _end_of_records(rest)
                if not cut and len(rest) > max(_LONGEST_RECORD, 2 * chunk_bytes):
                    raise ConfigurationError(f"{path}: {_UNCLOSED}")
                if cut:
                    yield rest[:cut], columns
                    rest = rest[cut:]
    except (OSError, EOFError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if not columns:
        raise ConfigurationError(f"{path} is empty, without even a line of column names; remove it if there are no events of its kind")
    if rest.count(b'"') % 2:
        raise ConfigurationError(f"{path}: {_UNCLOSED}; is the file cut short?")
    if rest.strip():
        yield rest, columns


def _opened(path: Path, disk: IO[bytes]) -> Any:
    if path.suffix == ".gz":
        return gzip.GzipFile(fileobj=disk)
    if path.suffix == ".zst":
        return io.BufferedReader(_Zstd(disk), 1 << 20)
    return disk


class _Zstd(io.RawIOBase):
    """What a zstd file holds, frame after frame. Its errors are `OSError`, as those of gzip are, and a file that is cut short is one."""

    def __init__(self, disk: IO[bytes]) -> None:
        import zstandard

        self._library, self._disk = zstandard, disk
        self._frame: Any = None
        self._packed = self._plain = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            packed = self._packed or self._disk.read(_ZSTD_READ)
            if not packed and self._frame is not None:
                raise OSError("the zstd file is cut short")
            if not packed:
                return 0
            self._plain, self._packed = self._unpacked(packed)
        size = min(len(buffer), len(self._plain))
        buffer[:size], self._plain = self._plain[:size], self._plain[size:]
        return size

    def _unpacked(self, packed: bytes) -> tuple[bytes, bytes]:
        """What these bytes unpack to, and those of them that belong to the next frame."""
        frame = self._frame or self._library.ZstdDecompressor().decompressobj()
        try:
            plain: bytes = frame.decompress(packed)
        except self._library.ZstdError as error:
            raise OSError(f"not a zstd file, or a damaged one ({error})") from error
        self._frame = None if frame.eof else frame
        return plain, frame.unused_data if frame.eof else b""


def _end_of_records(block: bytes) -> int:
    """Where the last whole record ends: after a line break with an even number of quotation marks before it; 0 if there is none."""
    cut = block.rfind(b"\n") + 1
    quotes = block.count(b'"', 0, cut)
    while cut and quotes % 2:
        earlier = block.rfind(b"\n", 0, cut - 1) + 1
        quotes -= block.count(b'"', earlier, cut)
        cut = earlier
    return cut


def _titles(block: bytes, kind: Kind, path: Path) -> tuple[tuple[str, ...], bytes]:
    """The names of the columns, and what follows the header line if there is one."""
    line, _, rest = block.partition(b"\n")
    first = tuple(name.strip().strip('"').lower() for name in line.decode("utf-8", "replace").split(","))
    if {"id", "date", "user"} <= set(first):
        if len(set(first)) < len(first):
            raise ConfigurationError(f"{path}: two of its columns have the same name")
        if _TELLING[kind] not in first:
            raise ConfigurationError(f"{path} has no column {_TELLING[kind]}, so it cannot be CERT's {kind}.csv")
        return first, rest
    if line.startswith((b"{", b'"{')):
        return _UNTITLED[kind], block
    raise ConfigurationError(f"{path} does not look like CERT's {kind}.csv: it should begin with id,date,user,pc")


def _parse(block: bytes, columns: Sequence[str], path: Path) -> pl.DataFrame:
    """Every column as text; empty fields, and those that a row lacks, are empty strings."""
    for encoding in ("utf8", "utf8-lossy"):
        try:
            return pl.read_csv(
                block, has_header=False, schema=dict.fromkeys(columns, pl.String()), empty_string_is_null=False, encoding=encoding,
                extra_columns="ignore", missing_columns="insert", truncate_ragged_lines=True, raise_if_empty=False,
            )  # fmt: skip
        except pl.exceptions.PolarsError as error:
            if encoding == "utf8-lossy":
                raise ConfigurationError(f"{path} cannot be read as CSV") from error
    raise AssertionError  # pragma: no cover - the loop returns or raises


# ------------------------------------------------------------------------------------------------------------------- rows


def _events(table: pl.DataFrame, kind: Kind, zone: str) -> tuple[pl.DataFrame, int]:
    """An event frame of the usable rows, in the order of the file, and how many were not usable."""
    table = table.filter(pl.any_horizontal(pl.all().is_not_null() & (pl.all() != "")))  # blank lines are no rows
    ts, dated = read_cert(table["date"], zone)
    user = (
        pl.col("user").str.strip_chars().str.split("/").list.last()
        if table["user"].str.contains("/", literal=True).any()
        else pl.col("user")
    )
    named = [pl.col("id").str.len_bytes() > 0, pl.col("user").str.len_bytes() > 0]
    frame = table.select(
        user.alias("user"),
        pl.Series("ts", ts, dtype=pl.Int64),
        pl.col("id"),
        pl.col("pc").fill_null("") if "pc" in table.columns else pl.lit("").alias("pc"),
        *(_field(name, dtype, kind, table) for name, dtype in FIELDS[kind].items()),
    )
    good = table.select(pl.all_horizontal(named).fill_null(value=False))["id"].to_numpy() & dated & (ts >= MIN_TS) & (ts < MAX_TS)
    if good.all():
        return frame, 0
    return frame.filter(pl.Series(good)), int(np.count_nonzero(~good))


def _field(name: str, dtype: pl.DataType, kind: Kind, table: pl.DataFrame) -> pl.Expr:
    if name not in table.columns:
        return pl.lit(None, dtype).alias(name)
    column = pl.col(name)
    if name == "attachments":
        return _attachments(column).alias(name)
    if dtype == pl.Int64():
        return column.cast(pl.Int64(), strict=False).clip(lower_bound=0)
    if kind is Kind.DEVICE and name == "activity":
        return column.replace(_OLD_ACTIVITIES)
    return column


def _attachments(column: pl.Expr) -> pl.Expr:
    """A count as it is; of a list of names separated by semicolons, how many there are."""
    listed = pl.when(column == "").then(0).otherwise(column.str.count_matches(";", literal=True).cast(pl.Int64()) + 1)
    return column.cast(pl.Int64(), strict=False).fill_null(listed)


def _in_order(ready: pl.DataFrame, emitted: Millis | None, path: Path) -> Millis | None:
    if not ready.height:
        return emitted
    first, last = int(ready["ts"][0]), int(ready["ts"][-1])
    if emitted is not None and first < emitted:
        raise ConfigurationError(f"{path} is not in the order of time; sort its rows by date (ISO order) first")
    return last
