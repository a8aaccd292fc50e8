"""The numbers that describe a window: one registry with each feature's family, unit and meaning, and how it is worked out.

Two families. `counts` are volumes: how many events, pages, mails, bytes, distinct hosts, and whatever is a sum over them, with
their deviations from the user's own rate, and departures. `free` are free of that shortcut: novelty, oddness and shares, the use
of drives and files, the machines used. A detector of the shortcut-free track sees only `free`.

Knows no label, no model and no other user: a user's row depends on that user's events and profile and on the directory.
Sums are over whole numbers; one division comes after.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from stream.kinds import KINDS, Kind
from windowing.calendar import DAY_MS, Calendar
from windowing.domains import Category
from windowing.observe import MASS, Observed, Pairs
from windowing.profiles import Dimension, Flags, Ints, Measure, Usual

Floats = npt.NDArray[np.float64]
SELDOM: Final = 0.05
Subject = TypeVar("Subject")
Family = Literal["counts", "free"]
VERSION: Final = "1"
"""Changes when a feature is added, dropped or means something else; models are fitted to one version."""

LONG: Final = 90
"""Numbers of days stop here: an old habit is old, and more would tell the date. No last time counts as long ago."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One number of a window: its name, the family it belongs to, its unit, and what it means."""

    name: str
    family: Family
    unit: str
    meaning: str


@dataclass(slots=True)
class People:
    """What the directory says of the users of a call, one row each; without a directory, nothing is known."""

    known: Flags
    departed: Flags
    admin: Flags
    manager: Flags
    role: list[str]
    team: list[str]
    department: list[str]


