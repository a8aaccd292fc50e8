"""An alert held against a second judgement of its window: what it said then, what is said now, and where the two differ.

Values in, values out; knows no broker and no model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import orjson

from detector.verdict import EventRef, Verdict
from sinks.ocsf import CLASS_UID, evidence
from stream.errors import PoisonError
from stream.kinds import Kind
from windowing.record import Window

EXACT: Final = 1e-6
_ALLOWED: Final[Mapping[str, float]] = {"fp32": 0.005}
ROUNDED: Final = 0.06
"""How far a score may move with the company in a batch, in half or less precision; what was judged among others is judged alone here."""
_MOVING: Final = frozenset({"model_score", "model_label", "device"})


class NoAlert(PoisonError):
    """This record is no alert that can be judged again."""

    code: ClassVar[str] = "no_alert"


@dataclass(frozen=True, slots=True)
class Told:
    """What an alert record says of the one window that it was made of."""

    uid: str
    finding: str
    user: str
    start: str
    end: str
    learning: bool
    window_id: str
    window_digest: str
    topic: str
    partition: int
    offset: int
    by: str
    track: str
    label: str
    score: float
    triage_score: float
    cited: tuple[EventRef, ...]
    reason: str
    techniques: tuple[str, ...]
    provenance: Mapping[str, str]
    shown: tuple[Mapping[str, Any], ...] = ()
    """The cited events as the record repeats them."""

    @classmethod
    def read(cls, record: bytes) -> "Told":
        """Read a record of the alerts topic.

        Raises:
            NoAlert: it is none, or was written before alerts named what they cite.
        """
        try:
            found = orjson.loads(record)
            if found["class_uid"] != CLASS_UID:
                raise ValueError
            own, window = found["unmapped"], found["unmapped"]["window"]
            return cls(
                uid=str(found["metadata"]["uid"]),
                finding=str(found["finding_info"]["uid"]),
                user=str(found["actor"]["user"]["name"]),
                start=str(window["start"]),
                end=str(window["end"]),
                learning=bool(own["learning"]),
                window_id=str(window["id"]),
                window_digest=str(window["digest"]),
                topic=str(window["topic"]),
                partition=int(window["partition"]),
                offset=int(window["offset"]),
                by=str(own["by"]),
                track=str(own["track"]),
                label=str(own["label"]),
                score=float(own["score"]),
                triage_score=float(own["triage_score"]),
                cited=tuple(EventRef(Kind(one["kind"]), str(one["id"])) for one in own["cited"]),
                reason=str(found["message"]),
                techniques=tuple(_technique(attack) for attack in found.get("attacks", ())),
                provenance={str(name): str(value) for name, value in own["provenance"].items()},
                shown=tuple(dict(one) for one in found.get("evidences", ())),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise NoAlert("a record is no alert, or none that says what its window's verdict cited") from error

    def is_called(self, uid: str) -> bool:
        """Whether this is the record, or the finding, of that uid."""
        return uid in (self.uid, self.finding)


def differences(told: Told, again: Verdict) -> list[str]:
    """What a second judgement says otherwise, each in a line; empty when it says the same.

    Scores may differ by what the model's precision allows; everything else is compared as it is.
    """
    allowed = allowance(told)
    found = [
        _unlike("user", told.user, again.user),
        _unlike("window's start", told.start, again.start),
        _unlike("window's end", told.end, again.end),
        _unlike("learning", str(told.learning).lower(), str(again.learning).lower()),
        _unlike("label", told.label, again.label),
        _further("score", told.score, again.score, allowed),
        _further("triage score", told.triage_score, again.triage_score, EXACT),
        _unlike_sets(told.cited, again.cited),
        _unlike("reason", told.reason, again.reason),
        _unlike("techniques", ", ".join(told.techniques), ", ".join(again.techniques)),
        _unlike("window digest", told.window_digest, again.provenance.get("window_digest", "")),
    ]
    names = sorted((set(told.provenance) | set(again.provenance)) - _MOVING - {"window_digest"})
    found += [_unlike(name, told.provenance.get(name, "nothing"), again.provenance.get(name, "nothing")) for name in names]
    return [line for line in found if line]


def retouched(told: Told, again: Verdict, window: Window) -> list[str]:
    """Events that the record repeats otherwise than its window holds them, each in a line.

    Labels of their lines are a classifier's, and no part of the window.
    """
    held = {(str(event["kind"]), str(event["id"])): event for event in window.events}
    found = []
    for shown in told.shown:
        named = (str(shown.get("name")), str(shown.get("uid")))
        if named not in held:
            found.append(f"evidence: shows {named[0][:16]} {named[1][:64]}, which its window does not")
        elif _plain(shown) != _plain(evidence(again, held[named])):
            found.append(f"evidence: shows {named[0]} {named[1]} otherwise than its window does")
    return found


def _plain(shown: Mapping[str, Any]) -> Mapping[str, Any]:
    data = shown.get("data")
    if not isinstance(data, Mapping):
        return shown
    return {**shown, "data": {name: value for name, value in data.items() if name not in ("line_label", "line_score")}}


def allowance(told: Told) -> float:
    """How far scores may be apart: nothing for the baseline."""
    precision = told.provenance.get("precision")
    return EXACT if precision is None else _ALLOWED.get(precision, ROUNDED)


def _technique(attack: Mapping[str, Any]) -> str:
    return str((attack.get("sub_technique") or attack["technique"])["uid"])


def _unlike(what: str, then: str, now: str) -> str:
    return f"{what}: was {then!r}, is {now!r}" if then != now else ""


def _further(what: str, then: float, now: float, allowed: float) -> str:
    return f"{what}: was {then:.6f}, is {now:.6f}" if abs(then - now) > allowed else ""


def _unlike_sets(then: Sequence[EventRef], now: Sequence[EventRef]) -> str:
    gone, new = sorted(map(_named, set(then) - set(now))), sorted(map(_named, set(now) - set(then)))
    parts = ([f"no longer cites {', '.join(gone)}"] if gone else []) + ([f"cites besides {', '.join(new)}"] if new else [])
    return f"evidence: {'; '.join(parts)}" if parts else ""


def _named(ref: EventRef) -> str:
    return f"{ref.kind.value} {ref.id}"
