"""Turns numbers into the words of a CERT file: ids, dates, addresses, pages and content, whole columns at a time.

Every string comes out of a table that is built once; a column is then a few gathers and one concatenation. Knows nothing of who
does what and when.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

import numpy as np
import polars as pl

from stream.kinds import KINDS, Kind
from stream.synth.chance import Chance, Ints, mix64
from stream.synth.organisation import Organisation
from stream.synth.sites import TOPIC_NAMES, page_urls
from stream.synth.words import COMPETITORS, EXTENSIONS, FILE_HEADERS, FIRST_NAMES, GENERAL_WORDS, LAST_NAMES, TOPICS

PHRASES: Final = 192  # phrases of a topic
DAY_S: Final = 86_400
_TEXT = 2  # purpose number of this module's random stream

_SPARE: Final = np.uint64(150_000)  # the first four parts hold 8.03e18 ids: of 2**64, at most 2 is left for the last, of 456,976
_UPPER: Final = [chr(65 + i) for i in range(26)]
_DIGITS: Final = [str(i) for i in range(10)]
_BASE36: Final = _UPPER + _DIGITS

COLUMNS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.LOGON: ("id", "date", "user", "pc", "activity"),
    Kind.DEVICE: ("id", "date", "user", "pc", "activity"),
    Kind.FILE: ("id", "date", "user", "pc", "filename", "content"),
    Kind.EMAIL: ("id", "date", "user", "pc", "to", "cc", "bcc", "from", "size", "attachments", "content"),
    Kind.HTTP: ("id", "date", "user", "pc", "url", "content"),
}


def _product(*parts: list[str]) -> pl.Series:
    """All strings with one piece from each part, the last part varying fastest."""
    found = pl.Series([""])
    for part in parts:
        place = np.arange(len(found) * len(part))
        found = _joined("", found.gather(place // len(part)), pl.Series(part).gather(place % len(part)))
    return found


class Texts:
    """The string tables of one organisation, and how its events are written down."""

    def __init__(self, chance: Chance, org: Organisation, first_day: date) -> None:
        self._first_day = first_day
        self._users = pl.Series(org.user_ids)
        self._pcs = pl.Series(org.pc_names)
        self._addresses = pl.Series(_addresses(org))
        self._pages = pl.Series(page_urls())
        self._phrases = pl.Series(_phrases(chance))
        hours, sixty = [f" {h:02d}" for h in range(24)], [f":{m:02d}" for m in range(60)]
        self._clock = _product(hours, sixty, sixty)
        self._headers = pl.Series([f"{h} " if h else "" for h in FILE_HEADERS])
        self._extensions = pl.Series([f".{e}" for e in EXTENSIONS])
        self._base36 = _product(_BASE36, _BASE36, _BASE36)
        self._base36_2 = _product(_BASE36, _BASE36)
        self._id_parts = [
            _product(["{"], _UPPER, _DIGITS, _UPPER, _DIGITS, ["-"]),
            _product(_UPPER, _DIGITS, _UPPER, _UPPER),
            _product(_DIGITS, _DIGITS, _UPPER, _UPPER, ["-"]),
            _product(_DIGITS, _DIGITS, _DIGITS, _DIGITS),
            _product(_UPPER, _UPPER, _UPPER, _UPPER, ["}"]),
        ]

    def frame(self, kind: Kind, rows: Mapping[str, Ints], serials: Ints) -> pl.DataFrame:
        """Rows of one kind as the strings of its CERT file, in the same order.

        `serials` number the events of this kind; different serials give different ids.
        """
        common = {
            "id": self._ids(kind, serials),
            "date": self._dates(rows["t"]),
            "user": self._users.gather(rows["user"]),
            "pc": self._pcs.gather(rows["pc"]),
        }
        return pl.DataFrame(common | self._fields(kind, rows)).select(COLUMNS[kind])

    def _fields(self, kind: Kind, rows: Mapping[str, Ints]) -> dict[str, pl.Series]:
        if kind is Kind.LOGON:
            return {"activity": pl.Series(["Logon", "Logoff"]).gather(rows["activity"])}
        if kind is Kind.DEVICE:
            return {"activity": pl.Series(["Connect", "Disconnect"]).gather(rows["activity"])}
        content = _joined(" ", self._phrases.gather(rows["phrase"]), self._phrases.gather(rows["phrase2"]))
        if kind is Kind.FILE:
            header = self._headers.gather(rows["extension"])
            return {"filename": self._file_names(rows["name"], rows["extension"]), "content": _joined("", header, content)}
        if kind is Kind.HTTP:
            return {"url": self._pages.gather(rows["page"]), "content": content}
        to = pl.DataFrame({name: self._address(rows[name]) for name in ("to", "to2", "to3")})
        return {
            "to": to.select(pl.concat_str("to", "to2", "to3", separator=";", ignore_nulls=True)).to_series(),
            "cc": self._address(rows["cc"]),
            "bcc": self._address(rows["bcc"]),
            "from": self._address(rows["sender"]),
            "size": pl.Series(rows["size"]),
            "attachments": pl.Series(rows["attachments"]),
            "content": content,
        }

    def _address(self, numbers: Ints) -> pl.Series:
        """Addresses by number; -1 is nobody."""
        return self._addresses.gather(pl.select(pl.when(pl.lit(pl.Series(numbers)) >= 0).then(pl.lit(pl.Series(numbers)))).to_series())

    def _file_names(self, name: Ints, extension: Ints) -> pl.Series:
        mixed = mix64(name.astype(np.uint64))
        parts = [
            self._base36.gather((mixed % np.uint64(46_656)).astype(np.int64)),
            self._base36.gather((mixed // np.uint64(46_656) % np.uint64(46_656)).astype(np.int64)),
            self._base36_2.gather((mixed // np.uint64(46_656**2) % np.uint64(1_296)).astype(np.int64)),
        ]
        return _joined("", *parts, self._extensions.gather(extension))

    def _dates(self, t: Ints) -> pl.Series:
        days = t // DAY_S
        low, high = int(days.min(initial=0)), int(days.max(initial=0))
        labels = pl.Series([(self._first_day + timedelta(days=d)).strftime("%m/%d/%Y") for d in range(low, high + 1)])
        return _joined("", labels.gather(days - low), self._clock.gather(t % DAY_S))

    def _ids(self, kind: Kind, serials: Ints) -> pl.Series:
        # 64 scrambled bits in mixed radix, so that no two serials share an id; the last part has room to spare, which is scrambled too
        rest = mix64(serials.astype(np.uint64) ^ np.uint64((KINDS.index(kind) + 1) << 58))
        spare = mix64(rest) % _SPARE
        parts = []
        for table in self._id_parts[:-1]:
            size = np.uint64(len(table))
            parts.append(table.gather((rest % size).astype(np.int64)))
            rest = rest // size
        parts.append(self._id_parts[-1].gather((rest * _SPARE + spare).astype(np.int64)))
        return _joined("", *parts)


def _joined(separator: str, *parts: pl.Series) -> pl.Series:
    frame = pl.DataFrame([part.alias(str(i)) for i, part in enumerate(parts)])
    return frame.select(pl.concat_str(pl.all(), separator=separator)).to_series()


def _addresses(org: Organisation) -> list[str]:
    """Company, private, outside, competitors' recruiters, then the lists: teams and everyone (see `groups_at`)."""
    recruiters = [f"{FIRST_NAMES[i]}_{LAST_NAMES[3 * i]}@{COMPETITORS[i % len(COMPETITORS)]}" for i in range(RECRUITERS)]
    teams = [";".join(org.emails[m] for m in org.members(t)) for t in range(int(org.team.max()) + 1)]
    spread = [";".join(org.emails[k] for k in range(g, org.n, GROUPS)[:40]) for g in range(GROUPS)]
    return [*org.emails, *org.homes, *org.partners, *recruiters, *teams, *spread, ";".join(org.emails[:100])]


