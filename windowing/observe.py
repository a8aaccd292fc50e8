"""Event frames of many users to numeric columns that describing and folding share. Knows what events say, not what is usual.

Everything is one row an event, the kinds one after the other in their own order, and each text is looked at once however often
it occurs: hosts, addresses, machines and file endings become numbers into tables of their distinct values.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from stream.kinds import KINDS, Kind, empty_frame
from stream.zones import utc_to_wall
from windowing.calendar import Calendar
from windowing.domains import ARCHIVES, PROGRAMS, TELLING, Category, authority_of, category_of_host, category_of_words, host_of, is_personal
from windowing.profiles import N_MEASURES, Dimension, Flags, Ints, Measure, Usual, Words, hour_keys, item_keys

_HOUR_MS: Final = 3_600_000
_LONGEST_ADDRESS: Final = 320  # by the rules of mail; what is longer is no address
_FEW_DAYS: Final = 5
_FEW_ROWS: Final = 1000
"""So few texts are numbered sooner by a dictionary than by polars."""
_SPARSE: Final = 64
"""Up to so many possible pairs for each row are looked up in a table; beyond, rows are sorted."""
MASS: Final = 10
"""So many recipients make a mail a mass mail."""


@dataclass(slots=True)
class Texts:
    """A column of texts as numbers: `codes` (one a row) into `values` (distinct, ascending) with their profile keys."""

    codes: Ints
    values: list[str]
    keys: Words

    @classmethod
    def of(cls, column: pl.Series, dimension: Dimension) -> "Texts":
        """Number a column; null counts as the empty text."""
        if not len(column):
            return cls(np.zeros(0, np.int64), [], np.zeros(0, np.uint64))
        codes, values = _numbered(column.fill_null("") if column.null_count() else column)
        return cls(codes, values, item_keys(dimension, values))


def _numbered(column: pl.Series) -> tuple[Ints, list[str]]:
    """A column of texts without nulls as numbers into its distinct texts, ascending."""
    if len(column) < _FEW_ROWS:
        texts = column.to_list()
        values = sorted(set(texts))
        number = {value: place for place, value in enumerate(values)}
        return np.fromiter(map(number.__getitem__, texts), np.int64, len(texts)), values
    distinct = column.unique().sort()
    return column.cast(pl.Enum(distinct)).to_physical().to_numpy().astype(np.int64), distinct.to_list()


@dataclass(frozen=True, slots=True)
class Pairs:
    """The distinct (user, item) pairs of some rows, by user: `of_row` says which pair a row has, `often` how many rows a pair has."""

    owner: Ints
    code: Ints
    keys: Words
    of_row: Ints
    often: Ints

    @classmethod
    def of(cls, users: Ints, texts: Texts) -> "Pairs":
        """Find the pairs of rows with these users and texts."""
        width = max(len(texts.values), 1)
        both = users * width + texts.codes
        size = (int(users.max()) + 1) * width if len(users) else 0
        if size <= _SPARSE * len(users):
            # a table of everything possible is faster than sorting, as long as it is not mostly empty
            there = np.zeros(size, np.bool_)
            there[both] = True
            pairs = np.flatnonzero(there)
            place = np.empty(size, np.int64)
            place[pairs] = np.arange(len(pairs))
            of_row = place[both]
        else:
            pairs, of_row = np.unique(both, return_inverse=True)
        owner = pairs // width
        code = pairs - owner * width
        return cls(owner, code, texts.keys[code], of_row, np.bincount(of_row, minlength=len(pairs)))

    def wanted(self, keys: Words | None = None) -> Words:
        """The pairs as `owner << 36 | key`, in the order of owners; other keys by code may stand in for the texts' own."""
        words: Words = (self.owner.astype(np.uint64) << np.uint64(36)) | (self.keys if keys is None else keys[self.code])
        return words


@dataclass(slots=True)
class Mails:
    """E-mails, one row each (shape (mails,)), and their recipients, one row each (`mail` says whose)."""

    mail: Ints
    address: Texts
    host: Texts
    outside: Flags
    personal: Flags
    own: Flags
    employer: Flags
    sender: Texts
    n_recipients: Ints
    has_outside: Flags
    has_personal: Flags
    has_own: Flags
    has_employer: Flags
    size: Ints
    attachments: Ints


