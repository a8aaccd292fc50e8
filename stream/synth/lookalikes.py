"""Honest occasions that look like an insider's: a new hire, a release crunch, a backup onto a drive, a recruiter, a patch round.

Each of the five scenarios has its own. They are spread over the whole time, the learning days included. Knows nothing of how an
act becomes events, and nothing of who the insiders are.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from stream.synth.attendance import Attendance
from stream.synth.chance import Chance, Ints
from stream.synth.episodes import Act, Episode
from stream.synth.organisation import Organisation

_OCCASIONS = 7  # purpose number of this module's random stream
_MONTH: Final = 21  # working days


class Occasions:
    """Draws the honest occasions of one organisation."""

    def __init__(self, chance: Chance, org: Organisation, attendance: Attendance) -> None:
        self.rng = chance.stream(_OCCASIONS)
        self.org = org
        self.attendance = attendance
        self.episodes: list[Episode] = []

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        return int(self.rng.integers(low, high + 1))

    def heavy(self, low: float, factor: float, most: int) -> int:
        """A number that is usually around `low` and sometimes many times that."""
        return int(min(most, max(1, round(float(self.rng.lognormal(np.log(low), factor))))))

    def often(self, share: float) -> bool:
        """True this often."""
        return bool(self.rng.random() < share)

    def occasions(self, a_month: float, people: Ints | None = None) -> list[tuple[int, int]]:
        """(person, day) pairs, this many for each person in a month of working days, on days when the person is in."""
        among = np.arange(self.org.n) if people is None else people
        if not len(among):
            return []
        count = int(self.rng.poisson(a_month / _MONTH * len(among) * self.attendance.office_day.sum()))
        users = among[self.rng.integers(0, len(among), count)].tolist()
        days = self.rng.integers(0, self.attendance.days, count).tolist()
        return [(u, d) for u, d in zip(users, days, strict=True) if self.attendance.is_in(u, d)]

    def add(self, day: int, user: int, act: Act, amount: int, extra: int = 0, other: int = -1, night: bool = False) -> None:
        """One honest episode."""
        self.episodes.append(Episode(day, user, act, amount, extra, other, night=night))

    def following(self, user: int, day: int, most: int) -> list[int]:
        """This person's working days from one day on."""
        return self.attendance.working_days(user, day, day + 2 * most + 4)[:most]


def plan_occasions(chance: Chance, org: Organisation, attendance: Attendance) -> list[Episode]:
    """All honest occasions. May let people stay longer; nobody comes on a day off because of them."""
    found = Occasions(chance, org, attendance)
    for occasion in _ALL:
        occasion(found)
    return found.episodes


def _crunches(o: Occasions) -> None:
    """A team stays on before a release, some with drives (scenario 1)."""
    for team in range(int(o.org.team.max()) + 1):
        for _ in range(int(o.rng.poisson(0.35 * o.attendance.days / 30))):
            day = o.between(0, max(0, o.attendance.days - 1))
            for user in o.org.members(team).tolist():
                if o.often(0.5):
                    for late in o.following(user, day, o.between(1, 4)):
                        o.attendance.stay_until(user, late, o.between(int(19.5 * 3600), int(23.3 * 3600)))
                        if o.often(0.45):
                            pages = o.between(1, 3) if o.often(0.15) else 0
                            o.add(late, user, Act.NIGHT_DRIVE, o.heavy(3, 0.8, 25), pages, night=o.often(0.5))


def _backups(o: Occasions) -> None:
    """Many copies onto a drive on a day or two, at night or not (scenarios 1 and 2)."""
    for user, day in o.occasions(0.10):
        for again in o.following(user, day, o.between(1, 3)):
            o.add(again, user, Act.COPY, o.between(1, 7), o.heavy(3, 0.7, 25), night=o.often(0.35))
    for user, day in o.occasions(0.30, np.flatnonzero(o.org.drive_user)):
        usual = max(1.0, float(o.org.connects[user]))
        for again in o.following(user, day, o.between(1, 4)):
            o.add(again, user, Act.COPY, min(15, max(1, round(usual * float(o.rng.uniform(1.5, 5))))), o.between(2, 7), night=o.often(0.08))
    for user, day in o.occasions(0.10):
        for again in o.following(user, day, o.between(1, 2)):
            o.add(again, user, Act.NIGHT_DRIVE, o.heavy(3, 0.9, 25), o.between(1, 3) if o.often(0.2) else 0, night=o.often(0.8))


