"""Who works here: people, roles, teams, machines and habits, drawn once from the seed.

Everything is a column with one value for each person. Knows nothing of days, events or files.
"""

from dataclasses import dataclass, field

import numpy as np

from stream.errors import ConfigurationError
from stream.synth.chance import Chance, Flags, Floats, Ints
from stream.synth.sites import N_SITES, SITES_OF, SPECIAL
from stream.synth.words import (
    COMPANY,
    FIRST_NAMES,
    HOBBIES,
    LAST_NAMES,
    MIDDLE_NAMES,
    PARTNERS,
    PERSONAL_PROVIDERS,
    ROLES,
    SENSITIVE,
)

FEWEST_USERS = 12
MOST_USERS = 100_000
FAVOURITES = 40
CONTACTS = 24
_PEOPLE = 1  # purpose number of this module's random stream


@dataclass(frozen=True, slots=True)
class Organisation:
    """People 0..n-1 and what is usual for each. Times are seconds after local midnight, rates are per working day."""

    n: int
    names: list[str]
    user_ids: list[str]
    emails: list[str]
    homes: list[str]  # a private address of each
    roles: list[str]
    units: list[str]
    departments: list[str]
    teams: list[str]
    team: Ints
    boss: Ints  # -1 for the president
    topic: list[str]
    psychometric: Ints  # n x 5: O, C, E, A, N

    pc: Ints
    shared_pcs: Ints
    n_pcs: int
    pc_names: list[str]

    start_s: Floats
    start_spread_s: Floats
    length_s: Floats
    overtime: Floats  # how often and how long someone stays on
    weekend: Floats
    lunch_lock: Floats
    evening: Floats  # coming back at night
    shared_rate: Floats
    visits: Floats  # sessions on others' machines (administrators)
    night_visits: Floats

    pages: Floats
    mails: Floats
    private_mails: Floats
    attachments: Floats
    drive_user: Flags
    connects: Floats
    files: Floats
    special: Floats  # n x len(SENSITIVE): sittings a day on job, cloud, leak and spyware sites
    favourites: Ints  # n x FAVOURITES sites
    contacts: Ints  # n x CONTACTS addresses
    partners: list[str] = field(default_factory=list)

    @property
    def admins(self) -> Ints:
        """The system administrators."""
        return np.flatnonzero(np.array(self.roles) == "ITAdmin")

    @property
    def managers(self) -> Ints:
        """Everyone who has people under them."""
        return np.unique(self.boss[self.boss >= 0])

    def members(self, team: int) -> Ints:
        """The people of one team, its supervisor not included."""
        return np.flatnonzero(self.team == team)


