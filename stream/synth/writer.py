"""Writes a synthetic organisation as a CERT r4.2 directory: five CSV files, LDAP snapshots, psychometrics and the answer key.

Days are made, written and forgotten one after the other; memory holds one day of numbers and one slice of text. The adapter to the
file system of this package; knows nothing of how events come about.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import IO, Final, TypeAlias

import numpy as np
import polars as pl

from stream.errors import ConfigurationError, said_by_system
from stream.kinds import KINDS, Kind
from stream.synth.attendance import Attendance
from stream.synth.days import World, chunks, plan
from stream.synth.organisation import Organisation
from stream.synth.rows import Rows
from stream.synth.stories import STRENGTHS
from stream.synth.text import COLUMNS, Texts

FIRST_DAY: Final = date(2010, 1, 4)
SEMANTICS: Final = 1  # grows whenever the same seed no longer gives the same bytes
_SLICE: Final = 100_000  # rows turned into text at a time
_DAY_BITS: Final = 36  # an event's serial: its day above, its place in the day's file below


Key: TypeAlias = dict[int, list[tuple[str, str]]]  # insider's number -> lines of the key, each with what it is sorted by


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the writing has come."""

    day: int
    days: int
    events: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What was written."""

    users: int
    days: int
    seed: int
    zone: str
    events: dict[str, int]
    insiders: int
    malicious_events: int

    @property
    def total(self) -> int:
        """Events of all kinds."""
        return sum(self.events.values())


def write_organisation(
    out: Path,
    users: int,
    days: int,
    seed: int,
    insiders: int | None = None,
    zone: str = "UTC",
    progress: Callable[[Progress], None] | None = None,
    *,
    overwrite: bool = False,
    first_day: date = FIRST_DAY,
) -> Summary:
    """Write an organisation of `users` people over `days` days into the directory `out`; the same arguments give the same bytes.

    `insiders` is None for a natural number (seven in a hundred people, as in CERT r4.2). Dates are local times of `zone`. `progress`
    is called after every day.

    Raises:
        ConfigurationError: an argument that cannot be, or `out` holds something already and `overwrite` is not set.
    """
    world = plan(users, days, seed, insiders, zone, first_day)
    try:
        _claim(out, overwrite)
        key, counts = _write_events(out, world, progress)
        _write_directory(out, world.org, world.attendance)
        _write_answers(out, world, key)
        summary = Summary(users, days, seed, zone, counts, len(world.insiders), sum(map(len, key.values())))
        _write_manifest(out, summary, world)
    except OSError as error:
        raise ConfigurationError(f"cannot write {out}: {said_by_system(error)}") from error
    return summary


def _write_events(out: Path, world: World, progress: Callable[[Progress], None] | None) -> tuple[Key, dict[str, int]]:
    """The five files. Return the key by insider, and how many events of each kind there are."""
    texts = Texts(world.chance, world.org, world.attendance.first_day)
    key: Key = {number: [] for number in range(len(world.insiders))}
    days = world.attendance.days
    with ExitStack() as stack:
        files = {kind: _EventFile(kind, texts, key, stack.enter_context((out / f"{kind}.csv").open("wb"))) for kind in KINDS}
        for day, events in chunks(world):
            for kind, rows in events.items():
                files[kind].add(day, rows)
            if progress is not None:
                progress(Progress(min(day + 1, days), days, sum(file.count for file in files.values())))
        for file in files.values():
            file.flush()
    return key, {str(kind): file.count for kind, file in files.items()}


def _claim(out: Path, overwrite: bool) -> None:
    """Make the directory; an old organisation in it is removed only when told to, anything else never."""
    if out.exists() and not out.is_dir():
        raise ConfigurationError(f"{out} is not a directory")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise ConfigurationError(f"{out} is not empty: choose another directory or say --overwrite")
        for path in _ours(out):
            path.unlink()
    out.mkdir(parents=True, exist_ok=True)


def _ours(out: Path) -> Iterator[Path]:
    """The files that an earlier run may have written."""
    for pattern in (*(f"{kind}.csv" for kind in KINDS), "psychometric.csv", "organisation.json", "LDAP/*.csv", "answers/insiders.csv"):
        yield from out.glob(pattern)
    yield from out.glob("answers/r4.2-*/r4.2-*.csv")


class _EventFile:
    """One kind's file and its part of the key. Small days wait for each other, large ones are cut: text is made a slice at a time."""

    def __init__(self, kind: Kind, texts: Texts, key: Key, file: IO[bytes]) -> None:
        self.count = 0
        self._kind, self._texts, self._key, self._file = kind, texts, key, file
        self._waiting: list[Rows] = []
        self._waiting_rows = 0
        file.write((",".join(COLUMNS[kind]) + "\n").encode())

    def add(self, day: int, rows: Rows) -> None:
        """Append one day's events."""
        size = len(rows["t"])
        self.count += size
        self._waiting.append(rows | {"serial": (day << _DAY_BITS) + np.arange(size, dtype=np.int64)})
        self._waiting_rows += size
        if self._waiting_rows >= _SLICE:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        rows = {name: np.concatenate([part[name] for part in self._waiting]) for name in self._waiting[0]}
        self._waiting, self._waiting_rows = [], 0
        for low in range(0, len(rows["t"]), _SLICE):
            self._write({name: column[low : low + _SLICE] for name, column in rows.items()})

    def _write(self, rows: Rows) -> None:
        frame = self._texts.frame(self._kind, rows, rows["serial"])
        frame.write_csv(self._file, include_header=False)
        at = np.flatnonzero(rows["insider"] >= 0)
        if len(at):
            listed = frame[at].insert_column(0, pl.lit(str(self._kind)).alias("kind")).write_csv(include_header=False).splitlines()
            for number, t, line in zip(rows["insider"][at].tolist(), rows["t"][at].tolist(), listed, strict=True):
                self._key[number].append((f"{t:012d}{KINDS.index(self._kind)}", line))


