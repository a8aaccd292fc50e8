"""Makes a recording of the present version: `python -m tests.upgrade.record NAME 12`. Do so whenever a schema of the state changes.

The windowing worker dies in the midst of a window, between the transaction that sends and the script that moves the store on, with
everything in the state that there can be: panes in both encodings, profiles, habits, a leap that waits to be confirmed. The detect
worker dies after a few batches.
"""

import json
import random
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from daywatch.embedded import EmbeddedStore
from detector.verdict import EventRef
from sinks.alert_memory import CitedEvent
from sinks.incidents.memory import Place as IncidentPlace
from sinks.incidents.memory import encode_place, encode_state
from sinks.incidents.story import Alerted, Story, UserState
from sinks.operations import encode_operation
from stream.clock import ManualClock
from stream.kinds import KINDS, Kind
from stream.log import MemoryLog, MemoryOutlet, MemorySource, TopicPartition
from stream.marks import encode_mark
from stream.operations import Operations
from stream.partitioner import partition_of
from stream.share import ShareSpec
from tests.sinks import test_detect_worker as detecting
from tests.upgrade.recording import EVENTS, HOUR, NAMESPACE, OPERATIONS, PARTITIONS, RULES, TOPICS, dump_log, dump_store, save, unpack
from tests.windowing.logs import iso
from windowing.ledger import LAYOUT_VERSION, Place
from windowing.redis_store import RedisStore
from windowing.worker import WindowWorker, WorkerSettings

T0 = 1_262_563_200_000  # 2010-01-04, a Monday
MINUTE = 60_000
USERS = ["ana", "bo", "cy", "di", "Eve Ö", "fay"]
DAYS = 4


class Died(BaseException):
    """The end of a process."""


class Turning(MemorySource):
    """Reads the logs in turn, so that all of them get on."""

    def poll(self, limit: int, timeout_ms: int) -> Any:
        at = list(self._at.items())
        self._at = dict(at[3:] + at[:3])
        return super().poll(limit, timeout_ms)


