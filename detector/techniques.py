"""What the cited events amount to in ATT&CK's terms, and in traits where ATT&CK has no term. A table of rules; knows no model.

Ids are those of ATT&CK (Enterprise, v18.1). A technique is named only when a cited event shows it: a drive by a device event, a
leak site by a page. What is merely unusual (the hour, looking for a job) is a trait.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from detector.subjects import Subject, ending_of, subject_of_event
from stream.kinds import Kind
from windowing.domains import PROGRAMS

Event = Mapping[str, Any]
_MANY_FILES: Final = 10


@dataclass(frozen=True, slots=True)
class Shown:
    """What the cited events of one window show, and the window's features."""

    kinds: frozenset[Kind]
    subjects: frozenset[Subject]
    programs: bool
    files: int
    uploads: bool
    features: Mapping[str, float]

    @classmethod
    def of(cls, cited: Sequence[Event], features: Mapping[str, float]) -> "Shown":
        """Look at cited events once."""
        names = [str(event.get("filename") or "") for event in cited if event["kind"] == Kind.FILE.value]
        urls = [str(event.get("url") or "").lower() for event in cited if event["kind"] == Kind.HTTP.value]
        return cls(
            kinds=frozenset(Kind(event["kind"]) for event in cited),
            subjects=frozenset(subject_of_event(event) for event in cited),
            programs=any(ending_of(name) in PROGRAMS for name in names),
            files=len(names),
            uploads=any("upload" in url or "submit" in url for url in urls),
            features=features,
        )

    def has(self, name: str) -> bool:
        """Whether a feature of the window is above zero; features that a track does not see are not."""
        return self.features.get(name, 0.0) > 0

    @property
    def after_hours(self) -> bool:
        """Whether the window goes more than an hour beyond the user's usual hours."""
        return self.features.get("off_hours", 0.0) > 1

    @property
    def elsewhere(self) -> bool:
        """Whether a logon is cited in a window with a machine that is not the user's own."""
        return Kind.LOGON in self.kinds and self.has("strange_machine")

    @property
    def drive(self) -> bool:
        """Whether the use of a removable drive is cited."""
        return bool(self.kinds & {Kind.DEVICE, Kind.FILE})


TECHNIQUES: Final[tuple[tuple[str, str, Callable[[Shown], bool]], ...]] = (
    ("T1052.001", "data leaves on a removable drive", lambda s: s.drive and not s.programs),
    ("T1005", "files are taken from a machine", lambda s: s.files > 0 and not s.programs),
    ("T1074.001", "so many files at a time that they were put together before", lambda s: s.files >= _MANY_FILES and not s.programs),
    ("T1091", "a program goes from machine to machine on a drive", lambda s: s.programs),
    ("T1567", "pages of a leak site", lambda s: Subject.LEAK in s.subjects),
    ("T1567.002", "something is handed over to cloud storage", lambda s: Subject.CLOUD in s.subjects and s.uploads),
    ("T1056.001", "keyloggers are looked for", lambda s: Subject.SPYWARE in s.subjects),
    ("T1105", "a tool is fetched from outside", lambda s: Subject.SPYWARE in s.subjects),
    ("T1078", "a valid account at an unusual hour or machine", lambda s: Kind.LOGON in s.kinds and (s.after_hours or s.elsewhere)),
    ("T1048.003", "files are mailed to an own private address", lambda s: Subject.OWN_MAIL in s.subjects),
    ("T1114", "mail and its attachments are collected", lambda s: Subject.OWN_MAIL in s.subjects),
    ("T1039", "files come from machines of others", lambda s: s.has("strange_machine") and Subject.OWN_MAIL in s.subjects),
    ("T1534", "a mail to very many people in the house", lambda s: Subject.MASS_MAIL in s.subjects),
)
"""Technique, why, and when."""

TRAITS: Final[tuple[tuple[str, Callable[[Shown], bool]], ...]] = (
    ("after_hours", lambda s: s.after_hours),
    ("unusual_machine", lambda s: s.elsewhere or (s.has("strange_machine") and s.drive)),
    ("removable_drive", lambda s: s.drive),
    ("first_drive_use", lambda s: s.drive and s.has("connects_first")),
    ("job_hunting", lambda s: Subject.JOBS in s.subjects or Subject.EMPLOYER_MAIL in s.subjects),
    ("leak_site", lambda s: Subject.LEAK in s.subjects),
    ("spying_tools", lambda s: Subject.SPYWARE in s.subjects or s.programs),
    ("cloud_storage", lambda s: Subject.CLOUD in s.subjects),
    ("mail_to_own_address", lambda s: Subject.OWN_MAIL in s.subjects),
    ("mass_mail", lambda s: Subject.MASS_MAIL in s.subjects),
)


def techniques_of(shown: Shown) -> tuple[str, ...]:
    """ATT&CK ids of what is cited, in the table's order."""
    return tuple(technique for technique, _, holds in TECHNIQUES if holds(shown))


def traits_of(shown: Shown) -> tuple[str, ...]:
    """What is telling about it but no technique."""
    return tuple(trait for trait, holds in TRAITS if holds(shown))


def every_technique() -> Iterable[str]:
    """All ids that the table can give."""
    return (technique for technique, _, _ in TECHNIQUES)
