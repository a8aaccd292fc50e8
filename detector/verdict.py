"""What a window means: a label, a score and the events that it rests on. Knows no backend, no broker and no encoding."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from stream.kinds import Kind

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
