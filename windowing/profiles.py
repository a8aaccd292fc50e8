"""What is usual for each user of one partition. Whole columns of users at a time; knows no store, no broker and no window record.

The state of a user *is* the blob that the store keeps: `load` and `dump` copy bytes, and reading them is a view over the joined
blobs of the users asked for. So a profile that was stored and loaded cannot differ from one that stayed in memory, and the cost
of a call depends on the users in it, not on how many the partition has.

    blob  = header (HEADER, 92 words) + items, one word each, ascending
    item  = dimension 3 bits | hash 33 bits | last day seen 16 bits | days seen 12 bits

Days are local days since 1970-01-01. What is counted a day (`MEASURES`) is kept as integer sums over finished days, with the
running day beside them; when 128 active days have gone in, everything is halved, so that old habits fade. Items that were not
seen for `KEEP_DAYS` are dropped, and a user has at most `MOST_ITEMS` of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import xxhash

from stream.errors import PipelineError, of_later_version
from stream.kinds import Kind
from windowing.calendar import Calendar

if TYPE_CHECKING:
    from windowing.observe import Observed

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

VERSION: Final = 1
KEEP_DAYS: Final = 180
MOST_ITEMS: Final = 768
_TRIMMED_TO: Final = 640
FADE_DAYS: Final = 128
_DAYS_BITS, _LAST_BITS, _HASH_BITS = np.uint64(12), np.uint64(16), np.uint64(33)
_REST_BITS: Final = np.uint64(28)  # days seen and last day
_KEY_BITS: Final = np.uint64(36)  # dimension and hash
_MOST_DAYS: Final = 4095


class Dimension(IntEnum):
    """What an item is; at most eight."""

    HOUR = 0
    PC = 1
    DOMAIN = 2
    RECIPIENT = 3
    MAIL_DOMAIN = 4
    FILE_TYPE = 5
    DRIVE_PC = 6
    SENDER = 7


class Measure(IntEnum):
    """What is added up for every day."""

    LOGONS = 0
    CONNECTS = 1
    FILES = 2
    EMAILS = 3
    PAGES = 4
    OUTSIDE_MAILS = 5
    OUTSIDE_KB = 6
    OUTSIDE_ATTACHMENTS = 7
    AFTER_HOURS = 8
    AFTER_HOURS_LOGONS = 9
    AFTER_HOURS_CONNECTS = 10
    RISKY_FILES = 11
    CLOUD_PAGES = 12
    EMPLOYER_PAGES = 13
    JOB_PAGES = 14
    LEAK_PAGES = 15
    SPYWARE_PAGES = 16
    STRANGE_PC_LOGONS = 17
    RECIPIENTS = 18
    PERSONAL_MAILS = 19
    MAILED_KB = 20
    EMPLOYER_MAILS = 21
    OWN_MAILS = 22
    UPLOADS = 23


N_MEASURES: Final = len(Measure)
HEADER: Final = np.dtype(
    [
        ("version", "<u1"),
        ("running", "<u1"),  # 1 while `today` holds counts of `last_day`
        ("items", "<u2"),
        ("first_day", "<u2"),
        ("last_day", "<u2"),
        ("days", "<u2"),  # finished active days, faded
        ("weekdays", "<u2"),  # those of them from Monday to Friday, faded
        ("all_days", "<u2"),  # finished active days, not faded
        ("spare", "<u2"),
        ("squares", "<u8", N_MEASURES),
        ("sum", "<u4", N_MEASURES),
        ("top", "<u4", N_MEASURES),
        ("today", "<u4", N_MEASURES),
        ("recent", "<u4", N_MEASURES),  # bit b: there was some on the day `last_day - b`
        ("days_with", "<u2", N_MEASURES),
        ("first", "<u2", N_MEASURES),
        ("last", "<u2", N_MEASURES),
    ]
)
_HEADER_WORDS: Final = HEADER.itemsize // 8


class UnreadableProfile(PipelineError):
    """The store holds a profile that this version cannot read."""


@lru_cache(maxsize=262_144)
def item_key(dimension: Dimension, item: str) -> int:
    """The 36-bit key of an item: stable for all time, since profiles are stored with it."""
    return int(dimension) << 33 | xxhash.xxh3_64_intdigest(item.encode()) & 0x1_FFFF_FFFF


def item_keys(dimension: Dimension, items: Iterable[str]) -> Words:
    """Keys of distinct items, in their order; shape (n,)."""
    return np.fromiter((item_key(dimension, item) for item in items), np.uint64)


def hour_keys(slots: Ints) -> Words:
    """Keys of hours of the week, 0..23 on working days and 24..47 at weekends; same shape."""
    keys: Words = slots.astype(np.uint64) + np.uint64(int(Dimension.HOUR) << 33)
    return keys


@dataclass(slots=True)
class Usual:
    """What is usual for some users: the decoded view that describing and folding read. Row u of `header` is user u.

    `words` are the items of all the users, user after user; `owners` says whose, `keys` is `owner << 36 | key`, ascending.
    """

    header: npt.NDArray[np.void]
    words: Words
    owners: npt.NDArray[np.int64]
    keys: Words

    def find(self, wanted: Words) -> Ints:
        """Place of each `owner << 36 | key` among `words`, or -1; same shape."""
        if not len(self.keys):
            return np.full(len(wanted), -1, np.int64)
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        found: Ints = np.where(self.keys[at] == wanted, at, -1)
        return found

    def days_seen(self, at: Ints) -> Ints:
        """On how many days each found item was seen, 0 where the place is -1."""
        if not len(self.words):
            return np.zeros(len(at), np.int64)
        days: Ints = np.where(at >= 0, (self.words[at] & np.uint64(_MOST_DAYS)).astype(np.int64), 0)
        return days

    def last_seen(self, at: Ints) -> Ints:
        """The last day on which each found item was seen, 0 where the place is -1."""
        if not len(self.words):
            return np.zeros(len(at), np.int64)
        days: Ints = np.where(at >= 0, ((self.words[at] >> _DAYS_BITS) & np.uint64(0xFFFF)).astype(np.int64), 0)
        return days

    def hours(self) -> Ints:
        """Days on which each user was active in each hour of the week; shape (users, 48)."""
        table = np.zeros((len(self.header), 48), np.int64)
        hour = (self.words >> np.uint64(61)) == 0
        slots = ((self.words[hour] >> _REST_BITS) & np.uint64(63)).astype(np.int64)
        table[self.owners[hour], slots] = (self.words[hour] & np.uint64(_MOST_DAYS)).astype(np.int64)
        return table

    def most_seen(self, dimension: Dimension) -> tuple[Words, Ints]:
        """Each user's item of a dimension with most days (ties: the larger key), and those days; key 0 and 0 without any."""
        best, days = np.zeros(len(self.header), np.uint64), np.zeros(len(self.header), np.int64)
        here = (self.words >> np.uint64(61)) == np.uint64(dimension)
        words, owners = self.words[here], self.owners[here]
        rank = ((words & np.uint64(_MOST_DAYS)) << _KEY_BITS) | (words >> _REST_BITS)
        np.maximum.at(best, owners, rank)
        days[:] = (best >> _KEY_BITS).astype(np.int64)
        return best & np.uint64((1 << 36) - 1), days

    def how_many(self, dimension: Dimension) -> Ints:
        """How many items of a dimension each user has; shape (users,)."""
        here = (self.words >> np.uint64(61)) == np.uint64(dimension)
        return np.bincount(self.owners[here], minlength=len(self.header)).astype(np.int64)

    def finish_days(self, day: int) -> None:
        """Take the running day into the sums for everybody whose last day lies before `day`."""
        due = np.flatnonzero((self.header["last_day"] < day) & (self.header["running"] == 1))
        if len(due):
            self._finish(due)

    def recent(self, day: int) -> Ints:
        """Bit b says whether a measure had any on the day `day - b`, for 32 days back; shape (users, measures)."""
        gap = np.clip(day - self.header["last_day"].astype(np.int64), 0, 32)
        bits: Ints = (self.header["recent"].astype(np.int64) << gap[:, None]) & 0xFFFF_FFFF
        return bits

    def _finish(self, who: Ints) -> None:
        part = self.header[who]
        today = part["today"].astype(np.int64)
        last = part["last_day"].astype(np.int64)
        part["squares"] += (today * today).astype(np.uint64)
        part["sum"] += part["today"]
        part["top"] = np.maximum(part["top"], part["today"])
        some = today > 0
        part["days_with"] += some
        part["first"] = np.where(some & (part["first"] == 0), last[:, None], part["first"])
        part["last"] = np.where(some, last[:, None], part["last"])
        part["recent"] |= some
        part["today"] = 0
        part["running"] = 0
        part["days"] += 1
        part["weekdays"] += (last + 3) % 7 < 5
        part["all_days"] = np.minimum(part["all_days"].astype(np.int64) + 1, 65_535)
        self.header[who] = part
        faded = who[part["days"] >= FADE_DAYS]
        if len(faded):
            self._fade(faded)

    def _fade(self, who: Ints) -> None:
        part = self.header[who]
        for name in ("squares", "sum"):
            part[name] //= 2
        for name in ("days", "weekdays", "days_with"):
            part[name] = (part[name] + 1) // 2
        part["top"] -= part["top"] // 8
        self.header[who] = part
        mine = np.isin(self.owners, who)
        days = self.words[mine] & np.uint64(_MOST_DAYS)
        self.words[mine] = (self.words[mine] - days) | ((days + np.uint64(1)) // np.uint64(2))


class Profiles:
    """The profiles of one partition's users, in memory."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self._blobs: dict[str, bytes] = {}
        self._observed: Observed | None = None
        self._facts: tuple[int, Usual, Ints] | None = None

    def __len__(self) -> int:
        return len(self._blobs)

    def load(self, blobs: Iterable[tuple[str, bytes]]) -> None:
        """Take over stored profiles, (user, blob); a user's earlier one is replaced.

        Raises:
            UnreadableProfile: a blob is of another version or damaged.
        """
        self._facts = None
        for user, blob in blobs:
            if blob and blob[0] > VERSION:
                raise UnreadableProfile(of_later_version("a stored profile", blob[0], VERSION))
            if not blob or blob[0] != VERSION:
                raise UnreadableProfile(f"a stored profile has layout version {blob[0] if blob else 'none'}; this version reads {VERSION}")
            if len(blob) != HEADER.itemsize + 8 * int.from_bytes(blob[2:4], "little"):
                raise UnreadableProfile(f"a stored profile is damaged: {len(blob)} bytes do not fit its {blob[2] + 256 * blob[3]} items")
            self._blobs[user] = bytes(blob)

    def dump(self, users: Sequence[str]) -> list[tuple[str, bytes]]:
        """(user, blob) for each of these users who has a profile, in the order given."""
        return [(user, blob) for user in users if (blob := self._blobs.get(user)) is not None]

    def forget(self, user: str) -> None:
        """Drop a user's profile, if there is one."""
        self._blobs.pop(user, None)
        self._facts = None

    def usual(self, users: Sequence[str]) -> Usual:
        """A view of these users' profiles, one row each; whoever has none gets an empty one. The view may be changed freely."""
        found = [self._blobs.get(user, _EMPTY) for user in users]
        whole = np.frombuffer(b"".join(found), np.uint64)
        lengths = np.fromiter(map(len, found), np.int64, len(found)) // 8
        ends = np.cumsum(lengths)
        is_item = np.ones(len(whole), np.bool_)
        places = (ends - lengths)[:, None] + np.arange(_HEADER_WORDS)
        is_item[places] = False
        header = np.ascontiguousarray(whole[places]).view(HEADER).reshape(len(found))
        words = whole[is_item]
        owners = np.repeat(np.arange(len(found)), lengths - _HEADER_WORDS)
        keys = (owners.astype(np.uint64) << _KEY_BITS) | (words >> _REST_BITS)
        return Usual(header, words, owners, keys)

    def observe(self, events: Mapping[Kind, pl.DataFrame]) -> "Observed":
        """Read event frames; the answer is kept for one more call with the same events.

        With panes as long as windows, a window is described and its pane folded at once: reading the events is half the work.
        """
        # imported here because reading events needs item keys from this module
        from windowing.observe import observe

        if self._observed is None or not _same(self._observed.frames, events):
            self._observed, self._facts = observe(events, self.calendar), None
        else:
            self._observed.frames |= events
        return self._observed

    def remember(self, day: int, usual: Usual, amounts: Ints) -> None:
        """Keep what describing worked out of the events observed last: `usual` with all days before `day` finished, and the measures.

        Folding the same events on the same day begins with just that.
        """
        self._facts = (day, usual, amounts)

    def _worked_out(self, observed: "Observed", day: int) -> tuple[Usual, Ints]:
        """What is usual, with all days before `day` finished, and the measures of what was observed."""
        if self._facts is not None and self._facts[0] == day:
            return self._facts[1:]
        usual = self.usual(observed.users)
        usual.finish_days(day)
        return usual, observed.measured(observed.off_hours(usual) > 1, observed.strange_pc(usual))

    def fold(self, events: Mapping[Kind, pl.DataFrame], pane: int) -> None:
        """Add the settled events of one pane, of any set of users; panes of one user come in ascending order."""
        observed = self.observe(events)
        if not observed.users:
            return
        day = min(max(pane // self.calendar.spec.panes_a_day, 0), 65_535)
        usual, seen = self._worked_out(observed, day)
        self._observed = self._facts = None
        header = usual.header
        fresh = header["version"] == 0
        header["version"] = VERSION
        header["first_day"] = np.where(fresh, day, header["first_day"])
        header["recent"] = usual.recent(day).astype(np.uint32)
        header["last_day"] = np.maximum(header["last_day"], day)
        header["running"] = 1
        header["today"] = np.minimum(header["today"].astype(np.int64) + seen, 2**31).astype(np.uint32)
        self._keep(observed.users, usual, observed.item_keys(), day)

    def _keep(self, users: Sequence[str], usual: Usual, keys: Words, day: int) -> None:
        """Merge the items seen (distinct `owner << 36 | key`, ascending) into the view and write it back as blobs."""
        words, owners = usual.words, usual.owners
        at = usual.find(keys)
        old = at[at >= 0]
        again = words[old]
        days = (again & np.uint64(_MOST_DAYS)).astype(np.int64)
        last = ((again >> _DAYS_BITS) & np.uint64(0xFFFF)).astype(np.int64)
        days = np.minimum(days + (last < day), _MOST_DAYS)
        words[old] = (again >> _REST_BITS << _REST_BITS) | (np.maximum(last, day).astype(np.uint64) << _DAYS_BITS) | days.astype(np.uint64)
        new = keys[at < 0]
        where = np.searchsorted(usual.keys, new)
        fresh = ((new & np.uint64((1 << 36) - 1)) << _REST_BITS) | np.uint64(day << 12 | 1)
        words = np.insert(words, where, fresh)
        owners = np.insert(owners, where, (new >> _KEY_BITS).astype(np.int64))
        keep = ((words >> _DAYS_BITS) & np.uint64(0xFFFF)).astype(np.int64) >= day - KEEP_DAYS
        if not keep.all():
            words, owners = words[keep], owners[keep]
        counts = np.bincount(owners, minlength=len(users))
        if len(counts) and counts.max() > MOST_ITEMS:
            words, owners = _trim(words, owners, counts)
            counts = np.bincount(owners, minlength=len(users))
        usual.header["items"] = counts
        sizes = counts + _HEADER_WORDS
        ends = np.cumsum(sizes)
        whole = np.empty(int(ends[-1]), np.uint64)
        places = (ends - sizes)[:, None] + np.arange(_HEADER_WORDS)
        is_item = np.ones(len(whole), np.bool_)
        is_item[places] = False
        whole[places] = usual.header.view(np.uint64).reshape(len(users), _HEADER_WORDS)
        whole[is_item] = words
        raw = whole.tobytes()
        begin = 0
        for user, end in zip(users, (8 * ends).tolist(), strict=True):
            self._blobs[user] = raw[begin:end]
            begin = end


def _same(kept: Mapping[Kind, pl.DataFrame], events: Mapping[Kind, pl.DataFrame]) -> bool:
    """Whether these are the same events, row by row, as far as reading looks at them; heights tell most that are not."""
    if any((events[kind].height if kind in events else 0) != frame.height for kind, frame in kept.items()):
        return False
    return all(
        events[kind] is frame or events[kind].drop("id", "content", strict=False).equals(frame.drop("id", "content", strict=False))
        for kind, frame in kept.items()
        if frame.height
    )


def _trim(words: Words, owners: Ints, counts: Ints) -> tuple[Words, Ints]:
    """Drop the items longest unseen, then seen on fewest days, of users who have too many."""
    # down to fewer than allowed, so that a user at the limit is not trimmed at every pane
    ends = np.cumsum(counts)
    keep = np.ones(len(words), np.bool_)
    for user in np.flatnonzero(counts > MOST_ITEMS).tolist():
        begin, end = int(ends[user] - counts[user]), int(ends[user])
        mine = words[begin:end]
        rest = (mine & np.uint64((1 << 28) - 1)) << np.uint64(3)
        lasting = np.isin(mine >> np.uint64(61), (Dimension.HOUR, Dimension.PC, Dimension.FILE_TYPE))
        rank = np.where(lasting, np.uint64(1) << np.uint64(40), rest)
        drop = np.argsort(rank, kind="stable")[: len(mine) - _TRIMMED_TO]
        keep[begin + drop] = False
    return words[keep], owners[keep]


_EMPTY: Final = bytes(HEADER.itemsize)
