"""The events of a seed, and when its producer sends each record: disorder, late ones, duplicates, broken ones, clock marks. Pure."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stream.kinds import KINDS, Kind
from stream.marks import encode_mark
from stream.partitioner import partition_of
from tests.faults.schedule import PARTITIONS, Fault, Schedule
from tests.windowing.logs import DISORDER, HOUR, LATENESS, SPEC, T0, iso
from windowing.calendar import Calendar

USERS, DAYS = 16, 6
_DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Sent:
    """A record that the producer sends `at_s` seconds after it began; `name` tells events apart, and is empty for all else."""

    at_s: float
    kind: Kind
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Feed:
    """All records in the order of sending; the last are the last clock marks. In event time they take from `begin_ms` to `end_ms`."""

    records: list[Sent]
    begin_ms: int
    end_ms: int


def feed(schedule: Schedule) -> Feed:
    """What the producer sends."""
    rnd = random.Random(f"feed {schedule.seed}")
    emitted: list[tuple[int, Sent]] = []
    newest = 0
    for number, (kind, user, ts, fields) in enumerate(_events(rnd)):
        newest = max(newest, ts)
        sent = _event(kind, f"{{{schedule.seed}-{number}}}", user, ts, fields)
        emitted.append((ts + _delay(rnd), sent))
        if rnd.random() < 0.04:
            emitted.append((ts + _delay(rnd), sent))
        if rnd.random() < 0.008:
            emitted.append((ts, _dead(rnd, sent)))
    for at in range(T0 + 3 * HOUR, newest, 6 * HOUR):
        for kind in KINDS:
            emitted += [(at + rnd.randint(0, HOUR), mark) for mark in _marks(kind, at - DISORDER)]
    emitted.sort(key=lambda each: each[0])
    begin, end = emitted[0][0], emitted[-1][0]
    pace = schedule.feed_s / (end - begin)
    records = [replace(sent, at_s=(at - begin) * pace) for at, sent in emitted]
    for step in schedule.steps:
        if step.fault is Fault.DUPLICATES:
            records = _again(records, step.at_s, rnd.randint(40, 150))
        elif step.fault is Fault.REORDERING:
            records = _shuffled(records, step.at_s, step.at_s + rnd.uniform(0.1, 0.8), rnd)
    calendar = Calendar(SPEC)
    last = calendar.window_end(calendar.pane_of(newest)) + LATENESS
    records += [replace(mark, at_s=schedule.feed_s) for kind in KINDS for mark in _marks(kind, last, last=True)]
    return Feed(records, begin, end)


def _delay(rnd: random.Random) -> int:
    """How much later than it happens an event is sent: mostly within what is believed, sometimes too late for some windows, or for all."""
    return rnd.randint(0, 40) * HOUR if rnd.random() < 0.05 else rnd.randint(0, DISORDER)


def _again(records: Sequence[Sent], at_s: float, count: int) -> list[Sent]:
    """A producer that has forgotten how far it was begins again a little earlier."""
    before = [sent for sent in records if sent.at_s <= at_s]
    return [*before, *(replace(sent, at_s=at_s) for sent in before[-count:]), *(sent for sent in records if sent.at_s > at_s)]


def _shuffled(records: Sequence[Sent], from_s: float, to_s: float, rnd: random.Random) -> list[Sent]:
    places = [place for place, sent in enumerate(records) if from_s <= sent.at_s <= to_s]
    taken = rnd.sample(places, len(places))
    mixed = list(records)
    for place, other in zip(places, taken, strict=True):
        mixed[place] = replace(records[other], at_s=records[place].at_s)
    return mixed


def _event(kind: Kind, name: str, user: str, ts: int, fields: dict[str, object]) -> Sent:
    value = json.dumps({"id": name, "kind": kind, "ts": iso(ts), "user": user, "pc": f"PC-{user}", **fields}).encode()
    return Sent(0.0, kind, partition_of(user.encode(), PARTITIONS), user.encode(), value, name=name)


def _dead(rnd: random.Random, sent: Sent) -> Sent:
    """A record that belongs into no window: no JSON, an event of 2031, or one with somebody else's key."""
    match rnd.randrange(3):
        case 0:
            return replace(sent, value=b"{broken", name="")
        case 1:
            event = json.loads(sent.value or b"") | {"ts": "2031-01-01T00:00:00Z", "id": f"future {sent.name}"}
            return replace(sent, value=json.dumps(event).encode(), name="")
        case _:
            return replace(sent, key=b"somebody", name="")


def _marks(kind: Kind, at_ms: int, last: bool = False) -> list[Sent]:
    headers = tuple(encode_mark(at_ms, last=last))
    return [Sent(0.0, kind, partition, None, None, headers) for partition in range(PARTITIONS)]


def _events(rnd: random.Random) -> list[tuple[Kind, str, int, dict[str, object]]]:
    """Working days of some users; half of them do what they never did in the last nights."""
    users = [f"u{number:02d}" for number in range(USERS)]
    found: list[tuple[Kind, str, int, dict[str, object]]] = []
    for place, user in enumerate(users):
        begins, sites = rnd.randint(7, 10), [f"http://site{rnd.randrange(40)}.com/{rnd.randrange(9)}" for _ in range(5)]
        for day in range(DAYS):
            if rnd.random() < 0.05:
                continue
            start = T0 + day * _DAY + begins * HOUR + rnd.randint(0, HOUR)
            found.append((Kind.LOGON, user, start, {"activity": "Logon"}))
            found += [_work(rnd, user, users, sites, start + rnd.randint(0, 9 * HOUR)) for _ in range(rnd.randint(8, 14))]
            found.append((Kind.LOGON, user, start + 9 * HOUR + 1, {"activity": "Logoff"}))
            if place < 8 and day >= DAYS - 2:
                found += _theft(rnd, user, T0 + day * _DAY + HOUR)
    return found


def _work(rnd: random.Random, user: str, users: list[str], sites: list[str], ts: int) -> tuple[Kind, str, int, dict[str, object]]:
    match rnd.randrange(10):
        case 0 | 1:
            to = ";".join(f"{name}@acme.com" for name in rnd.sample(users, rnd.randint(1, 3)))
            own = {"to": to, "cc": "", "bcc": "", "from": f"{user}@acme.com", "size": rnd.randint(500, 90_000), "attachments": 0}
            return Kind.EMAIL, user, ts, {**own, "content": "minutes of the meeting"}
        case 2:
            return Kind.FILE, user, ts, {"filename": f"report{rnd.randrange(30)}.doc", "content": "figures"}
        case 3 if user > "u11":
            return Kind.DEVICE, user, ts, {"activity": rnd.choice(["Connect", "Disconnect"])}
        case _:
            return Kind.HTTP, user, ts, {"url": rnd.choice(sites), "content": "news"}


def _theft(rnd: random.Random, user: str, ts: int) -> list[tuple[Kind, str, int, dict[str, object]]]:
    minute = HOUR // 60
    found: list[tuple[Kind, str, int, dict[str, object]]] = [
        (Kind.LOGON, user, ts, {"activity": "Logon"}),
        (Kind.DEVICE, user, ts + minute, {"activity": "Connect"}),
    ]
    found += [
        (Kind.FILE, user, ts + (2 + number) * minute, {"filename": f"secret{rnd.randrange(10**6)}.zip", "content": "secret"})
        for number in range(12)
    ]
    found += [
        (Kind.HTTP, user, ts + (15 + number) * minute, {"url": "http://wikileaks.org/upload", "content": "leak"}) for number in range(4)
    ]
    return [*found, (Kind.DEVICE, user, ts + 30 * minute, {"activity": "Disconnect"})]