def _job_seekers(o: Occasions) -> None:
    """People who look around for weeks and stay, or leave without taking anything (scenario 2); recruiters who do it all day."""
    for user, day in o.occasions(0.06):
        looking = o.following(user, day, o.between(3, 18))
        for later in looking:
            if o.often(0.65):
                o.add(later, user, Act.HUNT, o.heavy(3.5, 0.7, 18), int(o.often(0.25)))
        if o.often(0.25):  # tidies up, and thinks better of it
            usual = max(1.0, float(o.org.connects[user]))
            for last in looking[-o.between(1, 3) :]:
                o.add(last, user, Act.COPY, max(1, round(usual * float(o.rng.uniform(1.0, 3.5)))), o.between(1, 6), night=o.often(0.1))
    recruiters = np.flatnonzero(np.array(o.org.roles) == "HumanResourceSpecialist")
    for user, day in o.occasions(6.0, recruiters):
        o.add(day, user, Act.HUNT, o.heavy(6, 0.5, 25), o.between(0, 3))
    leavers = np.flatnonzero(o.attendance.leaves < o.attendance.days)
    for user in leavers.tolist():
        for day in o.attendance.working_days(user, int(o.attendance.leaves[user]) - 12, int(o.attendance.leaves[user])):
            if o.often(0.3):
                o.add(day, user, Act.HUNT, o.heavy(3, 0.7, 12), int(o.often(0.2)))
            if o.often(0.15):
                o.add(day, user, Act.COPY, o.between(1, 4), o.between(1, 6))


def _administration(o: Occasions) -> None:
    """Patch rounds with drives at night, tools tried out and taken to a manager's machine (scenario 3)."""
    for user, day in o.occasions(1.6, o.org.admins):
        o.add(day, user, Act.PATCH_ROUND, o.between(2, 6), night=o.often(0.6))
    for user, day in o.occasions(0.6, o.org.admins):
        manager = int(o.rng.choice(o.org.managers))
        pages = 0 if o.often(0.6) else o.heavy(2.5, 0.6, 9)
        o.add(day, user, Act.TOOL, pages, other=manager if not pages or o.often(0.15) else -1, night=o.often(0.4))
    for user, day in o.occasions(0.12):
        o.add(day, user, Act.GRUMBLE, o.between(1, 3))


def _announcements(o: Occasions) -> None:
    """Managers write to everyone, sometimes from another machine (scenario 3)."""
    for user, day in o.occasions(1.2, o.org.managers):
        other = int(o.rng.integers(0, o.org.n)) if o.often(0.2) else -1
        o.add(day, user, Act.ANNOUNCE, o.heavy(2, 0.8, 14), int(o.often(0.6)), other)


def _work_at_home(o: Occasions) -> None:
    """Work mailed home, by some every week and more before a deadline; help at a colleague's machine (scenario 4)."""
    for user, day in o.occasions(0.10):
        for later in o.following(user, day, o.between(1, 6)):
            o.add(later, user, Act.MAIL_HOME, o.heavy(1.3, 0.6, 6), o.between(1, 3))
    regular = np.flatnonzero(o.rng.random(o.org.n) < 0.08)
    for user, day in o.occasions(5.0, regular):
        o.add(day, user, Act.MAIL_HOME, o.heavy(1.5, 0.6, 6), o.between(1, 3))
    for user, day in o.occasions(0.35):
        for later in o.following(user, day, o.between(1, 3)):
            mails = o.between(1, 3) if o.often(0.5) else 0
            o.add(later, user, Act.HELP, o.heavy(2.5, 0.9, 14) if o.often(0.8) else 0, mails, night=o.often(0.2))
    for user, day in o.occasions(0.03):  # lent to a colleague for weeks
        for later in o.following(user, day, o.between(5, 15)):
            if o.often(0.5):
                o.add(later, user, Act.HELP, o.heavy(3, 0.8, 14), o.between(0, 3), night=o.often(0.15))


def _clouds(o: Occasions) -> None:
    """Somebody takes to cloud storage, for photographs or a project (scenario 5)."""
    for user, day in o.occasions(0.09):
        for later in o.following(user, day, o.between(1, 7)):
            if o.often(0.75):
                o.add(later, user, Act.UPLOAD, o.heavy(5, 0.8, 30), o.between(1, 8), night=o.often(0.2))


def _news_of_leaks(o: Occasions) -> None:
    """A leak is in the news, and people look (scenario 1)."""
    for user, day in o.occasions(0.05):
        o.add(day, user, Act.READ_LEAKS, o.heavy(2, 0.7, 9), night=o.often(0.25))
    for _ in range(int(o.rng.poisson(o.attendance.days / 30))):
        day = o.between(0, o.attendance.days - 1)
        for user in np.flatnonzero(o.rng.random(o.org.n) < 0.04).tolist():
            for later in o.following(user, day, 2):
                o.add(later, user, Act.READ_LEAKS, o.heavy(2, 0.7, 9), night=o.often(0.2))


def _newcomers(o: Occasions) -> None:
    """A new hire: a drive with material, the mentor's machine, everything for the first time (all scenarios)."""
    for user in np.flatnonzero(o.attendance.joins > 0).tolist():
        for day in o.attendance.working_days(user, int(o.attendance.joins[user]), int(o.attendance.joins[user]) + 14):
            if o.often(0.3):
                o.add(day, user, Act.COPY, o.between(1, 4), o.between(1, 8))
            if o.often(0.3):
                o.add(day, user, Act.HELP, o.between(0, 6), int(o.often(0.3)))
            if o.often(0.1):
                o.add(day, user, Act.UPLOAD, o.between(2, 12), o.between(2, 8))


_ALL: Final[tuple[Callable[[Occasions], None], ...]] = (
    _crunches,
    _backups,
    _job_seekers,
    _administration,
    _announcements,
    _work_at_home,
    _clouds,
    _news_of_leaks,
    _newcomers,
)
