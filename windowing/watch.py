"""Watches the five logs of a partition for what is no event: silence beyond habit, and too many dead letters. Knows no broker.

What it says depends on the logs, not on how they were read: a finding opens and closes at certain records, and only that a log is
silent *now* needs a clock. What it has learned lies in the store with the positions up to which it was learned.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stream.errors import RefusedError
from stream.kinds import KINDS, Kind, Millis
from stream.log import Records, TopicPartition
from stream.operations import About, Noticed, Operation, Operations, count_refused
from stream.share import Share
from windowing.clocks import LONG_AGO, Longs
from windowing.habits import Habits
from windowing.intake import Refused


@dataclass(slots=True)
class Watch:
    """One partition's logs: how each is used to being silent, how much of it is refused, and which silences have been told of."""

    habits: dict[Kind, Habits] = field(default_factory=lambda: {kind: Habits() for kind in KINDS})
    shares: dict[Kind, Share] = field(default_factory=lambda: dict.fromkeys(KINDS, Share()))
    told: dict[Kind, Millis | None] = field(default_factory=lambda: dict.fromkeys(KINDS))
    """Per kind since when it has been silent, if that has been told."""

    def read(self, kind: Kind, found: Records, live: Longs, refused: Sequence[Refused], how: Operations) -> list[Noticed]:
        """Learn from a batch of one log: `live` are the rows that hold events of the present, ascending."""
        letters = sorted((found.raw[each.row].offset() or 0, each.reason) for each in refused)
        self.shares[kind], noticed = count_refused(self.shares[kind], found, letters, how.share)
        least_ms = how.least_silence_ms
        if least_ms is None or not len(live):
            return noticed
        habits = self.habits[kind]
        stamps: Longs = np.array(found.stamps, np.int64)[live]
        for silence in habits.hear(stamps, least_ms):
            offset = found.raw[int(live[silence.place])].offset() or 0
            if self.told[kind] != silence.since_ms:
                noticed.append(Noticed(offset, _silence(found.at, silence.since_ms, silence.due_ms, silence.habit_ms)))
            noticed.append(Noticed(offset, Operation(About.SILENCE, found.at, silence.since_ms, closed=True, time_ms=silence.end_ms)))
            self.told[kind] = None
        if self.told[kind] != habits.last_ms:
            self.told[kind] = None
        return noticed

    def overdue(self, kind: Kind, at: TopicPartition, now_ms: Millis, least_ms: Millis) -> Operation | None:
        """That a log, which has been read to its end, is silent beyond habit now; None when it is not, or has been told.

        Call `tell` when it has been sent.
        """
        habits = self.habits[kind]
        if habits.last_ms == LONG_AGO or now_ms - habits.last_ms < least_ms or self.told[kind] == habits.last_ms:
            return None
        due_ms = habits.due_ms(least_ms)
        if due_ms is None or now_ms < due_ms:
            return None
        return _silence(at, habits.last_ms, due_ms, habits.habit_ms(due_ms))

    def tell(self, kind: Kind) -> None:
        """The present silence has been told of."""
        self.told[kind] = self.habits[kind].last_ms

    # what the store keeps ----------------------------------------------------------------------------------------------

    def standing(self) -> dict[str, Any]:
        """What changes with every batch, as plain values: for the state that is written with the positions."""
        return {
            kind.value: [self.habits[kind].last_ms, self.told[kind], self.shares[kind].encode()]
            for kind in KINDS
            if self.habits[kind].last_ms != LONG_AGO or self.shares[kind] != Share()
        }

    def learned(self) -> str | None:
        """The habits as text when they have changed since `keep`, None when not."""
        if not any(habits.changed for habits in self.habits.values()):
            return None
        return json.dumps({kind.value: self.habits[kind].encode() for kind in KINDS})

    def keep(self) -> None:
        """What was learned is in the store."""
        for habits in self.habits.values():
            habits.changed = False

    @classmethod
    def restore(cls, standing: Mapping[str, Any], learned: str) -> "Watch":
        """Put together what the store held.

        Raises:
            RefusedError: it is none of ours.
        """
        try:
            return cls._restored(standing, learned)
        except (ValueError, TypeError, KeyError, AttributeError, zlib.error) as error:
            raise RefusedError(
                "the store holds habits of a topic that cannot be read: they are damaged, or something else wrote them",
                "Use a new namespace, or reset this one (daywatch reset window)",
            ) from error

    @classmethod
    def _restored(cls, standing: Mapping[str, Any], learned: str) -> "Watch":
        found = cls()
        packed: Mapping[str, str] = json.loads(learned) if learned else {}
        for kind in KINDS:
            if kind.value in packed:
                found.habits[kind] = Habits.decode(packed[kind.value])
            if kind.value in standing:
                found.habits[kind].last_ms, found.told[kind], share = standing[kind.value]
                found.shares[kind] = Share.decode(share)
        return found


def _silence(at: TopicPartition, since_ms: Millis, due_ms: Millis, habit_ms: Millis) -> Operation:
    return Operation(About.SILENCE, at, since_ms, closed=False, time_ms=due_ms, facts={"habit_ms": habit_ms})
