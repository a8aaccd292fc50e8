"""Which alerts are one story: those of a user that follow each other within a gap. State in, steps and new state out.

Knows no broker, no clock and no encoding. What a story says, and each of its revisions, follows from the user's alerts in their
order alone; the clock decides only when it may be said that nothing more follows.

    alerts of one user      a1      a2               a3
    gap                     |------------|
                                    |------------|   |------------|
    stories                 [ opened, grown      ]   [ opened     ]
                                                 ^ closed here, one gap after a2, as soon as the clock has come so far or a3 is there
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from sinks.alert_memory import CitedEvent
from sinks.incidents.risk import risk_at
from stream.kinds import Millis

_DAY_MS: Millis = 86_400_000


class Step(IntEnum):
    """What a revision does to its incident; OCSF's numbers."""

    OPEN = 1
    GROW = 2
    CLOSE = 3


@dataclass(frozen=True, slots=True)
class Merging:
    """How alerts are merged; times in ms. A story takes no alert beyond the two limits, so that its record can be sent."""

    gap_ms: Millis = 7 * _DAY_MS
    half_life_ms: Millis = 3 * _DAY_MS
    most_alerts: int = 250
    most_events: int = 1_000


@dataclass(frozen=True, slots=True)
class Alerted:
    """One record of the alerts topic, as far as stories go: the whole alert as it stood then.

    `time_ms` is its revision: a user's windows are judged in the order of their ends, and each leaves one record at most.
    """

    user: str
    uid: str
    time_ms: Millis
    created_ms: Millis
    risk: int
    label: str
    title: str
    reason: str
    events: tuple[CitedEvent, ...]
    techniques: tuple[str, ...]
    traits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """An incident as it stands: its alerts in the order in which they joined, each in its newest revision.

    `risks`: when each revision was made, and the risk then.
    """

    uid: str
    user: str
    revision: int
    opened_ms: Millis
    last_ms: Millis
    alerts: tuple[Alerted, ...]
    risks: tuple[tuple[Millis, int], ...]
    continues: str | None = None
    """The incident that had grown too large to hold what follows."""

    @property
    def events(self) -> tuple[CitedEvent, ...]:
        """Every event that any of its alerts cites, each once, in order of time."""
        unique = {event.ref: event for alert in self.alerts for event in alert.events}
        return tuple(sorted(unique.values(), key=lambda event: (event.ts, event.ref.kind.value, event.ref.id)))

    @property
    def risk(self) -> int:
        """The risk as of its newest revision."""
        return self.risks[-1][1]

    @property
    def peak(self) -> int:
        """The highest risk that it ever had."""
        return max(risk for _, risk in self.risks)


@dataclass(frozen=True, slots=True)
class Told:
    """A revision of an incident, to be sent. `at_ms`: its time; `continued`: closed because it is full, not because it is quiet."""

    step: Step
    story: Story
    at_ms: Millis
    continued: bool = False


@dataclass(frozen=True, slots=True)
class UserState:
    """What is remembered of a user. `alerts_ms`: time of the newest alert record merged; `announced_ms`: of the newest one that a
    verdict has spoken of, which may not have been read yet.
    """

    story: Story | None = None
    alerts_ms: Millis | None = None
    announced_ms: Millis | None = None

    @property
    def waiting(self) -> bool:
        """Whether a verdict has spoken of an alert that has not been read."""
        return self.announced_ms is not None and (self.alerts_ms is None or self.announced_ms > self.alerts_ms)


def merge(state: UserState, alert: Alerted, merging: Merging) -> tuple[UserState, tuple[Told, ...]]:
    """Let an alert join the user's open story, or begin a new one; an alert record that was merged before changes nothing."""
    if state.alerts_ms is not None and alert.time_ms <= state.alerts_ms:
        return state, ()
    told: list[Told] = []
    story, continues = state.story, None
    if story is not None and alert.time_ms - story.last_ms > merging.gap_ms:
        told.append(_closed(story, merging))
        story = None
    if story is not None and _too_large(story, alert, merging):
        continues = story.uid
        told.append(_full(story, alert.time_ms, merging))
        story = None
    story = _opened(alert, continues, merging) if story is None else _grown(story, alert, merging)
    told.append(Told(Step.OPEN if story.revision == 1 else Step.GROW, story, alert.time_ms))
    return replace(state, story=story, alerts_ms=alert.time_ms), tuple(told)