@dataclass
class Facts:
    """What the features are worked out from: the events of a window, what is usual, and the flags both give together."""

    observed: Observed
    usual: Usual
    day: int
    scale: float
    people: People | None = None

    @property
    def n(self) -> int:
        """Number of users."""
        return len(self.observed.users)

    @cached_property
    def amounts(self) -> Ints:
        """This window's measures, as in `Measure`; shape (users, measures)."""
        return self.observed.measured(self.usual)

    @cached_property
    def off(self) -> Ints:
        """Hours off the user's usual hours, one element per event."""
        return self.observed.off_hours(self.usual)

    @cached_property
    def after(self) -> Flags:
        """Whether each event is after hours: more than one hour off."""
        flags: Flags = self.off > 1
        return flags

    @cached_property
    def has_history(self) -> Flags:
        """Whether a user has been seen on enough days for "new" to mean something; shape (users,)."""
        flags: Flags = self.usual.header["days"] >= 5
        return flags

    def days_of(self, pairs: Pairs) -> Ints:
        """On how many days of the profile the user had the item, one element per pair."""
        return self.usual.days_seen(self.usual.find(pairs.wanted()))

    def new_of(self, pairs: Pairs) -> Flags:
        """Whether the item is new to a user who has a history, one element per pair."""
        flags: Flags = (self.days_of(pairs) == 0) & self.has_history[pairs.owner]
        return flags

    @cached_property
    def pc_days(self) -> Ints:
        """Days on which the user used a machine before, one element per pair of `observed.pcs`."""
        return self.days_of(self.observed.pcs)

    @cached_property
    def pcs_new(self) -> Flags:
        """Whether a machine is new to its user, one element per pair of `observed.pcs`."""
        flags: Flags = (self.pc_days == 0) & self.has_history[self.observed.pcs.owner]
        return flags

    @cached_property
    def pc_new(self) -> Flags:
        """Whether the machine is new to a user who has a history, one element per event."""
        return self.pcs_new[self.observed.pcs.of_row]

    @cached_property
    def rarest_machine(self) -> Floats:
        """Days of use of the least used machine of this window, 30 at most; shape (users,)."""
        least = np.full(self.n, 30, np.int64)
        np.minimum.at(least, self.observed.pcs.owner, self.pc_days)
        return least.astype(np.float64)

    @cached_property
    def strange_pc(self) -> Flags:
        """Whether the machine is not the user's main one, one element per event."""
        return self.observed.strange_pc(self.usual)

    @cached_property
    def drive_pcs_new(self) -> Flags:
        """Whether a drive was never used by this user on that machine, one element per pair of `observed.drive_pcs`."""
        return self.new_of(self.observed.drive_pcs)

    @cached_property
    def hosts_new(self) -> Flags:
        """Whether a host is new, one element per pair of `observed.hosts`."""
        return self.new_of(self.observed.hosts)

    @cached_property
    def recipients_new(self) -> Flags:
        """Whether a recipient is new, one element per pair of `observed.recipients`."""
        return self.new_of(self.observed.recipients)

    @cached_property
    def mail_hosts_new(self) -> Flags:
        """Whether a mail host is outside and new, one element per pair of `observed.mail_hosts`."""
        pairs = self.observed.mail_hosts
        outside = np.zeros(len(pairs.owner), np.bool_)
        outside[pairs.of_row[self.observed.mails.outside]] = True
        return self.new_of(pairs) & outside

    @cached_property
    def senders_new(self) -> Flags:
        """Whether a sender's address is new, one element per pair of `observed.senders`."""
        return self.new_of(self.observed.senders)

    @cached_property
    def endings_new(self) -> Flags:
        """Whether a type of files is new, one element per pair of `observed.endings`."""
        return self.new_of(self.observed.endings)

    @cached_property
    def recipient_new(self) -> Flags:
        """Whether the recipient is new, one element per recipient of a mail."""
        return self.recipients_new[self.observed.recipients.of_row]

    @cached_property
    def flagged_new(self) -> Ints:
        """Visits to hosts new to the user among flagged sites, by category; shape (users, categories)."""
        seen = self.observed
        return self._flagged(self.hosts_new[seen.hosts.of_row[seen.flagged]])

    @cached_property
    def flagged_after(self) -> Ints:
        """Visits to flagged sites after hours, by category; shape (users, categories)."""
        return self._flagged(self.after[self.observed.part[Kind.HTTP]][self.observed.flagged])

    def _flagged(self, flags: Flags) -> Ints:
        seen, width = self.observed, len(Category)
        both = seen.flagged_users[flags] * width + seen.category[seen.flagged][flags]
        table: Ints = np.bincount(both, minlength=width * self.n).reshape(-1, width)
        return table

    # of all measures at once, shape (users, measures) ----------------------------------------------------------------

    @cached_property
    def _days(self) -> Ints:
        return np.maximum(self.usual.header["days"].astype(np.int64), 1)[:, None]

    @cached_property
    def deviations(self) -> Floats:
        """How many standard deviations each amount lies above the usual one; 0 without history."""
        header, days = self.usual.header, self._days
        mean = header["sum"] / days
        variance = np.maximum(header["squares"] / days - mean * mean, 0) * self.scale + 0.25
        z = (self.amounts - mean * self.scale) / np.sqrt(variance)
        return np.where(self.has_history[:, None], np.clip(z, -50, 50), 0.0)

    @cached_property
    def habits(self) -> Floats:
        """The share of past active days with some of each measure; 0 without history."""
        share: Floats = self.usual.header["days_with"] / self._days
        return share

    @cached_property
    def above_tops(self) -> Floats:
        """The amounts in proportion to the largest day so far; 0 without history."""
        ratio = self.amounts / (self.usual.header["top"].astype(np.int64) + 1)
        return np.where(self.has_history[:, None], np.minimum(ratio, 100.0), 0.0)

    @cached_property
    def latelies(self) -> Ints:
        """On how many of the last 30 calendar days before the window there was some."""
        bits = self.usual.recent(self.day) & ((1 << 31) - 2)
        days: Ints = np.bitwise_count(bits).astype(np.int64)
        return days

    @cached_property
    def habit_ages(self) -> Ints:
        """Days since the first time, 90 at most; 0 when there was none."""
        first = self.usual.header["first"].astype(np.int64)
        return np.where(first > 0, np.minimum(self.day - first, LONG), 0)

    @cached_property
    def sinces(self) -> Ints:
        """Days since the last time, 90 at most or when there was none."""
        last = self.usual.header["last"].astype(np.int64)
        return np.where(last > 0, np.minimum(self.day - last, LONG), LONG)

    @cached_property
    def first_times(self) -> Flags:
        """Whether a user with a history does something they never did."""
        flags: Flags = (self.amounts > 0) & (self.usual.header["days_with"] == 0) & self.has_history[:, None]
        return flags

    # by user ---------------------------------------------------------------------------------------------------------

    def amount(self, measure: Measure) -> Ints:
        """This window's amount of a measure; shape (users,), as all below."""
        return self.amounts[:, measure]

    def deviation(self, measure: Measure) -> Floats:
        """How many standard deviations the amount lies above the usual one."""
        return self.deviations[:, measure]

    def above_top(self, measure: Measure) -> Floats:
        """The amount in proportion to the largest day so far."""
        return self.above_tops[:, measure]

    def habit(self, measure: Measure) -> Floats:
        """The share of past active days with some of it."""
        return self.habits[:, measure]

    def lately(self, measure: Measure) -> Ints:
        """On how many of the last 30 calendar days before the window there was some."""
        return self.latelies[:, measure]

    def habit_age(self, measure: Measure) -> Ints:
        """Days since the first time, 90 at most; 0 when there was none."""
        return self.habit_ages[:, measure]

    def since(self, measure: Measure) -> Ints:
        """Days since the last time, 90 at most or when there was none."""
        return self.sinces[:, measure]

    def first_time(self, measure: Measure) -> Flags:
        """Whether a user with a history does something they never did."""
        return self.first_times[:, measure]

    def seldom(self, measure: Measure) -> Flags:
        """Whether there is some of what the user did on less than one of twenty past days."""
        flags: Flags = self.some(measure) & (self.habit(measure) < SELDOM) & self.has_history
        return flags

    @cached_property
    def odd_hours(self) -> Flags:
        """A logon or drive after hours by someone who seldom is active then; shape (users,), as all oddities."""
        seldom = (self.habit(Measure.AFTER_HOURS) < 2 * SELDOM) & self.has_history
        flags: Flags = seldom & (self.some(Measure.AFTER_HOURS_LOGONS) | self.some(Measure.AFTER_HOURS_CONNECTS))
        return flags

    @cached_property
    def odd_machine(self) -> Flags:
        """A logon on a machine hardly ever used before, by someone who seldom uses others."""
        part = self.observed.part[Kind.LOGON]
        rare = self.observed.on[part] & (self.pc_days[self.observed.pcs.of_row[part]] <= 1)
        flags: Flags = (self.any(Kind.LOGON, rare) > 0) & (self.habit(Measure.STRANGE_PC_LOGONS) < 2 * SELDOM) & self.has_history
        return flags

    @cached_property
    def odd_site(self) -> Flags:
        """A page on leak, spying or hacking sites by someone who seldom goes there."""
        return self.seldom(Measure.LEAK_PAGES) | self.seldom(Measure.SPYWARE_PAGES)

    @cached_property
    def odd_job_hunt(self) -> Flags:
        """Pages on job sites by someone who began within the last 60 days, or seldom goes there."""
        young = (self.habit_age(Measure.JOB_PAGES) <= 60) & (self.usual.header["all_days"] > 60)
        flags: Flags = self.some(Measure.JOB_PAGES) & (young | (self.habit(Measure.JOB_PAGES) < SELDOM)) & self.has_history
        return flags

    @cached_property
    def odd_mass_mail(self) -> Flags:
        """Twice as many recipients of one mail as all the mails of the user's largest day had."""
        most = self.most(self.observed.of(Kind.EMAIL), self.observed.mails.n_recipients)
        flags: Flags = (most >= MASS) & (most >= 2.0 * self.usual.header["top"][:, Measure.RECIPIENTS]) & self.has_history
        return flags

    @cached_property
    def oddities(self) -> Ints:
        """How many oddities there are."""
        total: Ints = np.sum([work(self) for _, work in _ODDITIES.values()], axis=0, dtype=np.int64)
        return total

    def any(self, kind: Kind, flags: Flags) -> Floats:
        """1 for users with an event of the kind for which the flag holds."""
        return (self.observed.count(self.observed.of(kind), flags) > 0).astype(np.float64)

    def any_pair(self, pairs: Pairs, flags: Flags) -> Flags:
        """Whether the flag holds for any of the user's pairs."""
        found = np.zeros(self.n, np.bool_)
        found[pairs.owner[flags]] = True
        return found

    def distinct(self, pairs: Pairs, flags: Flags | None = None) -> Ints:
        """How many different items the user has."""
        return np.bincount(pairs.owner if flags is None else pairs.owner[flags], minlength=self.n)

    def pages_on(self, pairs: Pairs, flags: Flags) -> Ints:
        """How many rows the flagged pairs have."""
        return np.bincount(pairs.owner, weights=pairs.often * flags, minlength=self.n).astype(np.int64)

    def share(self, kind: Kind, flags: Flags) -> Floats:
        """The share of the user's events of the kind for which the flag holds; 0 without events."""
        users = self.observed.of(kind)
        share: Floats = self.observed.count(users, flags) / np.maximum(self.observed.count(users), 1)
        return share

    def off_of(self, kind: Kind) -> Floats:
        """Most hours off the usual ones among events of a kind; logoffs do not count."""
        part = self.observed.part[kind]
        off = self.off[part] * self.observed.on[part] if kind is Kind.LOGON else self.off[part]
        return self.most(self.observed.of(kind), off)

    def events(self, kind: Kind) -> Ints:
        """How many events of a kind."""
        return self.observed.count(self.observed.of(kind))

    def some(self, measure: Measure) -> Flags:
        """Whether there is any of a measure."""
        flags: Flags = self.amounts[:, measure] > 0
        return flags

    def page_share(self, measure: Measure) -> Floats:
        """The share of a sort of pages in all pages of the window."""
        share: Floats = self.amounts[:, measure] / np.maximum(self.amounts[:, Measure.PAGES], 1)
        return share

    def page_share_more(self, measure: Measure) -> Floats:
        """By how much that share lies above the one over the profile."""
        header = self.usual.header
        more: Floats = self.page_share(measure) - header["sum"][:, measure] / np.maximum(header["sum"][:, Measure.PAGES], 1)
        return more

    def new_host_of(self, category: Category) -> Floats:
        """1 for users on a host of a category where they never were before."""
        return (self.flagged_new[:, category] > 0).astype(np.float64)

    def after_hours_on(self, category: Category) -> Floats:
        """1 for users on a host of a category after hours."""
        return (self.flagged_after[:, category] > 0).astype(np.float64)

    def most(self, users: Ints, amounts: Ints) -> Floats:
        """The largest amount of each user's rows, 0 without any."""
        top = np.zeros(self.n, np.int64)
        np.maximum.at(top, users, amounts)
        return top.astype(np.float64)