def found(chance: Chance, users: int) -> Organisation:
    """Draw an organisation of this many people.

    Raises:
        ConfigurationError: fewer people than a company with administrators and teams can have, or too many for four digits.
    """
    if not FEWEST_USERS <= users <= MOST_USERS:
        raise ConfigurationError(f"users must be between {FEWEST_USERS} and {MOST_USERS}, got {users}")
    rng = chance.stream(_PEOPLE)
    role_of = _draw_roles(rng, users)
    team, boss, team_names = _draw_teams(role_of)
    names, user_ids, emails, homes = _draw_names(rng, users)
    drive_user = _drive_users(rng, role_of, users)
    hours = _hours(rng, role_of, users)
    partners = _partners(rng, users)
    roles = [ROLES[r][0] for r in role_of]
    n_shared = max(2, users // 10)
    leads = np.unique(boss[boss >= 0])
    for lead in leads:
        roles[lead] = "Manager"
    president = int(np.flatnonzero(boss < 0)[0])
    roles[president] = "President"
    labels = rng.permutation(10_000 if users + n_shared <= 9_000 else 10 * (users + n_shared))[: users + n_shared]
    is_admin = np.array([r == "ITAdmin" for r in roles])
    return Organisation(
        n=users,
        names=names,
        user_ids=user_ids,
        emails=emails,
        homes=homes,
        roles=roles,
        units=[ROLES[r][1] for r in role_of],
        departments=[ROLES[r][2] for r in role_of],
        teams=[team_names[t] for t in team],
        team=team,
        boss=boss,
        topic=[ROLES[r][3] for r in role_of],
        psychometric=np.clip(rng.normal(32, 9, (users, 5)).round(), 10, 50).astype(np.int64),
        pc=np.arange(users, dtype=np.int64),
        shared_pcs=np.arange(users, users + n_shared, dtype=np.int64),
        n_pcs=users + n_shared,
        pc_names=[f"PC-{label:04d}" for label in labels],
        start_s=hours["start_s"],
        start_spread_s=hours["start_spread_s"],
        length_s=hours["length_s"],
        overtime=hours["overtime"],
        weekend=hours["weekend"],
        lunch_lock=hours["lunch_lock"],
        evening=hours["evening"],
        shared_rate=np.where(rng.random(users) < np.where(_is(role_of, "manufacturing"), 0.5, 0.12), rng.uniform(0.05, 0.5, users), 0.01),
        visits=np.where(is_admin, rng.uniform(0.4, 2.5, users), 0.0),
        night_visits=np.where(is_admin & (rng.random(users) < 0.6), rng.uniform(0.1, 0.6, users), 0.0),
        pages=np.exp(rng.normal(np.log(58), 0.55, users)),
        mails=np.exp(rng.normal(np.log(7.5), 0.5, users)),
        private_mails=np.where(rng.random(users) < 0.5, rng.beta(1.2, 7, users), 0.01),
        attachments=rng.beta(2, 6, users),
        drive_user=drive_user,
        connects=np.where(drive_user, np.exp(rng.normal(np.log(1.3), 0.7, users)), 0.006),
        files=np.where(drive_user, np.exp(rng.normal(np.log(2.2), 0.6, users)), 1.5),
        special=_special_habits(rng, roles, users),
        favourites=_favourites(rng, role_of, users),
        contacts=_contacts(rng, team, boss, users, len(partners)),
        partners=partners,
    )


def _is(role_of: Ints, topic: str) -> Flags:
    return np.array([ROLES[r][3] == topic for r in role_of])


def _draw_roles(rng: np.random.Generator, users: int) -> Ints:
    """Role numbers, sorted so that teams are neighbours; at least four administrators (one will lead them) and one of human resources."""
    shares = np.array([share for *_, share in ROLES])
    drawn = rng.choice(len(ROLES), users, p=shares / shares.sum())
    names = [role for role, *_ in ROLES]
    needed = [names.index("ITAdmin")] * max(4, round(users * 0.06)) + [names.index("HumanResourceSpecialist")] * max(1, round(users * 0.02))
    drawn[: len(needed)] = needed
    return np.sort(drawn)


def _draw_teams(role_of: Ints) -> tuple[Ints, Ints, list[str]]:
    """Teams of up to nine neighbours within a department; the first of each leads it, the very first of all is president."""
    users = len(role_of)
    departments = np.array([ROLES[r][1] + "/" + ROLES[r][2] for r in role_of])
    order = np.argsort(departments, kind="stable")
    team = np.zeros(users, np.int64)
    boss = np.zeros(users, np.int64)
    names: list[str] = []
    leads: list[int] = []
    for department in dict.fromkeys(departments[order]):
        members = np.flatnonzero(departments == department)
        for part in np.array_split(members, max(1, round(len(members) / 8))):
            names.append(f"{len(names) + 1} - {department.split(' - ')[-1]}{len(names) + 1}")
            team[part] = len(names) - 1
            boss[part] = part[0]
            leads.append(int(part[0]))
    president = leads[0]
    boss[leads] = president
    boss[president] = -1
    return team, boss, names


def _draw_names(rng: np.random.Generator, users: int) -> tuple[list[str], list[str], list[str], list[str]]:
    space = len(FIRST_NAMES) * len(MIDDLE_NAMES) * len(LAST_NAMES)
    picks = rng.permutation(space)[:users]
    numbers = rng.permutation(max(10_000, users))[:users]
    providers = rng.integers(0, len(PERSONAL_PROVIDERS), users)
    names, ids, emails, homes = [], [], [], []
    for pick, number, provider in zip(picks.tolist(), numbers.tolist(), providers.tolist(), strict=True):
        pick, f = divmod(pick, len(FIRST_NAMES))
        l, m = divmod(pick, len(MIDDLE_NAMES))
        first, middle, last = FIRST_NAMES[f], MIDDLE_NAMES[m], LAST_NAMES[l]
        names.append(f"{first} {middle} {last}")
        ids.append(f"{first[0]}{middle[0]}{last[0]}{number:04d}")
        emails.append(f"{first}.{middle}.{last}@{COMPANY}")
        homes.append(f"{last}-{first}-{middle[0]}@{PERSONAL_PROVIDERS[provider]}")
    return names, ids, emails, homes


def _partners(rng: np.random.Generator, users: int) -> list[str]:
    """Outside addresses: business partners first, then friends."""
    count = max(40, users * 3)
    first = rng.integers(0, len(FIRST_NAMES), count)
    last = rng.integers(0, len(LAST_NAMES), count)
    hosts = [*PARTNERS] * 2 + [*PERSONAL_PROVIDERS]
    host = rng.integers(0, len(hosts), count)
    return [f"{FIRST_NAMES[f]}_{LAST_NAMES[l]}{i}@{hosts[h]}" for i, (f, l, h) in enumerate(zip(first, last, host, strict=True))]


def _hours(rng: np.random.Generator, role_of: Ints, users: int) -> dict[str, Floats]:
    start = rng.normal(8.2, 0.7, users) * 3600
    guards = np.array([ROLES[r][0] == "SecurityGuard" for r in role_of])
    line = _is(role_of, "manufacturing")
    shift = rng.random(users)
    start = np.where(guards & (shift < 0.4), 21.5 * 3600, np.where((line | guards) & (shift < 0.12), 13.6 * 3600, start))
    late = rng.random(users) < 0.14
    return {
        "start_s": start,
        "start_spread_s": rng.uniform(300, 2400, users),
        "length_s": rng.normal(8.9, 0.5, users) * 3600,
        "overtime": np.where(late, rng.uniform(0.25, 0.6, users), rng.uniform(0.01, 0.1, users)),
        "weekend": np.where(guards | (rng.random(users) < 0.15), rng.uniform(0.1, 0.5, users), rng.uniform(0.0, 0.03, users)),
        "lunch_lock": np.where(rng.random(users) < 0.4, rng.uniform(0.2, 0.9, users), 0.03),
        "evening": np.where(rng.random(users) < 0.15, rng.uniform(0.05, 0.25, users), 0.008),
    }


def _drive_users(rng: np.random.Generator, role_of: Ints, users: int) -> Flags:
    keen = np.array([0.5 if ROLES[r][0] in {"ITAdmin", "FieldServiceEngineer"} else 0.3 for r in role_of])
    found: Flags = rng.random(users) < keen
    return found


def _special_habits(rng: np.random.Generator, roles: list[str], users: int) -> Floats:
    """Sittings a day on the sites of SENSITIVE, in that order: most people seldom, a few often."""
    rare = np.exp(rng.normal(np.log([0.03, 0.015, 0.002, 0.0015]), 0.8, (users, len(SENSITIVE))))
    regular = rng.random((users, len(SENSITIVE))) < np.array([0.13, 0.20, 0.035, 0.01])
    often = np.exp(rng.normal(np.log([0.4, 0.6, 0.15, 0.05]), 0.5, (users, len(SENSITIVE))))
    rates = np.where(regular, often, rare)
    role = np.array(roles)
    rates[role == "HumanResourceSpecialist", SENSITIVE.index("jobs")] *= 4.0
    rates[role == "ITAdmin", SENSITIVE.index("spyware")] = np.exp(rng.normal(np.log(0.05), 0.6, int((role == "ITAdmin").sum())))
    return rates


def _favourites(rng: np.random.Generator, role_of: Ints, users: int) -> Ints:
    """Each person's sites, most visited first: portals, some for work, hobbies and a few of the long tail."""
    found = np.empty((users, FAVOURITES), np.int64)
    for user in range(users):
        hobbies = rng.choice(len(HOBBIES), 4, replace=False)
        pool = [SITES_OF["search"], SITES_OF[ROLES[role_of[user]][3]], *(SITES_OF[HOBBIES[h]] for h in hobbies), SITES_OF["tail"]]
        sites = np.concatenate([rng.choice(part, min(len(part), 8), replace=False) for part in pool])
        sites = sites[~SPECIAL[sites]]
        found[user] = rng.permutation(np.resize(sites, FAVOURITES) % N_SITES)
    return found


def _contacts(rng: np.random.Generator, team: Ints, boss: Ints, users: int, partners: int) -> Ints:
    """Each person's addresses, most written to first: 0..n-1 company, n..2n-1 private homes, from 2n on outsiders."""
    found = np.empty((users, CONTACTS), np.int64)
    for user in range(users):
        mates = np.setdiff1d(np.flatnonzero(team == team[user]), [user])
        near = rng.choice(mates, min(len(mates), 7), replace=False) if len(mates) else np.empty(0, np.int64)
        far = rng.integers(0, users, 7)
        outside = 2 * users + rng.integers(0, partners, 8)
        chief = [boss[user]] if boss[user] >= 0 else [int(far[0])]
        found[user] = np.resize(np.concatenate([chief, rng.permutation(np.concatenate([near, far, outside]))]), CONTACTS)
    return found
