"""Which alert a window belongs to: overlapping windows that rest on the same events are one alert to an analyst.

State in, decision and new state out. Knows no broker, no clock and no encoding of alerts.

    windows of one user, in the order in which they closed      events cited     risk
      w1 [------------)                                          a b              70    creates alert A
      w2     [------------)                                      b                70    nothing new: no record, belongs to A
      w3         [------------)                                  b c              70    updates A: c is new
      w4             [------------)                              d                80    creates alert B
      w5                 [------------)                          c d              60    updates A, the older one, for d
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from detector.verdict import EventRef
from stream.errors import RefusedError
from stream.kinds import Kind, Millis

UPDATES_FOR_MS: Millis = 3 * 86_400_000
_VERSION = 1


class Activity(IntEnum):
    """What a record on the alerts topic does to its finding; OCSF's numbers."""

    CREATE = 1
    UPDATE = 2


@dataclass(frozen=True, slots=True)
class CitedEvent:
    """An event that a finding rests on, when it happened (UTC ms), and what OCSF calls it."""

    ref: EventRef
    ts: Millis
    type_uid: int = 0


@dataclass(frozen=True, slots=True)
class Alerting:
    """What merging needs of a window that is to be alerted on. `risk` as in `risk_score`, 0–100; times in UTC ms."""

    user: str
    window_id: str
    end_ms: Millis
    risk: int
    cited: tuple[CitedEvent, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """An alert as it stands after all its windows so far; events in order of time, the oldest risk is never lowered."""

    uid: str
    created_ms: Millis
    """End of its first window."""
    risk: int
    cited: tuple[CitedEvent, ...]

    @property
    def refs(self) -> frozenset[EventRef]:
        """Identities of its events."""
        return frozenset(event.ref for event in self.cited)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a window: the finding it belongs to, as it stands now, and the record to write, if any."""

    finding: Finding
    activity: Activity | None


def decide(findings: Sequence[Finding], window: Alerting) -> tuple[Decision, tuple[Finding, ...]]:
    """Create an alert, update the oldest one that shares an event, or do neither when there is nothing new to say.

    `findings` are the user's, oldest first; windows of a user come in ascending order of their ends. Also returns the findings
    to remember: those that are too old to be updated are forgotten.
    """
    open_findings = tuple(finding for finding in findings if window.end_ms - finding.created_ms <= UPDATES_FOR_MS)
    refs = {event.ref for event in window.cited}
    found = next((finding for finding in open_findings if finding.refs & refs), None)
    if found is None:
        created = Finding(finding_uid(window.user, window.window_id), window.end_ms, window.risk, _in_order(window.cited))
        return Decision(created, Activity.CREATE), (*open_findings, created)
    if window.risk <= found.risk and refs <= found.refs:
        return Decision(found, None), open_findings
    updated = replace(found, risk=max(found.risk, window.risk), cited=_in_order((*found.cited, *window.cited)))
    return Decision(updated, Activity.UPDATE), tuple(updated if each is found else each for each in open_findings)


def finding_uid(user: str, first_window: str) -> str:
    """The identity of an alert: a digest of the user and the first window's id, without names.

    >>> finding_uid("ana", "w1")
    '15ce0a1e087799e26f444d91d1d87604'
    """
    return hashlib.sha256(f"daywatch.finding/1\0{user}\0{first_window}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _in_order(cited: Sequence[CitedEvent]) -> tuple[CitedEvent, ...]:
    unique = {event.ref: event for event in reversed(cited)}
    return tuple(sorted(unique.values(), key=lambda event: (event.ts, _KIND_ORDER[event.ref.kind], event.ref.id)))


_KIND_ORDER = {kind: place for place, kind in enumerate(Kind)}


class BadMemoryError(RefusedError):
    """A record of a worker's memory that this version did not write."""

    def __init__(self, told: str) -> None:
        super().__init__(told, "This version of Daywatch did not write it; finish with the version that did, or use a new namespace")


def encode_findings(findings: Sequence[Finding]) -> bytes:
    """The record that the compacted topic keeps for a user."""
    rows = [[f.uid, f.created_ms, f.risk, [[e.ref.kind.value, e.ref.id, e.ts, e.type_uid] for e in f.cited]] for f in findings]
    return json.dumps({"v": _VERSION, "findings": rows}, separators=(",", ":")).encode()


def decode_findings(record: bytes) -> tuple[Finding, ...]:
    """Read what `encode_findings` wrote.

    Raises:
        BadMemoryError: it did not.
    """
    try:
        found = json.loads(record)
        if found["v"] != _VERSION:
            raise ValueError
        return tuple(
            Finding(
                uid,
                created_ms,
                risk,
                tuple(CitedEvent(EventRef(Kind(kind), event_id), ts, type_uid) for kind, event_id, ts, type_uid in cited),
            )
            for uid, created_ms, risk, cited in found["findings"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BadMemoryError("alert memory cannot be read") from error