Work = Callable[[Facts], "Floats | Flags | Ints"]
_REGISTRY: dict[str, tuple[Feature, Work]] = {}


def _add(name: str, family: Family, unit: str, meaning: str, work: Work) -> None:
    _REGISTRY[name] = (Feature(name, family, unit, meaning), work)


def _with(method: Callable[[Facts, Subject], "Floats | Flags | Ints"], subject: Subject) -> Work:
    return lambda facts: method(facts, subject)


_PLURAL: Final = {Kind.LOGON: "logon and logoff events", Kind.DEVICE: "device events", Kind.FILE: "files copied",
                  Kind.EMAIL: "e-mails sent", Kind.HTTP: "pages"}  # fmt: skip
_SITES: Final = {
    "job": (Measure.JOB_PAGES, Category.JOBS, "job sites"),
    "employer": (Measure.EMPLOYER_PAGES, Category.EMPLOYER, "other employers' sites"),
    "cloud": (Measure.CLOUD_PAGES, Category.CLOUD, "file-sharing and cloud-storage sites"),
    "leak": (Measure.LEAK_PAGES, Category.LEAK, "leak and paste sites"),
    "spyware": (Measure.SPYWARE_PAGES, Category.SPYWARE, "sites about keyloggers, spying and hacking tools"),
}


