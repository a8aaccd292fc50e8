"""Records that are all written alike, read without a JSON parser. Bytes in, places out. Knows only what a JSON text looks like.

A producer writes its records from one template: the same fields in the same order in the same style. Then a record is a row of
constant pieces with values between them, and it is enough to compare the pieces, all records at once, eight bytes at a time:

    {"id":"  e1  ","kind":"http","user":"  ana  ","size":  120  }
    piece 0       piece 1                       piece 2        piece 3

A field whose value is known beforehand, like the kind, is part of a piece.
A record that equals the template's pieces, with values that are plain text (printable ASCII without quotation marks and backslashes)
or whole numbers, is well-formed JSON with just the template's fields. Others are for somebody else to read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from stream.times import Bools, Bytes, Ints

_QUOTE: Final = ord('"')
_BREAK: Final = ord("\n")
_PAD: Final = b"\0" * 8
_MOST_DIGITS: Final = 15
_MOST_FIELDS: Final = 40
_LONGEST_SAMPLE: Final = 65_536
_PLAIN: Final = re.compile(rb"[\x20-\x5b\x5d-\x7e]*")
# of a word of eight bytes, the first n
_FIRST: Final = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)

Words = npt.NDArray[np.uint64]


class Batch:
    """The bytes of many records, and where each begins and ends."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self.joined = b"\n".join((*values, _PAD))
        self.raw: Bytes = np.frombuffer(self.joined, np.uint8)[: -len(_PAD)]
        self.words: Words = np.ndarray((len(self.joined) - 7,), "<u8", self.joined, 0, (1,))  # at any byte, eight of them as a number
        self.ends: Ints = np.flatnonzero(self.raw == _BREAK)
        if len(self.ends) == len(values):
            self.starts: Ints = np.concatenate((np.zeros(min(len(values), 1), np.int64), self.ends[:-1] + 1))
            self.sizes: Ints = self.ends - self.starts
        else:  # one of them holds a line break
            self.sizes = np.fromiter(map(len, values), np.int64, len(values))
            self.ends = np.cumsum(self.sizes + 1) - 1
            self.starts = self.ends - self.sizes

    @cached_property
    def quotes(self) -> Ints:
        """Where quotation marks are."""
        return np.flatnonzero(self.raw == _QUOTE)

    @cached_property
    def bounds(self) -> Ints:
        """Which quotation mark is each record's first; one more than records."""
        return np.append(np.searchsorted(self.quotes, self.starts), len(self.quotes))

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


class Stretch(NamedTuple):
    """Where the texts of one field lie in the bytes of a batch: their first bytes, and those behind their last."""

    begins: Ints
    ends: Ints

    @property
    def sizes(self) -> Ints:
        """Bytes of each."""
        return self.ends - self.begins

    def take(self, kept: Ints | Bools) -> "Stretch":
        """Some of them."""
        return Stretch(self.begins[kept], self.ends[kept])


class Match(NamedTuple):
    """Which records of a batch are written from a template; of those, the texts by field and the whole numbers by field."""

    matched: Bools
    texts: dict[str, Stretch]
    numbers: dict[str, Ints]


