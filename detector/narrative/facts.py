"""What a window's features say of it in plain words, the most telling first. Knows no event, no text of a user's and no model.

A small language model reads words better than numbers: how often somebody did a thing before becomes `never before`, `seldom` or
`usual`, and every statement carries its own comparison. The words are the same in prompts, in lessons and in answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from windowing.features import names_of
from windowing.record import Window

_FEW_DAYS: Final = 5
_HABITS: Final = (
    (0.02, "hardly ever before", 1.6),
    (0.1, "seldom before", 1.3),
    (0.3, "sometimes before", 0.7),
    (0.7, "often before", 0.3),
)
_HIGH: Final = 2.0
_SUMMARY: Final = 9.0
_TELLING_SITES: Final = ("leak", "spyware")
NOTHING: Final = "nothing unusual"
Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement about a window, and how telling it is (0 for what somebody always does)."""

    text: str
    weight: float


def facts_of(window: Window, track: str) -> tuple[Fact, ...]:
    """Statements about a window from the features that `track` may see, the most telling first."""
    allowed = frozenset(names_of(track))
    features = {name: number for name, number in window.features.items() if name in allowed}
    made = [fact for work in _WORK for fact in [work(features)] if fact is not None]
    if track == "all":
        made += _volumes(features)
    return tuple(sorted(made, key=lambda fact: -fact.weight))


def known(window: Window) -> str:
    """How well the profile knows the user, in words."""
    days = window.features.get("profile_days", 0.0)
    if days < _FEW_DAYS:
        return "hardly known"
    return "known for a few weeks" if days < 20 else "well known"


def reason_from(facts: tuple[Fact, ...], most: int = 2) -> str:
    """The most telling statements as one reason."""
    told = [fact.text for fact in facts if fact.weight < _SUMMARY]
    return "; ".join(told[:most]) or NOTHING


def _get(features: Numbers, name: str) -> float:
    return features.get(name, 0.0)


def _habit(features: Numbers, name: str) -> tuple[str, float]:
    """In words how often something happened on earlier days, and how telling that is."""
    if _get(features, "profile_days") < _FEW_DAYS:
        return "few days to compare", 0.8
    habit = _get(features, f"{name}_habit")
    if _get(features, f"{name}_first") or habit == 0:
        return "never before", 1.8
    return next(((words, weight) for limit, words, weight in _HABITS if habit < limit), ("usual", 0.1))


def _began(features: Numbers, name: str) -> str:
    """When something began, if that was not long ago."""
    age = _get(features, f"{name}_age")
    if _get(features, f"{name}_first") or age <= 0 or _get(features, "profile_days") < _FEW_DAYS:
        return ""
    if age <= 7:
        return ", began this week"
    return ", began this month" if age <= 30 else ""


def _most(features: Numbers, name: str) -> tuple[str, float]:
    """How an amount compares with the user's largest day."""
    above = _get(features, f"{name}_above_top")
    if above >= 1.5:
        return ", far above the most so far", 0.8
    return (", above the most so far", 0.4) if above > 1 else ("", 0.0)


def _times(number: float) -> str:
    return "once" if number <= 1 else f"{number:.0f} times"


def _fact(what: str, comparison: tuple[str, float], more: str = "", extra: float = 0.0, odd: float = 0.0) -> Fact:
    words, weight = comparison
    mark = " (odd)" if odd > 0 else ""
    return Fact(f"{what}, {words}{more}{mark}", round(weight + extra + (1.0 if odd > 0 else 0.0), 6))


def _hours(f: Numbers) -> Fact | None:
    off = _get(f, "off_hours")
    if off <= 1:
        return None
    logon = _get(f, "off_hours_logon") > 1
    when = "on a day off" if off >= 12 else "far off hours" if off >= 3 else "off hours"
    return _fact(
        f"{'logon' if logon else 'activity'} {when}", _habit(f, "after_hours"), extra=0.2 if off >= 3 else 0.0, odd=_get(f, "odd_hours")
    )


def _machine(f: Numbers) -> Fact | None:
    if _get(f, "new_machines") > 0:
        several = "several new machines" if _get(f, "new_machines") > 1 else "a new machine"
        late = " off hours" if _get(f, "strange_machine_after_hours") else ""
        return _fact(f"logon on {several}{late}", _habit(f, "strange_machine"), extra=0.3, odd=_get(f, "odd_machine"))
    if not _get(f, "strange_machine"):
        return None
    rare = "a machine hardly ever used" if _get(f, "rarest_machine_days") <= 2 else "another machine"
    return _fact(f"logon on {rare}", _habit(f, "strange_machine"), odd=_get(f, "odd_machine"))


def _drive(f: Numbers) -> Fact | None:
    times = _get(f, "connects")
    if not times:
        return None
    where = ""
    if _get(f, "drive_on_new_machine"):
        where = " at a machine new to drives"
    words, extra = _most(f, "connects")
    return _fact(
        f"drive connected {_times(times)}{where}", _habit(f, "connects"), _began(f, "connects") + words, extra, _get(f, "odd_drive")
    )


