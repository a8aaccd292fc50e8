"""Examples for models without an adapter: made-up days with their answers. Fixed, so that a prompt is the same in every run.

Nobody's data went into them. They alternate, the graver first, so that any number of them shows what is grave and what is not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from detector.narrative.answer import Answer, written
from detector.narrative.prompt import Composer, Shot
from detector.verdict import Label
from stream.errors import ConfigurationError
from stream.kinds import KINDS, Kind
from windowing.features import NAMES
from windowing.record import Window

_Event = tuple[Kind, str, Mapping[str, str | int]]
_LOGON: Final[_Event] = (Kind.LOGON, "08:02", {"activity": "Logon"})
_LOGOFF: Final[_Event] = (Kind.LOGON, "17:31", {"activity": "Logoff"})
_MAIL: Final[Mapping[str, str | int]] = {"from": "kim.example@company.example", "cc": "", "bcc": "", "size": 24_000}

_DAYS: Final[tuple[tuple[Label, str, Mapping[str, float], Sequence[_Event], tuple[int, ...]], ...]] = (
    (
        "malicious",
        "first use of a removable drive, after hours; pages of a leak site",
        {"connects": 1, "connects_first": 1, "files": 2, "files_first": 1, "off_hours": 4, "leak_any": 1, "leak_pages": 1, "leak_first": 1},
        (
            (Kind.LOGON, "22:41", {"activity": "Logon"}),
            (Kind.DEVICE, "22:47", {"activity": "Connect"}),
            (Kind.FILE, "22:49", {"filename": "R:\\plans\\roadmap.doc"}),
            (Kind.HTTP, "22:56", {"url": "http://wikileaks.org/submit/upload.html"}),
            (Kind.DEVICE, "23:10", {"activity": "Disconnect"}),
        ),
        (0, 1, 2, 3, 4),
    ),
    (
        "normal",
        "nothing unusual",
        {},
        (_LOGON, (Kind.HTTP, "10:12", {"url": "http://news.example.org/today.html"}), _LOGOFF),
        (),
    ),
    (
        "malicious",
        "files mailed to an own private address, after a first visit to a job site",
        {"job_any": 1, "job_pages": 2, "job_first": 1, "mail_to_own_address": 1, "own_mail_first": 1},
        (
            _LOGON,
            (Kind.HTTP, "11:03", {"url": "http://www.monster.com/jobs/search.html"}),
            (Kind.EMAIL, "16:40", {**_MAIL, "to": "kim.example@gmail.com", "attachments": 3}),
            _LOGOFF,
        ),
        (1, 2),
    ),
    (
        "normal",
        "a drive as on most days, in usual hours",
        {"connects": 1, "connects_habit": 0.8, "files": 1, "files_habit": 0.8},
        (
            _LOGON,
            (Kind.DEVICE, "09:15", {"activity": "Connect"}),
            (Kind.FILE, "09:17", {"filename": "R:\\slides\\team.ppt"}),
            (Kind.DEVICE, "09:30", {"activity": "Disconnect"}),
            _LOGOFF,
        ),
        (),
    ),
    (
        "malicious",
        "keyloggers looked for, and a program copied to a drive",
        {"spyware_any": 1, "spyware_pages": 1, "spyware_first": 1, "connects": 1, "connects_first": 1, "files": 1, "files_first": 1},
        (
            _LOGON,
            (Kind.HTTP, "13:20", {"url": "http://www.refog.com/keylogger.html"}),
            (Kind.DEVICE, "13:42", {"activity": "Connect"}),
            (Kind.FILE, "13:43", {"filename": "R:\\setup.exe"}),
            _LOGOFF,
        ),
        (1, 2, 3),
    ),
    (
        "suspicious",
        "job sites for the first time",
        {"job_any": 1, "job_pages": 2, "job_first": 1},
        (
            _LOGON,
            (Kind.HTTP, "12:10", {"url": "http://www.monster.com/jobs/search.html"}),
            (Kind.HTTP, "12:14", {"url": "http://www.careerbuilder.com/jobs.html"}),
            _LOGOFF,
        ),
        (1, 2),
    ),
    (
        "malicious",
        "a mail to very many people from an account that is not usually used",
        {"mass_mail": 1, "most_recipients": 60, "strange_machine": 1},
        (
            (Kind.LOGON, "14:02", {"activity": "Logon"}),
            (
                Kind.EMAIL,
                "14:20",
                {**_MAIL, "to": ";".join(f"person{number}@company.example" for number in range(60)), "attachments": 0},
            ),
            _LOGOFF,
        ),
        (0, 1),
    ),
    (
        "normal",
        "a long day, and nothing but that",
        {"off_hours": 2},
        ((Kind.LOGON, "07:40", {"activity": "Logon"}), (Kind.LOGON, "20:15", {"activity": "Logoff"})),
        (),
    ),
)
MOST: Final = len(_DAYS)


def shots_of(number: int, track: str) -> tuple[Shot, ...]:
    """The first so many examples, as the track's prompts look.

    Raises:
        ConfigurationError: there are not so many.
    """
    if not 0 <= number <= MOST:
        raise ConfigurationError(f"detect.shots: there are {MOST} examples, not {number}")
    compose = Composer(track, 1_000_000, lambda text: len(text.split()))
    found = []
    for place in range(number):
        label, reason, features, events, cited = _DAYS[place]
        window = _window(place, features, events)
        prompt, telling = compose(window), {window.events[number]["id"] for number in cited}
        evidence = tuple(alias for alias, ref in enumerate(prompt.aliases) if ref.id in telling)
        found.append(Shot(prompt.user, written(Answer(label, evidence, reason))))
    return tuple(found)


def _window(place: int, features: Mapping[str, float], events: Sequence[_Event]) -> Window:
    made: list[dict[str, Any]] = [
        {"kind": kind.value, "id": f"{{example-{place}-{number}}}", "ts": f"2010-07-05T{at}:00+00:00", "pc": "PC-1", **more}
        for number, (kind, at, more) in enumerate(events)
    ]
    return Window(
        id=f"example-{place}",
        user="EXAMPLE",
        start="2010-07-05T00:00:00+00:00",
        end="2010-07-06T00:00:00+00:00",
        learning=False,
        counts={kind: sum(event["kind"] == kind.value for event in made) for kind in KINDS},
        features=dict.fromkeys(NAMES, 0.0) | {"profile_days": 60.0} | dict(features),
        events=tuple(made),
        omitted=dict.fromkeys(KINDS, 0),
        omitted_domains={},
        new={},
        context={},
        digest="",
    )
