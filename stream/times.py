"""Columns of written times to UTC milliseconds and back. Strings in, integers out. Knows nothing of events or files."""

import calendar
from datetime import datetime
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from stream.kinds import Millis
from stream.zones import wall_to_utc

DAY_MS: Final[Millis] = 86_400_000
MIN_TS: Final[Millis] = 631_152_000_000  # 1990-01-01
MAX_TS: Final[Millis] = 7_258_118_400_000  # 2200-01-01, exclusive

Bools: TypeAlias = npt.NDArray[np.bool_]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]

_NO_FRACTION: Final = np.int64(0)
_DAYS_IN_MONTH: Final = np.array([0, *(calendar.monthrange(2001, month)[1] for month in range(1, 13))], np.int64)
# length of the text -> (has milliseconds, how it ends)
_ISO: Final = {19: (False, ""), 20: (False, "Z"), 23: (True, ""), 24: (True, "Z"), 25: (False, "+"), 29: (True, "+")}


def read_iso(texts: pl.Series, zone: str) -> tuple[Ints, Bools]:
    """Read ISO 8601 times in their usual layouts: UTC ms, and whether each could be read; same length as `texts`.

    2010-01-04T08:12:33, with or without .123, with Z, +01:00 or nothing (then in `zone`). Nulls and other layouts are unread;
    a naive time outside of 1990 to 2200 is too.
    """
    return read_iso_at(*_joined(texts), zone)


def read_iso_at(raw: Bytes, begins: Ints, lengths: Ints, zone: str) -> tuple[Ints, Bools]:
    """The same for texts that stand in a piece of memory: where each begins, and how many bytes it has."""
    ts: Ints = np.zeros(len(lengths), np.int64)
    good: Bools = np.zeros(len(lengths), np.bool_)
    for length, (millis, tail) in _ISO.items():
        here = lengths == length
        if here.all():
            return _read_iso_layout(raw, begins, length, millis, tail, zone)
        if here.any():
            ts[here], good[here] = _read_iso_layout(raw, begins[here], length, millis, tail, zone)
    return ts, good


def read_cert(texts: pl.Series, zone: str) -> tuple[Ints, Bools]:
    """Read CERT's naive times, MM/DD/YYYY HH:MM:SS in `zone`: UTC ms, and whether each could be read; same length as `texts`.

    >>> read_cert(pl.Series(["01/04/2010 08:12:33", "02/30/2010 00:00:00"]), "UTC")
    (array([1262592753000,             0]), array([ True, False]))
    """
    fits = (texts.str.len_bytes() == 19).fill_null(value=False).to_numpy()
    if not fits.all():
        ts: Ints = np.zeros(len(texts), np.int64)
        good: Bools = np.zeros(len(texts), np.bool_)
        if fits.any():
            ts[fits], good[fits] = read_cert(texts.filter(pl.Series(fits)), zone)
        return ts, good
    written = _Written(*_joined(texts)[:2], 19)
    written.expect({2: "/", 5: "/", 10: " ", 13: ":", 16: ":"})
    return written.naive(_Layout(year=6, month=0, day=3), zone)


def format_iso(ts: pl.Series) -> pl.Series:
    """Write UTC ms as 2010-01-04T08:12:33Z, with .123 only when a value of the column has a fraction of a second; same length.

    >>> format_iso(pl.Series([1262592753000])).to_list()
    ['2010-01-04T08:12:33Z']
    """
    whole = bool((ts % 1000 == 0).all())
    return pl.Series(ts.cast(pl.Datetime("ms"))).dt.to_string("%Y-%m-%dT%H:%M:%SZ" if whole else "%Y-%m-%dT%H:%M:%S%.3fZ")


def _joined(texts: pl.Series) -> tuple[Bytes, Ints, Ints]:
    """The bytes of all texts, where each begins, and how many bytes it has; a null has none."""
    lengths: Ints = texts.str.len_bytes().fill_null(0).to_numpy().astype(np.int64)
    raw: Bytes = np.frombuffer("".join(texts.fill_null("").to_list()).encode(), np.uint8)
    return raw, np.cumsum(lengths) - lengths, lengths


