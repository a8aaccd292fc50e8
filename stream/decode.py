"""A batch of records of one topic to an event frame, in one go. Bytes in, columns out. Knows nothing of brokers, offsets or clocks.

Readings that agree. Records that are written from one template are read without a parser (`stream.template`); others are
parsed with polars, a batch at a time, and accepted when they are provably well-formed; whatever that cannot vouch for goes,
record by record, to the *strict* reading (`stream.strict`), which has the last word and gives the reason for a refusal. How a parsed record
is proved without looking into it twice:

    {"id":"a","user":"ana","x":5}        structure: the bytes outside of strings, here { : , : , : 5 }  (8)
     ====-===                            strings:   keys and string values, here 5

A flat object of n members has at least 2n + 1 bytes of structure (braces, colons, commas), one more for each byte of a value
that is no string. polars returned k known fields, each from at least one member, so n >= k; when strings and structure are
just what k members explain, there is no room for another key, a duplicate, a null, or anything nested.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from stream.kinds import FIELDS, Kind, frame_schema
from stream.strict import COMMON, CONTROL, MAX_INTEGER, BrokenRecordError, DecodeLimits, decode_strictly
from stream.template import Batch, Stretch, Template, same_texts
from stream.texts import cut_texts
from stream.times import Bools, Ints, read_iso, read_iso_at

__all__ = ["BrokenRecordError", "DecodeLimits", "Decoded", "Rejected", "decode", "decode_strictly"]

_T = TypeVar("_T")
_BACKSLASH, _SPACE = ord("\\"), ord(" ")
_SLICE: Final = 8192  # records whose bytes, and what is worked out from them, fit into a processor's cache
_MOST_STRUCTURE: Final = 400  # bytes outside of strings; more is nested junk or no record of ours
_SAMPLED_EXTRAS: Final = 32
_SAMPLE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that can never become an event: its index in the batch, a stable code, and a text without names or log contents."""

    row: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """`frame`: column `row: UInt32` (index into the batch, ascending), then those of an event frame. `rejected`: by ascending row."""

    frame: pl.DataFrame
    rejected: list[Rejected]


def decode(kind: Kind, values: Sequence[bytes], keys: Sequence[bytes | None], zone: str, limits: DecodeLimits) -> Decoded:
    """Turn the data records of one topic into an event frame and a list of refusals; together they name every row once.

    `zone` says what naive times mean. Clock marks and null values must have been taken out before.

    >>> value = b'{"id":"e1","kind":"logon","ts":"2010-01-04T08:12:33Z","user":"ana","pc":"PC-1","activity":"Logon"}'
    >>> decoded = decode(Kind.LOGON, [value, b"junk"], [b"ana", b"ana"], "UTC", DecodeLimits())
    >>> decoded.frame.rows()
    [(0, 'ana', 1262592753000, 'e1', 'PC-1', 'Logon')]
    >>> decoded.rejected[0].reason
    'not_json'
    """
    if not values:
        return Decoded(_frame(kind, []), [])
    frames, doubtful = _columnar(kind, values, keys, zone, limits)
    accepted: list[tuple[Any, ...]] = []
    rejected: list[Rejected] = []
    for row in doubtful.tolist():
        try:
            accepted.append((row, *decode_strictly(kind, values[row], keys[row], zone, limits)))
        except BrokenRecordError as error:
            rejected.append(Rejected(row, error.reason, str(error)))
    if accepted or not frames:
        frames.append(_frame(kind, accepted))
    if len(frames) == 1:
        return Decoded(frames[0], rejected)
    frame = pl.concat(frames)
    return Decoded(frame if frame["row"].is_sorted() else frame.sort("row"), rejected)


# --------------------------------------------------------------------------------------------------------- whole batches


