"""What really happened: the answer key of a CERT directory (`answers/`). Knows nothing of windows, scores or verdicts.

The key lists events; a user/day is positive when it holds one of them. What an insider does under another's account is
logged under that account, so it makes *that* account's day positive, and it still belongs to the insider's story.
Spans (`start`, `end` of `insiders.csv`) are never used: most days inside them are innocent.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from stream.errors import ConfigurationError
from stream.kinds import Kind
from windowing.calendar import DAY_MS, Calendar, WindowSpec, wall_to_utc_ms

KEY_SCHEMA: dict[str, pl.DataType] = {
    "insider": pl.String(),
    "scenario": pl.Int64(),
    "user": pl.String(),
    "kind": pl.String(),
    "id": pl.String(),
    "ts": pl.Int64(),
    "day": pl.Int64(),
    "pc": pl.String(),
    "detail": pl.String(),
}

_DATE = "%m/%d/%Y %H:%M:%S"
_KINDS = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Insider:
    """One row of `insiders.csv`: one person in one scenario, and the file that lists what they did."""

    user: str
    scenario: int
    details: str


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """The insiders and every malicious event, oldest first.

    `events` has the columns of `KEY_SCHEMA`: `insider` did it, `user` is the account it is logged under, `day` is the local
    day number since 1970-01-01 in the organisation's zone, `ts` is in UTC milliseconds, `detail` is the kind's own telling
    field (url, file name, recipients or activity).
    """

    insiders: tuple[Insider, ...]
    events: pl.DataFrame

    def days(self) -> pl.DataFrame:
        """Positive user/days: `user, day, insider, scenario, n_key, first_ts`, one row each, sorted.

        Should two insiders act under one account on one day, the day is credited to the one who came first.
        """
        return (
            self.events.sort("ts", "kind", "id")
            .group_by("user", "day", maintain_order=True)
            .agg(pl.first("insider", "scenario"), pl.len().cast(pl.Int64).alias("n_key"), pl.min("ts").alias("first_ts"))
            .sort("user", "day")
        )


def day_calendar(zone: str) -> Calendar:
    """The calendar whose panes are the local days of a zone."""
    return Calendar(WindowSpec(size_ms=DAY_MS, hop_ms=DAY_MS), zone)


def read_answers(directory: Path, zone: str = "UTC") -> AnswerKey:
    """Read `answers/insiders.csv` and the file of each insider.

    Naive dates are local times of `zone`. Rows of `insiders.csv` that belong to another release (the official file lists all
    releases) and have no file here are passed over; a missing file of a release that *is* here is an error.

    Raises:
        ConfigurationError: there is no key, or it is broken; the text names the file and line, never a user.
    """
    answers = directory / "answers"
    listing = answers / "insiders.csv"
    if not listing.is_file():
        raise ConfigurationError(f"{listing} does not exist: a CERT directory with its answers/ is needed as ground truth")
    listed = _insiders(listing)
    found = [(dataset, insider, _details_path(answers, dataset, insider)) for dataset, insider in listed]
    present = {dataset for dataset, _, path in found if path is not None}
    if not present:
        raise ConfigurationError(f"{listing} lists {len(listed)} insiders, but none of their files is under {answers}")
    missing = [line for line, (dataset, _, path) in enumerate(found, 2) if path is None and dataset in present]
    if missing:
        raise ConfigurationError(f"{listing} line {missing[0]}: the insider's file is not under {answers}")
    insiders = tuple(insider for _, insider, path in found if path is not None)
    calendar = day_calendar(zone)
    rows = [row for _, insider, path in found if path is not None for row in _key_rows(path, insider, calendar)]
    events = pl.DataFrame(rows, schema=KEY_SCHEMA, orient="row").unique(["kind", "id", "user"], keep="first", maintain_order=True)
    return AnswerKey(insiders, events.sort("ts", "kind", "id"))


def _insiders(listing: Path) -> list[tuple[str, Insider]]:
    with listing.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        wanted = {"dataset", "scenario", "details", "user"}
        if not wanted <= set(reader.fieldnames or ()):
            raise ConfigurationError(f"{listing}: the header must name {', '.join(sorted(wanted))}")
        try:
            return [(row["dataset"], Insider(row["user"], int(row["scenario"]), row["details"])) for row in reader]
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{listing} line {reader.line_num}: the scenario is no number") from error


def _details_path(answers: Path, dataset: str, insider: Insider) -> Path | None:
    if not insider.details or Path(insider.details).name != insider.details:
        return None
    for folder in (answers / f"r{dataset}-{insider.scenario}", answers / f"r{dataset}", answers):
        if (folder / insider.details).is_file():
            return folder / insider.details
    return None


def _key_rows(path: Path, insider: Insider, calendar: Calendar) -> Iterator[tuple[str, int, str, str, str, int, int, str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.reader(lines)
        for row in reader:
            if not row or row[:2] == ["kind", "id"]:
                continue
            if len(row) < 5 or row[0].lower() not in _KINDS:
                raise ConfigurationError(f"{path.parent.name}, line {reader.line_num}: expected kind,id,date,user,pc,… of a known kind")
            kind, event_id, date, user, pc, *rest = row
            try:
                ts = wall_to_utc_ms(_wall(date), ZoneInfo(calendar.zone))
            except ValueError as error:
                raise ConfigurationError(f"{path.parent.name}, line {reader.line_num}: the date is not MM/DD/YYYY HH:MM:SS") from error
            detail = rest[0] if rest else ""
            yield insider.user, insider.scenario, user, kind.lower(), event_id, ts, calendar.pane_of(ts), pc, detail


def _wall(date: str) -> datetime:
    return datetime.strptime(date, _DATE)  # noqa: DTZ007  the key's dates are naive; the zone is put to them next
