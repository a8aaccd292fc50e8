"""Who works where, as far as was known at the time: monthly snapshots in CERT's LDAP format. Knows no events.

`YYYY-MM.csv` is valid from the first of its month, in the organisation's zone; nothing is ever read from a later one. Whoever
was in an earlier snapshot and is not in the valid one has departed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from stream.errors import ConfigurationError
from stream.kinds import Millis
from windowing.calendar import wall_to_utc_ms
from windowing.features import People

_NAME = re.compile(r"(\d{4})-(\d{2})\.csv(?:\.gz|\.zst)?")
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
        files = sorted((match[1], match[2], file) for file in folder.glob("*.csv*") if (match := _NAME.fullmatch(file.name)))
        if not files:
            raise ConfigurationError(f"directory: no snapshots named YYYY-MM.csv in {folder}")
        snapshots: list[Snapshot] = []
        seen: set[str] = set()
        for year, month, file in files:
            people = _people(file)
            try:
                start = datetime(int(year), int(month), 1)  # noqa: DTZ001  a wall time, mapped to the zone below
            except ValueError as error:
                raise ConfigurationError(f"directory: {file.name} names no month") from error
            snapshots.append(Snapshot(wall_to_utc_ms(start, ZoneInfo(zone)), people, frozenset(seen - people.keys())))
            seen |= people.keys()
        return cls(snapshots)

    def at(self, ts_ms: Millis) -> Snapshot | None:
        """The snapshot that was valid at an instant; None before the first."""
        valid = None
        for snapshot in self._snapshots:
            if snapshot.from_ms > ts_ms:
                break
            valid = snapshot
        return valid


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
