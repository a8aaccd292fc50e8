"""The delivery protocol on the code itself: random schedules of deaths, zombies, hung transactions, lost replies and a store
that comes back older. Every window once, with what the logs alone dictate; every event too late for all its windows dead-lettered once.

Workers run in threads of which only one moves at a time: each hands the baton back before and after every effect, so a
schedule is a sequence of choices made by a seeded generator, and runs the same way every time.
"""

import json
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from stream.clock import ManualClock
from stream.errors import FencedError, TransientError
from stream.kinds import KINDS, Kind
from stream.log import Commit, MemoryLog, MemoryOutlet, MemorySource, Out, TopicPartition
from stream.marks import encode_mark
from stream.partitioner import partition_of
from windowing.calendar import Calendar, WindowSpec
from windowing.clocks import ClockSpec
from windowing.partition import Rules
from windowing.store import MemoryStore
from windowing.worker import Topics, WindowWorker, WorkerSettings

HOUR = 3_600_000
T0 = 1_262_563_200_000  # 2010-01-04, a Monday
PARTITIONS = 2
DISORDER, LATENESS = 600_000, HOUR
SPEC = WindowSpec(size_ms=24 * HOUR, hop_ms=6 * HOUR, allowed_lateness_ms=LATENESS)
EVENTS = {kind: f"x.{kind}" for kind in KINDS}
TOPICS = Topics(EVENTS, "x.windows", "x.dead-letters", PARTITIONS)
RULES = Rules(Calendar(SPEC), ClockSpec(out_of_orderness_ms=DISORDER, max_jump_ms=400 * 24 * HOUR))

Event = tuple[Kind, str, str, int]


class Died(BaseException):
    """The end of a process."""


# logs and what must come of them ------------------------------------------------------------------------------------------


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
    kind, id, user, ts = event
    value = json.dumps({"id": id, "kind": kind, "ts": iso(ts), "user": user, "pc": "PC-1", **({"url": "http://a.com/x"} if kind == "http" else {})})
    log.append(TopicPartition(EVENTS[kind], partition_of(user.encode(), PARTITIONS)), user.encode(), value.encode())


def mark(log: MemoryLog, kind: Kind, at: int, last: bool = False) -> None:
    for partition in range(PARTITIONS):
        log.append(TopicPartition(EVENTS[kind], partition), None, None, encode_mark(at, last=last))


def iso(ts: int) -> str:
    from datetime import UTC, datetime

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
                from datetime import datetime

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
    for (user, pane, kind, _), (first, partition) in placed.items():
        for window in range(max(first, pane - span + 1), pane + 1):
            end = (window + span) * hop
            if min(clocks[k, partition] for k in KINDS) >= end + LATENESS:
                counts = windows.setdefault((user, end), dict.fromkeys(map(str, KINDS), 0))
                counts[str(kind)] += 1
    return windows, sorted(dead)


def sent_windows(log: MemoryLog) -> list[tuple[tuple[str, int], dict[str, int], bytes]]:
    from datetime import datetime

    found = []
    for value in log.values(TOPICS.windows):
        record = json.loads(value)
        found.append(((record["user"], round(datetime.fromisoformat(record["end"]).timestamp() * 1000)), record["counts"], value))
    return found


def sent_dead(log: MemoryLog) -> list[tuple[str, int, int]]:
    headers = [dict(kept.headers() or []) for kept in log.records(TOPICS.dead_letters)]
    return sorted((h["daywatch-topic"].decode(), int(h["daywatch-partition"]), int(h["daywatch-offset"])) for h in headers)


# the world, with its faults -----------------------------------------------------------------------------------------------


class World:
    """The log, the store, transactions under way, and the store's last few states."""

    def __init__(self, log: MemoryLog, rnd: random.Random) -> None:
        self.log, self.rnd, self.store = log, rnd, MemoryStore()
        self.pending: list[object] = []
        self.older: list[Mapping[int, object]] = []

    def loses_its_last_second(self) -> None:
        if self.older:
            keep = self.rnd.randrange(len(self.older))
            self.store.come_back_as(self.older[keep])
            self.older = self.older[:keep]


class FaultyStore:
    """A store whose replies get lost, so that the client sends the same call again."""

    def __init__(self, world: World, gate: Callable[[], None]) -> None:
        self._world, self._gate = world, gate

    def claim(self, partition: int, layout: str) -> Any:
        self._gate()
        found = self._world.store.claim(partition, layout)
        if self._world.rnd.random() < 0.1:
            found = self._world.store.claim(partition, layout)
        self._gate()
        return found

    def begin(self, starts: Sequence[Any]) -> None:
        self._gate()
        self._world.store.begin(starts)
        self._world.older = []  # it waits for an fsync: nothing older can come back
        self._gate()

    def panes(self, partition: int, panes: Sequence[int]) -> Any:
        return self._world.store.panes(partition, panes)

    def profiles(self, partition: int) -> Any:
        return self._world.store.profiles(partition)

    def advance(self, changes: Sequence[Any]) -> None:
        for change in changes:  # one script a partition: a crash may come between them
            self._gate()
            self._world.older = [*self._world.older, self._world.store.snapshot()][-6:]
            self._world.store.advance([change])
            if self._world.rnd.random() < 0.1:
                self._world.store.advance([change])
        self._gate()