def _register_volumes() -> None:
    for kind in KINDS:
        _add(f"n_{kind}", "counts", "events", f"{_PLURAL[kind]} in the window", _with(Facts.events, kind))
    volumes = {
        "logons": (Measure.LOGONS, "logons"),
        "emails": (Measure.EMAILS, "e-mails sent"),
        "pages": (Measure.PAGES, "pages"),
        "outside_mails": (Measure.OUTSIDE_MAILS, "e-mails to someone outside"),
        "mailed_kb": (Measure.MAILED_KB, "kilobytes mailed"),
        "outside_kb": (Measure.OUTSIDE_KB, "kilobytes mailed outside"),
        "outside_attachments": (Measure.OUTSIDE_ATTACHMENTS, "attachments mailed outside"),
        "recipients": (Measure.RECIPIENTS, "recipients of e-mails"),
        "after_hours": (Measure.AFTER_HOURS, "events after hours"),
        "after_hours_logons": (Measure.AFTER_HOURS_LOGONS, "logons after hours"),
        "strange_pc_logons": (Measure.STRANGE_PC_LOGONS, "logons on a machine that is not the user's main one"),
        "personal_mails": (Measure.PERSONAL_MAILS, "e-mails to private addresses outside"),
        "employer_mails": (Measure.EMPLOYER_MAILS, "e-mails to other employers"),
    }
    for name, (measure, meaning) in volumes.items():
        _add(name, "counts", "number", f"{meaning} in the window", _with(Facts.amount, measure))
        _add(f"{name}_z", "counts", "deviations", f"{meaning} against the user's own daily rate", _with(Facts.deviation, measure))
    for name, (measure, _, what) in _SITES.items():
        _add(f"{name}_pages", "counts", "pages", f"pages on {what}", _with(Facts.amount, measure))
        _add(
            f"{name}_pages_z",
            "counts",
            "deviations",
            f"pages on {what} against the user's own daily rate",
            _with(Facts.deviation, measure),
        )
    _add("hosts", "counts", "hosts", "different hosts visited", lambda f: f.distinct(f.observed.hosts))
    _add("new_hosts", "counts", "hosts", "different hosts visited for the first time",
         lambda f: f.distinct(f.observed.hosts, f.hosts_new))  # fmt: skip
    _add(
        "departed", "counts", "0 or 1", "the directory no longer lists the user", lambda f: f.people.departed if f.people else np.zeros(f.n)
    )