@dataclass(frozen=True, slots=True)
class Template:
    """Names of fields, whether each is a text (else a whole number), and the constant pieces around them: one more than fields."""

    names: tuple[str, ...]
    texts: tuple[bool, ...]
    pieces: tuple[bytes, ...]

    @staticmethod
    def of(value: bytes, types: Mapping[str, pl.DataType], constant: Mapping[str, str] | None = None) -> "Template | None":
        """The template that a record seems to be written from; None when it is not so simple, or a field is not of its type.

        `constant` says which fields must have which text; these are part of the pieces.
        """
        if len(value) > _LONGEST_SAMPLE or not _PLAIN.fullmatch(value):
            return None
        try:
            record = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(record, dict) or not 0 < len(record) <= _MOST_FIELDS:
            return None
        constant = constant or {}
        if any(record.get(name) != text for name, text in constant.items()):
            return None
        texts = tuple(isinstance(field, str) for field in record.values())
        for (name, field), text in zip(record.items(), texts, strict=True):
            number = type(field) is int and 0 <= field < 10**_MOST_DIGITS
            if not (text or number) or (name in types and text != (types[name] == pl.String())):
                return None
        pieces = _pieces(value, record, constant)
        if pieces is None:
            return None
        names = tuple(name for name in record if name not in constant)
        return Template(names, tuple(isinstance(record[name], str) for name in names), pieces)

    def match(self, batch: Batch) -> Match:
        """Find the records that are written from this template."""
        in_template = sum(piece.count(b'"') for piece in self.pieces)
        matched: Bools = batch.plain() & (np.diff(batch.bounds) == in_template)
        if matched.all():
            starts, ends, quotes = batch.starts, batch.ends, batch.quotes
        else:
            starts, ends = batch.starts[matched], batch.ends[matched]
            quotes = batch.quotes[np.repeat(matched, np.diff(batch.bounds))]
        same, texts, numbers = self._compare(batch, starts, ends, np.ascontiguousarray(quotes.reshape(-1, in_template).T))
        if same.all():
            return Match(matched, texts, numbers)
        matched[matched] = same
        return Match(
            matched,
            {name: stretch.take(same) for name, stretch in texts.items()},
            {name: found[same] for name, found in numbers.items()},
        )

    def _compare(self, batch: Batch, starts: Ints, ends: Ints, quotes: Ints) -> tuple[Bools, dict[str, Stretch], dict[str, Ints]]:
        """Compare piece by piece; `quotes[i]` is where the i-th quotation mark of each record lies."""
        same: Bools = np.ones(len(starts), np.bool_)
        texts: dict[str, Stretch] = {}
        numbers: dict[str, Ints] = {}
        seen, at = 0, starts
        for k, piece in enumerate(self.pieces):
            seen += piece.count(b'"')
            last = k == len(self.names)
            begin = ends if last else quotes[seen - 1] + (len(piece) - piece.rfind(b'"'))
            fits = begin - at == len(piece)
            if not fits.all():
                same &= fits
                at = np.where(fits, at, 0)
                if not fits.any():
                    break
            same &= _equal(batch.words, at, piece)
            if last:
                break
            following = self.pieces[k + 1]
            at = quotes[seen] - following.find(b'"') if b'"' in following else ends - len(following)
            if self.texts[k]:
                texts[self.names[k]] = Stretch(begin, at)
            else:
                numbers[self.names[k]], whole = _numbers(batch.raw, begin, at)
                same &= whole
        return same, texts, numbers


def same_texts(batch: Batch, of: Stretch, other: Batch, of_other: Stretch) -> Bools:
    """Whether the texts of two batches are the same, one by one; empty ones are."""
    sizes = of.sizes
    same: Bools = sizes == of_other.sizes
    here = np.flatnonzero(same) if not same.all() else np.arange(len(same))
    a, b, left = of.begins[here], of_other.begins[here], sizes[here]
    while len(here):
        same[here] &= ((batch.words[a] ^ other.words[b]) & _FIRST[np.minimum(left, 8)]) == 0
        more = left > 8
        here, a, b, left = here[more], a[more] + 8, b[more] + 8, left[more] - 8
    return same


def _pieces(value: bytes, record: Mapping[str, object], constant: Mapping[str, str]) -> tuple[bytes, ...] | None:
    """Cut a record's bytes at its values, but for the constant ones; None when they are not simply its fields in order."""
    pieces: list[bytes] = []
    cut = at = 0
    for name, field in record.items():
        written = field.encode() if isinstance(field, str) else str(field).encode()
        opening = b'"' if isinstance(field, str) else b""
        head = re.compile(rb'"?[{,] ?"' + re.escape(name.encode()) + rb'" ?: ?' + opening).match(value, at)
        if head is None or not value.startswith(written, head.end()):
            return None
        at = head.end() + len(written)
        if name not in constant:
            pieces.append(value[cut : head.end()])
            cut = at
    pieces.append(value[cut:])
    return tuple(pieces) if re.fullmatch(rb'"? ?\}', value[at:]) else None


def _equal(words: Words, at: Ints, piece: bytes) -> Bools:
    """Whether the piece lies at each place; eight bytes at a time, the last eight overlapping those before."""
    if len(piece) < 8:
        expected = np.uint64(int.from_bytes(piece, "little"))
        short: Bools = (words[at] & _FIRST[len(piece)]) == expected
        return short
    same: Bools = np.ones(len(at), np.bool_)
    for offset in (*range(0, len(piece) - 8, 8), len(piece) - 8):
        same &= words[at + offset] == np.uint64(int.from_bytes(piece[offset : offset + 8], "little"))
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
