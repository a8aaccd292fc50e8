"""The delivery protocol on the code itself: random schedules of deaths, zombies, hung transactions, lost replies and a store
that comes back older. Every window once, with what the logs alone dictate; every event too late for all its windows dead-lettered once.

Workers run in threads of which only one moves at a time: each hands the baton back before and after every effect, so a
schedule is a sequence of choices made by a seeded generator, and runs the same way every time.
"""

import json
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest

from stream.errors import FencedError, TakenBackError, TransientError
from stream.log import Commit, MemoryLog, MemoryOutlet, MemorySource, Newest, Out, TopicPartition
from tests.windowing.logs import EVENTS, HOUR, PARTITIONS, RULES, TOPICS, complaints, make_log, sent_dead, sent_windows, truth
from windowing.store import MemoryStore
from windowing.worker import WindowWorker, WorkerSettings


class Died(BaseException):
    """The end of a process."""


# the world, with its faults -----------------------------------------------------------------------------------------------


class World:
    """The log, the store, transactions under way, and the store's last few states."""

    def __init__(self, log: MemoryLog, rnd: random.Random) -> None:
        self.log, self.rnd, self.store = log, rnd, MemoryStore()
        self.pending: list[object] = []
        self.asked = 0
        """How often somebody has been told what is committed."""
        self.taken_back: set[TopicPartition] = set()
        self.unsettled: list[Acknowledged] = []
        """Transactions of which nobody has looked whether they ended in their logs."""
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

    def look(self, partition: int) -> tuple[str, str]:
        return self._world.store.look(partition)

    def confirm(self, epochs: Any) -> None:
        self._gate()
        self._world.store.confirm(epochs)

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


class Acknowledged:
    """A transaction that a broker may still forget, in some logs or in all, as long as nobody has been told of it."""

    def __init__(self, world: World, records: Sequence[Out], commits: Mapping[TopicPartition, Commit]) -> None:
        self._world, self._asked, self._commits = world, world.asked, commits
        self._before = {at: world.log.committed.get(at) for at in commits}
        self._began = {record.at: len(world.log.logs[record.at]) for record in records}

    def is_forgotten(self) -> bool:
        log, rnd = self._world.log, self._world.rnd
        if rnd.random() > 0.03 or self._world.asked != self._asked:
            return False
        if any(log.committed.get(at) != commit for at, commit in self._commits.items()):
            return False  # somebody has committed more since
        # what is committed and the dead letters stand or fall together here: no log tells of each alone how far it has come
        of_windows = {at for at in self._began if at.topic == TOPICS.windows}
        parts = [{at} for at in sorted(of_windows)] + [(self._began.keys() - of_windows) | self._commits.keys()]
        gone = set[TopicPartition]().union(*rnd.sample(parts, rnd.randint(1, len(parts))))
        for at in self._began.keys() & gone:
            del log.logs[at][self._began[at] :]
        self._world.taken_back |= gone
        for at in self._commits.keys() & gone:
            commit = self._before[at]
            if commit is None:
                del log.committed[at]
            else:
                log.committed[at] = commit
        return True


class FaultyOutlet:
    """An outlet whose transactions can hang between their offsets and their end, and be forgotten after it."""

    def __init__(self, world: World, gate: Callable[[], None]) -> None:
        self._world, self._gate, self._outlet = world, gate, MemoryOutlet(world.log)
        self._last: Acknowledged | None = None

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        self.settle()
        if group != self._world.log.generation:
            raise FencedError("a newer member owns these partitions")
        pending = object()
        self._world.pending.append(pending)
        self._gate()
        if pending not in self._world.pending:
            raise TransientError("timed out")
        self._world.pending.remove(pending)
        last = Acknowledged(self._world, records, commits)
        self._outlet.transact(records, commits, self._world.log.generation)
        self._last = last
        self._world.unsettled.append(last)
        self._gate()

    def settle(self) -> None:
        last, self._last = self._last, None
        if last in self._world.unsettled:
            self._world.unsettled.remove(last)
            if last.is_forgotten():
                raise TakenBackError("taken back")

    def lying_open(self, logs: Iterable[TopicPartition]) -> Sequence[TopicPartition]:
        del logs
        return ()

    def close(self) -> None: ...


class GatedSource(MemorySource):
    """A source that answers about commits only when no transaction is pending."""

    def __init__(self, world: World, gate: Callable[[], None]) -> None:
        super().__init__(world.log, list(EVENTS.values()))
        self._world, self._gate = world, gate

    def committed(self, partitions: Iterable[int]) -> dict[TopicPartition, Commit]:
        while self._world.pending:
            self._gate()
        # what others have left open is ended by their heir
        for each in self._world.unsettled:
            each.is_forgotten()
        self._world.unsettled.clear()
        self._world.asked += 1
        return super().committed(partitions)

    def newest(self, logs: Iterable[TopicPartition]) -> dict[TopicPartition, Newest | None]:
        logs = list(logs)
        return {at: None for at in logs if at in self._world.taken_back} | super().newest(logs)

    def poll(self, limit: int, timeout_ms: int) -> Any:
        self._gate()
        return super().poll(self._world.rnd.randint(1, 12), timeout_ms)


class Life:
    """One worker process: a thread that moves only while it holds the baton."""

    def __init__(self, world: World) -> None:
        self.over, self.finished, self._killed = False, False, False
        self.error: BaseException | None = None
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        settings = WorkerSettings(
            close_windows=world.rnd.randint(1, 4), max_ahead_ms=24 * HOUR, until_done=True, idle_after_ms=None,
            write_after_ms=world.rnd.choice([0, 1, 10**15]), write_after_records=world.rnd.choice([20, 10**9]),
            backlog_records=world.rnd.choice([1, 10, 5_000]),
        )  # fmt: skip
        effects = GatedSource(world, self._gate), FaultyOutlet(world, self._gate), FaultyStore(world, self._gate)
        self._worker = WindowWorker(*effects, TOPICS, RULES, settings, world.log.clock, wait=lambda _: None)
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


def run_schedule(seed: int, faults: int, besides: Callable[[World], None] = lambda _: None) -> tuple[MemoryLog, int]:
    """Run one schedule to its end; the log with everything that was sent, and how many faults there were.

    `besides` is called before each step, for what somebody else does to the world.
    """
    rnd = random.Random(seed)
    world = World(make_log(rnd), rnd)
    owner, left = Life(world), rnd.randint(1, faults) if faults else 0
    zombies: list[Life] = []
    planned = left
    for _ in range(200_000):
        besides(world)
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
    plain, _ = run_schedule(seed, 0)
    return complaints(sent_windows(log), sent_dead(log), log, [value for _, _, value in sent_windows(plain)])


@pytest.mark.parametrize("seed", range(12))
def test_every_window_goes_out_once_and_whole_whatever_dies(seed: int) -> None:
    log, _ = run_schedule(seed, 8)
    assert differences(log, seed) == ""
    for partition in range(PARTITIONS):
        marks = [tuple(kept.headers() or []) for kept in log.logs[TopicPartition(TOPICS.windows, partition)] if kept.value is None]
        assert len(marks) == len(set(marks)), "a mark was passed on twice"


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
                assert datetime.fromisoformat(json.loads(kept.value)["end"]).timestamp() * 1000 > reached
        assert lasts == 1
