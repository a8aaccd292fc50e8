"""Made-up windows, and a backend whose verdicts can be read off them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from detector.verdict import EventRef, Verdict
from stream.errors import PoisonError
from stream.kinds import KINDS, Kind
from windowing.record import Window

FIRST = datetime(2010, 7, 5, tzinfo=UTC)
EVENTS: Mapping[Kind, dict[str, Any]] = {
    Kind.LOGON: {"activity": "Logon"},
    Kind.DEVICE: {"activity": "Connect"},
    Kind.FILE: {"filename": "R:\\plans\\X7Q.doc", "content": "D0-CF-11-E0 quarterly plans"},
    Kind.EMAIL: {
        "to": "home@example.net;boss@dtaa.com",
        "cc": "",
        "bcc": "secret@example.net",
        "from": "Ana@dtaa.com",
        "size": 4000,
        "attachments": 2,
        "content": "see attached",
    },
    Kind.HTTP: {"url": "http://wikileaks.org/Julian_Assange/assange.html", "content": "the leak"},
}


def event(kind: Kind, event_id: str, ts: datetime, pc: str = "PC-1", **fields: Any) -> dict[str, Any]:
    return {"kind": kind.value, "id": event_id, "ts": ts.isoformat(), "pc": pc, **EVENTS[kind], **fields}


def window_record(user: str, number: int, events: Sequence[Mapping[str, Any]], risk: float = 0.0, **more: Any) -> bytes:
    """The record of the user's window that starts `number` hops of six hours after the first."""
    start = FIRST + timedelta(hours=6 * number)
    counts = {kind.value: sum(e["kind"] == kind.value for e in events) for kind in KINDS}
    record = {
        "schema": "daywatch.window/1",
        "id": f"{abs(hash_of(user, number)):032x}",
        "user": user,
        "start": start.isoformat(),
        "end": (start + timedelta(days=1)).isoformat(),
        "learning": False,
        "counts": counts,
        "features": {"risk": risk},
        "events": list(events),
        "omitted": dict.fromkeys(counts, 0),
        "omitted_domains": {},
        "new": {},
        "digest": f"{abs(hash_of('digest', user, number)):064x}",
    }
    return json.dumps(record | more).encode()


def hash_of(*parts: object) -> int:
    import hashlib

    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def day_of(user: str, number: int, risk: float, kinds: Sequence[Kind] = KINDS) -> bytes:
    """A window with one event of each kind in each of its four panes; overlapping windows share three panes' events."""
    events = [
        event(kind, f"{{{user}-{number + pane}-{kind.value}}}", FIRST + timedelta(hours=6 * (number + pane) + 1, minutes=place))
        for pane in range(4)
        for place, kind in enumerate(kinds)
    ]
    return window_record(user, number, events, risk)


class FixedBackend:
    """Scores a window by its feature `risk`, alerts above 0.5 and cites its http and file events; above 1 is poison."""

    name = "fixed"

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        return [self._judge(window) for window in windows]

    def _judge(self, window: Window) -> Verdict:
        score = float(window.features["risk"])
        if score > 1:
            raise UnjudgeableError("a score above 1")
        cited = tuple(EventRef(Kind(e["kind"]), e["id"]) for e in window.events if e["kind"] in ("http", "file")) if score > 0.3 else ()
        return Verdict(
            window_id=window.id,
            user=window.user,
            start=window.start,
            end=window.end,
            label="malicious" if score > 0.7 else "suspicious" if score > 0.3 else "normal",
            score=score,
            triage_score=score / 2,
            cited=cited,
            reason="Copies onto a drive at night, never before; a leak site",
            traits=("after_hours", "removable_media"),
            techniques=("T1052.001", "T1567", "T1078"),
            alert=score > 0.5,
            learning=window.learning,
            track="all",
            by=self.name,
            provenance={"model": "fixed", "features": "1", "window_digest": window.digest},
        )


class UnjudgeableError(PoisonError):
    code = "unjudgeable"