def _register_hours_and_machines() -> None:
    _add(
        "profile_days",
        "free",
        "days",
        "active days that the profile rests on, 60 at most",
        lambda f: np.minimum(f.usual.header["days"], 60),
    )
    _add("weekend", "free", "0 or 1", "the window begins on a Saturday or Sunday", lambda f: np.full(f.n, float((f.day + 3) % 7 >= 5)))
    _add("off_hours", "free", "hours", "most hours that an event lies off the user's usual hours", lambda f: f.most(f.observed.user, f.off))
    _add("after_hours_share", "free", "share", "share of all events more than an hour off the usual hours",
         lambda f: f.amounts[:, Measure.AFTER_HOURS] / np.maximum(f.observed.count(f.observed.user), 1))  # fmt: skip
    _add("after_hours_first", "free", "0 or 1", "active after hours for the first time", lambda f: f.first_time(Measure.AFTER_HOURS))
    _add("after_hours_habit", "free", "share", "share of past days with events after hours", lambda f: f.habit(Measure.AFTER_HOURS))
    _add("after_hours_lately", "free", "days", "days of the last 30 with events after hours", _with(Facts.lately, Measure.AFTER_HOURS))
    _add("after_hours_logon", "free", "0 or 1", "a logon after hours", lambda f: f.amounts[:, Measure.AFTER_HOURS_LOGONS] > 0)
    _add("off_hours_logon", "free", "hours", "most hours that a logon lies off the usual hours",
         lambda f: f.off_of(Kind.LOGON))  # fmt: skip
    _add("machines", "free", "machines", "different machines used", lambda f: f.distinct(f.observed.pcs))
    _add("new_machines", "free", "machines", "different machines used for the first time",
         lambda f: f.distinct(f.observed.pcs, f.pcs_new))  # fmt: skip
    _add("machines_known", "free", "machines", "machines that the profile knows", lambda f: f.usual.how_many(Dimension.PC))
    _add("strange_machine", "free", "0 or 1", "active on a machine that is not the user's main one",
         lambda f: f.observed.count(f.observed.user, f.strange_pc) > 0)  # fmt: skip
    _add(
        "rarest_machine_days",
        "free",
        "days",
        "on how many past days the machine used least was used, 30 at most",
        lambda f: f.rarest_machine,
    )
    _add("strange_machine_habit", "free", "share", "share of past days with a logon on another machine",
         lambda f: f.habit(Measure.STRANGE_PC_LOGONS))  # fmt: skip
    _add("strange_machine_after_hours", "free", "0 or 1", "active after hours on a machine that is not the main one",
         lambda f: f.observed.count(f.observed.user, f.strange_pc & f.after) > 0)  # fmt: skip


