"""What a feature and an event are about: the few subjects in which a day can be odd. Knows no model and no words for people.

Contributions of features and events of a window meet in these: that files were copied is what `files_z` says and what each file
event shows.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

import numpy as np

from detector.peers import PREFIX
from detector.trees import Ints
from stream.kinds import Kind
from windowing.domains import ARCHIVES, PROGRAMS, Category, category_of_host, category_of_words, is_personal


class Subject(IntEnum):
    """In what a day can be odd. The order is that of contribution vectors."""

    HOURS = 0
    MACHINE = 1
    DRIVE = 2
    FILES = 3
    PROGRAMS = 4
    JOBS = 5
    CLOUD = 6
    LEAK = 7
    SPYWARE = 8
    OWN_MAIL = 9
    EMPLOYER_MAIL = 10
    MASS_MAIL = 11
    MAIL = 12
    PAGES = 13
    LOGONS = 14
    PERSON = 15


_BY_NAME: Final[tuple[tuple[str, Subject], ...]] = (
    # the first part that a feature's name holds decides
    ("profile", Subject.PERSON), ("risky_file", Subject.PROGRAMS), ("odd_program", Subject.PROGRAMS), ("program", Subject.PROGRAMS),
    ("employer_mail", Subject.EMPLOYER_MAIL), ("own_mail", Subject.OWN_MAIL), ("mail_to_own", Subject.OWN_MAIL),
    ("own_address", Subject.OWN_MAIL), ("odd_site", Subject.LEAK), ("leak", Subject.LEAK), ("spyware", Subject.SPYWARE),
    ("cloud", Subject.CLOUD), ("upload", Subject.CLOUD), ("job", Subject.JOBS), ("employer", Subject.JOBS),
    ("mass_mail", Subject.MASS_MAIL),
    ("most_recipients", Subject.MASS_MAIL), ("new_sender", Subject.MASS_MAIL), ("drive", Subject.DRIVE), ("connects", Subject.DRIVE),
    ("n_device", Subject.DRIVE), ("file", Subject.FILES), ("copying", Subject.FILES), ("machine", Subject.MACHINE),
    ("strange_pc", Subject.MACHINE), ("after_hours", Subject.HOURS), ("off_hours", Subject.HOURS), ("odd_hours", Subject.HOURS),
    ("weekend", Subject.HOURS), ("mail", Subject.MAIL), ("recipient", Subject.MAIL), ("outside", Subject.MAIL), ("sender", Subject.MAIL),
    ("page", Subject.PAGES), ("host", Subject.PAGES), ("http", Subject.PAGES), ("logon", Subject.LOGONS),
)  # fmt: skip


@lru_cache(maxsize=2048)
def subject_of_feature(name: str) -> Subject:
    """What a feature or peer column is about; `PERSON` when it is about who somebody is.

    >>> subject_of_feature("files_above_top").name, subject_of_feature("peers_off_hours").name, subject_of_feature("admin").name
    ('FILES', 'HOURS', 'PERSON')
    """
    plain = name.removeprefix(PREFIX)
    return next((subject for part, subject in _BY_NAME if part in plain), Subject.PERSON)


def subjects_of(columns: Sequence[str]) -> Ints:
    """The subject's number of each column, shape (columns,)."""
    return np.array([int(subject_of_feature(name)) for name in columns], np.int64)


_BY_CATEGORY: Final[Mapping[Category, Subject]] = {
    Category.CLOUD: Subject.CLOUD,
    Category.EMPLOYER: Subject.JOBS,
    Category.JOBS: Subject.JOBS,
    Category.LEAK: Subject.LEAK,
    Category.SPYWARE: Subject.SPYWARE,
}
MASS: Final = 10


@lru_cache(maxsize=65_536)
def category_of_url(url: str) -> Category:
    """What a page is for, by its host and then by words in its address."""
    return max(category_of_host(host_of_url(url)), category_of_words(url))


@lru_cache(maxsize=65_536)
def host_of_url(url: str) -> str:
    """The host of an address, lower case, without `www.`.

    >>> host_of_url("http://www.Example.org:80/a?b")
    'example.org'
    """
    rest = url.partition("://")[2] or url
    host = rest.replace("?", "/").replace("#", "/").partition("/")[0].rpartition("@")[2].partition(":")[0]
    return host.lower().removeprefix("www.")


def ending_of(filename: str) -> str:
    """The ending of a file's name, lower case, without the dot.

    >>> ending_of("R:/A/report.final.PDF")
    'pdf'
    """
    name = filename.replace("\\", "/").rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name else ""


def is_program(filename: str) -> bool:
    """Whether a file is a program or an archive."""
    ending = ending_of(filename)
    return ending in PROGRAMS or ending in ARCHIVES


@lru_cache(maxsize=65_536)
def addresses(joined: str) -> tuple[str, ...]:
    """Addresses of a semicolon-joined list, lower case."""
    return tuple(part.strip().lower() for part in joined.split(";") if part.strip())


def recipients_of(event: Mapping[str, Any]) -> tuple[str, ...]:
    """Everybody a mail goes to."""
    return tuple(address for field in ("to", "cc", "bcc") for address in addresses(str(event.get(field) or "")))


@lru_cache(maxsize=65_536)
def _names(address: str) -> frozenset[str]:
    local = address.rpartition("@")[0]
    return frozenset(name for name in "".join(letter if letter.isalpha() else " " for letter in local).split() if len(name) >= 4)


@lru_cache(maxsize=65_536)
def _is_private(host: str) -> bool:
    return is_personal(host)


def is_own_address(sender: str, address: str) -> bool:
    """Whether a private recipient's name shares a name with the sender's."""
    return _is_private(address.rpartition("@")[2]) and not _names(sender).isdisjoint(_names(address))


def is_outside(sender: str, address: str) -> bool:
    """Whether a recipient is not of the sender's house."""
    host = address.rpartition("@")[2]
    return _is_private(host) if _is_private(sender.rpartition("@")[2]) else host != sender.rpartition("@")[2]


def is_employer(address: str) -> bool:
    """Whether an address is at another employer's or a job site."""
    return category_of_host(address.rpartition("@")[2]) in (Category.EMPLOYER, Category.JOBS)


def subject_of_event(event: Mapping[str, Any]) -> Subject:
    """What an event is about, whenever and wherever it happened."""
    match Kind(event["kind"]):
        case Kind.DEVICE:
            return Subject.DRIVE
        case Kind.FILE:
            return Subject.PROGRAMS if is_program(str(event.get("filename") or "")) else Subject.FILES
        case Kind.HTTP:
            return _BY_CATEGORY.get(category_of_url(str(event.get("url") or "")), Subject.PAGES)
        case Kind.EMAIL:
            return _subject_of_mail(event)
        case _:
            return Subject.LOGONS


def _subject_of_mail(event: Mapping[str, Any]) -> Subject:
    sender, receivers = str(event.get("from") or "").lower(), recipients_of(event)
    if event.get("attachments") and any(is_own_address(sender, address) for address in receivers):
        return Subject.OWN_MAIL
    if any(is_employer(address) for address in receivers):
        return Subject.EMPLOYER_MAIL
    return Subject.MASS_MAIL if len(receivers) >= MASS else Subject.MAIL
