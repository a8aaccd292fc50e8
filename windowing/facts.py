"""What is known of a window when its features are worked out: its events, what is usual, the directory, and what they say together.

One `Facts` is about many users at once; each fact is worked out when it is first asked for. Knows no feature by name, no label and
no other user: what it says of a user depends on that user's events and profile and on the directory.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from stream.kinds import Kind
from windowing.calendar import DAY_MS, Calendar
from windowing.domains import Category
from windowing.observe import MASS, Observed, Pairs
from windowing.profiles import Flags, Ints, Measure, Usual

Floats = npt.NDArray[np.float64]
SELDOM: Final = 0.05
LONG: Final = 90
"""Numbers of days stop here: an old habit is old, and more would tell the date. No last time counts as long ago."""


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
        return self.observed.measured(self.after, self.strange_pc)

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


def facts_of(observed: Observed, usual: Usual, window: int, calendar: Calendar, people: People | None) -> Facts:
    """Put together what the features of one window are worked out from; closes the finished days of `usual`."""
    day = window // calendar.spec.panes_a_day
    usual.finish_days(day)
    return Facts(observed, usual, day, calendar.spec.size_ms / DAY_MS, people)