def _register_drives_and_files() -> None:
    for name, measure, what in (
        ("connects", Measure.CONNECTS, "drives connected"),
        ("files", Measure.FILES, "files copied"),
        ("risky_files", Measure.RISKY_FILES, "programs and archives copied"),
        ("after_hours_connects", Measure.AFTER_HOURS_CONNECTS, "drives connected after hours"),
    ):
        _add(name, "free", "number", f"{what} in the window", _with(Facts.amount, measure))
        _add(f"{name}_z", "free", "deviations", f"{what} against the user's own daily rate", _with(Facts.deviation, measure))
        _add(f"{name}_above_top", "free", "ratio", f"{what} against the user's largest day", _with(Facts.above_top, measure))
        _add(f"{name}_habit", "free", "share", f"share of past days with {what}", _with(Facts.habit, measure))
        _add(f"{name}_first", "free", "0 or 1", f"{what} for the first time", _with(Facts.first_time, measure))
        _add(f"{name}_age", "free", "days", f"days since the first {what}", _with(Facts.habit_age, measure))
        _add(f"{name}_since", "free", "days", f"days since the last {what}", _with(Facts.since, measure))
        _add(f"{name}_lately", "free", "days", f"days of the last 30 with {what}", _with(Facts.lately, measure))
    _add("drive_on_new_machine", "free", "0 or 1", "a drive connected to a machine where this user never used one",
         lambda f: f.any_pair(f.observed.drive_pcs, f.drive_pcs_new))  # fmt: skip
    _add("drive_on_strange_machine", "free", "0 or 1", "a drive connected to a machine that is not the main one",
         lambda f: f.any(Kind.DEVICE, f.strange_pc[f.observed.part[Kind.DEVICE]]))  # fmt: skip
    _add("off_hours_drive", "free", "hours", "most hours that a device event lies off the usual hours",
         lambda f: f.off_of(Kind.DEVICE))  # fmt: skip
    _add("new_file_types", "free", "0 or 1", "a file type never copied before", lambda f: f.any_pair(f.observed.endings, f.endings_new))
    _add(
        "file_types",
        "free",
        "types",
        "different file types copied",
        lambda f: f.distinct(f.observed.endings),
    )
    _add(
        "files_a_connect",
        "free",
        "files",
        "files copied for each drive connected",
        lambda f: f.amount(Measure.FILES) / np.maximum(f.amount(Measure.CONNECTS), 1),
    )