def _read_iso_layout(raw: Bytes, begins: Ints, length: int, millis: bool, tail: str, zone: str) -> tuple[Ints, Bools]:
    """Times that are all of one length."""
    written = _Written(raw, begins, length)
    written.expect({4: "-", 7: "-", 10: "T", 13: ":", 16: ":"})
    if millis:
        written.expect({19: "."})
    fraction = written.number(20, 21, 22) if millis else _NO_FRACTION
    layout = _Layout(year=0, month=5, day=8)
    if not tail:
        return written.naive(layout, zone, fraction)
    wall = written.wall(layout) + fraction
    if tail == "Z":
        written.expect({length - 1: "Z"})
        return wall, written.good
    written.expect({length - 3: ":"})
    hours, minutes = written.number(length - 5, length - 4), written.number(length - 2, length - 1)
    east, west = written.column[length - 6] == ord("+"), written.column[length - 6] == ord("-")
    written.good &= (east | west) & (hours <= 23) & (minutes <= 59)
    offset = (hours * 60 + minutes) * 60_000
    return wall - np.where(east, offset, -offset), written.good


class _Layout:
    """Where year, month and day begin; the time of day always begins at 11."""

    def __init__(self, year: int, month: int, day: int) -> None:
        self.year, self.month, self.day = year, month, day


class _Written:
    """Texts of one length as a matrix of characters, and which of them are fine so far."""

    def __init__(self, raw: Bytes, begins: Ints, length: int) -> None:
        texts = np.ndarray((max(len(raw) - length + 1, 0),), f"V{length}", raw, 0, (1,))  # at any byte, that many as one thing
        self.column = np.ascontiguousarray(texts[begins].view(np.uint8).reshape(-1, length).T)
        self._digit = self.column - np.uint8(ord("0"))  # wraps round: whatever is no digit is greater than 9
        self.good: Bools = np.ones(len(begins), np.bool_)

    def expect(self, signs: dict[int, str]) -> None:
        for place, sign in signs.items():
            self.good &= self.column[place] == ord(sign)

    def number(self, *places: int) -> Ints:
        found: Ints = np.zeros(len(self.good), np.int64)
        for place in places:
            self.good &= self._digit[place] <= 9
            found = found * 10 + self._digit[place]
        return found

    def wall(self, at: _Layout) -> Ints:
        """Naive milliseconds; nonsense where not `good`."""
        year = self.number(at.year, at.year + 1, at.year + 2, at.year + 3)
        month, day = self.number(at.month, at.month + 1), self.number(at.day, at.day + 1)
        hour, minute, second = self.number(11, 12), self.number(14, 15), self.number(17, 18)
        self.good &= (month >= 1) & (month <= 12) & (hour <= 23) & (minute <= 59) & (second <= 59) & (year >= 1)
        month = np.where(self.good, month, 1)
        leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
        self.good &= (day >= 1) & (day <= _DAYS_IN_MONTH[month] + (leap & (month == 2)))
        wall: Ints = _days(year, month, day) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000
        return wall

    def naive(self, at: _Layout, zone: str, fraction: Ints | np.int64 = _NO_FRACTION) -> tuple[Ints, Bools]:
        wall = self.wall(at) + fraction
        self.good &= (wall >= MIN_TS - DAY_MS) & (wall < MAX_TS + DAY_MS)
        ts = np.where(self.good, wall_to_utc(np.where(self.good, wall, MIN_TS), zone), 0)
        return ts, self.good


def _days(year: Ints, month: Ints, day: Ints) -> Ints:
    """Days since 1970-01-01 in the Gregorian calendar (H. Hinnant, "chrono-compatible low-level date algorithms")."""
    shifted = year - (month <= 2)
    era = shifted // 400
    year_of_era = shifted - era * 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days: Ints = era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468
    return days


def instant(text: str) -> Millis:
    """An ISO-8601 time with offset as UTC epoch milliseconds.

    >>> instant("1970-01-01T01:00:00.250+01:00")
    250

    Raises:
        ValueError: it is none, or has no offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without offset")
    return round(moment.timestamp() * 1000)
