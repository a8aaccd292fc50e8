"""One organisation's events, day after day: the ordinary, the occasions and the stories put together in time order.

What falls past midnight waits for the next day, so every chunk is later than the one before. Knows nothing of text and files.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from stream.errors import ConfigurationError
from stream.kinds import KINDS, Kind
from stream.synth.attendance import Attendance, attend
from stream.synth.chance import Chance, Flags, Ints
from stream.synth.episodes import REPLACES, Act, Episode, perform
from stream.synth.lookalikes import plan_occasions
from stream.synth.ordinary import ordinary_day
from stream.synth.organisation import Organisation, found
from stream.synth.rows import Events, Rows, in_time_order, joined, none, picked
from stream.synth.scene import Scene
from stream.synth.sites import PAGES, SITE_TOPIC, TOPIC
from stream.synth.stories import Insider, natural_number, plan_insiders
from stream.synth.text import DAY_S

_SCENE = 8  # purpose number of this module's random stream
LEARNING_DAYS: Final = 14
MOST_DAYS: Final = 3_660


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is settled before the first day."""

    chance: Chance
    org: Organisation
    attendance: Attendance
    insiders: tuple[Insider, ...]
    episodes: dict[int, list[Episode]]  # by day
    zone: ZoneInfo


def plan(users: int, days: int, seed: int, insiders: int | None, zone: str, first_day: date) -> World:
    """Draw the organisation and plan its time.

    Raises:
        ConfigurationError: a size, a number of insiders or a zone that cannot be.
    """
    if not 1 <= days <= MOST_DAYS:
        raise ConfigurationError(f"days must be between 1 and {MOST_DAYS}, got {days}")
    if seed < 0:
        raise ConfigurationError(f"seed must not be negative, got {seed}")
    try:
        where = ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigurationError(f"zone: unknown time zone {zone!r}; use an IANA name such as Europe/Berlin") from error
    chance = Chance(seed)
    org = found(chance, users)
    attendance = attend(chance, org, first_day, days, LEARNING_DAYS)
    stories = plan_insiders(chance, org, attendance, natural_number(users) if insiders is None else insiders, LEARNING_DAYS)
    by_day: dict[int, list[Episode]] = defaultdict(list)
    for episode in [*stories.episodes, *plan_occasions(chance, org, attendance)]:
        by_day[episode.day].append(episode)
    return World(chance, org, attendance, tuple(stories.insiders), dict(by_day), where)


def chunks(world: World) -> Iterator[tuple[int, Events]]:
    """Each day's events in time order, numbered by day; the last chunk holds what runs past the last midnight."""
    waiting = none()
    for day in range(world.attendance.days + 1):
        made = _made(world, day) if day < world.attendance.days else none()
        ready: Events = {}
        for kind in KINDS:
            rows = joined(kind, [waiting[kind], made[kind]])
            rows["t"] = _existing(world, rows["t"])
            now = rows["t"] < (day + 1) * DAY_S
            ready[kind] = in_time_order(picked(rows, now))
            waiting[kind] = picked(rows, ~now)
        yield day, ready


def _made(world: World, day: int) -> Events:
    episodes = world.episodes.get(day, [])
    ordinary = ordinary_day(world.chance, world.org, world.attendance, day)
    scene = Scene(world.org, world.attendance, day, world.chance.stream(_SCENE, day))
    for episode in episodes:
        perform(scene, episode)
    scripted = scene.events()
    kept = _without_replaced(ordinary, episodes)
    return {kind: joined(kind, [kept[kind], scripted[kind]]) for kind in KINDS}


def _without_replaced(ordinary: Events, episodes: Sequence[Episode]) -> Events:
    """The ordinary events without those that an episode stands in for."""
    users: dict[str, list[int]] = defaultdict(list)
    for episode in episodes:
        for what in REPLACES.get(Act(episode.act), ()):
            users[what].append(episode.user)
    kept = dict(ordinary)
    if "drive" in users:
        for kind in (Kind.DEVICE, Kind.FILE):
            kept[kind] = picked(kept[kind], ~np.isin(kept[kind]["user"], users.pop("drive") if kind is Kind.FILE else users["drive"]))
    http = kept[Kind.HTTP]
    gone: Flags = np.zeros(len(http["t"]), np.bool_)
    for what, who in users.items():
        gone |= (SITE_TOPIC[http["page"] // PAGES] == TOPIC[what]) & np.isin(http["user"], who)
    kept[Kind.HTTP] = picked(http, ~gone)
    return kept


def _existing(world: World, t: Ints) -> Ints:
    """Wall times that exist in the zone: those that a change of the clocks leaves out are an hour or so later."""
    if not len(t):
        return t
    moved = t.copy()
    for day in range(int(t.min()) // DAY_S, int(t.max()) // DAY_S + 1):
        gap = skipped_stretch(world.attendance.first_day + timedelta(days=day), world.zone)
        if gap is not None:
            low, width = gap
            inside = (moved >= day * DAY_S + low) & (moved < day * DAY_S + low + width)
            moved[inside] += width
    return moved


def skipped_stretch(day: date, zone: ZoneInfo) -> tuple[int, int] | None:
    """The stretch of this day's wall time that does not exist, as (first second, length), or None."""
    midnight = datetime.combine(day, time())
    before = midnight.replace(tzinfo=zone).utcoffset()
    after = (midnight + timedelta(days=1)).replace(tzinfo=zone).utcoffset()
    if before is None or after is None or after <= before:
        return None
    width = int((after - before).total_seconds())
    low, high = 0, DAY_S  # the first second whose offset is no longer the old one
    while high - low > 1:
        middle = (low + high) // 2
        if (midnight + timedelta(seconds=middle)).replace(tzinfo=zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high if _is_skipped(midnight, high, zone) else high - width, width


def _is_skipped(midnight: datetime, second: int, zone: ZoneInfo) -> bool:
    """Whether this wall time is left out: going to UTC and back gives another."""
    wall = (midnight + timedelta(seconds=second)).replace(tzinfo=zone)
    return wall.astimezone(ZoneInfo("UTC")).astimezone(zone).replace(tzinfo=None) != wall.replace(tzinfo=None)


__all__ = ["LEARNING_DAYS", "Rows", "World", "chunks", "plan"]