RECRUITERS: Final = 30
GROUPS: Final = 6  # lists of people from all over the house, at most 40 each; the list of everyone follows them


def recruiters_at(org: Organisation) -> int:
    """The number of the first competitor's recruiter among the addresses."""
    return 2 * org.n + len(org.partners)


def teams_at(org: Organisation) -> int:
    """The number of the first team's list among the addresses; the house-wide lists follow the teams."""
    return recruiters_at(org) + RECRUITERS


def house_lists_at(org: Organisation) -> int:
    """The number of the first house-wide list among the addresses."""
    return teams_at(org) + int(org.team.max()) + 1


def _phrases(chance: Chance) -> list[str]:
    """Phrase `topic * PHRASES + k` of every topic: words of the topic among ordinary ones."""
    rng = chance.stream(_TEXT)
    found = []
    for topic in TOPIC_NAMES:
        words = TOPICS[topic].split()
        general = rng.integers(0, len(GENERAL_WORDS), (PHRASES, 8)).tolist()
        special = rng.integers(0, len(words), (PHRASES, 8)).tolist()
        lengths = rng.integers(5, 9, PHRASES).tolist()
        for length, g, s in zip(lengths, general, special, strict=True):
            found.append(" ".join(words[s[i]] if i % 3 != 2 else GENERAL_WORDS[g[i]] for i in range(length)))
    return found