def _register_pages_and_mails() -> None:
    for name, (measure, category, what) in _SITES.items():
        _add(f"{name}_any", "free", "0 or 1", f"a page on {what}", _with(Facts.some, measure))
        _add(f"{name}_share", "free", "share", f"share of pages on {what}",
             _with(Facts.page_share, measure))  # fmt: skip
        _add(f"{name}_share_more", "free", "share", f"share of pages on {what} above the user's usual share",
             _with(Facts.page_share_more, measure))  # fmt: skip
        _add(f"{name}_first", "free", "0 or 1", f"on {what} for the first time", _with(Facts.first_time, measure))
        _add(f"{name}_habit", "free", "share", f"share of past days with pages on {what}", _with(Facts.habit, measure))
        _add(f"{name}_age", "free", "days", f"days since the first page on {what}", _with(Facts.habit_age, measure))
        _add(f"{name}_since", "free", "days", f"days since the last page on {what}", _with(Facts.since, measure))
        _add(f"{name}_lately", "free", "days", f"days of the last 30 with pages on {what}", _with(Facts.lately, measure))
        _add(f"{name}_new_host", "free", "0 or 1", f"a host never visited before among {what}",
             _with(Facts.new_host_of, category))  # fmt: skip
        _add(f"{name}_after_hours", "free", "0 or 1", f"a page on {what} after hours",
             _with(Facts.after_hours_on, category))  # fmt: skip
    _add(
        "new_host_share",
        "free",
        "share",
        "share of pages on hosts never visited before",
        lambda f: f.pages_on(f.observed.hosts, f.hosts_new) / np.maximum(f.amount(Measure.PAGES), 1),
    )
    _add("new_recipient_share", "free", "share", "share of recipients never written to before",
         lambda f: f.observed.count(f.observed.receivers, f.recipient_new) / np.maximum(f.amounts[:, Measure.RECIPIENTS], 1))  # fmt: skip
    _add(
        "new_mail_host",
        "free",
        "0 or 1",
        "an outside mail host never written to before",
        lambda f: f.any_pair(f.observed.mail_hosts, f.mail_hosts_new),
    )
    _add(
        "new_sender",
        "free",
        "0 or 1",
        "a mail under a sender's address never used before",
        lambda f: f.any_pair(f.observed.senders, f.senders_new),
    )
    _add(
        "most_recipients",
        "free",
        "recipients",
        "most recipients of one mail",
        lambda f: f.most(f.observed.of(Kind.EMAIL), f.observed.mails.n_recipients),
    )
    _add(
        "mass_mail",
        "free",
        "0 or 1",
        f"a mail to {MASS} recipients or more",
        lambda f: f.any(Kind.EMAIL, f.observed.mails.n_recipients >= MASS),
    )
    _add(
        "outside_share",
        "free",
        "share",
        "share of mails with a recipient outside",
        lambda f: f.share(Kind.EMAIL, f.observed.mails.has_outside),
    )
    _add("most_outside_attachments", "free", "attachments", "most attachments of one mail to someone outside",
         lambda f: f.most(f.observed.of(Kind.EMAIL), f.observed.mails.attachments * f.observed.mails.has_outside))  # fmt: skip
    _add("mail_to_own_address", "free", "0 or 1", "a mail with attachments to a private address that bears the sender's name",
         lambda f: f.any(Kind.EMAIL, f.observed.mails.has_own & (f.observed.mails.attachments > 0)))  # fmt: skip
    for name, measure, what in (
        ("own_mail", Measure.OWN_MAILS, "attachments mailed to a private address that bears the sender's name"),
        ("upload", Measure.UPLOADS, "pages for handing over files"),
    ):
        _add(f"{name}_first", "free", "0 or 1", f"{what} for the first time", _with(Facts.first_time, measure))
        _add(f"{name}_habit", "free", "share", f"share of past days with {what}", _with(Facts.habit, measure))
        _add(f"{name}_age", "free", "days", f"days since the first {what}", _with(Facts.habit_age, measure))
        _add(f"{name}_lately", "free", "days", f"days of the last 30 with {what}", _with(Facts.lately, measure))
    _add("upload_any", "free", "0 or 1", "a page for handing over files, on a site for files or leaks", _with(Facts.some, Measure.UPLOADS))
    _add("employer_mail_any", "free", "0 or 1", "a mail to another employer", lambda f: f.amounts[:, Measure.EMPLOYER_MAILS] > 0)
    _add(
        "employer_mail_first",
        "free",
        "0 or 1",
        "a mail to another employer for the first time",
        lambda f: f.first_time(Measure.EMPLOYER_MAILS),
    )
    _add(
        "employer_mail_habit",
        "free",
        "share",
        "share of past days with mails to other employers",
        lambda f: f.habit(Measure.EMPLOYER_MAILS),
    )
    _add(
        "employer_mail_lately",
        "free",
        "days",
        "days of the last 30 with mails to other employers",
        _with(Facts.lately, Measure.EMPLOYER_MAILS),
    )
    _add("employer_mail_new_recipient", "free", "0 or 1", "a recipient at another employer never written to before",
         lambda f: f.observed.count(f.observed.receivers, f.recipient_new & f.observed.mails.employer) > 0)  # fmt: skip
    _add(
        "admin",
        "free",
        "0 or 1",
        "the directory says the user administers systems",
        lambda f: f.people.admin if f.people else np.zeros(f.n),
    )
    _add(
        "manager",
        "free",
        "0 or 1",
        "the directory names the user as somebody's supervisor",
        lambda f: f.people.manager if f.people else np.zeros(f.n),
    )


