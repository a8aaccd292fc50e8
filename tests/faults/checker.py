"""Holds what came out of a schedule against what its logs dictate. Values in, complaints out; knows no server and no process."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from stream.kinds import Kind
from tests.faults.batch import Log, Logs, Record, Truth, Window
from windowing.calendar import Calendar

FEWEST_WINDOWS = 300


@dataclass(frozen=True, slots=True)
class History:
    """What readers of committed records saw in the end, by partition; `live`: offsets of windows and verdicts as they came, by topic."""

    events: Mapping[Kind, Logs]
    windows: Logs
    verdicts: Logs
    alerts: Logs
    dead_letters: Logs
    names: frozenset[str]
    """Of all events that the producer was told to send."""
    live: Mapping[tuple[str, int], Sequence[int]] = field(default_factory=dict)


def complaints(history: History, truth: Truth, judged: Mapping[str, Mapping[int, list[bytes | None]]], calendar: Calendar) -> list[str]:
    """Everything that is wrong; empty when nothing is."""
    found = _about_events(history)
    found += _about_windows(history, truth, calendar)
    for partition, log in history.windows.items():
        found += _about_order("windows", partition, log, calendar)
        found += _not_before_time(partition, log, truth, calendar)
    found += _about_dead_letters(history, truth)
    found += _about_verdicts(history, judged)
    for partition, log in history.verdicts.items():
        found += _about_order("verdicts", partition, log, calendar)
    found += _about_live(history)
    return found


def _about_events(history: History) -> list[str]:
    there = {name for logs in history.events.values() for log in logs.values() for name in map(_name_of, log)}
    missing = history.names - there
    return [f"{len(missing)} events never came to the broker: the harness is broken"] if missing else []


def _name_of(record: Record) -> str:
    if record.value is None or record.value == b"{broken":
        return ""
    return str(json.loads(record.value)["id"])


def key_of(record: Record, calendar: Calendar) -> Window:
    """Which window a window record or a verdict speaks of."""
    said = json.loads(record.value or b"")
    end_ms = round(datetime.fromisoformat(said["end"]).timestamp() * 1000)
    return said["user"], calendar.pane_of(end_ms) - calendar.spec.span


def _about_windows(history: History, truth: Truth, calendar: Calendar) -> list[str]:
    found = []
    data = [record for log in history.windows.values() for record in log if record.value is not None]
    keys = [key_of(record, calendar) for record in data]
    twice = [key for key, n in Counter(keys).items() if n > 1]
    if twice:
        found.append(f"{len(twice)} windows went out more than once, such as {twice[:3]}")
    if missing := sorted(truth.counts.keys() - set(keys)):
        found.append(f"{len(missing)} windows are missing, such as {missing[:3]}")
    if unexpected := sorted(set(keys) - truth.counts.keys()):
        found.append(f"{len(unexpected)} windows were not to be, such as {unexpected[:3]}")
    counts = [json.loads(record.value or b"")["counts"] for record in data]
    wrong = [key for key, n in zip(keys, counts, strict=True) if key in truth.counts and n != truth.counts[key]]
    if wrong:
        first = wrong[0]
        said = counts[keys.index(first)]
        found.append(f"{len(wrong)} windows count other events, such as {first}: {said}, should be {truth.counts[first]}")
    differ = [key for key, record in zip(keys, data, strict=True) if key in truth.values and record.value != truth.values[key]]
    if differ and not wrong:
        found.append(f"{len(differ)} windows' bytes differ from the batch computation's, such as {differ[:3]}")
    if len(truth.counts) < FEWEST_WINDOWS:
        found.append(f"only {len(truth.counts)} windows: the harness is broken")
    return found


def _about_order(topic: str, partition: int, log: Log, calendar: Calendar) -> list[str]:
    """Closing is monotone: windows in the order of end and user, none behind a mark that speaks of it, one last mark at the end."""
    at: tuple[int, str] = (-(10**18), "")
    reached, lasts = -(10**18), 0
    for record in log:
        if record.value is None:
            mark = int(record.header("daywatch-clock") or b"")
            if mark < reached or (mark == reached and not record.header("daywatch-last")):
                return [f"{topic} {partition}: the mark at offset {record.offset} goes back, or came before"]
            reached, lasts = mark, lasts + bool(record.header("daywatch-last"))
            continue
        user, window = key_of(record, calendar)
        end_ms = calendar.window_end(window)
        if end_ms <= reached:
            return [f"{topic} {partition}: offset {record.offset} closes a window behind the mark that said it was closed"]
        if (end_ms, user) <= at:
            return [f"{topic} {partition}: offset {record.offset} goes back in the order of closing"]
        at = (end_ms, user)
    if lasts != 1 or log[-1].value is not None:
        return [f"{topic} {partition}: {lasts} last marks, should be one, at the end"]
    return []


def _not_before_time(partition: int, log: Log, truth: Truth, calendar: Calendar) -> list[str]:
    early = []
    for record in log:
        if record.value is not None:
            due_ms = truth.due_ms.get((partition, key_of(record, calendar)[1]))
            if due_ms is not None and record.stamp < due_ms:
                early.append(record.offset)
    return [f"windows {partition}: {len(early)} closed before their time, such as offset {early[0]}"] if early else []


def _about_dead_letters(history: History, truth: Truth) -> list[str]:
    letters = Counter(
        (
            (record.header("daywatch-topic") or b"").decode().rpartition(".")[2],
            int(record.header("daywatch-partition") or b"-1"),
            int(record.header("daywatch-offset") or b"-1"),
        )
        for log in history.dead_letters.values()
        for record in log
    )
    found = []
    if twice := [at for at, n in letters.items() if n > 1]:
        found.append(f"{len(twice)} dead letters went out more than once, such as {twice[:3]}")
    if missing := sorted(set(truth.dead) - letters.keys()):
        found.append(f"{len(missing)} dead letters are missing, such as {missing[:3]}")
    if unexpected := sorted(letters.keys() - set(truth.dead)):
        found.append(f"{len(unexpected)} dead letters were not to be, such as {unexpected[:3]}")
    return found


def _about_verdicts(history: History, judged: Mapping[str, Mapping[int, list[bytes | None]]]) -> list[str]:
    found = []
    ids = Counter(json.loads(r.value)["window_id"] for log in history.verdicts.values() for r in log if r.value is not None)
    wanted = {json.loads(r.value)["id"] for log in history.windows.values() for r in log if r.value is not None}
    if twice := sum(n > 1 for n in ids.values()):
        found.append(f"{twice} windows have more than one verdict")
    if missing := len(wanted - ids.keys()):
        found.append(f"{missing} windows have no verdict")
    for role, logs in (("verdicts", history.verdicts), ("alerts", history.alerts)):
        for partition, log in logs.items():
            said, should = [record.value for record in log], judged[role][partition]
            if said != should:
                place = next((n for n, (a, b) in enumerate(zip(said, should, strict=False)) if a != b), min(len(said), len(should)))
                found.append(f"{role} {partition}: {len(said)} records, should be {len(should)}; they differ from number {place} on")
    return found


def _about_live(history: History) -> list[str]:
    """Somebody who reads along sees the same as somebody who reads in the end: nothing that was committed goes away."""
    found = []
    for (topic, partition), offsets in history.live.items():
        logs = history.windows if topic == "windows" else history.verdicts
        if list(offsets) != [record.offset for record in logs[partition]]:
            found.append(f"{topic} {partition}: who read along saw {len(offsets)} records, in the end there are {len(logs[partition])}")
    return found
