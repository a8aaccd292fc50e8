"""Who is in on which day, and from when to when: weekends, holidays, sick days, leave, overtime, joining and leaving.

Minutes after local midnight of the day, in one matrix of days by people. Knows nothing of what people do while they are in.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from stream.synth.chance import Chance, Flags, Floats, Ints
from stream.synth.organisation import Organisation

_ATTENDANCE = 3  # purpose number of this module's random stream
_STRETCH_DAYS = 28  # how much time the joiners and leavers of one draw are spread over

# month, day; a fixed calendar of the house is enough, since nothing depends on which days these are
_HOLIDAYS = {(1, 1), (1, 18), (2, 15), (5, 31), (7, 5), (9, 6), (10, 11), (11, 11), (11, 25), (11, 26), (12, 24), (12, 31)}


@dataclass(frozen=True, slots=True)
class Attendance:
    """Arrival and departure of everyone on every day (absent where they are equal), and when people join and leave."""

    first_day: date
    arrive_min: npt.NDArray[np.int16]  # days x people
    depart_min: npt.NDArray[np.int16]
    joins: Ints  # first day of each person
    leaves: Ints  # first day that each person is gone
    office_day: Flags  # days that are neither weekend nor holiday

    @property
    def days(self) -> int:
        """Number of days."""
        return len(self.office_day)

    def present(self, day: int) -> Ints:
        """Who is in on this day."""
        return np.flatnonzero(self.depart_min[day] > self.arrive_min[day])

    def is_in(self, user: int, day: int) -> bool:
        """Whether this person is in on this day."""
        return bool(self.depart_min[day, user] > self.arrive_min[day, user])

    def hours_s(self, user: int, day: int) -> tuple[int, int]:
        """Arrival and departure in seconds after midnight."""
        return int(self.arrive_min[day, user]) * 60, int(self.depart_min[day, user]) * 60

    def working_days(self, user: int, low: int, high: int) -> list[int]:
        """The days in [low, high) on which this person is in."""
        low, high = max(low, 0), min(high, self.days)
        inside = self.depart_min[low:high, user] > self.arrive_min[low:high, user]
        return (np.flatnonzero(inside) + low).tolist()

    def stay_until(self, user: int, day: int, second: int) -> None:
        """Let someone who is in stay at least until then."""
        if self.is_in(user, day):
            self.depart_min[day, user] = max(int(self.depart_min[day, user]), second // 60)

    def leave(self, user: int, day: int) -> None:
        """Let someone be gone for good from this day on."""
        self.leaves[user] = min(int(self.leaves[user]), day)
        self.depart_min[day:, user] = self.arrive_min[day:, user] = 0


def is_holiday(day: date) -> bool:
    """Whether the house is closed."""
    return (day.month, day.day) in _HOLIDAYS


def attend(chance: Chance, org: Organisation, first_day: date, days: int, learning_days: int) -> Attendance:
    """Draw the attendance of everyone. Joiners come after the learning days, so that the profiles before are of a settled house."""
    rng = chance.stream(_ATTENDANCE)
    calendar = [first_day + timedelta(days=d) for d in range(days)]
    weekend = np.array([d.weekday() >= 5 for d in calendar])
    holiday = np.array([is_holiday(d) for d in calendar])
    joins, leaves = _careers(rng, org.n, days, learning_days)
    absent = _spells(rng, org.n, days)
    arrive = np.zeros((days, org.n), np.int16)
    depart = np.zeros((days, org.n), np.int16)
    for day in range(days):
        chosen = rng.random(org.n)
        inside = chosen < org.weekend if weekend[day] else chosen < 0.5 * org.weekend + 0.01 if holiday[day] else ~absent[day]
        inside &= (joins <= day) & (day < leaves)
        start, length = _hours(rng, org, bool(weekend[day]))
        arrive[day] = np.where(inside, start / 60, 0)
        depart[day] = np.where(inside, (start + length) / 60, 0)
    return Attendance(first_day, arrive, depart, joins, leaves, ~(weekend | holiday))


def _hours(rng: np.random.Generator, org: Organisation, weekend: bool) -> tuple[Floats, Floats]:
    start = np.maximum(org.start_s + rng.normal(0, 1, org.n) * org.start_spread_s, 4 * 3600) + (3600 if weekend else 0)
    length = org.length_s * rng.uniform(0.3, 0.8, org.n) if weekend else org.length_s + rng.normal(0, 1800, org.n)
    overtime = (rng.random(org.n) < org.overtime) * rng.exponential(5400, org.n)
    return start, np.clip(length + overtime, 3600, 14.5 * 3600)


def _careers(rng: np.random.Generator, users: int, days: int, learning_days: int) -> tuple[Ints, Ints]:
    """About two in a hundred join and one and a half leave in four weeks, for no bad reason."""
    stretches = max(days - learning_days, 0) / _STRETCH_DAYS
    joins, leaves = np.zeros(users, np.int64), np.full(users, days, np.int64)
    moving = rng.random(users)
    joining = moving < min(0.02 * stretches, 0.3)
    leaving = moving > 1 - min(0.015 * stretches, 0.25)
    if days > learning_days:
        joins[joining] = rng.integers(learning_days, days, users)[joining]
        leaves[leaving] = rng.integers(learning_days, days, users)[leaving]
    return joins, leaves


def _spells(rng: np.random.Generator, users: int, days: int) -> npt.NDArray[np.bool_]:
    """Sick days (short) and leave (a week or two), as days x people."""
    absent = np.zeros((days, users), np.bool_)
    for per_day, low, high in ((0.012, 1, 4), (0.006, 4, 12)):
        starts_day, starts_user = np.nonzero(rng.random((days, users)) < per_day)
        lengths = rng.integers(low, high, len(starts_day))
        for step in range(high):
            reach = (starts_day + step < days) & (step < lengths)
            absent[starts_day[reach] + step, starts_user[reach]] = True
    return absent
