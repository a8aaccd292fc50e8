"""What is remembered between alerts, as bytes: a user's state, and how far a partition has come. Values in, bytes out, and back.

Knows neither merging nor any broker.
"""

from dataclasses import asdict, dataclass
from typing import Any

import orjson

from detector.verdict import EventRef
from sinks.alert_memory import CitedEvent
from sinks.incidents.story import Alerted, Story, UserState
from stream.errors import RefusedError
from stream.kinds import Kind, Millis

_VERSION = 1


class BadMemoryError(RefusedError):
    """A record of the incident memory that this version did not write."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a partition has come, in event time (UTC ms) and in its two logs.

    `clock_ms`: no verdict on a window that ends up to then follows. `mark_ms`: the newest clock mark among the verdicts; `last`: there was
    a replay's last one; `passed`: they were passed on. `ends`: where the logs of verdicts and alerts ended when they were found worked off,
    for others who wait for that.
    """

    clock_ms: Millis | None = None
    mark_ms: Millis | None = None
    last: bool = False
    passed: bool = True
    ends: tuple[int, int] | None = None

    @property
    def done(self) -> bool:
        """Whether a replay's last mark has been passed on, and so everything before it been dealt with."""
        return self.last and self.passed


def place_key(partition: int) -> bytes:
    """Under which key a partition's place is kept; no user's name holds such a character."""
    return b"\0partition/%d" % partition


def is_place_key(key: bytes) -> bool:
    """Whether this is no user's key."""
    return key.startswith(b"\0")


def encode_place(place: Place) -> bytes:
    """The record of a partition's place."""
    return orjson.dumps({"v": _VERSION, **asdict(place)})


def decode_place(record: bytes) -> Place:
    """Read what `encode_place` wrote.

    Raises:
        BadMemoryError: it did not.
    """
    try:
        found = _read(record)
        ends = found["ends"]
        return Place(
            found["clock_ms"], found["mark_ms"], found["last"], found["passed"], None if ends is None else (int(ends[0]), int(ends[1]))
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _bad() from error


def encode_state(state: UserState) -> bytes:
    """The record that the compacted topic keeps for a user."""
    story = state.story
    return orjson.dumps(
        {
            "v": _VERSION,
            "alerts_ms": state.alerts_ms,
            "announced_ms": state.announced_ms,
            "story": None if story is None else _story(story),
        }
    )


def decode_state(record: bytes) -> UserState:
    """Read what `encode_state` wrote.

    Raises:
        BadMemoryError: it did not.
    """
    try:
        found = _read(record)
        story = found["story"]
        return UserState(None if story is None else _story_of(story), found["alerts_ms"], found["announced_ms"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise _bad() from error


def _read(record: bytes) -> Any:
    found = orjson.loads(record)
    if found["v"] != _VERSION:
        raise ValueError
    return found


def _bad() -> BadMemoryError:
    return BadMemoryError(
        "the incident memory cannot be read: this version of Daywatch did not write it; finish with the version that did, or use a new "
        "namespace"
    )


def _story(story: Story) -> dict[str, Any]:
    return {
        "uid": story.uid,
        "user": story.user,
        "revision": story.revision,
        "opened_ms": story.opened_ms,
        "last_ms": story.last_ms,
        "risks": story.risks,
        "continues": story.continues,
        "alerts": [
            [a.uid, a.time_ms, a.created_ms, a.risk, a.label, a.title, a.reason, a.techniques, a.traits, _events(a.events)]
            for a in story.alerts
        ],
    }


def _events(events: tuple[CitedEvent, ...]) -> list[list[Any]]:
    return [[event.ref.kind.value, event.ref.id, event.ts, event.type_uid] for event in events]


def _story_of(found: Any) -> Story:
    user = found["user"]
    alerts = tuple(
        Alerted(user, uid, time_ms, created_ms, risk, label, title, reason, _events_of(events), tuple(techniques), tuple(traits))
        for uid, time_ms, created_ms, risk, label, title, reason, techniques, traits, events in found["alerts"]
    )
    risks = tuple((at_ms, risk) for at_ms, risk in found["risks"])
    return Story(found["uid"], user, found["revision"], found["opened_ms"], found["last_ms"], alerts, risks, found["continues"])


def _events_of(rows: Any) -> tuple[CitedEvent, ...]:
    return tuple(CitedEvent(EventRef(Kind(kind), event_id), ts, type_uid) for kind, event_id, ts, type_uid in rows)
