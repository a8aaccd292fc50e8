"""Records that are all written alike, read without a JSON parser. Bytes in, columns out. Knows only what a JSON text looks like.

A producer writes its records from one template: the same fields in the same order in the same style. Then a record is a row of
constant pieces with values between them, and it is enough to compare the pieces, all records at once, eight bytes at a time:

    {"id":"  e1  ","kind":"  http  ","size":  120  }
    piece 0       piece 1          piece 2        piece 3

A record that equals the template's pieces, with values that are plain text (printable ASCII without quotation marks and backslashes)
or whole numbers, is well-formed JSON with just the template's fields. Others are for somebody else to read.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from stream.times import Bools, Ints

_QUOTE: Final = ord('"')
_PAD: Final = b"\0" * 8
_MOST_DIGITS: Final = 15
_MOST_FIELDS: Final = 40
_LONGEST_SAMPLE: Final = 65_536
_PLAIN: Final = re.compile(rb"[\x20-\x5b\x5d-\x7e]*")

Bytes = npt.NDArray[np.uint8]


class Batch:
    """The bytes of many records, and where each begins and ends."""

    def __init__(self, values: Sequence[bytes]) -> None:
        n = len(values)
        self.sizes: Ints = np.fromiter(map(len, values), np.int64, n)
        self.joined = b"\n".join((*values, _PAD))
        self.raw: Bytes = np.frombuffer(self.joined, np.uint8)[: -len(_PAD)]
        self.ends: Ints = np.cumsum(self.sizes + 1) - 1
        self.starts: Ints = self.ends - self.sizes
        self.quotes: Ints = np.flatnonzero(self.raw == _QUOTE)
        self.bounds: Ints = np.append(np.searchsorted(self.quotes, self.starts), len(self.quotes))

    def lines(self) -> bytes:
        """The records, one a line."""
        return self.joined[: -len(_PAD) - 1]

    def plain(self) -> Bools:
        """Records of printable ASCII without backslashes."""
        raw, n = self.raw, len(self.sizes)
        found: Bools = np.ones(n, np.bool_)
        controls = np.count_nonzero(raw < ord(" "))  # one line break behind each record
        if controls == n and self.joined.isascii() and b"\\" not in self.joined and b"\x7f" not in self.joined:
            return found
        odd = (raw < ord(" ")) | (raw >= 0x7F) | (raw == ord("\\"))
        odd[self.ends] = False
        found[np.searchsorted(self.ends, np.flatnonzero(odd))] = False
        return found


@dataclass(frozen=True, slots=True)
class Template:
    """Names of fields, whether each is a text (else a whole number), and the constant pieces around them: one more than fields."""

    names: tuple[str, ...]
    texts: tuple[bool, ...]
    pieces: tuple[bytes, ...]

    @staticmethod
    def of(value: bytes, types: Mapping[str, pl.DataType]) -> "Template | None":
        """The template that a record seems to be written from; None when it is not so simple, or a field is not of its type."""
        if len(value) > _LONGEST_SAMPLE or not _PLAIN.fullmatch(value):
            return None
        try:
            record = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(record, dict) or not 0 < len(record) <= _MOST_FIELDS:
            return None
        texts = tuple(isinstance(field, str) for field in record.values())
        for (name, field), text in zip(record.items(), texts, strict=True):
            number = type(field) is int and 0 <= field < 10**_MOST_DIGITS
            if not (text or number) or (name in types and text != (types[name] == pl.String())):
                return None
        pieces = _pieces(value, record)
        return Template(tuple(record), texts, pieces) if pieces is not None else None

    def match(self, batch: Batch) -> tuple[Bools, dict[str, Ints]]:
        """Which records are written from this template, and for those the whole numbers, by field."""
        in_template = sum(piece.count(b'"') for piece in self.pieces)
        matched: Bools = batch.plain() & (np.diff(batch.bounds) == in_template)
        if not matched.any():
            return matched, {}
        quotes = batch.quotes if matched.all() else batch.quotes[np.repeat(matched, np.diff(batch.bounds))]
        same, numbers = self._compare(
            batch, batch.starts[matched], batch.ends[matched], np.ascontiguousarray(quotes.reshape(-1, in_template).T)
        )
        matched[matched] = same
        return matched, {name: found[same] for name, found in numbers.items()}

    def _compare(self, batch: Batch, starts: Ints, ends: Ints, quotes: Ints) -> tuple[Bools, dict[str, Ints]]:
        """Compare piece by piece; `quotes[i]` is where the i-th quotation mark of each record lies."""
        words = np.ndarray((len(batch.joined) - 7,), "<u8", batch.joined, 0, (1,))  # at any byte, eight of them as a number
        same: Bools = np.ones(len(starts), np.bool_)
        numbers: dict[str, Ints] = {}
        seen, at = 0, starts
        for k, piece in enumerate(self.pieces):
            seen += piece.count(b'"')
            last = k == len(self.names)
            begin = ends if last else quotes[seen - 1] + len(piece) - piece.rfind(b'"')
            same &= begin - at == len(piece)
            same &= _equal(words, at, piece)
            if last:
                break
            following = self.pieces[k + 1]
            at = quotes[seen] - following.find(b'"') if b'"' in following else ends - len(following)
            if not self.texts[k]:
                numbers[self.names[k]], whole = _numbers(batch.raw, begin, at)
                same &= whole
        return same, numbers

    def texts_of(self, lines: bytes, n: int, names: Collection[str]) -> pl.DataFrame | None:
        """The text fields of these names, of `n` records that match, one a line; None when they cannot be had this way."""
        # to a reader of comma-separated values whose comma is the quotation mark, every text is a field of its own
        places: dict[str, int] = {}
        seen = 0
        for name, text, piece in zip(self.names, self.texts, self.pieces, strict=False):
            seen += piece.count(b'"')
            if text and name in names:
                places[name] = seen
        columns = sum(piece.count(b'"') for piece in self.pieces) + 1
        table = pl.read_csv(
            lines, has_header=False, separator='"', quote_char=None, empty_string_is_null=False, raise_if_empty=False,
            schema={f"column_{i}": pl.String() for i in range(columns)}, columns=sorted(places.values()),
        )  # fmt: skip
        if table.height != n:
            return None
        return table.rename({f"column_{place}": name for name, place in places.items()})


def _pieces(value: bytes, record: Mapping[str, object]) -> tuple[bytes, ...] | None:
    """Cut a record's bytes at its values; None when they are not simply its fields in order."""
    pieces: list[bytes] = []
    at = 0
    for name, field in record.items():
        written = field.encode() if isinstance(field, str) else str(field).encode()
        opening = b'"' if isinstance(field, str) else b""
        head = re.compile(rb'"?[{,] ?"' + re.escape(name.encode()) + rb'" ?: ?' + opening).match(value, at)
        if head is None or not value.startswith(written, head.end()):
            return None
        pieces.append(value[at : head.end()])
        at = head.end() + len(written)
    pieces.append(value[at:])
    return tuple(pieces) if re.fullmatch(rb'"? ?\}', pieces[-1]) else None


