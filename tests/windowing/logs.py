"""Random logs of the five topics, and what must come of them, as plain functions: the oracle of the delivery tests."""

import json
import random
from datetime import UTC, datetime

from stream.clock import ManualClock
from stream.kinds import KINDS, Kind
from stream.log import MemoryLog, TopicPartition
from stream.marks import encode_mark
from stream.partitioner import partition_of
from windowing.calendar import Calendar, WindowSpec
from windowing.clocks import ClockSpec
from windowing.intake import Topics
from windowing.partition import Rules

HOUR = 3_600_000
T0 = 1_262_563_200_000  # 2010-01-04, a Monday
PARTITIONS = 2
DISORDER, LATENESS = 600_000, HOUR
SPEC = WindowSpec(size_ms=24 * HOUR, hop_ms=6 * HOUR, allowed_lateness_ms=LATENESS)
EVENTS = {kind: f"x.{kind}" for kind in KINDS}
TOPICS = Topics(EVENTS, "x.windows", "x.dead-letters", PARTITIONS)
RULES = Rules(Calendar(SPEC), ClockSpec(out_of_orderness_ms=DISORDER, max_jump_ms=400 * 24 * HOUR))

Event = tuple[Kind, str, str, int]


def make_log(rnd: random.Random) -> MemoryLog:
    """Five topics with disorder, late events, duplicates, a broken record here and there, marks, and a last mark."""
    log = MemoryLog([*EVENTS.values(), TOPICS.windows, TOPICS.dead_letters], PARTITIONS, ManualClock(T0 + 10**12))
    users = rnd.sample(["ana", "bo", "cy", "di", "eve", "fay"], rnd.randint(2, 6))
    end = T0 + rnd.randint(20, 60) * HOUR
    for kind in KINDS:
        sent: list[Event] = []
        now, step = T0, rnd.choice([0.5, 2.0, 6.0]) * HOUR
        while now < end:
            now += int(rnd.expovariate(1 / step))
            late = rnd.randint(0, 40) * HOUR if rnd.random() < 0.2 else rnd.randint(0, DISORDER)
            event = (kind, f"{kind[0]}{len(sent)}", rnd.choice(users), max(T0, min(now, end - 1) - late))
            sent.append(event)
            for each in (event, rnd.choice(sent)) if rnd.random() < 0.15 else (event,):
                append(log, each)
            if rnd.random() < 0.1:
                partition = rnd.randrange(PARTITIONS)
                log.append(TopicPartition(EVENTS[kind], partition), b"ana", b"{broken", stamp=now + 10**12)
            if rnd.random() < 0.2:
                mark(log, kind, min(now, end) - DISORDER)
    calendar = Calendar(SPEC)
    last = calendar.window_end(calendar.pane_of(end - 1)) + LATENESS - rnd.choice([0, 0, 0, 7]) * HOUR
    for kind in KINDS:
        mark(log, kind, last, last=True)
    return log


def append(log: MemoryLog, event: Event) -> None:
    kind, name, user, ts = event
    value = json.dumps(
        {"id": name, "kind": kind, "ts": iso(ts), "user": user, "pc": "PC-1", **({"url": "http://a.com/x"} if kind == "http" else {})}
    )
    log.append(TopicPartition(EVENTS[kind], partition_of(user.encode(), PARTITIONS)), user.encode(), value.encode())


def mark(log: MemoryLog, kind: Kind, at: int, last: bool = False) -> None:
    for partition in range(PARTITIONS):
        log.append(TopicPartition(EVENTS[kind], partition), None, None, encode_mark(at, last=last))


def iso(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ts % 1000:03d}Z"


def truth(log: MemoryLog) -> tuple[dict[tuple[str, int], dict[str, int]], list[tuple[str, int, int]]]:
    """What must come out, as a plain function of the logs: counts by (user, window end), and what is dead (topic, partition, offset)."""
    hop, span = SPEC.hop_ms, SPEC.span
    placed: dict[tuple[str, int, str, str], tuple[int, int]] = {}
    dead, clocks = [], {}
    for kind in KINDS:
        for partition in range(PARTITIONS):
            clock = -(10**18)
            for offset, kept in enumerate(log.logs[TopicPartition(EVENTS[kind], partition)]):
                if kept.value is None:
                    clock = max(clock, int(dict(kept.headers() or [])["daywatch-clock"]))
                    continue
                if kept.value == b"{broken":
                    dead.append((EVENTS[kind], partition, offset))
                    continue
                event = json.loads(kept.value)
                ts = round(datetime.fromisoformat(event["ts"]).timestamp() * 1000)
                pane = ts // hop
                first = next((w for w in range(pane - span + 1, pane + 1) if clock < (w + span) * hop + LATENESS), None)
                if first is None:
                    dead.append((EVENTS[kind], partition, offset))
                else:
                    placed.setdefault((event["user"], pane, kind, event["id"]), (first, partition))
                clock = max(clock, ts - DISORDER)
            clocks[kind, partition] = clock
    windows: dict[tuple[str, int], dict[str, int]] = {}
    for (user, pane, name, _), (first, partition) in placed.items():
        for window in range(max(first, pane - span + 1), pane + 1):
            end = (window + span) * hop
            if min(clocks[k, partition] for k in KINDS) >= end + LATENESS:
                counts = windows.setdefault((user, end), dict.fromkeys(map(str, KINDS), 0))
                counts[name] += 1
    return windows, sorted(dead)


def parsed_windows(values: list[bytes]) -> list[tuple[tuple[str, int], dict[str, int], bytes]]:
    found = []
    for value in values:
        record = json.loads(value)
        found.append(((record["user"], round(datetime.fromisoformat(record["end"]).timestamp() * 1000)), record["counts"], value))
    return found


def parsed_dead(all_headers: list[list[tuple[str, bytes]]]) -> list[tuple[str, int, int]]:
    headers = [dict(each) for each in all_headers]
    return sorted((h["daywatch-topic"].decode(), int(h["daywatch-partition"]), int(h["daywatch-offset"])) for h in headers)


def sent_windows(log: MemoryLog) -> list[tuple[tuple[str, int], dict[str, int], bytes]]:
    return parsed_windows(log.values(TOPICS.windows))


def sent_dead(log: MemoryLog) -> list[tuple[str, int, int]]:
    return parsed_dead([kept.headers() or [] for kept in log.records(TOPICS.dead_letters)])


def complaints(
    windows: list[tuple[tuple[str, int], dict[str, int], bytes]], dead: list[tuple[str, int, int]], log: MemoryLog, expected: list[bytes]
) -> str:
    """What is wrong with what was sent, given the logs and the bytes of an undisturbed run; empty when nothing is."""
    true_windows, true_dead = truth(log)
    keys = [key for key, _, _ in windows]
    if len(keys) != len(set(keys)):
        return "a window went out twice"
    if set(keys) != set(true_windows):
        return f"missing {sorted(set(true_windows) - set(keys))[:3]}, unexpected {sorted(set(keys) - set(true_windows))[:3]}"
    if wrong := [key for key, counts, _ in windows if counts != true_windows[key]]:
        return f"content differs in {wrong[:3]}"
    if dead != true_dead:
        return f"dead letters {len(dead)}, should be {len(true_dead)}"
    if sorted(value for _, _, value in windows) != sorted(expected):
        return "bytes differ from those of an undisturbed run"
    return ""