def announce(state: UserState, at_ms: Millis) -> UserState:
    """Remember that the alerts topic holds a record of this time."""
    return state if state.announced_ms is not None and state.announced_ms >= at_ms else replace(state, announced_ms=at_ms)


def close_if_quiet(state: UserState, clock_ms: Millis, merging: Merging) -> tuple[UserState, tuple[Told, ...]]:
    """Close the user's story when no alert can join it any more.

    `clock_ms`: verdicts on all windows that end up to then have been read. While one of them has spoken of an alert that has not been
    read, nothing is closed: that alert may belong to the story.
    """
    story = state.story
    if story is None or state.waiting or clock_ms < story.last_ms + merging.gap_ms:
        return state, ()
    return replace(state, story=None), (_closed(story, merging),)


def incident_uid(user: str, first_alert: str) -> str:
    """The identity of an incident: a digest of the user and the first alert's uid, without names.

    >>> incident_uid("ana", "15ce0a1e087799e26f444d91d1d87604")
    'c36a137c73431b7b39b4686a1bdb758a'
    """
    return hashlib.sha256(f"daywatch.incident/1\0{user}\0{first_alert}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _opened(alert: Alerted, continues: str | None, merging: Merging) -> Story:
    # an alert may grow for days: where the gap is shorter than that, it may begin a second story
    first = alert.uid if alert.time_ms == alert.created_ms else f"{alert.uid}/{alert.time_ms}"
    risk = risk_at([(alert.time_ms, alert.risk)], alert.time_ms, merging.half_life_ms)
    uid = incident_uid(alert.user, first)
    return Story(uid, alert.user, 1, alert.time_ms, alert.time_ms, (alert,), ((alert.time_ms, risk),), continues)


def _grown(story: Story, alert: Alerted, merging: Merging) -> Story:
    alerts = _joined(story.alerts, alert)
    return _revised(replace(story, alerts=alerts, last_ms=alert.time_ms), alert.time_ms, merging)


def _joined(alerts: Sequence[Alerted], alert: Alerted) -> tuple[Alerted, ...]:
    if all(known.uid != alert.uid for known in alerts):
        return (*alerts, alert)
    return tuple(_updated(known, alert) if known.uid == alert.uid else known for known in alerts)


def _updated(known: Alerted, alert: Alerted) -> Alerted:
    """An alert's newer record tells all of its events, but techniques and traits of its own window only."""
    return replace(
        alert,
        created_ms=known.created_ms,
        events=tuple({event.ref: event for event in (*known.events, *alert.events)}.values()),
        techniques=tuple(dict.fromkeys((*known.techniques, *alert.techniques))),
        traits=tuple(dict.fromkeys((*known.traits, *alert.traits))),
    )


def _too_large(story: Story, alert: Alerted, merging: Merging) -> bool:
    if any(known.uid == alert.uid for known in story.alerts):
        return False  # what grows stays where it is
    events = sum(len(known.events) for known in story.alerts) + len(alert.events)
    return len(story.alerts) >= merging.most_alerts or events > merging.most_events


def _closed(story: Story, merging: Merging) -> Told:
    at_ms = story.last_ms + merging.gap_ms
    return Told(Step.CLOSE, _revised(story, at_ms, merging), at_ms)


def _full(story: Story, at_ms: Millis, merging: Merging) -> Told:
    return Told(Step.CLOSE, _revised(story, at_ms, merging), at_ms, continued=True)


def _revised(story: Story, at_ms: Millis, merging: Merging) -> Story:
    risk = risk_at([(alert.time_ms, alert.risk) for alert in story.alerts], at_ms, merging.half_life_ms)
    return replace(story, revision=story.revision + 1, risks=(*story.risks, (at_ms, risk)))