class DyingStore:
    """A store whose worker dies before it moves on from the midst of a window, for the n-th time."""

    def __init__(self, store: RedisStore, n: int) -> None:
        self._store, self._left = store, n

    def advance(self, changes: Sequence[Any]) -> None:
        moves = [(Place.decode(change.begin).closed, Place.decode(change.end).closed) for change in changes]
        if any(before.user and before != after for before, after in moves):
            self._left -= 1
            if not self._left:
                raise Died
        self._store.advance(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def fields(kind: Kind, rnd: random.Random) -> dict[str, Any]:
    if kind is Kind.LOGON:
        return {"activity": rnd.choice(["Logon", "Logoff"])}
    if kind is Kind.DEVICE:
        return {"activity": rnd.choice(["Connect", "Disconnect"])}
    if kind is Kind.FILE:
        return {"filename": rnd.choice(["plan.docx", "R:\\a\\tool.exe", "é.zip"]), "content": "D0-CF-11-E0 plans"}
    if kind is Kind.EMAIL:
        to = rnd.choice(["bo@dtaa.com", "x@example.net;bo@dtaa.com"])
        return {
            "to": to, "cc": "", "bcc": rnd.choice(["", "me@example.org"]), "from": "ana@dtaa.com", "size": rnd.randint(10, 90_000),
            "attachments": rnd.randint(0, 2), "content": "plans",
        }  # fmt: skip
    return {"url": f"http://{rnd.choice(['a.com', 'b.org/x', 'dropbox.com/up', 'jobs.net'])}/{rnd.randint(0, 99)}", "content": "news"}


def make_log() -> MemoryLog:
    """Four days of six users: late and repeated events, a burst, broken records, a leap, an event of the far future, marks."""
    rnd = random.Random(61)
    log = MemoryLog([*EVENTS.values(), TOPICS.windows, TOPICS.dead_letters, OPERATIONS], PARTITIONS, ManualClock(T0))
    a_day = {Kind.LOGON: 3, Kind.DEVICE: 2, Kind.FILE: 4, Kind.EMAIL: 4, Kind.HTTP: 20}
    for kind in KINDS:
        times = [T0 + rnd.randrange(DAYS * 24 * HOUR) for _ in range(a_day[kind] * DAYS * len(USERS))]
        if kind is Kind.HTTP:
            times += [T0 + 63 * HOUR + rnd.randrange(2 * HOUR) for _ in range(900)]
        arrivals = sorted((ts + (rnd.randrange(40 * HOUR) if rnd.random() < 0.05 else rnd.randrange(8 * MINUTE)), ts) for ts in times)
        sent: list[tuple[str, dict[str, Any]]] = []
        marked = T0
        for number, (arrived, ts) in enumerate(arrivals):
            user = rnd.choice(USERS)
            event = {"id": f"{{{kind}-{number}}}", "kind": kind.value, "ts": iso(ts), "user": user, "pc": f"PC-{len(user)}"}
            sent.append((user, event | fields(kind, rnd)))
            write(log, kind, *sent[-1], arrived + 1_000)
            if rnd.random() < 0.03:
                write(log, kind, *rnd.choice(sent[-50:]), arrived + 2_000)
            if arrived - marked > 5 * HOUR:
                marked = arrived
                for partition in range(PARTITIONS):
                    log.append(TopicPartition(EVENTS[kind], partition), None, None, encode_mark(marked - 10 * MINUTE), arrived + 3_000)
            if number == len(arrivals) // 3:
                write(log, kind, "ana", sent[-1][1] | {"id": "leap", "user": "ana", "ts": iso(T0 + 30 * 24 * HOUR)}, T0 + 30 * 24 * HOUR)
                write(log, kind, "bo", sent[-1][1] | {"id": "future", "user": "bo", "ts": iso(T0 + 99 * 24 * HOUR)}, arrived + 4_000)
                log.append(TopicPartition(EVENTS[kind], 0), b"cy", b"{broken", stamp=arrived + 5_000)
        for partition in range(PARTITIONS):
            mark = encode_mark(T0 + (DAYS + 2) * 24 * HOUR, last=True)
            log.append(TopicPartition(EVENTS[kind], partition), None, None, mark, T0 + (DAYS + 2) * 24 * HOUR)
    return log


def write(log: MemoryLog, kind: Kind, user: str, event: dict[str, Any], stamp: int) -> None:
    at = TopicPartition(EVENTS[kind], partition_of(user.encode(), PARTITIONS))
    log.append(at, user.encode(), json.dumps(event).encode(), [("ce_id", event["id"].encode())], stamp)


def window_worker(log: MemoryLog, store: Any) -> WindowWorker:
    source = Turning(log, list(EVENTS.values()), range(PARTITIONS))
    operations = Operations(OPERATIONS, PARTITIONS, encode_operation, ShareSpec(0.05, 100), least_silence_ms=HOUR)
    settings = WorkerSettings(batch_records=700, close_windows=3, idle_after_ms=None, until_done=True)
    clock = ManualClock(T0 + DAYS * 24 * HOUR)
    return WindowWorker(source, MemoryOutlet(log), store, TOPICS, RULES, settings, clock, lambda _: None, operations=operations)


def record_windowing(name: str, n: int, url: str) -> dict[str, Any]:
    store = RedisStore(url, NAMESPACE)
    calm = make_log()
    window_worker(calm, RedisStore(url, "calm")).run(lambda: False)
    log = make_log()
    try:
        window_worker(log, DyingStore(store, n)).run(lambda: False)
    except Died:
        pass
    else:
        raise AssertionError("it did not die")
    with redis.Redis.from_url(url) as client:
        held = {key: value for key, value in dump_store(client).items() if not key.startswith("calm:")}
    left = dump_log(log)
    window_worker(log, store).run(lambda: False)
    outputs = (TOPICS.windows, TOPICS.dead_letters, OPERATIONS)
    assert all(log.logs[at] == calm.logs[at] for at in log.logs if at.topic in outputs), "it did not recover"
    store.close()
    after = dump_log(log)
    for at, kept in left["logs"].items():
        after["logs"][at] = after["logs"][at][len(kept) :]
    show(left, held)
    return {"name": name, "schema": {"layout": LAYOUT_VERSION}, "store": held, "broker": left, "follows": after}


def show(left: dict[str, Any], held: dict[str, Any]) -> None:
    """What the recording has in it, for whoever makes it; both encodings of panes should be there."""
    encodings: Counter[int] = Counter()
    for key, value in held.items():
        for blob in value.get("list", ()):
            raw, at = unpack(blob) or b"", 0
            while at < len(raw):
                _, _, encoding, length = struct.unpack_from("<BBBI", raw, at)
                encodings[encoding] += 1
                at += 7 + length
        if "hash" in value and key.endswith("meta"):
            print(value["hash"]["at"], value["hash"]["state"][:300])
    print(f"{len(held)} keys; parts of panes by encoding: {dict(encodings)}")
    print({at: len(kept) for at, kept in left["logs"].items()})


def record_detecting() -> dict[str, Any]:
    log = detecting.filled(seed=9)
    detecting.put(log, "ana", b"no json")
    made = detecting.worker(log)
    for _ in range(4):
        made.step()
    left = dump_log(log)
    detecting.worker(log).run(lambda: False)
    after = dump_log(log)
    for at, kept in left["logs"].items():
        after["logs"][at] = after["logs"][at][len(kept) :]
    return {"broker": left, "follows": after}


def record_incidents() -> dict[str, Any]:
    """What the incident memory's records look like."""
    events = (CitedEvent(EventRef(Kind.HTTP, "{a}"), T0, 400_101), CitedEvent(EventRef(Kind.FILE, "{b}"), T0 + 5, 100_101))
    alert = Alerted("ana", "uid", T0 + 9, T0 + 8, 71, "malicious", "A title", "A reason", events, ("T1567",), ("after_hours",))
    story = Story("story", "ana", 3, T0, T0 + 9, (alert,), ((T0, 50), (T0 + 9, 71)), "before")
    states = [UserState(), UserState(story, T0 + 9, T0 + 10), UserState(None, T0, None)]
    places = [IncidentPlace(), IncidentPlace(T0, T0 + 1, last=True, passed=False, ends=(7, 9))]
    return {"states": [encode_state(each).decode() for each in states], "places": [encode_place(each).decode() for each in places]}


def main() -> None:
    name, n = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedStore(Path(directory))
        server.start()
        try:
            recording = record_windowing(name, int(n), server.url)
        finally:
            server.stop()
    path = save(name, recording | {"detector": record_detecting(), "incidents": record_incidents()})
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
