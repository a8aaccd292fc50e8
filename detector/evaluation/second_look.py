"""The directory once more, for what needs the raw events: windows without some of their events, and the rule that cites everything.

Knows windows and profiles, no model: whoever asks judges what comes out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from detector.evaluation.cite_all import cite_all
from detector.evaluation.deletion import DRAWS, choose_random
from stream.kinds import Kind
from windowing.calendar import Calendar
from windowing.describe import DescribeSettings, describe
from windowing.directory import Directory
from windowing.offline import panes_of
from windowing.profiles import Profiles
from windowing.record import Window, parse_window

Cited = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the second look: `alerts` is what was cited, by day and user; `deleting` names users by day whose windows are
    to be made again without events.
    """

    alerts: Mapping[int, Mapping[str, Cited]]
    deleting: Mapping[int, frozenset[str]]


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What one day gave to one question (by number).

    `without` holds (user, draw, window), draw -1 for the cited events removed and 0.. for random ones; the window is None when
    nothing was left of the user's day. `rule` is what the rule cites, `user, day, kind, id`.
    """

    question: int
    day: int
    without: list[tuple[str, int, Window | None]]
    rule: pl.DataFrame


def second_look(
    directory: Path,
    calendar: Calendar,
    people: Directory | None,
    settings: DescribeSettings,
    questions: Sequence[Question],
    seed: int,
) -> Iterator[SecondLook]:
    """Go through a directory again, once for all questions.

    Args:
        directory: the CERT directory.
        calendar: of days.
        people: as the windows were first made with.
        settings: likewise.
        questions: what to find out.
        seed: of the random events.
    """
    profiles = Profiles(calendar)
    for day, events in panes_of(directory, calendar, None):
        for number, question in enumerate(questions):
            cited = question.alerts.get(day)
            if cited is None:
                continue
            mine = _of_users(events, cited)
            deleting = question.deleting.get(day, frozenset())
            windows = list(_without(mine, day, calendar, profiles, people, settings, cited, deleting, seed))
            yield SecondLook(number, day, windows, cite_all(mine, calendar))
        profiles.fold(events, day)


def _of_users(events: Mapping[Kind, pl.DataFrame], users: Mapping[str, Cited]) -> dict[Kind, pl.DataFrame]:
    return {kind: part for kind, frame in events.items() if (part := frame.filter(pl.col("user").is_in(list(users)))).height}


def _without(
    events: Mapping[Kind, pl.DataFrame],
    day: int,
    calendar: Calendar,
    profiles: Profiles,
    people: Directory | None,
    settings: DescribeSettings,
    cited: Mapping[str, Cited],
    users: frozenset[str],
    seed: int,
) -> Iterator[tuple[str, int, Window | None]]:
    mine = _of_users(events, {user: cited[user] for user in users})
    for draw in range(-1, DRAWS) if mine else ():
        gone = {
            user: cited[user] if draw < 0 else _random(mine, user, len(cited[user]), seed + 1000 * day + draw) for user in sorted(users)
        }
        table = pl.DataFrame(
            [(user, kind, event_id) for user, events_gone in gone.items() for kind, event_id in events_gone],
            schema={"user": pl.String(), "kind": pl.String(), "id": pl.String()},
            orient="row",
        )
        left = {
            kind: rest
            for kind, frame in mine.items()
            if (rest := frame.join(table.filter(pl.col("kind") == str(kind)), on=["user", "id"], how="anti", maintain_order="left")).height
        }
        found = describe(left, day, calendar, profiles, people, settings)
        windows = dict(zip(found["user"], found["value"], strict=True))
        for user in sorted(users):
            yield user, draw, parse_window(windows[user].encode()) if user in windows else None


def _random(events: Mapping[Kind, pl.DataFrame], user: str, remove: int, seed: int) -> Cited:
    ids = {str(kind): frame.filter(pl.col("user") == user)["id"].to_list() for kind, frame in events.items()}
    return frozenset(choose_random(ids, remove, seed))
