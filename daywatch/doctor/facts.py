"""What there is to know about a chain and the machine it runs on, as plain values. Says nothing of what is right or wrong.

A fact that could not be had is a `Missing` that says why, so that one silent server hides nothing but its own facts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, TypeVar

from stream.errors import PipelineError
from stream.kinds import Millis
from stream.log import TopicPartition
from stream.topics import FoundTopic, TopicLayout

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Missing:
    """A fact that could not be had, and what would help where that is known."""

    why: str
    cure: str = ""


def missing_for(text: str) -> Missing:
    """What an error says is wrong, and behind a semicolon what to do.

    >>> missing_for("kafka.security_protocol: SSL, but it does not speak TLS; name its TLS port").cure
    'name its TLS port'
    """
    why, _, cure = text.partition("; ")
    return Missing(why, cure or "see docs/security.md")


class NotKnownError(PipelineError):
    """A rule needs a fact that could not be had; the text says why not."""

    def __init__(self, why: str, cure: str = "") -> None:
        super().__init__(why)
        self.cure = cure


def known(fact: T | Missing) -> T:
    """The fact itself.

    Raises:
        NotKnownError: it could not be had.
    """
    if isinstance(fact, Missing):
        raise NotKnownError(fact.why, fact.cure)
    return fact


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings say, as far as rules ask for it."""

    layout: TopicLayout
    state_layout: str
    """What state is made with (`windowing.ledger.encode_layout`)."""
    zone: str
    store: str
    """Host and port of the store, without any password."""
    session_timeout_ms: Millis = 10_000
    future_tolerance_ms: Millis = 600_000
    embedded: bool = False
    cluster: bool = False
    """The store is a Redis Cluster."""
    backend: str = "baseline"

    def group(self, role: str) -> str:
        """The consumer group of a role."""
        return f"{self.layout.namespace}.{role}"


class Release(NamedTuple):
    """A version of Apache Kafka."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True)
class Greeting:
    """What came of saying hello at one address: a sentence on what failed, or the release as far as the server tells it."""

    address: str
    failure: str = ""
    cure: str = ""
    release: Release | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """The cluster behind the addresses."""

    nodes: int
    config: Mapping[str, str] | Missing


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the broker has it; `config` in Kafka's names, without what the broker does not tell."""

    name: str
    partitions: int
    replicas: int = 1
    """Copies of the partition that has fewest."""
    leaderless: tuple[int, ...] = ()
    behind: tuple[int, ...] = ()
    """Partitions of which a copy is not in sync."""
    config: Mapping[str, str] = field(default_factory=dict)

    def number(self, setting: str) -> int | None:
        """A setting that is a number; None where the broker does not tell it."""
        text = self.config.get(setting, "")
        return int(text) if text.lstrip("-").isdigit() else None

    def found(self) -> FoundTopic:
        """What `stream.topics` compares."""
        return FoundTopic(self.name, self.partitions, self.config.get("cleanup.policy"), self.number("retention.ms"))


@dataclass(frozen=True, slots=True)
class Topics:
    """The namespace's topics that exist, by name, and which other namespaces this broker has."""

    here: Mapping[str, Topic]
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Log:
    """One topic-partition: first and next offset, and the newest record's time stamp where the broker tells it."""

    start: int
    end: int
    newest_ms: Millis | None = None


Logs: TypeAlias = Mapping[TopicPartition, Log]


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group: its state as Kafka calls it, how many members it has, and what it has committed."""

    state: str = "DEAD"
    members: int = 0
    committed: Mapping[TopicPartition, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Held:
    """What the store holds of one partition."""

    layout: str = ""
    at: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the store, of a cluster one of several. `info` and `config` in its own names."""

    name: str
    info: Mapping[str, str]
    config: Mapping[str, str] | Missing
    ahead_ms: Millis | Missing
    """How far its clock is ahead of this machine's."""


@dataclass(frozen=True, slots=True)
class Store:
    """The store."""

    product: str
    version: str
    servers: tuple[Server, ...]
    denied: tuple[str, ...] | Missing
    """What workers need and this user may not do, as words of an ACL rule: `+hset`, `~acme:*`."""
    held: Mapping[int, Held] | Missing
    """By partition; those without any state are left out."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system beneath a directory that Daywatch writes to, or `failure` where it cannot."""

    directory: str
    purpose: str
    free: int = 0
    total: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class ZoneBase:
    """Where time zones are read from, and which edition that is; empty where it is not told."""

    source: str
    edition: str = ""


@dataclass(frozen=True, slots=True)
class Package:
    """An installed library, and the range that Daywatch supports; `version` is empty where it is not installed."""

    name: str
    version: str
    wanted: str
    fits: bool


@dataclass(frozen=True, slots=True)
class Part:
    """How one part of the detector was found: in order, or what is wrong and what to do."""

    told: str
    cure: str = ""
    fine: bool = True
    slow: bool = False
    """In order, but it will be slow."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that rules may ask for."""

    wanted: Wanted
    greetings: tuple[Greeting, ...] | Missing
    broker: Broker | Missing
    topics: Topics | Missing
    logs: Logs | Missing
    groups: Mapping[str, Group] | Missing
    """By role."""
    waiting: Mapping[TopicPartition, Millis] | Missing
    """The logs in which a record waits for the group that reads them, and when that record was written."""
    store: Store | Missing
    zones: ZoneBase | Missing
    disks: tuple[Disk, ...] | Missing
    packages: tuple[Package, ...] | Missing
    parts: Mapping[str, Part | Missing]
    """Parts of the detector by the check that asks for them; those that the backend does not need are left out."""
    now_ms: Millis = 0
