"""The insiders: who they are, which of CERT's five scenarios each follows, how boldly, and on which days they do what.

1  comes in after hours, uses a drive, uploads to a leak site, then leaves
2  looks for another job, then copies onto a thumb drive well above the own rate, then leaves
3  an administrator plants a keylogger on the supervisor's machine and mass-mails as the supervisor, then leaves
4  reads files on colleagues' machines and mails them home, more and more
5  uploads documents to cloud storage after lay-offs in the team

Knows nothing of how an act becomes events.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from stream.errors import ConfigurationError
from stream.synth.attendance import Attendance
from stream.synth.chance import Chance, Ints
from stream.synth.episodes import Act, Episode
from stream.synth.organisation import Organisation

_STORIES = 6  # purpose number of this module's random stream
NATURAL_RATE: Final = 0.07  # insiders among all people, as in CERT r4.2
STRENGTHS: Final = ("blatant", "plain", "quiet", "careful")
_SHARES: Final = (0.15, 0.3, 0.3, 0.25)
_CYCLE: Final = (2, 1, 4, 5, 3, 1, 2, 5, 4, 2, 1, 3)  # a small house has each scenario once
FEWEST_STORY_DAYS: Final = 10


@dataclass(frozen=True, slots=True)
class Insider:
    """One person in one scenario."""

    user: int
    scenario: int
    strength: int


@dataclass(slots=True)
class Plan:
    """The insiders in order of their numbers, and all their episodes."""

    insiders: list[Insider] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)


def natural_number(users: int) -> int:
    """How many insiders an organisation of this size has by default."""
    return max(1, round(NATURAL_RATE * users))


def plan_insiders(chance: Chance, org: Organisation, attendance: Attendance, insiders: int, learning_days: int) -> Plan:
    """Choose the insiders and their days. Changes the attendance: leavers leave, lay-offs happen.

    Raises:
        ConfigurationError: more insiders than the house can hold, or too few days after the learning days.
    """
    if insiders < 0 or insiders > org.n // 4:
        raise ConfigurationError(f"insiders must be between 0 and {org.n // 4} (a quarter of {org.n} users), got {insiders}")
    if insiders and attendance.days < learning_days + FEWEST_STORY_DAYS:
        fewest = learning_days + FEWEST_STORY_DAYS
        raise ConfigurationError(f"days must be at least {fewest} for a story after {learning_days} learning days, got {attendance.days}")
    rng = chance.stream(_STORIES)
    plan = Plan()
    taken: set[int] = set()
    first = int(rng.integers(0, len(_CYCLE))) if insiders >= len(_CYCLE) else 0
    for number in range(insiders):
        scenario = _CYCLE[(first + number) % len(_CYCLE)]
        settled = (attendance.joins == 0) & (attendance.leaves == attendance.days)  # anew each time: lay-offs happen
        candidates = [u for u in _candidates(org, scenario) if u not in taken and settled[u] and settled[org.boss[u]]]
        if scenario == 3:  # nobody is impersonated twice
            candidates = [u for u in candidates if int(org.boss[u]) not in taken]
        if not candidates:
            scenario = 2
            candidates = [u for u in range(org.n) if u not in taken and settled[u] and org.boss[u] >= 0]
        if not candidates:
            raise ConfigurationError(f"insiders: {number} of {insiders} could be placed among {org.n} users; ask for fewer")
        user = int(candidates[rng.integers(0, len(candidates))])
        strength = int(rng.choice(len(STRENGTHS), p=_SHARES))
        taken |= {user, int(org.boss[user])}
        plan.insiders.append(Insider(user, scenario, strength))
        _Story(rng, org, attendance, user, number, strength, learning_days, taken).tell(scenario, plan)
    return plan


def _candidates(org: Organisation, scenario: int) -> list[int]:
    """Whom a scenario suits; nobody who leads others."""
    suited: Ints = _suited(org, scenario)
    return [int(user) for user in suited]


def _suited(org: Organisation, scenario: int) -> Ints:
    led = np.setdiff1d(np.arange(org.n), org.managers)
    led = led[org.boss[led] >= 0]
    if scenario == 3:
        return np.intersect1d(led, org.admins)
    led = np.setdiff1d(led, org.admins)
    if scenario == 1:
        return led[~org.drive_user[led] & (org.evening[led] < 0.05) & (org.start_s[led] < 12 * 3600)]
    if scenario == 2:
        keen = led[org.drive_user[led]]
        return keen if len(keen) else led
    return led[np.bincount(org.team)[org.team[led]] >= 4]


@dataclass(slots=True)
class _Story:
    """One insider's days. However careful, everyone has a day or two of boldness: that is what a detector may hope for."""

    rng: np.random.Generator
    org: Organisation
    attendance: Attendance
    user: int
    number: int
    strength: int
    learning_days: int
    taken: set[int]  # people with a part in a story, who must not be laid off
    level: int = 0  # how bold today is: the strength, or bolder

    def tell(self, scenario: int, plan: Plan) -> None:
        """Add this insider's episodes to the plan."""
        self.level = self.strength
        plan.episodes.extend({1: self._leaker, 2: self._thief, 3: self._keylogger, 4: self._prowler, 5: self._uploader}[scenario]())

    def _pick(self, *ranges: tuple[int, int]) -> int:
        low, high = ranges[self.level]
        return int(self.rng.integers(low, high + 1))

    def _often(self, *shares: float) -> bool:
        return bool(self.rng.random() < shares[self.level])

    def _episode(self, day: int, act: Act, amount: int, extra: int = 0, other: int = -1, night: bool = False) -> Episode:
        return Episode(day, self.user, act, amount, extra, other, self.number, night)

    def _stretch(self, wanted: int) -> list[int]:
        """Neighbouring working days of this person after the learning days, as many as wanted and possible; at least one."""
        days = self.attendance.working_days(self.user, self.learning_days + 1, self.attendance.days - 1)
        if not days:
            day = self.learning_days + 1
            self.attendance.arrive_min[day, self.user], self.attendance.depart_min[day, self.user] = 9 * 60, 17 * 60
            days = [day]
        room = max(len(days) - wanted, 0)
        begin = int(self.rng.integers(0, room + 1))
        return days[begin : begin + wanted]

    def _some(self, days: list[int], count: int) -> list[int]:
        picked = self.rng.choice(len(days), min(count, len(days)), replace=False)
        return [days[i] for i in sorted(picked.tolist())]

    def _bold_days(self, days: list[int], count: int) -> set[int]:
        return set(self._some(days, count))

    def _at(self, day: int, bold: set[int]) -> None:
        """Set the day's boldness."""
        self.level = min(self.strength, int(self.rng.integers(0, 2))) if day in bold else self.strength

    def _leaves_after(self, day: int) -> None:
        self.attendance.leave(self.user, day + int(self.rng.integers(1, 5)))

    def _leaker(self) -> list[Episode]:
        days = self._some(self._stretch(self._pick((6, 10), (6, 12), (8, 14), (10, 16))), self._pick((4, 7), (4, 7), (5, 8), (5, 8)))
        bold = self._bold_days(days[len(days) // 2 :], 1)
        found = []
        for day in days:
            self._at(day, bold)
            files = self._pick((6, 18), (3, 9), (0, 4), (0, 2))
            pages = self._pick((3, 6), (1, 4), (1, 2), (1, 1)) if day in bold or self._often(0.9, 0.7, 0.5, 0.3) else 0
            if pages and day not in bold and self._often(0.1, 0.2, 0.3, 0.4):
                files = -1  # only the upload
            found.append(self._episode(day, Act.NIGHT_DRIVE, files, pages, night=self._often(0.95, 0.9, 0.7, 0.5)))
        self._leaves_after(days[-1])
        return found

    def _thief(self) -> list[Episode]:
        days = self._stretch(self._pick((10, 18), (12, 20), (14, 24), (14, 26)))
        thefts = min(self._pick((3, 6), (3, 5), (3, 5), (3, 4)), max(1, len(days) // 2))
        found = []
        for day in days[:-thefts]:
            if self._often(0.8, 0.7, 0.6, 0.5):
                mails = int(self._often(0.5, 0.35, 0.25, 0.15))
                found.append(self._episode(day, Act.HUNT, self._pick((4, 12), (2, 7), (1, 4), (1, 2)), mails))
        usual = max(1.0, float(self.org.connects[self.user]))
        bold = self._bold_days(days[-thefts:], 1)
        for day in days[-thefts:]:
            self._at(day, bold)
            connects = max(2, round(usual * self.rng.uniform(*((3.0, 5.5), (2.4, 4.5), (1.6, 3.0), (1.3, 2.2))[self.level])))
            copies = self._pick((4, 8), (3, 7), (2, 5), (1, 4))
            found.append(self._episode(day, Act.COPY, min(connects, 15), copies, night=self._often(0.2, 0.15, 0.1, 0.1)))
        self._leaves_after(days[-1])
        return found

    def _keylogger(self) -> list[Episode]:
        boss = int(self.org.boss[self.user])
        days = self._stretch(2)
        found = [
            self._episode(days[0], Act.GRUMBLE, self._pick((2, 4), (1, 3), (1, 2), (0, 1))),
            self._episode(days[0], Act.TOOL, self._pick((5, 9), (3, 7), (2, 5), (2, 3)), other=boss, night=self._often(1.0, 0.9, 0.8, 0.6)),
        ]
        last = days[-1]
        if last > days[0]:
            mails = self._pick((8, 20), (5, 12), (3, 6), (2, 4))
            found.append(self._episode(last, Act.POSE, mails, int(self._often(1.0, 0.9, 0.7, 0.5)), boss))
        self.attendance.leave(self.user, last + 1)
        return found

    def _prowler(self) -> list[Episode]:
        days = self._stretch(self._pick((18, 40), (18, 45), (20, 50), (20, 60)))
        bold = set(days[-2:])
        found = []
        for place, day in enumerate(days):
            self._at(day, bold)
            grown = (place + 1) / len(days)
            if day in bold or self.rng.random() < (0.15 + 0.5 * grown) * (1.0, 0.85, 0.7, 0.6)[self.level]:
                files = max(1, round(self._pick((5, 14), (4, 9), (2, 5), (1, 3)) * (0.3 + 0.7 * grown)))
                machines = max(1, round(self._pick((1, 3), (1, 2), (1, 2), (1, 1)) * (0.3 + 0.7 * grown)))
                found.append(self._episode(day, Act.PROWL, files, machines, night=self._often(0.35, 0.25, 0.15, 0.1)))
        return found

    def _uploader(self) -> list[Episode]:
        days = self._stretch(self._pick((8, 14), (8, 16), (10, 18), (10, 20)))
        self._lay_off(days[0] - 1)
        chosen = self._some(days, self._pick((5, 9), (5, 9), (5, 9), (5, 8)))
        bold = self._bold_days(chosen, 1)
        found = []
        for day in chosen:
            self._at(day, bold)
            uploads = self._pick((7, 9), (6, 9), (4, 8), (3, 7))
            night = self._often(0.4, 0.25, 0.15, 0.1)
            found.append(self._episode(day, Act.UPLOAD, self._pick((14, 32), (8, 20), (4, 9), (2, 6)), uploads, night=night))
        return found

    def _lay_off(self, day: int) -> None:
        """A third of the team has to go."""
        mates = np.setdiff1d(self.org.members(int(self.org.team[self.user])), [*self.taken, *self.org.managers, *self.org.admins])
        going: Ints = self.rng.permutation(mates)[: max(1, len(mates) // 3)]
        for mate in going.tolist():
            self.attendance.leave(mate, max(day, 1))
