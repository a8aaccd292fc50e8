"""A verdict's reason in plain words: what is unusual, and against what. Knows features and contributions, no event's text.

A sentence takes its numbers from the window's features and compares them with the user's own past and with peers of the same role.
Nothing that a user wrote gets into it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from detector.peers import PREFIX
from detector.subjects import Subject

MOST_CLAUSES: Final = 4
_FEW_DAYS: Final = 5
_RARE_BITS: Final = 4.0  # one window in sixteen
Numbers = Mapping[str, float]
NOTHING_UNUSUAL: Final = "Nothing in it is unusual enough against the user's own past and the people in the same role."


def _number(features: Numbers, name: str) -> float:
    return features.get(name, 0.0)


def _many(count: float, one: str, several: str) -> str:
    return f"{count:.0f} {one if round(count) == 1 else several}"


def _usual(features: Numbers, name: str, largest: str | None = None) -> str:
    """Against what: the user's own past with a measure, by its `_first`, `_habit` and `_above_top` features."""
    days = _number(features, "profile_days")
    if days < _FEW_DAYS:
        return "too few days of this user are known to compare with"
    habit = _number(features, f"{name}_habit")
    if _number(features, f"{name}_first") or habit == 0:
        return "never before"
    share = "less than 1 %" if habit < 0.01 else f"{habit:.0%}".replace("%", " %")
    usual = f"on {share} of earlier days"
    if habit < 0.5:
        usual = f"on a usual day none, {usual} some"
    if largest is not None and (above := _number(features, f"{name}_above_top")) > 0:
        usual += f", {max(_number(features, largest) / above - 1, 0):.0f} at most"
    return usual


def _hours(f: Numbers) -> str | None:
    off = _number(f, "off_hours")
    if off <= 1:
        return None
    what = "a logon" if _number(f, "off_hours_logon") > 1 else "activity"
    when = "on a day off" if off >= 12 else f"{off:.0f} hours off the usual hours"
    return f"{what} {when} ({_usual(f, 'after_hours')})"


def _machine(f: Numbers) -> str | None:
    if _number(f, "new_machines") > 0:
        known = f"(known so far: {_number(f, 'machines_known'):.0f})"
        return f"{_many(_number(f, 'new_machines'), 'machine', 'machines')} used for the first time {known}"
    if not _number(f, "strange_machine"):
        return None
    return f"a machine that is not the user's own ({_usual(f, 'strange_machine')})"


def _drive(f: Numbers) -> str | None:
    if (late := _number(f, "after_hours_connects")) > 0:
        usual = _usual(f, "after_hours_connects", "after_hours_connects")
        return f"a removable drive connected {_many(late, 'time', 'times')} after hours ({usual})"
    times = _number(f, "connects")
    return f"a removable drive connected {_many(times, 'time', 'times')} ({_usual(f, 'connects', 'connects')})" if times else None


def _files(f: Numbers) -> str | None:
    count = _number(f, "files")
    return f"{_many(count, 'file', 'files')} copied to a removable drive ({_usual(f, 'files', 'files')})" if count else None


def _programs(f: Numbers) -> str | None:
    count = _number(f, "risky_files")
    what = _many(count, "program or archive", "programs or archives")
    return f"{what} copied to a removable drive ({_usual(f, 'risky_files', 'risky_files')})" if count else None


def _sites(name: str, what: str) -> "Callable[[Numbers], str | None]":
    def clause(f: Numbers) -> str | None:
        if not _number(f, f"{name}_any"):
            return None
        late = " after hours" if _number(f, f"{name}_after_hours") else ""
        return f"visits to {what}{late} ({_usual(f, name)})"

    return clause


def _jobs(f: Numbers) -> str | None:
    return _sites("job", "job sites")(f) or _sites("employer", "other employers' sites")(f)


def _cloud(f: Numbers) -> str | None:
    if _number(f, "upload_any"):
        return f"files handed over on file-sharing sites ({_usual(f, 'upload')})"
    return _sites("cloud", "file-sharing and cloud-storage sites")(f)


def _own_mail(f: Numbers) -> str | None:
    if not _number(f, "mail_to_own_address"):
        return None
    return f"attachments mailed to a private address that bears the user's name ({_usual(f, 'own_mail')})"


def _employer_mail(f: Numbers) -> str | None:
    return f"mail to another employer ({_usual(f, 'employer_mail')})" if _number(f, "employer_mail_any") else None


