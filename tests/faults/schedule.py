"""What a seed means: which workers run, and what is done to whom, when and for how long. Pure; knows no process and no server."""

import random
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

SESSION_S = 3.0
"""The workers' session time-out: who is silent for longer has lost its partitions."""
FEWEST_FAULTS, MOST_FAULTS = 5, 7
PARTITIONS = 3


class Fault(StrEnum):
    """What can go wrong. The order decides what a seed draws: add new ones at the end."""

    KILL_WINDOW = "kill-window"
    KILL_DETECT = "kill-detect"
    TERM_WINDOW = "term-window"
    TERM_DETECT = "term-detect"
    PAUSE_WINDOW = "pause-window"
    PAUSE_DETECT = "pause-detect"
    JOIN = "join"
    LEAVE = "leave"
    KILL_BROKER = "kill-broker"
    RESTART_BROKER = "restart-broker"
    KILL_STORE = "kill-store"
    RESTART_STORE = "restart-store"
    POWER_CUT_STORE = "power-cut-store"
    FULL_STORE = "full-store"
    FULL_DISK = "full-disk"
    CUT_WINDOW_BROKER = "cut-window-broker"
    CUT_WINDOW_STORE = "cut-window-store"
    CUT_DETECT_BROKER = "cut-detect-broker"
    CUT_UPSTREAM_BROKER = "cut-upstream-broker"
    DUPLICATES = "duplicates"
    REORDERING = "reordering"


MEANING: dict[Fault, str] = {
    Fault.KILL_WINDOW: "`kill -9` of a `daywatch window`, which comes back",
    Fault.KILL_DETECT: "`kill -9` of a `daywatch detect`, which comes back",
    Fault.TERM_WINDOW: "SIGTERM to a `daywatch window`, which comes back",
    Fault.TERM_DETECT: "SIGTERM to a `daywatch detect`, which comes back",
    Fault.PAUSE_WINDOW: "SIGSTOP of a `daywatch window` past its session time-out, then SIGCONT: a zombie",
    Fault.PAUSE_DETECT: "SIGSTOP of a `daywatch detect` past its session time-out, then SIGCONT: a zombie",
    Fault.JOIN: "one more `daywatch window` joins in mid-work: a rebalance",
    Fault.LEAVE: "a `daywatch window` leaves (SIGTERM) and stays away until the last events have been sent",
    Fault.KILL_BROKER: "`kill -9` of Apache Kafka, started again",
    Fault.RESTART_BROKER: "Apache Kafka stopped in its own time and started again",
    Fault.KILL_STORE: "`kill -9` of Redis (append-only file, synced every second), started again",
    Fault.RESTART_STORE: "Redis stopped in its own time and started again",
    Fault.POWER_CUT_STORE: "`kill -9` of Redis, and part of what it had not yet synced is gone from its file",
    Fault.FULL_STORE: "Redis at its `maxmemory`",
    Fault.FULL_DISK: "no room on the disk of Redis' append-only file",
    Fault.CUT_WINDOW_BROKER: "network cut between a `daywatch window` and Kafka",
    Fault.CUT_WINDOW_STORE: "network cut between a `daywatch window` and Redis",
    Fault.CUT_DETECT_BROKER: "network cut between a `daywatch detect` and Kafka",
    Fault.CUT_UPSTREAM_BROKER: "network cut between the producer of events and Kafka",
    Fault.DUPLICATES: "the producer sends again what it has sent last",
    Fault.REORDERING: "records arrive in another order",
}

# a broker takes seconds of processor time to come back, so it has to less often
_WEIGHTS = dict.fromkeys(Fault, 1.0) | {Fault.KILL_BROKER: 0.6, Fault.RESTART_BROKER: 0.6}


class Cut(StrEnum):
    """How a network is cut: connections are reset and refused; nothing passes; what is said passes, and no answer does."""

    REFUSE = "refuse"
    FREEZE = "freeze"
    DEAF = "deaf"


class Moment(StrEnum):
    """When exactly a fault strikes: at any time, or when its target next says one of these to a server, in mid-sentence."""

    ANY = "any"
    STORE = "store"
    """The script that moves a partition on."""
    PRODUCE = "produce"
    OFFSETS = "offsets"
    END = "end"
    """Of a transaction."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: from `at_s` on, for `for_s` seconds, to `target` (a worker's name, or `broker`, `store`, `upstream`).

    `arrives`: whether what was being said at that moment still does, when its sender is killed.
    """

    at_s: float
    for_s: float
    fault: Fault
    target: str
    cut: Cut = Cut.REFUSE
    moment: Moment = Moment.ANY
    arrives: bool = True


@dataclass(frozen=True, slots=True)
class Schedule:
    """All that a seed decides, besides the events (`tests/faults/feed.py`)."""

    seed: int
    windows: tuple[str, ...]
    detects: tuple[str, ...]
    spare: str
    steps: tuple[Step, ...]
    feed_s: float
    """How long the producer takes to send the events."""
    fixed_instances: bool
    """Whether a worker that comes back has its old transactional id, or a random one as by default."""
    idle_after: str
    idempotent: bool
    """Whether the producer of events is; one that is not doubles and reorders by itself when the network fails it."""

    @property
    def workers(self) -> tuple[str, ...]:
        return (*self.windows, *self.detects, self.spare)


