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
import polars as pl

from stream.kinds import KINDS, Kind
from windowing.calendar import DAY_MS, Calendar
from windowing.domains import Category
from windowing.observe import MASS, Observed
from windowing.profiles import Dimension, Flags, Ints, Measure, Usual, item_keys

Floats = npt.NDArray[np.float64]
Subject = TypeVar("Subject")
Family = Literal["counts", "free"]
VERSION: Final = "1"
"""Changes when a feature is added, dropped or means something else; models are fitted to one version."""

NEVER: Final = 400.0
"""What a number of days says when there was none."""


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

    def days_of(self, users: Ints, codes: Ints, keys: npt.NDArray[np.uint64]) -> Ints:
        """On how many days of the profile the user of each row had the item of that row."""
        width = max(len(keys), 1)
        pairs, where = np.unique(users * width + codes, return_inverse=True)
        owner, code = np.divmod(pairs, width)
        days: Ints = self.usual.days_seen(self.usual.find(owner, keys[code] if len(keys) else np.empty(0, np.uint64)))[where]
        return days

    @cached_property
    def pc_days(self) -> Ints:
        """Days on which the user used this machine before, one element per event."""
        pc = self.observed.pc
        return self.days_of(self.observed.user, pc.codes, pc.keys)

    @cached_property
    def pc_new(self) -> Flags:
        """Whether the machine is new to a user who has a history, one element per event."""
        return self._new(self.pc_days, self.observed.user)

    @cached_property
    def strange_pc(self) -> Flags:
        """Whether the machine is not the user's main one, one element per event."""
        return self.observed.strange_pc(self.usual)

    @cached_property
    def drive_pc_new(self) -> Flags:
        """Whether a drive was never used by this user on that machine, one element per device event."""
        pc, users = self.observed.pc, self.observed.of(Kind.DEVICE)
        codes = pc.codes[self.observed.part[Kind.DEVICE]]
        return self._new(self.days_of(users, codes, item_keys(Dimension.DRIVE_PC, pc.values)), users)

    @cached_property
    def host_days(self) -> Ints:
        """Days on which the user went to this host before, one element per http event."""
        host = self.observed.host
        return self.days_of(self.observed.of(Kind.HTTP), host.codes, host.keys)

    @cached_property
    def host_new(self) -> Flags:
        """Whether the host is new to a user who has a history, one element per http event."""
        return self._new(self.host_days, self.observed.of(Kind.HTTP))

    @cached_property
    def receivers(self) -> Ints:
        """Whose mail it was, one element per recipient of a mail."""
        return self.observed.of(Kind.EMAIL)[self.observed.mails.mail]

    @cached_property
    def recipient_new(self) -> Flags:
        """Whether the recipient is new, one element per recipient of a mail."""
        mails = self.observed.mails
        users = self.receivers
        return self._new(self.days_of(users, mails.address.codes, mails.address.keys), users)

    @cached_property
    def mail_host_new(self) -> Flags:
        """Whether the recipient is outside and the host is new, one element per recipient of a mail."""
        mails = self.observed.mails
        users = self.receivers
        flags: Flags = self._new(self.days_of(users, mails.host.codes, mails.host.keys), users) & mails.outside
        return flags

    @cached_property
    def sender_new(self) -> Flags:
        """Whether the sender's address is new, one element per e-mail."""
        mails, users = self.observed.mails, self.observed.of(Kind.EMAIL)
        return self._new(self.days_of(users, mails.sender.codes, mails.sender.keys), users)

    @cached_property
    def ending_new(self) -> Flags:
        """Whether files of this type are new, one element per file event."""
        ending, users = self.observed.ending, self.observed.of(Kind.FILE)
        return self._new(self.days_of(users, ending.codes, ending.keys), users)

    def _new(self, days: Ints, users: Ints) -> Flags:
        flags: Flags = (days == 0) & self.has_history[users]
        return flags

    # by user ---------------------------------------------------------------------------------------------------------

    def amount(self, measure: Measure) -> Floats:
        """This window's amount of a measure; shape (users,), as all below."""
        return self.amounts[:, measure].astype(np.float64)

    def mean(self, measure: Measure) -> Floats:
        """The usual amount in a window; 0 without history."""
        days = np.maximum(self.usual.header["days"], 1)
        mean: Floats = self.usual.header["sum"][:, measure] / days * self.scale
        return mean

    def deviation(self, measure: Measure) -> Floats:
        """How many standard deviations the amount lies above the usual one; 0 without history."""
        days = np.maximum(self.usual.header["days"], 1)
        mean = self.usual.header["sum"][:, measure] / days
        variance = np.maximum(self.usual.header["squares"][:, measure] / days - mean * mean, 0) * self.scale + 0.25
        z = (self.amounts[:, measure] - mean * self.scale) / np.sqrt(variance)
        return np.where(self.has_history, np.clip(z, -50, 50), 0.0)

    def above_top(self, measure: Measure) -> Floats:
        """The amount in proportion to the largest day so far; 0 without history."""
        ratio = self.amounts[:, measure] / (self.usual.header["top"][:, measure].astype(np.int64) + 1)
        return np.where(self.has_history, np.minimum(ratio, 100.0), 0.0)

    def habit(self, measure: Measure) -> Floats:
        """The share of past active days with some of it; 0 without history."""
        share: Floats = self.usual.header["days_with"][:, measure] / np.maximum(self.usual.header["days"], 1)
        return share

    def lately(self, measure: Measure, days: int = 30) -> Floats:
        """On how many of the last 30 calendar days before the window there was some."""
        bits = self.usual.recent(self.day)[:, measure] & ((1 << (days + 1)) - 2)
        count = np.zeros(self.n, np.int64)
        for bit in range(1, days + 1):
            count += (bits >> bit) & 1
        return count.astype(np.float64)

    def habit_age(self, measure: Measure) -> Floats:
        """Days since the first time; `NEVER` when there was none."""
        first = self.usual.header["first"][:, measure].astype(np.int64)
        return np.where(first > 0, np.minimum(self.day - first, NEVER), NEVER)

    def since(self, measure: Measure) -> Floats:
        """Days since the last time; `NEVER` when there was none."""
        last = self.usual.header["last"][:, measure].astype(np.int64)
        return np.where(last > 0, np.minimum(self.day - last, NEVER), NEVER)

    def first_time(self, measure: Measure) -> Floats:
        """1 when a user with a history does something they never did."""
        flags = (self.amounts[:, measure] > 0) & (self.usual.header["days_with"][:, measure] == 0) & self.has_history
        first: Floats = flags.astype(np.float64)
        return first

    def any(self, kind: Kind, flags: Flags) -> Floats:
        """1 for users with an event of the kind for which the flag holds."""
        return (self.observed.count(self.observed.of(kind), flags) > 0).astype(np.float64)

    def any_recipient(self, flags: Flags) -> Floats:
        """1 for users with a recipient for whom the flag holds."""
        return (self.observed.count(self.receivers, flags) > 0).astype(np.float64)

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
        return self.any(Kind.HTTP, self.host_new & (self.observed.category == category))

    def after_hours_on(self, category: Category) -> Floats:
        """1 for users on a host of a category after hours."""
        return self.any(Kind.HTTP, self.after[self.observed.part[Kind.HTTP]] & (self.observed.category == category))

    def most(self, users: Ints, amounts: Ints) -> Floats:
        """The largest amount of each user's rows, 0 without any."""
        top = np.zeros(self.n, np.int64)
        np.maximum.at(top, users, amounts)
        return top.astype(np.float64)

    def distinct(self, users: Ints, codes: Ints) -> Floats:
        """How many different codes each user's rows have."""
        width = int(codes.max()) + 1 if len(codes) else 1
        return np.bincount(np.unique(users * width + codes) // width, minlength=self.n).astype(np.float64)


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
    _add("hosts", "counts", "hosts", "different hosts visited", lambda f: f.distinct(f.observed.of(Kind.HTTP), f.observed.host.codes))
    _add("new_hosts", "counts", "hosts", "different hosts visited for the first time",
         lambda f: f.distinct(f.observed.of(Kind.HTTP)[f.host_new], f.observed.host.codes[f.host_new]))  # fmt: skip
    _add(
        "departed", "counts", "0 or 1", "the directory no longer lists the user", lambda f: f.people.departed if f.people else np.zeros(f.n)
    )


def _register_hours_and_machines() -> None:
    _add("profile_days", "free", "days", "active days that the profile rests on, faded", lambda f: f.usual.header["days"])
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
    _add("machines", "free", "machines", "different machines used", lambda f: f.distinct(f.observed.user, f.observed.pc.codes))
    _add("new_machines", "free", "machines", "different machines used for the first time",
         lambda f: f.distinct(f.observed.user[f.pc_new], f.observed.pc.codes[f.pc_new]))  # fmt: skip
    _add("machines_known", "free", "machines", "machines that the profile knows", lambda f: f.usual.how_many(Dimension.PC))
    _add("strange_machine", "free", "0 or 1", "active on a machine that is not the user's main one",
         lambda f: f.observed.count(f.observed.user, f.strange_pc) > 0)  # fmt: skip
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
         lambda f: f.any(Kind.DEVICE, f.drive_pc_new))  # fmt: skip
    _add("drive_on_strange_machine", "free", "0 or 1", "a drive connected to a machine that is not the main one",
         lambda f: f.any(Kind.DEVICE, f.strange_pc[f.observed.part[Kind.DEVICE]]))  # fmt: skip
    _add("off_hours_drive", "free", "hours", "most hours that a device event lies off the usual hours",
         lambda f: f.off_of(Kind.DEVICE))  # fmt: skip
    _add("new_file_types", "free", "0 or 1", "a file type never copied before", lambda f: f.any(Kind.FILE, f.ending_new))
    _add(
        "file_types",
        "free",
        "types",
        "different file types copied",
        lambda f: f.distinct(f.observed.of(Kind.FILE), f.observed.ending.codes),
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
    _add("new_host_share", "free", "share", "share of pages on hosts never visited before", lambda f: f.share(Kind.HTTP, f.host_new))
    _add("new_recipient_share", "free", "share", "share of recipients never written to before",
         lambda f: f.observed.count(f.receivers, f.recipient_new) / np.maximum(f.amounts[:, Measure.RECIPIENTS], 1))  # fmt: skip
    _add("new_mail_host", "free", "0 or 1", "an outside mail host never written to before", lambda f: f.any_recipient(f.mail_host_new))
    _add("new_sender", "free", "0 or 1", "a mail under a sender's address never used before", lambda f: f.any(Kind.EMAIL, f.sender_new))
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
         lambda f: f.any_recipient(f.recipient_new & f.observed.mails.employer))  # fmt: skip
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


_register_volumes()
_register_hours_and_machines()
_register_drives_and_files()
_register_pages_and_mails()

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


def features_of(facts: Facts) -> pl.DataFrame:
    """All features, one row a user in the order of the call, rounded to six decimals."""
    # adding 0.0 turns a negative zero into an ordinary one
    columns = {name: np.round(np.asarray(work(facts), np.float64), 6) + 0.0 for name, (_, work) in _REGISTRY.items()}
    return pl.DataFrame(columns)


def facts_of(observed: Observed, usual: Usual, window: int, calendar: Calendar, people: People | None) -> Facts:
    """Put together what the features of one window are worked out from; closes the finished days of `usual`."""
    day = window // calendar.spec.panes_a_day
    usual.finish_days(day)
    return Facts(observed, usual, day, calendar.spec.size_ms / DAY_MS, people)


def as_rows(features: Sequence[dict[str, float]], names: Sequence[str]) -> Floats:
    """Feature mappings as a table, 0 where one is missing; shape (len(features), len(names))."""
    return np.array([[row.get(name, 0.0) for name in names] for row in features], np.float64).reshape(len(features), len(names))