def _equal(words: npt.NDArray[np.uint64], at: Ints, piece: bytes) -> Bools:
    """Whether the piece lies at each place; eight bytes at a time, the last eight overlapping those before."""
    furthest = len(words) - 1
    if len(piece) < 8:
        mask = np.uint64((1 << 8 * len(piece)) - 1)
        expected = np.uint64(int.from_bytes(piece, "little"))
        short: Bools = (words[np.minimum(at, furthest)] & mask) == expected
        return short
    same: Bools = np.ones(len(at), np.bool_)
    for offset in (*range(0, len(piece) - 8, 8), len(piece) - 8):
        expected = np.uint64(int.from_bytes(piece[offset : offset + 8], "little"))
        same &= words[np.minimum(at + offset, furthest)] == expected
    return same


def _numbers(raw: Bytes, begin: Ints, end: Ints) -> tuple[Ints, Bools]:
    """Whole numbers between the places, and where there are any: digits only, without leading zeros."""
    length = end - begin
    whole: Bools = (length >= 1) & (length <= _MOST_DIGITS)
    first = np.where(whole, begin, 0)
    length = np.where(whole, length, 0)
    whole &= (length == 1) | (raw[first] != ord("0"))
    number: Ints = np.zeros(len(begin), np.int64)
    for place in range(int(length.max(initial=0))):
        here = place < length
        digit = raw[np.where(here, first + place, 0)] - np.uint8(ord("0"))
        whole &= ~here | (digit <= 9)
        number = np.where(here, number * 10 + digit, number)
    return number, whole