def _drive_late(f: Numbers) -> Fact | None:
    if not _get(f, "after_hours_connects"):
        return None
    return _fact(
        "drive connected off hours", _habit(f, "after_hours_connects"), _began(f, "after_hours_connects"), 0.3, _get(f, "odd_drive_hours")
    )


def _files(f: Numbers) -> Fact | None:
    count = _get(f, "files")
    if not count:
        return None
    words, extra = _most(f, "files")
    many = "one file" if count <= 1 else "a few files" if count <= 4 else "many files" if count <= 20 else "very many files"
    return _fact(f"{many} copied to a drive", _habit(f, "files"), _began(f, "files") + words, extra, _get(f, "odd_copying"))


def _programs(f: Numbers) -> Fact | None:
    if not _get(f, "risky_files"):
        return None
    words, extra = _most(f, "risky_files")
    return _fact("programs or archives copied to a drive", _habit(f, "risky_files"), words, extra, _get(f, "odd_program"))


def _sites(name: str, what: str, odd: str) -> Callable[[Numbers], Fact | None]:
    def work(f: Numbers) -> Fact | None:
        if not _get(f, f"{name}_any"):
            return None
        more = _began(f, name)
        if _get(f, f"{name}_lately") >= 8 and more:
            more += ", again and again"
        if _get(f, f"{name}_share") >= 0.2:
            more += ", much of all pages"
        late = " off hours" if _get(f, f"{name}_after_hours") else ""
        flagged = _get(f, odd) if odd else 0.0
        # a page on leak or spying sites is telling by itself; whether it is odd for this user is what the flag says
        return _fact(f"{what} visited{late}", _habit(f, name), more, 0.2 if name in _TELLING_SITES else 0.0, flagged)

    return work


def _upload(f: Numbers) -> Fact | None:
    if not _get(f, "upload_any"):
        return None
    return _fact("upload pages opened", _habit(f, "upload"), _began(f, "upload"), 0.2, _get(f, "odd_upload"))


def _own_mail(f: Numbers) -> Fact | None:
    if not _get(f, "mail_to_own_address"):
        return None
    return _fact("attachments mailed to an own private address", _habit(f, "own_mail"), _began(f, "own_mail"), 0.3, _get(f, "odd_own_mail"))


def _employer_mail(f: Numbers) -> Fact | None:
    if not _get(f, "employer_mail_any"):
        return None
    new = " at a new recipient" if _get(f, "employer_mail_new_recipient") else ""
    return _fact(f"mail to another employer{new}", _habit(f, "employer_mail"), "", 0.2, _get(f, "odd_employer_mail"))


def _mass_mail(f: Numbers) -> Fact | None:
    if _get(f, "most_recipients") < 10:
        return None
    return _fact(
        "mail to very many recipients",
        ("more than usual", 0.8) if _get(f, "odd_mass_mail") else ("as before", 0.2),
        odd=_get(f, "odd_mass_mail"),
    )


def _sender(f: Numbers) -> Fact | None:
    return Fact("mail under a sender's address never used before", 1.2) if _get(f, "new_sender") else None


def _attachments(f: Numbers) -> Fact | None:
    most = _get(f, "most_outside_attachments")
    return Fact("mail outside with many attachments", 0.5) if most >= 4 else None


def _admin(f: Numbers) -> Fact | None:
    return Fact("administers systems", 0.4) if _get(f, "admin") else None


def _oddities(f: Numbers) -> Fact | None:
    number = _get(f, "oddities")
    if not number:
        return None
    words = "one odd thing" if number <= 1 else "two odd things" if number <= 2 else "several odd things"
    return Fact(words, _SUMMARY)


_VOLUMES: Final = {
    "pages_z": "pages", "logons_z": "logons", "emails_z": "mails", "outside_mails_z": "mails outside",
    "outside_attachments_z": "attachments outside",
    "outside_kb_z": "kilobytes mailed outside", "job_pages_z": "pages on job sites",
    "employer_pages_z": "pages on employers' sites",
    "cloud_pages_z": "pages on cloud storage", "leak_pages_z": "pages on leak sites",
    "spyware_pages_z": "pages on spying tools",
    "after_hours_z": "events off hours", "employer_mails_z": "mails to employers",
}  # fmt: skip


def _volumes(f: Numbers) -> list[Fact]:
    made = [Fact(f"{what} far above the own rate", 0.5) for name, what in _VOLUMES.items() if _get(f, name) >= _HIGH]
    return [*made, Fact("no longer in the directory", 1.0)] if _get(f, "departed") else made


_WORK: Final[tuple[Callable[[Numbers], Fact | None], ...]] = (
    _oddities, _hours, _machine, _drive, _drive_late, _files, _programs,
    _sites("job", "job sites", "odd_job_hunt"), _sites("employer", "other employers' sites", ""), _sites("cloud", "cloud storage", ""),
    _sites("leak", "leak sites", "odd_site"), _sites("spyware", "sites on spying tools", "odd_site"),
    _upload, _own_mail, _employer_mail, _mass_mail, _sender, _attachments, _admin,
)  # fmt: skip