def _register_oddities() -> None:
    for name, (meaning, work) in _ODDITIES.items():
        _add(name, "free", "0 or 1", meaning, work)
    _add("oddities", "free", "number", "how many of " + ", ".join(_ODDITIES), lambda f: f.oddities)


_ODDITIES: Final[dict[str, tuple[str, Callable[[Facts], Flags]]]] = {
    "odd_hours": ("a logon or drive after hours by someone who seldom is active then", lambda f: f.odd_hours),
    "odd_drive": ("a drive connected by someone who seldom uses one", lambda f: f.seldom(Measure.CONNECTS)),
    "odd_drive_hours": ("a drive connected after hours by someone who seldom does so", lambda f: f.seldom(Measure.AFTER_HOURS_CONNECTS)),
    "odd_copying": ("half as many files again as on the user's largest day", lambda f: f.above_top(Measure.FILES) >= 1.5),
    "odd_program": ("a program or archive copied by someone who seldom does so", lambda f: f.seldom(Measure.RISKY_FILES)),
    "odd_machine": ("a logon on a machine hardly ever used before, by someone who seldom uses others", lambda f: f.odd_machine),
    "odd_site": ("a page on leak, spying or hacking sites by someone who seldom goes there", lambda f: f.odd_site),
    "odd_upload": ("a page for handing over files, by someone who seldom uses one", lambda f: f.seldom(Measure.UPLOADS)),
    "odd_job_hunt": ("pages on job sites by someone who began within the last 60 days, or seldom goes there", lambda f: f.odd_job_hunt),
    "odd_own_mail": ("attachments to an own-looking private address, seldom before", lambda f: f.seldom(Measure.OWN_MAILS)),
    "odd_employer_mail": ("a mail to another employer by someone who seldom writes there", lambda f: f.seldom(Measure.EMPLOYER_MAILS)),
    "odd_mass_mail": ("twice as many recipients of one mail as on the user's largest day", lambda f: f.odd_mass_mail),
}  # fmt: skip

_register_volumes()
_register_hours_and_machines()
_register_drives_and_files()
_register_pages_and_mails()
_register_oddities()

FEATURES: Final[tuple[Feature, ...]] = tuple(feature for feature, _ in _REGISTRY.values())
NAMES: Final[tuple[str, ...]] = tuple(feature.name for feature in FEATURES)
FREE: Final[tuple[str, ...]] = tuple(feature.name for feature in FEATURES if feature.family == "free")
MEANINGS: Final[dict[str, Feature]] = {feature.name: feature for feature in FEATURES}


def names_of(track: str) -> tuple[str, ...]:
    """The features that a track may look at: all of them, or those free of the shortcut.

    Raises:
        ValueError: there is no such track.
    """
    if track not in {"all", "shortcut-free"}:
        raise ValueError(f"track must be 'all' or 'shortcut-free', not {track!r}")
    return NAMES if track == "all" else FREE


def features_of(facts: Facts) -> Floats:
    """All features, rounded to six decimals; shape (users, features), users in the order of the call, features in that of `NAMES`."""
    table = np.empty((len(_REGISTRY), facts.n), np.float64)
    for row, (_, work) in zip(table, _REGISTRY.values(), strict=True):
        row[:] = work(facts)
    # adding 0.0 turns a negative zero into an ordinary one
    rounded: Floats = np.round(table, 6).T + 0.0
    return rounded


def facts_of(observed: Observed, usual: Usual, window: int, calendar: Calendar, people: People | None) -> Facts:
    """Put together what the features of one window are worked out from; closes the finished days of `usual`."""
    day = window // calendar.spec.panes_a_day
    usual.finish_days(day)
    return Facts(observed, usual, day, calendar.spec.size_ms / DAY_MS, people)


def as_rows(features: Sequence[dict[str, float]], names: Sequence[str]) -> Floats:
    """Feature mappings as a table, 0 where one is missing; shape (len(features), len(names))."""
    return np.array([[row.get(name, 0.0) for name in names] for row in features], np.float64).reshape(len(features), len(names))