def schedule(seed: int, faults: Collection[Fault] = tuple(Fault)) -> Schedule:
    """The schedule of a seed, over those kinds of fault that can be had.

    >>> schedule(7) == schedule(7)
    True
    """
    rnd = random.Random(f"schedule {seed}")
    windows, detects, spare = ("w1", "w2"), ("d1", "d2")[: rnd.randint(1, 2)], "w3"
    known = [fault for fault in Fault if fault in faults]
    count = rnd.randint(FEWEST_FAULTS, MOST_FAULTS)
    # without replacement: each as often as its weight says, and a schedule shows different things
    drawn = sorted(known, key=lambda fault: rnd.random() ** (1 / _WEIGHTS[fault]), reverse=True)[:count]
    rnd.shuffle(drawn)
    busy: dict[str, float] = {}
    steps = []
    at_s = rnd.uniform(1.0, 2.5)
    for fault in drawn:
        target = _target(fault, rnd, windows, detects, spare)
        begins = max(at_s, busy.get(target, 0.0))
        length, cut, moment = round(_length(fault, rnd), 2), rnd.choice(list(Cut)), rnd.choice(_MOMENTS.get(fault, [Moment.ANY]))
        step = Step(round(begins, 2), length, fault, target, cut, moment, arrives=rnd.random() < 0.5)
        steps.append(step)
        # one thing at a time goes wrong with each part, but several parts may fail together
        busy[target] = begins + step.for_s + 0.5
        at_s += rnd.uniform(0.2, 1.8)
    steps.sort(key=lambda step: step.at_s)
    return Schedule(
        seed, windows, detects, spare, tuple(steps), round(max(steps[-1].at_s + 1.0, 7.0), 2),
        fixed_instances=rnd.random() < 0.7, idle_after=rnd.choice(["1m", "1m", "2s"]), idempotent=rnd.random() < 0.5,
    )  # fmt: skip


_SAYS_ALL = [Moment.ANY, Moment.STORE, Moment.STORE, Moment.PRODUCE, Moment.OFFSETS, Moment.END]
_SAYS_TO_BROKER = [Moment.ANY, Moment.PRODUCE, Moment.OFFSETS, Moment.END, Moment.END]
_MOMENTS = {
    Fault.KILL_WINDOW: _SAYS_ALL,
    Fault.PAUSE_WINDOW: _SAYS_ALL,
    Fault.KILL_DETECT: _SAYS_TO_BROKER,
    Fault.PAUSE_DETECT: _SAYS_TO_BROKER,
    Fault.CUT_WINDOW_STORE: [Moment.ANY, Moment.STORE, Moment.STORE],
    Fault.CUT_WINDOW_BROKER: _SAYS_TO_BROKER,
    Fault.CUT_DETECT_BROKER: _SAYS_TO_BROKER,
    Fault.KILL_STORE: [Moment.ANY, Moment.STORE],
    Fault.KILL_BROKER: [Moment.ANY, Moment.END],
}


def _target(fault: Fault, rnd: random.Random, windows: tuple[str, ...], detects: tuple[str, ...], spare: str) -> str:
    match fault:
        case Fault.KILL_DETECT | Fault.TERM_DETECT | Fault.PAUSE_DETECT | Fault.CUT_DETECT_BROKER:
            return rnd.choice(detects)
        case Fault.JOIN:
            return spare
        case Fault.KILL_BROKER | Fault.RESTART_BROKER:
            return "broker"
        case Fault.KILL_STORE | Fault.RESTART_STORE | Fault.POWER_CUT_STORE | Fault.FULL_STORE | Fault.FULL_DISK:
            return "store"
        case Fault.CUT_UPSTREAM_BROKER | Fault.DUPLICATES | Fault.REORDERING:
            return "upstream"
        case Fault.LEAVE:
            return windows[0]
        case _:
            # the one that never leaves
            return rnd.choice(windows) if fault is not Fault.PAUSE_WINDOW else windows[1]


def _length(fault: Fault, rnd: random.Random) -> float:
    match fault:
        case Fault.PAUSE_WINDOW | Fault.PAUSE_DETECT:
            return SESSION_S + rnd.uniform(0.8, 2.5)
        case Fault.CUT_WINDOW_BROKER | Fault.CUT_WINDOW_STORE | Fault.CUT_DETECT_BROKER | Fault.CUT_UPSTREAM_BROKER:
            return rnd.choice([rnd.uniform(0.3, 1.5), rnd.uniform(SESSION_S, SESSION_S + 3)])
        case Fault.FULL_STORE | Fault.FULL_DISK:
            return rnd.uniform(1.0, 3.0)
        case Fault.LEAVE:
            return 4.0
        case Fault.JOIN | Fault.DUPLICATES | Fault.REORDERING:
            return 0.0
        case Fault.POWER_CUT_STORE:
            # so short that a client that tries again does not notice
            return rnd.uniform(0.05, 0.6)
        case _:
            return rnd.uniform(0.1, 1.2)
