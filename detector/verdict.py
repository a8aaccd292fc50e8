"""What a window means: a label, a score and the events that it rests on. Knows no backend, no broker and no encoding."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

from stream.errors import PoisonError
from stream.kinds import Kind
from windowing.record import Window

Label: TypeAlias = Literal["normal", "suspicious", "malicious"]


@dataclass(frozen=True, slots=True)
class EventRef:
    """Identity of an event: ids are unique only within a kind."""

    kind: Kind
    id: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one window."""

    window_id: str
    user: str
    start: str
    end: str
    label: Label
    score: float
    triage_score: float
    cited: tuple[EventRef, ...]
    reason: str
    traits: tuple[str, ...]
    techniques: tuple[str, ...]
    alert: bool
    learning: bool
    track: str
    by: str
    provenance: Mapping[str, str] = field(default_factory=dict)
    line_labels: "Mapping[EventRef, tuple[str, float]]" = field(default_factory=dict)
    """What the log-line classifier says of the window's events, if it was asked: label and score."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """What else is to be said of it, by name, as JSON values that are the same in every run: what it cost, what it resembles. Records
    and alerts carry it as it is."""


class UnknownEvidence(PoisonError):
    """A verdict cites an event that is not in the window it judges."""

    code: ClassVar[str] = "unknown_evidence"


def checked(verdict: Verdict, window: Window) -> Verdict:
    """The same verdict, after looking every cited event up in its window.

    Raises:
        UnknownEvidence: one is not there, or the verdict is about another window.
    """
    if verdict.window_id != window.id:
        raise UnknownEvidence(f"a verdict on window {verdict.window_id[:32]} came back for window {window.id[:32]}")
    held = {(event["kind"], event["id"]) for event in window.events} if verdict.cited else frozenset()
    for ref in verdict.cited:
        if (ref.kind.value, ref.id) not in held:
            raise UnknownEvidence(f"{ref.kind.value} event {ref.id[:64]} is not in window {window.id[:32]}")
    return verdict