@dataclass
class Observed:
    """All events of a call. `users` are distinct and ascending; arrays without a note have one element per event."""

    users: list[str]
    frames: dict[Kind, pl.DataFrame]
    part: dict[Kind, slice]
    user: Ints
    ts: Ints
    slot: Ints
    pc: Texts
    on: Flags
    """A logon (not a logoff), a device connected, and every file, mail and page."""
    host: Texts  # one element per http event
    category: Ints  # one element per http event
    flagged: Ints  # places of the http events that are on a flagged site
    upload: Flags  # one element per flagged http event: a page for handing something over, on a site for files or leaks
    ending: Texts  # one element per file event
    risky: Flags  # one element per file event: a program or an archive
    mails: Mails

    @property
    def n(self) -> int:
        """Number of events."""
        return len(self.user)

    def of(self, kind: Kind) -> Ints:
        """User numbers of the events of one kind."""
        return self.user[self.part[kind]]

    @cached_property
    def receivers(self) -> Ints:
        """Whose mail it was, one element per recipient of a mail."""
        return self.of(Kind.EMAIL)[self.mails.mail]

    @cached_property
    def pcs(self) -> Pairs:
        """Machines; rows are all events."""
        return Pairs.of(self.user, self.pc)

    @cached_property
    def drive_pcs(self) -> Pairs:
        """Machines with drives; rows are device events."""
        values = self.pc.values
        codes = self.pc.codes[self.part[Kind.DEVICE]]
        return Pairs.of(self.of(Kind.DEVICE), Texts(codes, values, item_keys(Dimension.DRIVE_PC, values)))

    @cached_property
    def hosts(self) -> Pairs:
        """Hosts visited; rows are http events."""
        return Pairs.of(self.of(Kind.HTTP), self.host)

    @cached_property
    def recipients(self) -> Pairs:
        """Addresses written to; rows are recipients of mails."""
        return Pairs.of(self.receivers, self.mails.address)

    @cached_property
    def mail_hosts(self) -> Pairs:
        """Hosts written to, inside and outside; rows are recipients of mails."""
        return Pairs.of(self.receivers, self.mails.host)

    @cached_property
    def senders(self) -> Pairs:
        """Addresses written from; rows are e-mails."""
        return Pairs.of(self.of(Kind.EMAIL), self.mails.sender)

    @cached_property
    def endings(self) -> Pairs:
        """File types copied; rows are file events."""
        return Pairs.of(self.of(Kind.FILE), self.ending)

    @cached_property
    def flagged_users(self) -> Ints:
        """Who was on a flagged site, one element per flagged http event."""
        return self.of(Kind.HTTP)[self.flagged]

    @cached_property
    def by_category(self) -> Ints:
        """Pages on flagged sites by category; shape (users, categories)."""
        width = len(Category)
        both = self.flagged_users * width + self.category[self.flagged]
        table: Ints = np.bincount(both, minlength=width * len(self.users)).reshape(-1, width)
        return table

    @cached_property
    def kind(self) -> Ints:
        """The place of each event's kind among `KINDS`."""
        return np.repeat(np.arange(len(KINDS)), [self.frames[kind].height for kind in KINDS])

    def count(self, users: Ints, flags: Flags | None = None) -> Ints:
        """How many of these rows each user has; shape (users,)."""
        chosen = users if flags is None else users[flags]
        return np.bincount(chosen, minlength=len(self.users))

    def total(self, users: Ints, amounts: Ints) -> Ints:
        """Sum of whole amounts by user; exact, whatever the order of rows."""
        # sums of whole numbers below 2**53 are exact in floats
        return np.bincount(users, weights=amounts, minlength=len(self.users)).astype(np.int64)

    def off_hours(self, usual: Usual) -> Ints:
        """How many hours each event lies from an hour in which its user is usually active; 0 within, 12 at most."""
        off: Ints = hours_off(usual).ravel()[self.user * 48 + self.slot]
        return off

    def strange_pc(self, usual: Usual) -> Flags:
        """Whether each event is on a machine that is not its user's main one; nobody has a main one at first."""
        main, days = usual.most_seen(Dimension.PC)
        pairs = self.pcs
        strange: Flags = (pairs.keys != main[pairs.owner]) & (days > 0)[pairs.owner]
        return strange[pairs.of_row]

    def measured(self, after: Flags, strange: Flags) -> Ints:
        """What is added up for every day, as in `Measure`; shape (users, measures).

        Args:
            after: whether each event is more than an hour off its user's usual hours.
            strange: whether each event is on a machine that is not its user's main one.
        """
        table = np.zeros((len(self.users), N_MEASURES), np.int64)
        on, part = self.on, self.part
        logon, device, file, http = (self.of(kind) for kind in (Kind.LOGON, Kind.DEVICE, Kind.FILE, Kind.HTTP))
        email, mails = self.of(Kind.EMAIL), self.mails
        is_logon, is_connect = on[part[Kind.LOGON]], on[part[Kind.DEVICE]]
        table[:, Measure.LOGONS] = self.count(logon, is_logon)
        table[:, Measure.CONNECTS] = self.count(device, is_connect)
        table[:, Measure.FILES] = self.count(file)
        table[:, Measure.EMAILS] = self.count(email)
        table[:, Measure.PAGES] = self.count(http)
        table[:, Measure.OUTSIDE_MAILS] = self.count(email, mails.has_outside)
        table[:, Measure.OUTSIDE_KB] = self.total(email, np.where(mails.has_outside, mails.size // 1024, 0))
        table[:, Measure.OUTSIDE_ATTACHMENTS] = self.total(email, np.where(mails.has_outside, mails.attachments, 0))
        table[:, Measure.AFTER_HOURS] = self.count(self.user, after)
        table[:, Measure.AFTER_HOURS_LOGONS] = self.count(logon, is_logon & after[part[Kind.LOGON]])
        table[:, Measure.AFTER_HOURS_CONNECTS] = self.count(device, is_connect & after[part[Kind.DEVICE]])
        table[:, Measure.RISKY_FILES] = self.count(file, self.risky)
        for measure, category in PAGE_MEASURES.items():
            table[:, measure] = self.by_category[:, category]
        table[:, Measure.STRANGE_PC_LOGONS] = self.count(logon, is_logon & strange[part[Kind.LOGON]])
        table[:, Measure.RECIPIENTS] = self.total(email, mails.n_recipients)
        table[:, Measure.PERSONAL_MAILS] = self.count(email, mails.has_personal)
        table[:, Measure.EMPLOYER_MAILS] = self.count(email, mails.has_employer)
        table[:, Measure.OWN_MAILS] = self.count(email, mails.has_own & (mails.attachments > 0))
        table[:, Measure.UPLOADS] = self.count(self.flagged_users, self.upload)
        table[:, Measure.MAILED_KB] = self.total(email, mails.size // 1024)
        return table

    def item_keys(self) -> Words:
        """What was seen of each user, `owner << 36 | key`, distinct and ascending."""
        active = np.zeros(48 * len(self.users), np.bool_)
        active[self.user * 48 + self.slot] = True
        owner, slot = np.divmod(np.flatnonzero(active), 48)
        mail_hosts = self.mail_hosts
        outside = np.zeros(len(mail_hosts.owner), np.bool_)
        outside[mail_hosts.of_row[self.mails.outside]] = True
        others = (self.pcs, self.drive_pcs, self.hosts, self.recipients, self.senders, self.endings)
        keys: Words = np.sort(
            np.concatenate(
                [
                    (owner.astype(np.uint64) << np.uint64(36)) | hour_keys(slot),
                    mail_hosts.wanted()[outside],
                    *(pairs.wanted() for pairs in others),
                ]
            )
        )
        # two texts of one dimension may share a key, if hardly ever
        return keys[np.r_[True, keys[1:] != keys[:-1]]]


HIRING: Final = (Category.EMPLOYER, Category.JOBS)
PAGE_MEASURES: Final = {
    Measure.CLOUD_PAGES: Category.CLOUD,
    Measure.EMPLOYER_PAGES: Category.EMPLOYER,
    Measure.JOB_PAGES: Category.JOBS,
    Measure.LEAK_PAGES: Category.LEAK,
    Measure.SPYWARE_PAGES: Category.SPYWARE,
}


def hours_off(usual: Usual) -> Ints:
    """For each user and hour of the week, the distance in hours to the nearest usual hour of such a day; shape (users, 48).

    An hour is usual when the user was active in it on at least two days and on a twelfth of their days of that sort. Without
    enough days, a working day from 7 to 19 is; at weekends then, and for who never works on them, nothing is (12).
    """
    seen = usual.hours()
    weekdays = usual.header["weekdays"].astype(np.int64)
    days = np.stack([weekdays, usual.header["days"].astype(np.int64) - weekdays], axis=1)
    table = np.empty((len(seen), 2, 24), np.int64)
    for sort in (0, 1):
        part = seen[:, 24 * sort : 24 * sort + 24]
        is_usual = (part >= 2) & (part * 12 >= days[:, sort, None])
        few = weekdays < _FEW_DAYS
        is_usual[few] = _OFFICE_HOURS if sort == 0 else False
        distance = np.where(is_usual, 0, 12)
        round_the_clock = np.concatenate([is_usual] * 3, axis=1)
        for step in range(11, 0, -1):
            near = round_the_clock[:, 24 - step : 48 - step] | round_the_clock[:, 24 + step : 48 + step]
            distance[near & ~is_usual] = step
        table[:, sort] = distance
    return table.reshape(len(seen), 48)


_OFFICE_HOURS: Final[npt.NDArray[np.bool_]] = (np.arange(24) >= 7) & (np.arange(24) < 19)


def observe(events: Mapping[Kind, pl.DataFrame], calendar: Calendar) -> Observed:
    """Turn event frames into columns of numbers; kinds may be missing or empty, rows may come in any order."""
    frames = {kind: events[kind] if kind in events else empty_frame(kind) for kind in KINDS}
    named = pl.concat([frame["user"] for frame in frames.values()])
    user, users = _numbered(named)
    ts = np.concatenate([frame["ts"].to_numpy() for frame in frames.values()])
    ends = np.cumsum([frame.height for frame in frames.values()]).tolist()
    part = {kind: slice(begin, end) for kind, begin, end in zip(KINDS, [0, *ends], ends, strict=False)}
    wall = utc_to_wall(ts, calendar.zone)
    hour = wall // _HOUR_MS
    day = hour // 24
    weekend = (day + 3) % 7 >= 5
    slot = hour - 24 * day + 24 * weekend
    on = np.ones(len(user), np.bool_)
    for kind in (Kind.LOGON, Kind.DEVICE):
        activities = frames[kind]["activity"].to_list()
        begins = {activity: activity is not None and activity.lower() in _BEGINNINGS for activity in set(activities)}
        on[part[kind]] = [begins[activity] for activity in activities]
    host, category, flagged, upload = _pages(frames[Kind.HTTP])
    ending = Texts.of(frames[Kind.FILE].select(_ENDING).to_series(), Dimension.FILE_TYPE)
    bad = np.array([value in PROGRAMS or value in ARCHIVES for value in ending.values], np.bool_)
    return Observed(
        users=users,
        frames=frames,
        part=part,
        user=user,
        ts=ts,
        slot=slot,
        pc=Texts.of(pl.concat([frame["pc"] for frame in frames.values()]), Dimension.PC),
        on=on,
        host=host,
        category=category,
        flagged=flagged,
        upload=upload,
        ending=ending,
        risky=bad[ending.codes] if len(bad) else np.zeros(0, np.bool_),
        mails=_mails(frames[Kind.EMAIL]),
    )


_BEGINNINGS: Final = frozenset({"logon", "connect", "insert"})
# expressions are made once: making them takes longer than reading a few events with them
_ENDING: Final = pl.col("filename").str.extract(r"\.([^.\\/]{1,12})$").str.to_lowercase()
_SITE: Final = (authority_of(pl.col("url")).alias("authority"), pl.col("url").str.contains(TELLING).fill_null(value=False).alias("telling"))
_ADDRESSES: Final = (
    pl.concat_str("to", "cc", "bcc", separator=";", ignore_nulls=True).str.to_lowercase().str.split(";").alias("addresses"),
    pl.col("from").str.to_lowercase().str.head(_LONGEST_ADDRESS).alias("sender"),
)
_ADDRESS: Final = pl.col("addresses").explode().str.strip_chars().str.head(_LONGEST_ADDRESS)
_UPLOAD: Final = re.compile("upload|submit", re.IGNORECASE)


def _pages(frame: pl.DataFrame) -> tuple[Texts, Ints, Ints, Flags]:
    if frame.is_empty():
        return Texts.of(frame["url"], Dimension.DOMAIN), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_)
    # pages are seen again and again: each is looked at once, and a row says which page it is
    pages, of_row = _distinct(frame["url"])
    # most hold no telling word, so one pass finds the few that must be looked at
    found = pages.to_frame("url").select(_SITE)
    host = _hosts(found["authority"])
    category = np.array([category_of_host(value) for value in host.values], np.int64)[host.codes]
    telling = np.flatnonzero(found["telling"].to_numpy())
    if len(telling):
        category[telling] = np.maximum(category[telling], [category_of_words(page) for page in pages[telling].to_list()])
    takes = (category == Category.CLOUD) | (category == Category.LEAK)
    upload = np.zeros(len(pages), np.bool_)
    if takes.any():
        upload[takes] = [page is not None and _UPLOAD.search(page) is not None for page in pages.filter(pl.Series(takes)).to_list()]
    category = category[of_row]
    flagged = np.flatnonzero(category >= Category.CLOUD)
    return Texts(host.codes[of_row], host.values, host.keys), category, flagged, upload[of_row[flagged]]


def _distinct(texts: pl.Series) -> tuple[pl.Series, Ints]:
    """The distinct texts, and which of them each row has; all as they are where that saves little."""
    if len(texts) >= _FEW_ROWS:
        distinct = texts.unique()
        if 2 * len(distinct) < len(texts) and not distinct.null_count():
            return distinct, texts.cast(pl.Enum(distinct)).to_physical().to_numpy().astype(np.int64)
    return texts, np.arange(len(texts))


def _hosts(authorities: pl.Series) -> Texts:
    """The hosts of URLs; the many ways to write one are told apart on distinct texts only."""
    written = Texts.of(authorities, Dimension.DOMAIN)
    hosts = [host_of(value) for value in written.values]
    if hosts == written.values:
        return written
    values = sorted(set(hosts))
    number = {value: place for place, value in enumerate(values)}
    same = np.array([number[host] for host in hosts], np.int64)
    return Texts(same[written.codes], values, item_keys(Dimension.DOMAIN, values))


def _mails(frame: pl.DataFrame) -> Mails:
    n = frame.height
    found = frame.select(_ADDRESSES)
    address = Texts.of(found.select(_ADDRESS).to_series(), Dimension.RECIPIENT)
    mail = np.repeat(np.arange(n), found["addresses"].list.len().to_numpy())
    if address.values and not address.values[0]:
        # the empty text between two semicolons is nobody's address
        some = address.codes > 0
        mail = mail[some]
        address = Texts(address.codes[some] - 1, address.values[1:], address.keys[1:])
    sender = Texts.of(found["sender"], Dimension.SENDER)
    hosts = [value.rpartition("@")[2] for value in address.values]
    host_values = sorted(set(hosts))
    number = {value: place for place, value in enumerate(host_values)}
    host_of_address = np.array([number[value] for value in hosts], np.int64)
    host = Texts(host_of_address[address.codes] if hosts else mail, host_values, item_keys(Dimension.MAIL_DOMAIN, host_values))
    # a mail leaves the company when a recipient's host is not the sender's; a private sender's company is not known, so that
    # every host which is private is outside, and the others are taken for the company's
    private = np.array([is_personal(value) for value in host_values], np.bool_)
    sender_hosts = [value.rpartition("@")[2] for value in sender.values]
    sender_host = np.array([number.get(value, -1) for value in sender_hosts], np.int64)
    sender_private = np.array([is_personal(value) for value in sender_hosts], np.bool_)
    listed = np.array([category_of_host(value) is not Category.ORDINARY for value in host_values], np.bool_)
    if len(mail):
        by = sender.codes[mail]
        personal = private[host.codes]
        outside = np.where(sender_private[by], personal | listed[host.codes], host.codes != sender_host[by])
        own = _own_looking(address, sender, by, personal & outside)
        employer = outside & np.array([category_of_host(value) in HIRING for value in host_values], np.bool_)[host.codes]
    else:
        personal = outside = own = employer = np.zeros(0, np.bool_)
    return Mails(
        mail=mail,
        address=address,
        host=host,
        outside=outside,
        personal=personal,
        own=own,
        employer=employer,
        sender=sender,
        n_recipients=np.bincount(mail, minlength=n),
        has_outside=np.bincount(mail[outside], minlength=n) > 0,
        has_personal=np.bincount(mail[personal & outside], minlength=n) > 0,
        has_own=np.bincount(mail[own], minlength=n) > 0,
        has_employer=np.bincount(mail[employer], minlength=n) > 0,
        size=_known(frame["size"]),
        attachments=_known(frame["attachments"]),
    )


def _known(numbers: pl.Series) -> Ints:
    """Whole numbers, 0 for those that are not known."""
    found: Ints = (numbers.fill_null(0) if numbers.null_count() else numbers).to_numpy()
    return found


def _own_looking(address: Texts, sender: Texts, by: Ints, candidate: Flags) -> Flags:
    """Whether a private recipient's name shares a name with the sender's own address."""
    own = np.zeros(len(by), np.bool_)
    rows = np.flatnonzero(candidate)
    pairs, where = np.unique(by[rows] * max(len(address.values), 1) + address.codes[rows], return_inverse=True)
    senders, addresses = np.divmod(pairs, max(len(address.values), 1))
    same = np.fromiter(
        (
            not _names(sender.values[s]).isdisjoint(_names(address.values[a])) and sender.values[s] != address.values[a]
            for s, a in zip(senders.tolist(), addresses.tolist(), strict=True)
        ),
        np.bool_,
        len(pairs),
    )
    own[rows] = same[where]
    return own


@lru_cache(maxsize=131_072)
def _names(address: str) -> frozenset[str]:
    """The names in the local part of an address; short ones say too little."""
    local = address.rpartition("@")[0]
    cleaned = "".join(letter if letter.isalpha() else " " for letter in local)
    return frozenset(name for name in cleaned.split() if len(name) >= 4)
