"""The numbers that describe a window: one registry with each feature's family, unit and meaning, and how it is worked out.

Two families. `counts` are volumes: how many events, pages, mails, bytes, distinct hosts, and whatever is a sum over them, with
their deviations from the user's own rate, and departures. `free` are free of that shortcut: novelty, oddness and shares, the use
of drives and files, the machines used. A detector of the shortcut-free track sees only `free`.

Knows no label, no model and no other user: a user's row depends on that user's events and profile and on the directory.
Sums are over whole numbers; one division comes after.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np

from stream.kinds import KINDS, Kind
from windowing.domains import Category
from windowing.facts import Facts, Floats
from windowing.observe import MASS
from windowing.profiles import Dimension, Flags, Ints, Measure

Family = Literal["counts", "free"]
Subject = TypeVar("Subject")
VERSION: Final = "1"
"""Changes when a feature is added, dropped or means something else; models are fitted to one version."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One number of a window: its name, the family it belongs to, its unit, and what it means."""

    name: str
    family: Family
    unit: str
    meaning: str


Work = Callable[[Facts], "Floats | Flags | Ints"]
_REGISTRY: dict[str, tuple[Feature, Work]] = {}


def _add(name: str, family: Family, unit: str, meaning: str, work: Work) -> None:
    _REGISTRY[name] = (Feature(name, family, unit, meaning), work)


def _with(method: Callable[[Facts, Subject], "Floats | Flags | Ints"], subject: Subject) -> Work:
    return lambda facts: method(facts, subject)


@dataclass(frozen=True, slots=True)
class _Of:
    """A column of one of the tables of `Facts` that hold all measures; columns of one table are taken together."""

    table: str
    measure: Measure

    def __call__(self, facts: Facts) -> "Floats | Flags | Ints":
        column: Floats | Flags | Ints = getattr(facts, self.table)[:, self.measure]
        return column


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
        _add(name, "counts", "number", f"{meaning} in the window", _Of("amounts", measure))
        _add(f"{name}_z", "counts", "deviations", f"{meaning} against the user's own daily rate", _Of("deviations", measure))
    for name, (measure, _, what) in _SITES.items():
        _add(f"{name}_pages", "counts", "pages", f"pages on {what}", _Of("amounts", measure))
        _add(
            f"{name}_pages_z",
            "counts",
            "deviations",
            f"pages on {what} against the user's own daily rate",
            _Of("deviations", measure),
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
    _add("after_hours_lately", "free", "days", "days of the last 30 with events after hours", _Of("latelies", Measure.AFTER_HOURS))
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
        _add(name, "free", "number", f"{what} in the window", _Of("amounts", measure))
        _add(f"{name}_z", "free", "deviations", f"{what} against the user's own daily rate", _Of("deviations", measure))
        _add(f"{name}_above_top", "free", "ratio", f"{what} against the user's largest day", _Of("above_tops", measure))
        _add(f"{name}_habit", "free", "share", f"share of past days with {what}", _Of("habits", measure))
        _add(f"{name}_first", "free", "0 or 1", f"{what} for the first time", _Of("first_times", measure))
        _add(f"{name}_age", "free", "days", f"days since the first {what}", _Of("habit_ages", measure))
        _add(f"{name}_since", "free", "days", f"days since the last {what}", _Of("sinces", measure))
        _add(f"{name}_lately", "free", "days", f"days of the last 30 with {what}", _Of("latelies", measure))
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
        _add(f"{name}_first", "free", "0 or 1", f"on {what} for the first time", _Of("first_times", measure))
        _add(f"{name}_habit", "free", "share", f"share of past days with pages on {what}", _Of("habits", measure))
        _add(f"{name}_age", "free", "days", f"days since the first page on {what}", _Of("habit_ages", measure))
        _add(f"{name}_since", "free", "days", f"days since the last page on {what}", _Of("sinces", measure))
        _add(f"{name}_lately", "free", "days", f"days of the last 30 with pages on {what}", _Of("latelies", measure))
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
        _add(f"{name}_first", "free", "0 or 1", f"{what} for the first time", _Of("first_times", measure))
        _add(f"{name}_habit", "free", "share", f"share of past days with {what}", _Of("habits", measure))
        _add(f"{name}_age", "free", "days", f"days since the first {what}", _Of("habit_ages", measure))
        _add(f"{name}_lately", "free", "days", f"days of the last 30 with {what}", _Of("latelies", measure))
    _add("upload_any", "free", "0 or 1", "a page for handing over files, on a site for files or leaks", lambda f: f.some(Measure.UPLOADS))
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
        _Of("latelies", Measure.EMPLOYER_MAILS),
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
    _add("oddities", "free", "number", "how many of " + ", ".join(_ODDITIES), _oddities)


def _oddities(facts: Facts) -> Ints:
    total: Ints = np.sum([work(facts) for _, work in _ODDITIES.values()], axis=0, dtype=np.int64)
    return total


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
_WORKS: Final = tuple(enumerate(work for _, work in _REGISTRY.values()))
_OTHERS: Final = tuple((row, work) for row, work in _WORKS if not isinstance(work, _Of))
_TABLES: Final = {
    name: ([row for row, work in _WORKS if isinstance(work, _Of) and work.table == name],
           [work.measure for _, work in _WORKS if isinstance(work, _Of) and work.table == name])
    for name in sorted({work.table for _, work in _WORKS if isinstance(work, _Of)})
}  # fmt: skip


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
    for name, (rows, measures) in _TABLES.items():
        table[rows] = getattr(facts, name).T[measures]
    for row, work in _OTHERS:
        table[row] = work(facts)
    # adding 0.0 turns a negative zero into an ordinary one
    rounded = np.empty((facts.n, len(_REGISTRY)), np.float64)
    np.add(np.round(table, 6).T, 0.0, out=rounded)
    return rounded


def as_rows(features: Sequence[dict[str, float]], names: Sequence[str]) -> Floats:
    """Feature mappings as a table, 0 where one is missing; shape (len(features), len(names))."""
    return np.array([[row.get(name, 0.0) for name in names] for row in features], np.float64).reshape(len(features), len(names))
