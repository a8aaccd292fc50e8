"""Gathers all facts, side by side and within a time limit each: a silent server costs its own facts and no others."""

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from daywatch.doctor.about_groups import READS, positions_of, read_by
from daywatch.doctor.facts import Facts, Greeting, Group, Logs, Missing, Store, Topics, Wanted, missing_for
from stream.clock import Clock
from stream.errors import PipelineError
from stream.log import TopicPartition

if TYPE_CHECKING:
    from daywatch.doctor.kafka_facts import KafkaFacts
    from daywatch.settings import Settings

T = TypeVar("T")
_PARTS_S: Final = 30.0
_DOOR_S: Final = 6.0
"""What finding out why a server does not let us in may take besides."""
_BROKER: Final = 5
"""Times a question's limit: the questions to the broker follow one on another."""


class Errand:
    """Steps that are done one after the other on a thread of their own; what they found is there as soon as it is found."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}
        self._thread: threading.Thread | None = None

    def start(self, steps: Callable[["Errand"], None]) -> "Errand":
        """Set out. The thread may outlast the process's interest in it."""
        self._thread = threading.Thread(target=lambda: self.step("", lambda: steps(self)), daemon=True)
        self._thread.start()
        return self

    def step(self, name: str, ask: Callable[[], T | Missing]) -> T | Missing:
        """Do one step; what goes wrong in it is why its fact is missing."""
        try:
            found = _whatever_else_ends(ask)
        except PipelineError as error:
            found = missing_for(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a library throws costs this one fact
            found = Missing(f"looking failed ({type(error).__name__})", "please report it")
        self._found[name] = found
        return found

    def wait(self, seconds: float) -> None:
        """Wait until all is done, but no longer than that."""
        if self._thread is not None:
            self._thread.join(seconds)

    def take(self, name: str, otherwise: str) -> Any:
        """What a step found."""
        return self._found.get(name, Missing(otherwise, "run `daywatch doctor` again with a longer --patience"))


def _whatever_else_ends(ask: Callable[[], T]) -> T:
    """Ask; once more where a library's client, taken apart just then by Python's own clean-up, broke into what was running (seen once)."""
    try:
        return ask()
    except SystemError:
        return ask()


def gather(settings: "Settings", clock: Clock, within_s: float) -> Facts:
    """Everything that rules ask for; each question to a server is given `within_s`, each chain of them a few times that."""
    wanted = wanted_of(settings)
    broker, store, parts = Errand(), Errand(), Errand()
    kafka: list[KafkaFacts] = []
    needed = _parts(settings, within_s)
    broker.start(lambda errand: _ask_broker(errand, settings, wanted, within_s, kafka))
    store.start(lambda errand: _ask_store(errand, settings, within_s, clock))
    parts.start(lambda errand: _ask_parts(errand, needed))
    machine = Errand()
    _look_around(machine, settings)
    for_broker_s, for_store_s = _BROKER * within_s + _DOOR_S, 2 * within_s + _DOOR_S
    broker.wait(for_broker_s)
    store.wait(for_store_s)
    slow = f"the broker did not answer within {for_broker_s:g} s"
    topics, groups, logs = (broker.take(name, slow) for name in ("topics", "groups", "logs"))
    stored = store.take("store", f"the store did not answer within {for_store_s:g} s")
    last = Errand().start(lambda errand: _ask_waiting(errand, kafka, wanted, (topics, groups, logs, stored)))
    last.wait(3 * within_s)
    parts.wait(_PARTS_S)
    return Facts(
        wanted=wanted,
        greetings=broker.take("greetings", slow),
        broker=broker.take("broker", slow),
        topics=topics,
        logs=logs,
        groups=groups,
        waiting=last.take("waiting", slow),
        store=stored,
        zones=machine.take("zones", ""),
        disks=machine.take("disks", ""),
        packages=machine.take("packages", ""),
        parts={name: parts.take(name, f"it took longer than {_PARTS_S:g} s") for name in needed},
        now_ms=clock.now_ms(),
    )


def wanted_of(settings: "Settings") -> Wanted:
    """What the settings say, without any secret."""
    from urllib.parse import urlsplit

    from daywatch.commands.topics import layout_of
    from windowing.calendar import Calendar
    from windowing.ledger import encode_layout

    layout = layout_of(settings)
    url = urlsplit(settings.store.url)
    return Wanted(
        layout,
        encode_layout(Calendar(settings.window.spec(), settings.zone), layout.partitions),
        settings.zone,
        url.path if url.scheme == "unix" else f"{url.hostname}:{url.port or 6379}",
        settings.kafka.session_timeout,
        settings.window.future_tolerance,
        settings.kafka.embedded,
        settings.store.cluster,
        settings.detect.backend,
    )


def _ask_broker(errand: Errand, settings: "Settings", wanted: Wanted, within_s: float, kafka: "list[KafkaFacts]") -> None:
    from daywatch.doctor.kafka_facts import KafkaFacts, greet

    client = settings.kafka.client()
    greetings: tuple[Greeting, ...] | Missing = errand.step("greetings", lambda: greet(client, within_s))
    if isinstance(greetings, Missing) or all(each.failure for each in greetings):
        for name in ("broker", "topics", "logs", "groups"):
            errand.step(name, lambda: Missing("no broker answers", "see to the broker first, then run `daywatch doctor` again"))
        return
    facts = KafkaFacts(client, within_s)
    broker = errand.step("broker", facts.broker)
    if isinstance(broker, Missing):
        for name in ("topics", "logs", "groups"):
            errand.step(name, lambda: Missing(broker.why, broker.cure))
        return
    topics: Topics | Missing = errand.step("topics", lambda: facts.topics(wanted.layout))
    if not isinstance(topics, Missing):
        errand.step("logs", lambda: facts.logs(topics))
    else:
        errand.step("logs", lambda: topics)
    errand.step("groups", lambda: facts.groups({role: wanted.group(role) for role in READS}))
    kafka.append(facts)


def _ask_store(errand: Errand, settings: "Settings", within_s: float, clock: Clock) -> None:
    from daywatch.doctor.redis_facts import RedisFacts

    def ask() -> Store | Missing:
        facts = RedisFacts(settings.store.url, settings.namespace, within_s, clock, **settings.store.options())
        return facts.store(settings.topics.partitions)

    errand.step("store", ask)


def _ask_waiting(errand: Errand, kafka: "list[KafkaFacts]", wanted: Wanted, known: tuple[Any, ...]) -> None:
    """Which groups have something to read: where each stands is known only when both broker and store have told."""
    topics, groups, logs, store = known
    for each in (topics, groups, logs):
        if isinstance(each, Missing) or not kafka:
            errand.step("waiting", lambda: each if isinstance(each, Missing) else Missing("no broker answers"))  # noqa: B023 - at once
            return
    errand.step("waiting", lambda: kafka[0].waiting(unread(wanted, groups, logs, store)))


def unread(wanted: Wanted, groups: Mapping[str, Group], logs: Logs, store: Store | Missing) -> dict[TopicPartition, int]:
    """Where something may wait for a group: logs that go on behind the group's position, and that position."""
    held = {} if isinstance(store, Missing) or isinstance(store.held, Missing) else store.held
    found = {}
    for role, group in groups.items():
        positions = positions_of(role, wanted.layout, group, held)
        for at in read_by(role, wanted.layout, logs):
            position = max(positions.get(at, logs[at].start), logs[at].start)
            if position < logs[at].end:
                found[at] = position
    return found


def _parts(settings: "Settings", within_s: float) -> Mapping[str, Callable[[], Any]]:
    from daywatch.doctor.detector_facts import Parts

    return Parts(settings, within_s).needed()


def _ask_parts(errand: Errand, needed: Mapping[str, Callable[[], Any]]) -> None:
    for name, look in needed.items():
        errand.step(name, look)


def _look_around(errand: Errand, settings: "Settings") -> None:
    from daywatch.doctor.machine_facts import disks, packages, usual_directories, zone_base

    errand.step("zones", lambda: zone_base(settings.zone))
    errand.step("disks", lambda: disks(usual_directories()))
    errand.step("packages", packages)
