"""Who works where, as far as was known at the time: monthly snapshots in CERT's LDAP format. Knows no events.

`YYYY-MM.csv` is valid from the first of its month, `YYYY-MM-DD.csv` from its day, in the organisation's zone; nothing is ever read
from a later one. What a snapshot *lists* counts from its date. That somebody is *missing* from it counts only when its month is over:
CERT leaves out of a month's snapshot whoever left during that month, and using that at once would be looking ahead.

    snapshot      2010-07  2010-08  2010-09
    ana           listed   listed   -          left on 12 September
    in September  role and team as in 2010-08, not departed;  from 1 October: departed
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from stream.errors import ConfigurationError
from stream.kinds import Millis
from windowing.calendar import wall_to_utc_ms
from windowing.facts import People

_NAME = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?\.csv(?:\.gz|\.zst)?")
_ADMIN = re.compile(r"admin(?!istrative)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Person:
    """One row of a snapshot."""

    role: str = ""
    department: str = ""
    team: str = ""
    supervisor: str = ""
    manager: bool = False

    @property
    def admin(self) -> bool:
        """Whether the role is one that administers systems."""
        return _ADMIN.search(self.role) is not None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was known from an instant on: people by user id, and everybody who had been listed before."""

    from_ms: Millis
    people: Mapping[str, Person]
    departed: frozenset[str]

    def rows(self, users: Sequence[str]) -> People:
        """What is known of these users, one row each."""
        nobody = Person()
        found = [self.people.get(user, nobody) for user in users]
        return People(
            known=np.array([user in self.people for user in users], np.bool_),
            departed=np.array([user in self.departed for user in users], np.bool_),
            admin=np.array([person.admin for person in found], np.bool_),
            manager=np.array([person.manager for person in found], np.bool_),
            role=[person.role for person in found],
            team=[person.team for person in found],
            department=[person.department for person in found],
        )


class Directory:
    """Dated snapshots, each valid from its date until the next."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._snapshots = sorted(snapshots, key=lambda snapshot: snapshot.from_ms)

    @classmethod
    def read(cls, path: Path, zone: str = "UTC") -> "Directory":
        """Read all snapshots of a folder, or of the `LDAP` folder in it.

        Raises:
            ConfigurationError: there is no snapshot, or one cannot be read; the text names the file.
        """
        folder = path / "LDAP" if (path / "LDAP").is_dir() else path
        files = [(match.groups(), file) for file in sorted(folder.glob("*.csv*")) if (match := _NAME.fullmatch(file.name))]
        if not files:
            raise ConfigurationError(f"directory: no snapshots named YYYY-MM.csv in {folder}")
        listings = [(*_span(parts, file.name, zone), _people(file)) for parts, file in files]
        # what is known changes when a snapshot begins to be valid, and when its month is over
        instants = sorted({instant for from_ms, over_ms, _ in listings for instant in (from_ms, over_ms)})
        return cls([_known_at(instant, listings) for instant in instants])

    def at(self, ts_ms: Millis) -> Snapshot | None:
        """The snapshot that was valid at an instant; None before the first."""
        valid = None
        for snapshot in self._snapshots:
            if snapshot.from_ms > ts_ms:
                break
            valid = snapshot
        return valid


def _span(parts: Sequence[str | None], name: str, zone: str) -> tuple[Millis, Millis]:
    """From when a snapshot is valid, and from when absence from it means something."""
    year, month, day = (int(part or 0) for part in parts)
    try:
        start = datetime(year, month, day or 1)  # noqa: DTZ001  a wall time, mapped to the zone below
    except ValueError as error:
        raise ConfigurationError(f"directory: {name} names no date") from error
    over = start if day else (start + timedelta(days=31)).replace(day=1)
    return wall_to_utc_ms(start, ZoneInfo(zone)), wall_to_utc_ms(over, ZoneInfo(zone))


def _known_at(instant: Millis, listings: Sequence[tuple[Millis, Millis, Mapping[str, Person]]]) -> Snapshot:
    """What all snapshots up to an instant say together."""
    people: dict[str, Person] = {}
    departed: set[str] = set()
    for from_ms, over_ms, listed in listings:
        if from_ms > instant:
            break
        if over_ms <= instant:
            departed = (departed | people.keys()) - listed.keys()
            people = dict(listed)
        else:
            departed -= listed.keys()
            people |= listed
    return Snapshot(instant, people, frozenset(departed))


def _people(file: Path) -> dict[str, Person]:
    try:
        frame = pl.read_csv(file, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ConfigurationError(f"directory: {file.name} cannot be read as CSV") from error
    wanted = ["employee_name", "user_id", "role", "department", "team", "supervisor"]
    missing = [name for name in ("user_id", "role") if name not in frame.columns]
    if missing:
        raise ConfigurationError(f"directory: {file.name} has no column {missing[0]}")
    frame = frame.select([pl.col(name).fill_null("") if name in frame.columns else pl.lit("").alias(name) for name in wanted])
    chiefs = set(frame["supervisor"].to_list()) - {""}
    return {
        user: Person(role, department, team, supervisor, bool(name) and name in chiefs)
        for name, user, role, department, team, supervisor in frame.iter_rows()
        if user
    }
