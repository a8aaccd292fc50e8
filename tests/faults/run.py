"""One schedule from beginning to end: processes, events, faults, and then the check."""

import contextlib
import os
import random
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient

from daywatch.backends import backend_of
from daywatch.settings import Settings, load
from stream.kafka_consumer import Place, assign_at, group_config
from stream.kafka_reader import read_all
from stream.kinds import KINDS
from tests.faults import batch
from tests.faults.checker import History, complaints
from tests.faults.feed import Sent, feed
from tests.faults.proxy import Link, Trap
from tests.faults.schedule import PARTITIONS, SESSION_S, Cut, Fault, Moment, Schedule, Step
from tests.faults.world import Store, World
from tests.windowing.logs import HOUR
from windowing.describe import DescribeSettings

WITHIN_S = 180.0
"""How long after the last fault has passed everything must have been worked off."""
_TURN_S = 0.05
_BEHIND_MS = 20 * HOUR
"""More than windows are behind when all is well: they close every six hours, and marks of a topic come as seldom."""
_PATIENCE_S = 12.0
"""How long a fault waits for its moment before it strikes at any."""
_RESTART_S = 1.0
_ENDED = (0, -signal.SIGTERM, -signal.SIGKILL)
"""How a worker may end that was told to: one that has only just been started does not listen to SIGTERM yet."""
# what a worker may end with when its servers fail it for long; whoever supervises it starts it again
_EXPECTED = re.compile(
    r"is full \(maxmemory\)|cannot write to its disk \(MISCONF\)|is it running, and is store\.url right|no Kafka broker answers|"
    r"takes connections and answers nothing|Kafka transaction |from Kafka within|another process works under the same transactional id"
)


@dataclass(slots=True)
class Result:
    """What is recorded of a schedule."""

    seed: int
    complaints: list[str] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    workers: int = 0
    records: int = 0
    windows: int = 0
    verdicts: int = 0
    alerts: int = 0
    dead_letters: int = 0
    late: int = 0
    duplicates: int = 0
    starts: int = 0
    gave_up: dict[str, int] = field(default_factory=dict)
    """Workers that ended by themselves, by what they said."""
    aimed: int = 0
    """Faults that struck at their moment."""
    unsynced_lost: int = 0
    repaired: int = 0
    """How often the store's file had to be cut off where it had become unreadable."""
    seconds: float = 0.0
    cpu_s: float = 0.0
    """Of the workers."""
    own_cpu_s: float = 0.0
    """Of the harness, without the servers."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Worker:
    """A worker's place: the process in it comes and goes."""

    name: str
    command: list[str]
    pid: int | None = None
    wanted: bool = True
    paused: bool = False
    start_at_s: float = 0.0