def _write_directory(out: Path, org: Organisation, attendance: Attendance) -> None:
    """One snapshot for each month, of those who work here at any time in it, and the psychometrics of all."""
    months = sorted({(day.year, day.month) for day in (attendance.first_day + timedelta(days=d) for d in range(attendance.days))})
    (out / "LDAP").mkdir(exist_ok=True)
    for year, month in months:
        begin = (date(year, month, 1) - attendance.first_day).days
        end = (date(year + month // 12, month % 12 + 1, 1) - attendance.first_day).days
        here = np.flatnonzero((attendance.leaves > max(begin, 0)) & (attendance.joins < end)).tolist()
        rows = [
            (org.names[u], org.user_ids[u], org.emails[u], org.roles[u], "1", org.units[u], org.departments[u], org.teams[u], _boss(org, u))
            for u in here
        ]
        header = ("employee_name", "user_id", "email", "role", "business_unit", "functional_unit", "department", "team", "supervisor")
        _write_rows(out / "LDAP" / f"{year:04d}-{month:02d}.csv", [header, *rows])
    scores = [(org.names[u], org.user_ids[u], *map(str, org.psychometric[u].tolist())) for u in range(org.n)]
    _write_rows(out / "psychometric.csv", [("employee_name", "user_id", "O", "C", "E", "A", "N"), *scores])


def _boss(org: Organisation, user: int) -> str:
    boss = int(org.boss[user])
    return org.names[boss] if boss >= 0 else ""


def _write_answers(out: Path, world: World, key: Key) -> None:
    listing = []
    for number, insider in enumerate(world.insiders):
        user = world.org.user_ids[insider.user]
        lines = [line for _, line in sorted(key[number])]
        folder = out / "answers" / f"r4.2-{insider.scenario}"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"r4.2-{insider.scenario}-{user}.csv"
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
        first, last = (lines[at].split(",", 3)[2] if lines else "" for at in (0, -1))
        listing.append(("4.2", str(insider.scenario), name, user, first, last))
    (out / "answers").mkdir(exist_ok=True)
    header = ("dataset", "scenario", "details", "user", "start", "end")
    _write_rows(out / "answers" / "insiders.csv", [header, *sorted(listing, key=lambda row: (row[1], row[3]))])


def _write_manifest(out: Path, summary: Summary, world: World) -> None:
    """How the directory was made. Strengths are part of the key, so they are told with the answers, not here."""
    made = {
        "users": summary.users,
        "days": summary.days,
        "seed": summary.seed,
        "zone": summary.zone,
        "insiders": summary.insiders,
        "first_day": world.attendance.first_day.isoformat(),
        "semantics": SEMANTICS,
        "events": summary.events,
    }
    (out / "organisation.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    strengths: list[tuple[str, ...]] = [
        ("user", "strength"),
        *sorted((world.org.user_ids[i.user], STRENGTHS[i.strength]) for i in world.insiders),
    ]
    _write_rows(out / "answers" / "strengths.csv", strengths)


def _write_rows(path: Path, rows: list[tuple[str, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
