"""Which events of a window a verdict rests on: each event's share in what made the score, weighed by trees grown on answer keys.

The columns say what an event is (its kind, hour, machine, subject, its place between a drive's connect and disconnect), what is
new about it for its user, and how much its subject contributed to the window's score. All are free of the shortcut: none is a count
of pages, logons or mails. Knows no thresholds on windows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detector.matrix import rows_of
from detector.subjects import (
    Subject,
    ending_of,
    host_of_url,
    is_outside,
    is_own_address,
    is_program,
    recipients_of,
    subject_of_event,
)
from detector.trees import Flags, Floats, Trees, sigmoid
from detector.verdict import EventRef
from stream.kinds import KINDS, Kind
from windowing.record import Window

OF_WINDOW: Final = (
    "profile_days", "off_hours", "off_hours_logon", "off_hours_drive", "after_hours_share", "after_hours_habit", "strange_machine_habit",
    "rarest_machine_days", "connects_habit", "connects_lately", "connects_above_top", "files_habit", "files_above_top", "job_habit",
    "job_lately", "cloud_habit", "upload_habit", "leak_habit", "spyware_any", "leak_any", "mass_mail", "own_mail_habit",
    "employer_mail_habit", "admin", "oddities",
)  # fmt: skip
"""Features that stand beside each event of their window."""
_SHARED: Final = (
    Subject.HOURS, Subject.MACHINE, Subject.DRIVE, Subject.FILES, Subject.PROGRAMS, Subject.JOBS, Subject.CLOUD, Subject.LEAK,
    Subject.SPYWARE, Subject.OWN_MAIL, Subject.EMPLOYER_MAIL, Subject.MASS_MAIL,
)  # fmt: skip
_OF_EVENT: Final = (
    "kind", "subject", "contribution", "begins", "hour", "off_office", "to_edge", "new_pc", "pc_share", "new_drive_pc", "new_item",
    "same_subject", "same_host", "drive_in", "minutes_to_drive", "drive_here", "files_here", "telling_here", "minutes_to_telling",
    "program", "own_address", "outside", "recipients", "attachments", "upload",
)  # fmt: skip
COLUMNS: Final = _OF_EVENT + tuple(f"contribution_{subject.name.lower()}" for subject in _SHARED) + OF_WINDOW
_FAR: Final = 1440.0
_TELLING: Final = frozenset({
    Subject.DRIVE, Subject.FILES, Subject.PROGRAMS, Subject.LEAK, Subject.SPYWARE, Subject.OWN_MAIL, Subject.MASS_MAIL,
})  # fmt: skip
_BEGINNINGS: Final = frozenset({"logon", "connect", "insert"})


@dataclass(frozen=True, slots=True)
class _Seen:
    """An event of a window as its columns need it."""

    kind: int
    subject: Subject
    minute: float
    pc: str
    host: str


def event_rows(window: Window, contributions: Floats, of_window: Floats) -> Floats:
    """The columns of each shown event, shape (events, `COLUMNS`).

    Args:
        window: whose events.
        contributions: to the window's score by subject, shape (subjects,).
        of_window: the features `OF_WINDOW`, shape (features,).
    """
    seen = [_see(event) for event in window.events]
    machines = Counter(one.pc for one in seen)
    subjects = Counter(one.subject for one in seen)
    hosts = Counter(one.host for one in seen if one.host)
    new = {dimension: frozenset(values) for dimension, values in window.new.items()}
    drives: dict[str, list[tuple[float, bool]]] = {}
    files: Counter[str] = Counter()
    telling: dict[str, list[float]] = {}
    for event, one in zip(window.events, seen, strict=True):
        if one.kind == _DEVICE:
            drives.setdefault(one.pc, []).append((one.minute, _begins(event)))
        elif one.kind == _FILE:
            files[one.pc] += 1
        if one.subject in _TELLING:
            telling.setdefault(one.pc, []).append(one.minute)
    shared = [*(contributions[subject] for subject in _SHARED), *of_window]
    first, last = (seen[0].minute, seen[-1].minute) if seen else (0.0, 0.0)
    rows = np.empty((len(seen), len(COLUMNS)))
    for row, (event, one) in enumerate(zip(window.events, seen, strict=True)):
        hour = one.minute / 60.0 % 24
        here = drives.get(one.pc, [])
        others = [minute for minute in telling.get(one.pc, ()) if minute != one.minute]
        rows[row] = [
            one.kind,
            one.subject,
            contributions[one.subject],
            _begins(event),
            hour,
            max(7.0 - hour, hour - 19.0, 0.0),
            min(one.minute - first, last - one.minute),
            one.pc in new.get("pc", ()),
            machines[one.pc] / len(seen),
            one.pc in new.get("drive_pc", ()),
            _is_new(event, one, new),
            # how often a subject is shown says something of drives and files; of pages and mails it would be a count
            min(subjects[one.subject], 40) if one.kind in (_DEVICE, _FILE) else 0,
            hosts[one.host] > 1,
            _inside(one.minute, here),
            min((abs(minute - one.minute) for minute, _ in here), default=_FAR),
            len(here),
            files[one.pc],
            len(telling.get(one.pc, ())) > 0,
            min((abs(minute - one.minute) for minute in others), default=_FAR),
            *_details(event, one),
            *shared,
        ]
    return rows


_DEVICE, _FILE, _EMAIL, _HTTP = (KINDS.index(kind) for kind in (Kind.DEVICE, Kind.FILE, Kind.EMAIL, Kind.HTTP))


def _see(event: Mapping[str, Any]) -> _Seen:
    kind = Kind(event["kind"])
    ts = str(event["ts"])
    # local wall time as it stands in the record; a day number is enough to tell the two dates of a window apart
    minute = float(ts[8:10]) * 1440 + float(ts[11:13]) * 60 + float(ts[14:16]) + float(ts[17:19]) / 60
    host = host_of_url(str(event.get("url") or "")) if kind is Kind.HTTP else ""
    return _Seen(KINDS.index(kind), subject_of_event(event), minute, str(event["pc"]), host)


def _begins(event: Mapping[str, Any]) -> bool:
    return str(event.get("activity") or "").lower() in _BEGINNINGS


def _is_new(event: Mapping[str, Any], one: _Seen, new: Mapping[str, frozenset[str]]) -> bool:
    if one.kind == _HTTP:
        return one.host in new.get("domain", ())
    if one.kind == _FILE:
        return ending_of(str(event.get("filename") or "")) in new.get("file_type", ())
    if one.kind == _EMAIL:
        known = new.get("recipient", frozenset())
        return any(address in known for address in recipients_of(event)) or str(event.get("from") or "").lower() in new.get("sender", ())
    return False


def _inside(minute: float, drives: Sequence[tuple[float, bool]]) -> bool:
    """Whether a drive was plugged into the machine at that minute: the last device event up to then was a connect."""
    before = [connected for at, connected in drives if at <= minute]
    return bool(before) and before[-1]


def _details(event: Mapping[str, Any], one: _Seen) -> tuple[float, ...]:
    """Columns program, own_address, outside, recipients, attachments, upload."""
    if one.kind == _FILE:
        return (float(is_program(str(event.get("filename") or ""))), 0.0, 0.0, 0.0, 0.0, 0.0)
    if one.kind == _EMAIL:
        sender, receivers = str(event.get("from") or "").lower(), recipients_of(event)
        own = any(is_own_address(sender, address) for address in receivers)
        outside = any(is_outside(sender, address) for address in receivers)
        return (0.0, float(own), float(outside), float(len(receivers)), float(event.get("attachments") or 0), 0.0)
    if one.kind == _HTTP:
        url = str(event.get("url") or "").lower()
        return (0.0, 0.0, 0.0, 0.0, 0.0, float("upload" in url or "submit" in url))
    return (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def events_of(windows: Sequence[Window], contributions: Floats) -> tuple[Floats, list[int]]:
    """Rows of all shown events of windows, one window after the other, and how many each window has.

    `contributions` have the shape (windows, subjects).
    """
    beside = rows_of(windows, OF_WINDOW).values
    parts = [event_rows(window, contributions[place], beside[place]) for place, window in enumerate(windows)]
    rows = np.concatenate(parts) if parts else np.empty((0, len(COLUMNS)))
    return rows, [len(part) for part in parts]


@dataclass(frozen=True, slots=True)
class Chooser:
    """Chooses what to cite: events whose probability of being what the score rests on reaches the threshold, and the likeliest."""

    trees: Trees | None
    threshold: float

    def choose(self, windows: Sequence[Window], contributions: Floats) -> list[tuple[EventRef, ...]]:
        """Citations for each window, in the order of its events; none only where a window shows no event."""
        rows, sizes = events_of(windows, contributions)
        chance = self.probability(rows)
        found, begin = [], 0
        for window, size in zip(windows, sizes, strict=True):
            part = chance[begin : begin + size]
            begin += size
            found.append(
                tuple(
                    EventRef(Kind(event["kind"]), str(event["id"]))
                    for event, taken in zip(window.events, self.taken(part), strict=True)
                    if taken
                )
            )
        return found

    def probability(self, rows: Floats) -> Floats:
        """Of each event row; without trees (a key without events to learn from) by the contribution of its subject alone."""
        if self.trees is None:
            return sigmoid(rows[:, _OF_EVENT.index("contribution")])
        return np.round(sigmoid(self.trees.score(rows)), 6)

    def taken(self, chance: Floats) -> Flags:
        """Which events of one window are cited, by their probabilities, shape (events,)."""
        flags: Flags = chance >= self.threshold
        if len(chance):
            flags[int(np.argmax(chance))] = True
        return flags


def best_threshold(chance: Floats, truth: Flags, missing: int) -> float:
    """The probability from which on citing has the highest F1 over all events; `missing` key events can be cited by nobody."""
    if not truth.any():
        return 0.5
    order = np.argsort(-chance, kind="stable")
    ranked, hits = chance[order], np.cumsum(truth[order])
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    f1 = 2 * hits[ends] / (ends + 1 + int(truth.sum()) + missing)
    return round(float(ranked[int(ends[int(np.argmax(f1))])]), 6)