class Run:
    """One schedule under way."""

    def __init__(self, schedule: Schedule, world: World, *, from_the_beginning: bool = False) -> None:
        self.schedule, self.world, self._from_the_beginning = schedule, world, from_the_beginning
        self.result = Result(schedule.seed, workers=len(schedule.windows) + len(schedule.detects))
        self.namespace = f"f{schedule.seed}-{random.SystemRandom().randrange(16**6):06x}"
        self.directory = world.directory / f"run-{schedule.seed}"
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.flags: dict[str, str] = {
            "namespace": self.namespace, "topics.partitions": str(PARTITIONS), "window.hop": "6h", "window.allowed_lateness": "1h",
            "window.out_of_orderness": "10m", "window.max_jump": "400d", "window.idle_after": schedule.idle_after,
            "window.learning_days": "2", "detect.budget": "400", "kafka.session_timeout": f"{int(SESSION_S)}s",
        }  # fmt: skip
        self.client = {"bootstrap.servers": world.broker.bootstrap_servers}
        self.settings: Settings = load(flags=self.flags | {"kafka.bootstrap_servers": world.broker.bootstrap_servers}, alone=True)
        self.workers = {name: Worker(name, self._command(name)) for name in schedule.workers}
        self.workers[schedule.spare].wanted = False
        self._began = 0.0
        self._live: dict[tuple[str, int], list[int]] = {}
        self._lasts: set[tuple[str, int]] = set()
        self._marks: dict[tuple[str, int], int] = {}
        self._unsent: list[Sent] = []
        self._later: list[tuple[float, Callable[[], bool]]] = []
        self._store: Store | None = None
        self._trapped: dict[Step, float] = {}
        self._sprung: set[Step] = set()
        self._log = (self.directory / "nemesis.log").open("w", encoding="utf-8")

    # the run ---------------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        """Do all of it; the result says what was wrong."""
        begun, cpu_s, own_cpu_s = time.monotonic(), self.world.processes.cpu_s, time.process_time()
        try:
            self._store = self.world.store(self.schedule.seed)
            self._create_topics()
            history = self._work()
            self._note("read")
            self._check(history)
            self._note("checked")
        finally:
            self._clean_up()
            self.result.seconds = round(time.monotonic() - begun, 1)
            self.result.cpu_s = round(self.world.processes.cpu_s - cpu_s, 1)
            self.result.own_cpu_s = round(time.process_time() - own_cpu_s, 1)
        return self.result

    def _work(self) -> History:
        plan = feed(self.schedule)
        sent = plan.records
        self.result.records = len(sent)
        producer = self._producer()
        reader = self._reader()
        self._began = time.monotonic()
        steps = list(self.schedule.steps)
        waiting = iter(sent)
        upcoming: Sent | None = next(waiting)
        calm_s: float | None = None
        done_s: float | None = None
        # the producer and the faults go by a clock that hardly moves while the workers are behind: there is to be work to disturb
        clock_s, before_s = 0.0, self._now()
        while True:
            now = self._now()
            behind_ms = plan.begin_ms + clock_s / self.schedule.feed_s * (plan.end_ms - plan.begin_ms) - self._reached(plan.begin_ms)
            clock_s += (now - before_s) * (1.0 if behind_ms < _BEHIND_MS else 0.1)
            before_s = now
            while upcoming is not None and upcoming.at_s <= clock_s:
                self._produce(producer, upcoming)
                upcoming = next(waiting, None)
            producer.poll(0)
            again, self._unsent = self._unsent, []
            for each in again:
                self._produce(producer, each)
            steps = [step for step in steps if step.at_s > clock_s or not self._begin(step)]
            self._later = [(at_s, what) for at_s, what in self._later if at_s > now or not what()]
            self._supervise()
            self._listen(reader)
            if upcoming is None and not len(producer) and not self._unsent and not steps and not self._later and not self.world.broker_busy:
                if calm_s is None:
                    calm_s = now
                    self._note("all is sent, and nothing goes wrong any more")
                if len(self._lasts) == 2 * PARTITIONS:
                    done_s = done_s if done_s is not None else now
                    # a zombie that wakes up, or a transaction of a dead worker, gets a moment to do harm
                    if now - done_s > 1.0:
                        break
                if now - calm_s > WITHIN_S:
                    self.result.complaints.append(f"not worked off within {WITHIN_S:.0f} s: {sorted(self._lasts)} have their last marks")
                    break
        self._note("worked off")
        self._stop_all()
        self._listen(reader)
        reader.close()
        self._note("all have ended")
        return self._history(frozenset(each.name for each in sent) - {""})

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _note(self, text: str) -> None:
        self._log.write(f"{self._now():7.2f} {text}\n")
        self._log.flush()

    # the producer of events, and a reader who reads along ----------------------------------------------------------------

    def _producer(self) -> Producer:
        steady: dict[str, Any] = {"enable.idempotence": True}
        # such a producer doubles and reorders what it sends when the network fails it
        careless = {"enable.idempotence": False, "acks": "all", "retries": 1_000_000, "max.in.flight.requests.per.connection": 5}
        link = self.world.to_broker["upstream"]
        return Producer(
            {
                "bootstrap.servers": f"127.0.0.1:{link.port}", "linger.ms": 20, "message.timeout.ms": 170_000, "socket.timeout.ms": 3_000,
                "reconnect.backoff.max.ms": 500, "log_level": 0, **(steady if self.schedule.idempotent else careless),
            }
        )  # fmt: skip

    def _produce(self, producer: Producer, sent: Sent) -> None:
        topic = self.settings.topic(sent.kind.value)

        def delivered(error: KafkaError | None, _message: object) -> None:
            if error is not None:  # such as a topic that is not known yet: it is sent again
                self._note(f"a record was not delivered: {error.name()}")
                self._unsent.append(sent)

        producer.produce(topic, value=sent.value, key=sent.key, partition=sent.partition, headers=list(sent.headers), on_delivery=delivered)

    def _reader(self) -> Consumer:
        consumer = Consumer(group_config({**self.client, "log_level": 0, "reconnect.backoff.max.ms": 500}, "fault-harness"))
        topics = [self.settings.topic(role) for role in ("windows", "verdicts")]
        self._live = {(topic.rpartition(".")[2], number): [] for topic in topics for number in range(PARTITIONS)}
        assign_at(consumer, {Place(topic, number): 0 for topic in topics for number in range(PARTITIONS)})
        return consumer

    def _listen(self, reader: Consumer) -> None:
        for message in reader.consume(2_000, _TURN_S):
            if message.error() is None:
                at = ((message.topic() or "").rpartition(".")[2], message.partition() or 0)
                self._live[at].append(message.offset() or 0)
                headers = dict(cast("list[tuple[str, bytes]]", message.headers() or []))
                if message.value() is None and "daywatch-clock" in headers:
                    self._marks[at] = max(self._marks.get(at, 0), int(headers["daywatch-clock"]))
                if message.value() is None and "daywatch-last" in headers:
                    self._lasts.add(at)

    def _reached(self, begin_ms: int) -> int:
        """The newest mark behind windows, of the partition that is farthest behind."""
        return min(self._marks.get(("windows", number), begin_ms) for number in range(PARTITIONS))

    # workers -------------------------------------------------------------------------------------------------------------

    def _command(self, name: str) -> list[str]:
        own = dict(self.flags) | {"kafka.bootstrap_servers": f"127.0.0.1:{self.world.to_broker[name].port}"}
        if name in self.world.to_store:
            own["store.url"] = f"redis://127.0.0.1:{self.world.to_store[name].port}/0"
        if self.schedule.fixed_instances:
            own["instance"] = name
        command = "window" if name in self.world.to_store else "detect"
        return [command, *(word for setting, value in own.items() for word in ("--set", f"{setting}={value}"))]

    def _log_of(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _supervise(self) -> None:
        """Start what is wanted and does not run, as an operating system's service manager would."""
        self.world.processes.look()
        now = self._now()
        for worker in self.workers.values():
            if worker.pid is not None and worker.pid in self.world.processes.codes:
                self._has_ended(worker)
                worker.start_at_s = now + _RESTART_S
            if worker.wanted and worker.pid is None and now >= worker.start_at_s:
                worker.pid = self.world.processes.start(
                    worker.name, worker.command, self._log_of(worker.name), from_the_beginning=self._from_the_beginning
                )
                self.result.starts += 1
                self._note(f"{worker.name} starts as {worker.pid}")

    def _has_ended(self, worker: Worker) -> None:
        """A worker ended that was not told to."""
        assert worker.pid is not None
        code = self.world.processes.codes[worker.pid]
        last = self._last_words(worker.name)
        self._note(f"{worker.name} ended by itself with {code}: {last}")
        worker.pid = None
        kills = {(step.fault, step.target) for step in self._sprung}
        if code == -signal.SIGKILL and kills & {(Fault.KILL_WINDOW, worker.name), (Fault.KILL_DETECT, worker.name)}:
            return  # killed in mid-sentence, and found dead before its fault was noted down
        if code == 1 and (expected := _EXPECTED.search(last)):
            said = expected.group().strip()
            self.result.gave_up[said] = self.result.gave_up.get(said, 0) + 1
        else:
            self.result.complaints.append(f"a {worker.command[0]} worker ended by itself with {code}: {last}")

    def _last_words(self, name: str) -> str:
        lines = self._log_of(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][-400:] if lines else ""

    def _end(self, worker: Worker, how: str) -> bool:
        """End a worker's process by kill or SIGTERM; whether it ended well, if that was asked for."""
        assert worker.pid is not None
        _send(worker.pid, signal.SIGKILL if how == "kill" else signal.SIGTERM)
        if how == "kill":
            self.world.processes.wait(worker.pid, 30)
            worker.pid = None
        return True

    def _stop_all(self) -> None:
        """Everything has been worked off: workers end when they are asked to."""
        self.world.heal()
        for worker in self.workers.values():
            worker.wanted = False
            if worker.pid is not None:
                _send(worker.pid, signal.SIGCONT)
                _send(worker.pid, signal.SIGTERM)
        for worker in self.workers.values():
            if worker.pid is None:
                continue
            code = self.world.processes.wait(worker.pid, 30)
            if code is None:
                self.result.complaints.append(f"a {worker.command[0]} worker does not end within 30 s of SIGTERM")
                _send(worker.pid, signal.SIGKILL)
                self.world.processes.wait(worker.pid, 30)
            elif code not in _ENDED and not _EXPECTED.search(self._last_words(worker.name)):
                self.result.complaints.append(f"a {worker.command[0]} worker ends with {code}: {self._last_words(worker.name)}")
            worker.pid = None

    # faults ----------------------------------------------------------------------------------------------------------------

    def _begin(self, step: Step) -> bool:
        """Do a step's fault, and plan its end; False when its target is not there yet, or its moment has not come: it is tried again."""
        if step.moment is not Moment.ANY and not self._moment_has_come(step):
            return False
        if not self._apply(step):
            return False
        aimed = step.moment if step in self._sprung else "any moment"
        self._note(f"{step.fault} {step.target} for {step.for_s} s ({step.cut}, at {aimed}, {step.arrives})")
        self.result.faults[step.fault] = self.result.faults.get(step.fault, 0) + 1
        self.result.aimed += step in self._sprung
        return True

    def _moment_has_come(self, step: Step) -> bool:
        """Lay a trap where the step's moment will be seen, and say whether it has sprung, or has been waited for for too long."""
        if step in self._sprung:
            return True
        if step not in self._trapped:
            worker = self.workers.get(step.target)
            if worker is not None and not self._can_be_struck(worker):
                return False
            self._trapped[step] = self._now()
            self._note(f"{step.fault} waits for {step.target} to say {step.moment}")
            for link in self._links(step):
                link.trap(Trap(step.moment, partial(self._spring, step, link)))
            return False
        if self._now() - self._trapped[step] < _PATIENCE_S:
            return False
        for link in self._links(step):
            link.trap(None)
        return True

    def _links(self, step: Step) -> list[Link]:
        links = self.world.to_store if step.moment is Moment.STORE else self.world.to_broker
        return [links[step.target]] if step.target in links else list(links.values())

    def _spring(self, step: Step, link: Link) -> bool:
        """What has to be done at once, in the network's thread; the rest follows in `_apply`. Whether what is being said arrives."""
        if step in self._sprung:
            return True  # it lay on several links, and another was first
        self._sprung.add(step)
        worker = self.workers.get(step.target)
        match step.fault:
            case Fault.KILL_WINDOW | Fault.KILL_DETECT if worker is not None and worker.pid is not None:
                _send(worker.pid, signal.SIGKILL)
                return step.arrives
            case Fault.PAUSE_WINDOW | Fault.PAUSE_DETECT if worker is not None and worker.pid is not None:
                _send(worker.pid, signal.SIGSTOP)
                if not step.arrives:
                    # it arrives, but late: when the worker wakes up, and another has its partitions
                    link.cut_now(Cut.FREEZE)
            case Fault.CUT_WINDOW_STORE | Fault.CUT_WINDOW_BROKER | Fault.CUT_DETECT_BROKER:
                link.cut_now(step.cut)
                return step.cut is not Cut.REFUSE
            case Fault.KILL_STORE if self._store is not None:
                self._store.kill_at_once()
            case _:
                pass
        return True

    def _can_be_struck(self, worker: Worker) -> bool:
        return worker.pid is not None and not worker.paused and worker.pid not in self.world.processes.codes

    def _after(self, seconds: float, what: Callable[[], bool | None]) -> None:
        """Do something later; when it returns False, again and again."""
        self._later.append((self._now() + seconds, lambda: what() is not False))

    def _apply(self, step: Step) -> bool:
        fault, target = step.fault, step.target
        if target in self.workers:
            return self._to_worker(step, self.workers[target])
        if target == "broker":
            return self._to_broker(step)
        if target == "store":
            return self._to_store(step)
        if fault is Fault.CUT_UPSTREAM_BROKER:
            self._cut(self.world.to_broker["upstream"], step)
        return True  # duplicates and reordering are in what is sent

    def _to_worker(self, step: Step, worker: Worker) -> bool:
        fault = step.fault
        if fault is Fault.JOIN:
            worker.wanted = True
            return True
        if worker.pid is None or not (self._can_be_struck(worker) or step in self._sprung):
            return False
        match fault:
            case Fault.KILL_WINDOW | Fault.KILL_DETECT:
                self._end(worker, "kill")
                worker.start_at_s = self._now() + step.for_s
            case Fault.TERM_WINDOW | Fault.TERM_DETECT | Fault.LEAVE:
                self._leave(worker, step)
            case Fault.PAUSE_WINDOW | Fault.PAUSE_DETECT:
                pid, worker.paused = worker.pid, True
                _send(pid, signal.SIGSTOP)

                def awake() -> None:
                    worker.paused = False
                    _send(pid, signal.SIGCONT)
                    for link in self._links(step) if step.moment is not Moment.ANY else ():
                        link.heal()
                    self._note(f"{worker.name} goes on")

                self._after(step.for_s, awake)
            case Fault.CUT_WINDOW_STORE:
                self._cut(self.world.to_store[worker.name], step)
            case _:
                self._cut(self.world.to_broker[worker.name], step)
        return True

    def _leave(self, worker: Worker, step: Step) -> None:
        assert worker.pid is not None
        pid, worker.wanted = worker.pid, False
        _send(pid, signal.SIGTERM)
        told_s = self._now()

        def gone() -> bool:
            if (code := self.world.processes.codes.get(pid)) is None:
                if self._now() - told_s > 60:
                    self.result.complaints.append(f"a {worker.command[0]} worker does not end within 60 s of SIGTERM")
                    _send(pid, signal.SIGKILL)
                return False
            if code not in _ENDED and not _EXPECTED.search(last := self._last_words(worker.name)):
                self.result.complaints.append(f"a {worker.command[0]} worker ends with {code} after SIGTERM: {last}")
            self._after(step.for_s, back)
            return True

        def back() -> None:
            worker.wanted = True

        worker.pid = None
        self._later.append((0.0, gone))

    def _cut(self, link: Link, step: Step) -> None:
        if step not in self._sprung:
            link.cut(step.cut)

        def heal() -> None:
            link.heal()
            self._note(f"{step.fault} {step.target} is over")

        self._after(step.for_s, heal)

    def _to_broker(self, step: Step) -> bool:
        if self.world.broker_busy:
            return False
        self.world.end_broker(kill=step.fault is Fault.KILL_BROKER, down_s=step.for_s)
        return True

    def _to_store(self, step: Step) -> bool:
        store = self._store
        assert store is not None
        if not store.alive and step not in self._sprung:
            return False
        match step.fault:
            case Fault.KILL_STORE:
                store.kill()
                self._after(step.for_s, store.start)
            case Fault.RESTART_STORE:
                store.stop()
                self._after(step.for_s, store.start)
            case Fault.POWER_CUT_STORE:
                if not store.stop_syncing():
                    return False
                rnd = random.Random(f"power {self.schedule.seed}")

                def cut_power() -> bool:
                    # in the second after something was written
                    if not store.unsynced and self._now() - told_s < _PATIENCE_S:
                        return False
                    time.sleep(rnd.choice([0.0, rnd.uniform(0.0, 0.3)]))
                    self.result.unsynced_lost += (lost := store.cut_power(rnd.uniform(0.3, 1.0)))
                    self._note(f"the store's power is cut, {lost} bytes were not synced")
                    self._after(step.for_s, store.start)
                    if rnd.random() < 0.8:
                        self._after(step.for_s, partial(self._die_after_writing, rnd.uniform(0.1, 0.5)))
                    return True

                told_s = self._now()
                self._later.append((0.0, cut_power))
            case Fault.FULL_STORE:
                if not store.limit(1):
                    return False
                self._after(step.for_s, lambda: store.limit(0))
            case _:
                if not self.world.own_disk:
                    return True
                store.fill_disk()
                self._after(step.for_s, store.empty_disk)
        return True

    def _die_after_writing(self, after_s: float) -> None:
        """Whoever goes on beside a store that has come back older dies when it has written to it: what it alone remembered is gone."""
        for worker in (self.workers[name] for name in self.schedule.windows):
            link, wrote = self.world.to_store[worker.name], threading.Event()
            link.trap(Trap(Moment.STORE, partial(_note_it, wrote)))
            self._later.append((0.0, partial(self._die, worker, wrote, self._now() + _PATIENCE_S, after_s)))

    def _die(self, worker: Worker, wrote: threading.Event, until_s: float, after_s: float) -> bool:
        if not wrote.is_set() and self._now() < until_s:
            return False
        time.sleep(after_s if wrote.is_set() else 0.0)
        if self._can_be_struck(worker):
            self._end(worker, "kill")
            self.result.faults[Fault.KILL_WINDOW] = self.result.faults.get(Fault.KILL_WINDOW, 0) + 1
            self._note(f"{worker.name} is killed, too; it {'wrote' if wrote.is_set() else 'did not write'} before")
        return True

    # the end -----------------------------------------------------------------------------------------------------------------

    def _create_topics(self) -> None:
        own = self.flags | {"kafka.bootstrap_servers": self.world.broker.bootstrap_servers}
        argv = ["topics", "create", *(word for name, value in own.items() for word in ("--set", f"{name}={value}"))]
        pid = self.world.processes.start("topics", argv, self._log_of("topics"))
        if (code := self.world.processes.wait(pid, 60)) != 0:
            raise RuntimeError(f"topics create ended with {code}: {self._last_words('topics')}")

    def _history(self, names: frozenset[str]) -> History:
        def logs(role: str) -> dict[int, list[batch.Record]]:
            found: dict[int, list[batch.Record]] = {number: [] for number in range(PARTITIONS)}
            for messages in read_all(self.client, [self.settings.topic(role)]):
                for m in messages:
                    headers = cast("list[tuple[str, bytes]]", m.headers() or [])
                    record = batch.Record(m.offset() or 0, m.timestamp()[1], m.key(), m.value(), tuple(headers))
                    found[m.partition() or 0].append(record)
            return found

        events = {kind: logs(kind.value) for kind in KINDS}
        return History(events, logs("windows"), logs("verdicts"), logs("alerts"), logs("dead_letters"), names, self._live)

    def _check(self, history: History) -> None:
        calendar = batch.calendar()
        chosen = self.settings.window
        truth = batch.truth(history.events, calendar, DescribeSettings(cap=chosen.cap, learning_days=chosen.learning_days))
        judged = batch.judged(history.windows, self.namespace, backend_of(self.settings))
        result = self.result
        result.complaints += complaints(history, truth, judged, calendar)
        result.windows = _data(history.windows)
        result.verdicts, result.alerts = _data(history.verdicts), _data(history.alerts)
        result.dead_letters, result.late, result.duplicates = _data(history.dead_letters), truth.late, truth.duplicates
        planned = Counter(step.fault.value for step in self.schedule.steps)
        if undone := planned - Counter(result.faults):
            result.complaints.append(f"not every fault was done: {dict(undone)}: the harness is broken")

    def _clean_up(self) -> None:
        self.world.heal()
        for worker in self.workers.values():
            if worker.pid is not None and worker.pid not in self.world.processes.codes:
                _send(worker.pid, signal.SIGKILL)
                self.world.processes.wait(worker.pid, 30)
        while self.world.broker_busy:
            time.sleep(0.1)
        if self._store is not None:
            self.result.repaired = self._store.repaired
            self._store.close()
            shutil.rmtree(self.world.directory / f"store-{self.schedule.seed}", ignore_errors=True)
        self._log.close()
        admin = AdminClient({**self.client})
        own = [name for name in admin.list_topics(timeout=30).topics if name.startswith(f"{self.namespace}.")]
        for gone in admin.delete_topics(own, operation_timeout=30).values() if own else ():
            gone.result(60)


def _send(pid: int, name: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, name)


def _note_it(wrote: threading.Event) -> bool:
    wrote.set()
    return True


def _data(logs: batch.Logs) -> int:
    return sum(record.value is not None for log in logs.values() for record in log)
