"""Where attacks are staged: days of synthetic organisations, each with what is needed to describe it again after a change.

    seeds -> organisations in a temporary directory -> panes -> the days of insiders, and of some who did nothing

A day that was attacked becomes a window by the engine's own code, with the profile that the user had that morning: counts, features
and the choice of events to show are what they would be in production. Knows no model.
"""

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from detector.evaluation.truth import read_answers
from detector.from_directory import USER_DAYS, KeyByTime
from detector.redteam.attacks import Day
from detector.training import Key
from stream.kinds import Kind
from stream.synth import write_organisation
from windowing.calendar import Calendar
from windowing.describe import DescribeSettings, describe
from windowing.directory import Directory
from windowing.offline import panes_of
from windowing.profiles import Profiles
from windowing.record import Window, parse_window

SEEDS: Final = tuple(range(8101, 8141))
"""Of the organisations that attacks are staged in; nothing was ever trained on them."""
USERS: Final = 100
INSIDERS: Final = 25
DAYS: Final = 60
_BYSTANDERS: Final = 15
_ZONE: Final = "UTC"


@dataclass(frozen=True, slots=True)
class Size:
    """How large an organisation is."""

    users: int = USERS
    days: int = DAYS
    insiders: int = INSIDERS


@dataclass(frozen=True, slots=True)
class Place:
    """What all days of an organisation share."""

    calendar: Calendar
    people: Directory | None
    settings: DescribeSettings


@dataclass(frozen=True, slots=True)
class Scene:
    """One user's day: its window, its events, the profile before it, and what in it is malicious."""

    window: Window
    day: Day
    key: Key
    pane: int
    profile: bytes | None
    place: Place

    def described(self, day: Day) -> Window:
        """The window that the engine would have made of another day, here given with all its events."""
        profiles = Profiles(self.place.calendar)
        if self.profile is not None:
            profiles.load([(self.window.user, self.profile)])
        made = describe(day, self.pane, self.place.calendar, profiles, self.place.people, self.place.settings)
        return parse_window(made["value"][0].encode())


@dataclass(frozen=True, slots=True)
class Stage:
    """Scenes in a drawn order: days on which insiders acted, and days on which nobody did."""

    malicious: tuple[Scene, ...]
    innocent: tuple[Scene, ...]


def stage(
    malicious: int,
    innocent: int,
    seed: int = 0,
    *,
    size: Size | None = None,
    settings: DescribeSettings | None = None,
    progress: Callable[[int, int], None] = lambda _done, _wanted: None,
) -> Stage:
    """Make organisations until there are enough scenes.

    Args:
        malicious: how many days of insiders, at most.
        innocent: how many days on which nobody did anything, likewise.
        seed: which organisations, and the draw from them.
        size: of each organisation.
        settings: how much a window shows.
        progress: told how many malicious scenes there are, of how many.
    """
    chance = random.Random(seed)
    bad: list[Scene] = []
    good: list[Scene] = []
    first = seed % len(SEEDS)
    for number in SEEDS[first:] + SEEDS[:first]:
        progress(min(len(bad), malicious), malicious)
        if len(bad) >= malicious and len(good) >= innocent:
            break
        for scene in _organisation(number, size or Size(), settings or DescribeSettings(), chance):
            (bad if scene.key else good).append(scene)
    chance.shuffle(bad)
    chance.shuffle(good)
    return Stage(tuple(bad[:malicious]), tuple(good[:innocent]))


def _organisation(seed: int, size: Size, settings: DescribeSettings, chance: random.Random) -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="daywatch-") as held:
        directory = Path(held) / "organisation"
        write_organisation(directory, size.users, size.days, seed, size.insiders, _ZONE)
        answers = read_answers(directory, _ZONE)
        accounts = frozenset(answers.events["user"].to_list())
        others = sorted(frozenset(pl.read_csv(directory / "psychometric.csv")["user_id"].to_list()) - accounts)
        watched = [*sorted(accounts), *chance.sample(others, min(_BYSTANDERS, len(others)))]
        place = Place(Calendar(USER_DAYS, _ZONE), Directory.read(directory, _ZONE), settings)
        yield from _days(directory, place, KeyByTime.of(answers), watched)


def _days(directory: Path, place: Place, key_of: KeyByTime, watched: Sequence[str]) -> Iterator[Scene]:
    profiles = Profiles(place.calendar)
    for pane, everything in panes_of(directory, place.calendar, None):
        events = {kind: frame.filter(pl.col("user").is_in(watched)) for kind, frame in everything.items()}
        made = describe(events, pane, place.calendar, profiles, place.people, place.settings)
        blobs = dict(profiles.dump(made["user"].to_list()))
        for user, value in made.select("user", "value").iter_rows():
            window = parse_window(value.encode())
            # what is hardly known yet is judged by other rules, and says nothing about attacks
            if not window.learning:
                yield Scene(window, _of_user(events, user), key_of(window), pane, blobs.get(user), place)
        profiles.fold(events, pane)


def _of_user(events: Mapping[Kind, pl.DataFrame], user: str) -> Day:
    found = {kind: frame.filter(pl.col("user") == user) for kind, frame in events.items()}
    return {kind: frame for kind, frame in found.items() if frame.height}