def _mass_mail(f: Numbers) -> str | None:
    most = _number(f, "most_recipients")
    if most < 10:
        return None
    return f"one mail to {most:.0f} recipients" + (" under a sender's address never used before" if _number(f, "new_sender") else "")


def _mail(f: Numbers) -> str | None:
    most = _number(f, "most_outside_attachments")
    share = _number(f, "new_recipient_share")
    if most:
        new = f", {share:.0%}".replace("%", " %") + " of recipients never written to before" if share > 0 else ""
        return f"{_many(most, 'attachment', 'attachments')} in one mail to someone outside{new}"
    return None


def _pages(f: Numbers) -> str | None:
    z = _number(f, "pages_z")
    if z >= 2:
        return f"{_number(f, 'pages'):.0f} pages, {z:.1f} deviations above the user's own daily rate"
    share = _number(f, "new_host_share")
    return f"{share:.0%}".replace("%", " %") + " of pages on hosts never visited before" if share >= 0.05 else None


_CLAUSES: Final[Mapping[Subject, Callable[[Numbers], str | None]]] = {
    Subject.HOURS: _hours,
    Subject.MACHINE: _machine,
    Subject.DRIVE: _drive,
    Subject.FILES: _files,
    Subject.PROGRAMS: _programs,
    Subject.JOBS: _jobs,
    Subject.CLOUD: _cloud,
    Subject.LEAK: _sites("leak", "leak and paste sites"),
    Subject.SPYWARE: _sites("spyware", "sites about keyloggers, spying and hacking tools"),
    Subject.OWN_MAIL: _own_mail,
    Subject.EMPLOYER_MAIL: _employer_mail,
    Subject.MASS_MAIL: _mass_mail,
    Subject.MAIL: _mail,
    Subject.PAGES: _pages,
}
_PEER_WORDS: Final[Mapping[str, str]] = {
    "off_hours": "such hours",
    "after_hours_share": "so much after hours",
    "machines": "so many machines",
    "new_machines": "so many new machines",
    "connects": "so many drives connected",
    "files": "so many files copied",
    "risky_files": "so many programs copied",
    "after_hours_connects": "so many drives after hours",
    "job_share": "so much on job sites",
    "employer_share": "so much on employers' sites",
    "cloud_share": "so much on cloud storage",
    "leak_any": "leak sites",
    "spyware_any": "such tools' sites",
    "upload_any": "files handed over",
    "most_recipients": "so many recipients",
    "most_outside_attachments": "so many attachments",
    "mail_to_own_address": "mail to own addresses",
    "employer_mail_any": "mail to employers",
}


def reason_of(features: Numbers, contributions: Sequence[float], cited: frozenset[Subject], peers: Numbers, *, known_role: bool) -> str:
    """What is unusual in a window, the weightiest first.

    Args:
        features: of the window, those alone that the track may see.
        contributions: to the score by subject.
        cited: subjects of the cited events; they are named before others of the same sign.
        peers: surprise in bits by peer column.
        known_role: whether the peers are those of the user's role, or everybody.
    """
    weight = {subject: contributions[subject] + (1.0 if subject in cited else 0.0) for subject in _CLAUSES}
    clauses = []
    for subject in sorted(_CLAUSES, key=lambda each: (-weight[each], each)):
        if weight[subject] > 0 and (clause := _CLAUSES[subject](features)) is not None:
            clauses.append(clause)
        if len(clauses) == MOST_CLAUSES:
            break
    if not clauses:
        return "No single thing stands out, but together they resemble what insiders did" + _among(peers, known_role=known_role) + "."
    text = "; ".join(clauses) + _among(peers, known_role=known_role)
    return text[0].upper() + text[1:] + "."


def _among(peers: Numbers, *, known_role: bool) -> str:
    """The rarest thing among peers, if it is rare."""
    known = {name.removeprefix(PREFIX): bits for name, bits in peers.items() if name.removeprefix(PREFIX) in _PEER_WORDS}
    name = max(known, key=lambda each: (known[each], each), default=None)
    if name is None or known[name] < _RARE_BITS:
        return ""
    whom = "people in the same role" if known_role else "all people"
    return f"; among {whom}, {_PEER_WORDS[name]} on at most 1 day in {2 ** known[name]:.0f}"