def _columnar(
    kind: Kind, values: Sequence[bytes], keys: Sequence[bytes | None], zone: str, limits: DecodeLimits
) -> tuple[list[pl.DataFrame], Ints]:
    """Frames of the records that are provably good, and the rows that need the strict reading, ascending."""
    types = {name: pl.String() for name in COMMON} | FIELDS[kind]
    samples = (values[0], values[len(values) // 2], values[-1])
    template = next((one for value in samples if (one := Template.of(value, types, {"kind": kind.value})) is not None), None)
    if template is not None and not {"id", "ts", "user"} <= set(template.names):
        template = None
    frames: list[pl.DataFrame] = []
    doubtful: list[Ints] = []
    for start in range(0, len(values), _SLICE):
        mine, own = values[start : start + _SLICE], keys[start : start + _SLICE]
        batch, rows = Batch(mine), np.arange(start, start + len(mine))
        if template is not None:
            found, rest, others = _alike(kind, template, batch, own, zone, limits, rows)
            frames += found
            doubtful.append(rest)
            if not len(others):
                continue
            if 2 * len(others) > len(mine):
                template = None  # these records are of another style, and so are probably those that follow
            if len(others) < len(mine):
                mine, own, rows = _take(mine, others), _take(own, others), rows[others]
                batch = Batch(mine)
        found, rest = _by_parser(kind, batch, mine, own, zone, limits, rows)
        frames += found
        doubtful.append(rest)
    return frames, np.sort(np.concatenate(doubtful))


def _take(items: Sequence[_T], places: Ints) -> list[_T]:
    return [items[i] for i in places.tolist()]


def _alike(
    kind: Kind, template: Template, batch: Batch, keys: Sequence[bytes | None], zone: str, limits: DecodeLimits, rows: Ints
) -> tuple[list[pl.DataFrame], Ints, Ints]:
    """Of the records that are written from a template: the event frame, and the rows whose contents are not good.

    And the places, in the batch, of the other records.
    """
    matched, texts, numbers = template.match(batch)
    here, others = np.flatnonzero(matched), np.flatnonzero(~matched)
    if not len(here):
        return [], rows[:0], others
    names = Batch([key or b"" for key in keys])
    ts, good = read_iso_at(batch.raw, texts["ts"].begins, texts["ts"].sizes, zone)
    # plain text holds no control characters, the kind is part of the pieces, and numbers have too few digits to be too large
    good &= (ts >= limits.min_ts) & (ts < limits.max_ts) & (batch.sizes[here] <= limits.max_record_bytes)
    good &= same_texts(batch, texts["user"], names, Stretch(names.starts[here], names.ends[here]))
    for name, least, most in (("id", 1, limits.max_id_bytes), ("user", 1, limits.max_user_bytes), ("pc", 0, limits.max_pc_bytes)):
        if name in texts:
            good &= (texts[name].sizes >= least) & (texts[name].sizes <= most)
    rest, rows = rows[here[~good]], rows[here]
    if len(rest):
        texts, numbers = {name: each.take(good) for name, each in texts.items()}, {name: each[good] for name, each in numbers.items()}
        ts, rows = ts[good], rows[good]
        if not len(rows):
            return [], rest, others
    wanted = frame_schema(kind)
    columns = {
        each.name: each for each in cut_texts(batch.joined, {name: texts[name] for name in texts if name in wanted and name != "ts"})
    }
    columns |= {name: pl.Series(name, each) for name, each in numbers.items() if name in wanted}
    columns |= {"row": pl.Series("row", rows, dtype=pl.UInt32), "ts": pl.Series("ts", ts)}
    for name, dtype in wanted.items():
        if name not in columns:
            columns[name] = pl.repeat("" if name == "pc" else None, len(rows), dtype=dtype, eager=True).alias(name)
    return [pl.DataFrame([columns[name] for name in ("row", *wanted)])], rest, others


def _by_parser(
    kind: Kind, batch: Batch, values: Sequence[bytes], keys: Sequence[bytes | None], zone: str, limits: DecodeLimits, rows: Ints
) -> tuple[list[pl.DataFrame], Ints]:
    """What polars reads of records of any style; frames, and the rows that need the strict reading."""
    shape = _Shape.of(batch, limits)
    plausible = shape.plausible()
    doubtful = rows[~plausible]
    if len(doubtful):
        kept = np.flatnonzero(plausible)
        shape, values, keys, rows = shape.take(kept), _take(values, kept), _take(keys, kept), rows[kept]
    if not len(rows):
        return [], doubtful
    parsed = _parse(kind, values, batch.lines() if len(batch.sizes) == len(values) else b"\n".join(values))
    if parsed is not None:
        frame, rest = _accept(kind, parsed, keys, zone, limits, rows, _proved(parsed, shape))
        return [frame], np.concatenate([doubtful, rest])
    # polars gives up a whole batch for one record that is no JSON: take those out and try again
    is_object = np.fromiter(map(_is_object, values), np.bool_, len(values))
    if is_object.all() or not is_object.any():
        return [], np.concatenate([doubtful, rows])
    objects = np.flatnonzero(is_object)
    others = _take(values, objects)
    frames, rest = _by_parser(kind, Batch(others), others, _take(keys, objects), zone, limits, rows[objects])
    return frames, np.concatenate([doubtful, rows[~is_object], rest])


def _accept(
    kind: Kind, parsed: pl.DataFrame, keys: Sequence[bytes | None], zone: str, limits: DecodeLimits, rows: Ints, proved: Bools
) -> tuple[pl.DataFrame, Ints]:
    """The event frame of those well-formed records whose contents are good, and the rows of the others."""
    ts, timed = read_iso(parsed["ts"], zone)
    good = proved & _sound(parsed, keys, kind, limits) & timed & (ts >= limits.min_ts) & (ts < limits.max_ts)
    frame = _event_columns(kind, parsed, ts, rows)
    if good.all():
        return frame, rows[:0]
    return frame.filter(pl.Series(good)), rows[~good]


def _is_object(value: bytes) -> bool:
    try:
        return isinstance(orjson.loads(value), dict)
    except orjson.JSONDecodeError:
        return False


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the bytes of each record look like without parsing them; every array has one entry a record."""

    braced: Bools  # begins with {, ends with }, no line break, not too large, no escape that polars reads differently
    paired: Bools  # an even number of quotation marks
    strings: Ints  # strings, keys included
    structure: Ints  # bytes outside of strings
    spaced: Ints  # strings with a space before them

    @staticmethod
    def of(batch: Batch, limits: DecodeLimits) -> "_Shape":
        raw, sizes, starts, ends, quotes, bounds = batch.raw, batch.sizes, batch.starts, batch.ends, batch.quotes, batch.bounds
        braced: Bools = (sizes >= 2) & (sizes <= limits.max_record_bytes)
        braced[braced] = (raw[starts[braced]] == ord("{")) & (raw[ends[braced] - 1] == ord("}"))
        breaks = np.flatnonzero(raw == ord("\n"))
        if len(breaks) != len(sizes):
            braced &= np.diff(np.searchsorted(breaks, np.append(starts, len(raw)))) == 1
        if _BACKSLASH in batch.joined:
            quotes, odd = _unescaped(raw, quotes)
            braced[np.searchsorted(ends, np.concatenate([odd, _surrogates(batch.joined, raw)]))] = False
            bounds = np.append(np.searchsorted(quotes, starts), len(quotes))
        counts = np.diff(bounds)
        paired: Bools = counts % 2 == 0
        if not paired.all():
            quotes = quotes[np.repeat(paired, counts)]
            bounds = np.append(0, np.cumsum(np.where(paired, counts, 0)))
        opens, closes = quotes[0::2], quotes[1::2]
        inside = _sums(closes - opens + 1, bounds // 2)
        spaced = _sums(raw[opens - 1] == _SPACE, bounds // 2)
        return _Shape(braced, paired, np.diff(bounds) // 2, sizes - inside, spaced)

    def plausible(self) -> Bools:
        """Records that polars may be given: it misreads none of them, whatever else is wrong with them."""
        return self.braced & self.paired & (self.structure <= _MOST_STRUCTURE)

    def take(self, kept: Ints) -> "_Shape":
        return _Shape(self.braced[kept], self.paired[kept], self.strings[kept], self.structure[kept], self.spaced[kept])


def _sums(of: Ints | Bools, bounds: Ints) -> Ints:
    """Sum of each stretch bounds[i]..bounds[i + 1] of an array."""
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(of)])
    total: Ints = running[bounds[1:]] - running[bounds[:-1]]
    return total


def _unescaped(raw: npt.NDArray[np.uint8], quotes: Ints) -> tuple[Ints, Ints]:
    """The quotation marks that begin or end a string, and those of which a glance of two bytes cannot tell."""
    if not len(quotes):
        return quotes, quotes
    escaped = (raw[quotes - 1] == _BACKSLASH) & (quotes > 0)
    unclear = escaped & (raw[quotes - 2] == _BACKSLASH)
    return quotes[~escaped], quotes[unclear]


def _surrogates(joined: bytes, raw: npt.NDArray[np.uint8]) -> Ints:
    """Where a surrogate's escape may begin: polars reads a lone one as a NUL character."""
    if b"\\ud" not in joined and b"\\uD" not in joined:
        return np.empty(0, np.int64)
    at = np.flatnonzero((raw[:-2] == _BACKSLASH) & (raw[1:-1] == ord("u")) & ((raw[2:] | 32) == ord("d")))
    return at


def _parse(kind: Kind, values: Sequence[bytes], lines: bytes) -> pl.DataFrame | None:
    """The records as columns, or None when one of them is no JSON. A field of another type than asked for is null or stringified."""
    extras = {name: pl.String() for name in _sampled_extras(kind, values)}
    schema = {name: pl.String() for name in COMMON} | FIELDS[kind] | extras
    try:
        parsed = pl.read_ndjson(lines, schema=schema, ignore_errors=True, low_memory=True)
    except pl.exceptions.PolarsError:
        return None
    return parsed if parsed.height == len(values) else None


def _sampled_extras(kind: Kind, values: Sequence[bytes]) -> list[str]:
    """Fields that we ignore but that the producer seems to write in every record, so that they can be accounted for."""
    extras: dict[str, None] = {}
    for value in (values[0], values[len(values) // 2]):
        if len(value) > _SAMPLE_BYTES:
            continue
        try:
            record = orjson.loads(value)
        except orjson.JSONDecodeError:
            continue
        known = {*COMMON, *FIELDS[kind]}
        extras |= {name: None for name, field in record.items() if name not in known and isinstance(field, str)}
    return list(extras)[:_SAMPLED_EXTRAS]


def _proved(parsed: pl.DataFrame, shape: _Shape) -> Bools:
    """Records that are flat, without duplicates, nulls or unknown fields: see the module's text for the argument."""
    present: Ints = np.zeros(parsed.height, np.int64)
    strings: Ints = np.zeros(parsed.height, np.int64)
    digits: Ints = np.zeros(parsed.height, np.int64)
    numbers = 0
    for name in parsed.columns:
        column = parsed[name]
        here: Any = 1 if column.null_count() == 0 else column.is_not_null().to_numpy().astype(np.int64)
        present += here
        if column.dtype == pl.String:
            strings += here
        else:
            numbers += 1
            digits += _digits(column.fill_null(-1).to_numpy())
    structure = shape.structure - shape.spaced - (2 * present + 1 + digits)
    proved: Bools = (shape.strings == present + strings) & (structure >= 0) & (structure <= numbers)
    return proved


_POWERS_OF_TEN: Final = 10 ** np.arange(1, 17, dtype=np.int64)


def _digits(numbers: Ints) -> Ints:
    """Decimal digits of each number; 0 for a missing one (-1)."""
    found: Ints = np.searchsorted(_POWERS_OF_TEN, numbers, side="right") + 1
    return np.where(numbers < 0, 0, found)


def _sound(parsed: pl.DataFrame, keys: Sequence[bytes | None], kind: Kind, limits: DecodeLimits) -> Bools:
    """Records whose names, kind, key and numbers are as they should be."""
    checks = [
        pl.col("kind") == kind.value,
        pl.col("user").cast(pl.Binary) == pl.Series("key", keys, dtype=pl.Binary),
        pl.col("id").str.len_bytes().is_between(1, limits.max_id_bytes),
        pl.col("user").str.len_bytes().is_between(1, limits.max_user_bytes),
        pl.col("pc").is_null() | (pl.col("pc").str.len_bytes() <= limits.max_pc_bytes),
        *(~pl.col(name).fill_null("").str.contains(CONTROL.pattern) for name in ("id", "user", "pc")),
        *(pl.col(name).fill_null(0).is_between(0, MAX_INTEGER) for name, dtype in FIELDS[kind].items() if dtype == pl.Int64()),
    ]
    sound: Bools = parsed.select(pl.all_horizontal(checks).fill_null(value=False).alias("sound"))["sound"].to_numpy()
    return sound


def _event_columns(kind: Kind, parsed: pl.DataFrame, ts: Ints, rows: Ints) -> pl.DataFrame:
    columns = [pl.Series("row", rows, dtype=pl.UInt32), parsed["user"], pl.Series("ts", ts, dtype=pl.Int64), parsed["id"]]
    pc = parsed["pc"]
    columns += [pc.fill_null("") if pc.null_count() else pc, *(parsed[name] for name in FIELDS[kind])]
    return pl.DataFrame(columns)


def _frame(kind: Kind, tuples: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(tuples, schema={"row": pl.UInt32(), **frame_schema(kind)}, orient="row")