class FaultyOutlet:
    """An outlet whose transactions can hang between their offsets and their end."""

    def __init__(self, world: World, gate: Callable[[], None]) -> None:
        self._world, self._gate, self._outlet = world, gate, MemoryOutlet(world.log)

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        if group != self._world.log.generation:
            raise FencedError("a newer member owns these partitions")
        pending = object()
        self._world.pending.append(pending)
        self._gate()
        if pending not in self._world.pending:
            raise TransientError("timed out")
        self._world.pending.remove(pending)
        self._outlet.transact(records, commits, self._world.log.generation)
        self._gate()

    def close(self) -> None: ...


class GatedSource(MemorySource):
    """A source that answers about commits only when no transaction is pending."""

    def __init__(self, world: World, gate: Callable[[], None]) -> None:
        super().__init__(world.log, list(EVENTS.values()))
        self._world, self._gate = world, gate

    def committed(self, partitions: Iterable[int]) -> dict[TopicPartition, Commit]:
        while self._world.pending:
            self._gate()
        return super().committed(partitions)

    def poll(self, limit: int, timeout_ms: int) -> Any:
        self._gate()
        return super().poll(self._world.rnd.randint(1, 12), timeout_ms)


class Life:
    """One worker process: a thread that moves only while it holds the baton."""

    def __init__(self, world: World) -> None:
        self.over, self.finished, self._killed = False, False, False
        self.error: BaseException | None = None
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        settings = WorkerSettings(close_windows=world.rnd.randint(1, 4), max_ahead_ms=24 * HOUR, until_done=True, idle_after_ms=None)
        self._worker = WindowWorker(
            GatedSource(world, self._gate), FaultyOutlet(world, self._gate), FaultyStore(world, self._gate), TOPICS, RULES, settings, world.log.clock
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        try:
            # a fenced worker gives up instead of trying again for ever
            self._worker.run(lambda: self._worker.totals.recoveries > 50)
            self.finished = self._worker.done()
        except Died:
            pass
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.error = error
        self.over = True
        self._back.release()

    def _gate(self) -> None:
        self._back.release()
        self._go.acquire()
        if self._killed:
            raise Died

    def step(self) -> None:
        """Let it run to its next effect."""
        if not self.over:
            self._go.release()
            self._back.acquire()
        if self.error is not None:
            raise self.error

    def kill(self) -> None:
        self._killed = True
        self.step()


def run_schedule(seed: int, faults: int) -> tuple[MemoryLog, int]:
    """Run one schedule to its end; the log with everything that was sent, and how many faults there were."""
    rnd = random.Random(seed)
    world = World(make_log(rnd), rnd)
    owner, zombies, left = Life(world), [], rnd.randint(1, faults) if faults else 0
    planned = left
    for _ in range(200_000):
        roll = rnd.random()
        if left and roll < 0.03:
            left -= 1
            if rnd.random() < 0.5:
                owner.kill()
            else:
                zombies = [*zombies, owner][-2:]
            owner = Life(world)
        elif left and roll < 0.05:
            left -= 1
            world.loses_its_last_second()
        elif zombies and roll < 0.25:
            zombie = rnd.choice(zombies)
            zombie.step()
            if zombie.over:
                zombies.remove(zombie)
        elif roll < 0.30 and world.pending:
            # an abandoned transaction times out; sometimes one whose owner only sleeps
            world.pending.pop(0)
        else:
            owner.step()
            if owner.over:
                if owner.finished:
                    break
                owner = Life(world)
    else:
        raise AssertionError("never ends")
    for zombie in zombies:
        zombie.kill()
    return world.log, planned


def differences(log: MemoryLog, seed: int) -> str:
    """What is wrong with what was sent; empty when nothing is."""
    windows, dead = truth(log)
    sent = sent_windows(log)
    keys = [key for key, _, _ in sent]
    if len(keys) != len(set(keys)):
        return "a window went out twice"
    if set(keys) != set(windows):
        return f"missing {sorted(set(windows) - set(keys))[:3]}, unexpected {sorted(set(keys) - set(windows))[:3]}"
    if wrong := [key for key, counts, _ in sent if counts != windows[key]]:
        return f"content differs in {wrong[:3]}"
    if sent_dead(log) != dead:
        return f"dead letters {len(sent_dead(log))}, should be {len(dead)}"
    plain, _ = run_schedule(seed, 0)
    if sorted(value for _, _, value in sent) != sorted(value for _, _, value in sent_windows(plain)):
        return "bytes differ from those of an undisturbed run"
    return ""


@pytest.mark.parametrize("seed", range(12))
def test_every_window_goes_out_once_and_whole_whatever_dies(seed: int) -> None:
    log, _ = run_schedule(seed, 8)
    assert differences(log, seed) == ""


def test_without_faults_what_comes_out_is_what_the_logs_dictate() -> None:
    log, _ = run_schedule(1000, 0)
    windows, dead = truth(log)
    assert len(windows) > 5
    assert dead
    assert {key: counts for key, counts, _ in sent_windows(log)} == windows
    assert sent_dead(log) == dead


def test_marks_are_passed_on_behind_the_windows_they_speak_of_and_the_last_one_once() -> None:
    log, _ = run_schedule(1001, 6)
    for partition in range(PARTITIONS):
        reached, lasts = -1, 0
        for kept in log.logs[TopicPartition(TOPICS.windows, partition)]:
            headers = dict(kept.headers() or [])
            if kept.value is None:
                reached = max(reached, int(headers["daywatch-clock"]))
                lasts += "daywatch-last" in headers
            else:
                from datetime import datetime

                assert datetime.fromisoformat(json.loads(kept.value)["end"]).timestamp() * 1000 > reached
        assert lasts == 1
