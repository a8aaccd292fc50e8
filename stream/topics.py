"""The topics of a namespace: what they are called, what they are like, and whether a broker has them so.

Deciding is pure; `TopicAdmin` is the seam to a broker (`stream/kafka_topics.py`). Knows nothing of what the records mean.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from stream.errors import ConfigurationError, RefusedError
from stream.kinds import KINDS, Kind, Millis

WINDOWS: Final = "windows"
VERDICTS: Final = "verdicts"
ALERTS: Final = "alerts"
ALERT_MEMORY: Final = "alert-memory"
INCIDENTS: Final = "incidents"
INCIDENT_MEMORY: Final = "incident-memory"
DEAD_LETTERS: Final = "dead-letters"
OPERATIONS: Final = "operations"
ROLES: Final[tuple[str, ...]] = (
    *KINDS, WINDOWS, VERDICTS, ALERTS, ALERT_MEMORY, INCIDENTS, INCIDENT_MEMORY, DEAD_LETTERS, OPERATIONS,
)  # fmt: skip
FOREVER: Final[Millis] = -1

_LEGAL = re.compile(r"[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic: full name, partitions, replicas, and retention (ms, -1 for ever) or compaction by key."""

    name: str
    partitions: int
    replication_factor: int = 1
    retention_ms: Millis = FOREVER
    compacted: bool = False

    def config(self) -> dict[str, str]:
        """Its settings in Kafka's names."""
        if self.compacted:
            return {"cleanup.policy": "compact"}
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


@dataclass(frozen=True, slots=True)
class TopicLayout:
    """All topics of a namespace. They have equally many partitions: partition p of each belongs to the same users.

    `names` renames roles (an event kind, `windows`, …); without an entry the role is the name. `retention_ms` holds for events and
    dead letters, `results_retention_ms` for windows, verdicts, alerts and operational findings.

    >>> TopicLayout("acme", partitions=4).name("logon")
    'acme.logon'

    Raises:
        ConfigurationError: a name is not legal in Kafka, or two roles have the same.
    """

    namespace: str
    partitions: int
    replication_factor: int = 1
    retention_ms: Millis = 7 * 86_400_000
    results_retention_ms: Millis = FOREVER
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        full = [self.name(role) for role in ROLES]
        for name in full:
            if not _LEGAL.fullmatch(name):
                raise ConfigurationError(f"topic name {name!r}: Kafka allows up to 249 of A-Z a-z 0-9 . _ -")
        if len(set(full)) < len(full):
            raise ConfigurationError("two topics have the same name; give each role its own")
        if self.partitions < 1:
            raise ConfigurationError(f"{self.partitions} partitions: at least one is needed")

    def name(self, role: str) -> str:
        """The full name of the topic for a role."""
        return f"{self.namespace}.{self.names.get(role, role)}"

    def event_topics(self) -> dict[Kind, str]:
        """The five event topics by kind, in the order of kinds."""
        return {kind: self.name(kind) for kind in KINDS}

    def specs(self) -> list[TopicSpec]:
        """Every topic of the namespace, in the order of roles."""
        return [self._spec(role) for role in ROLES]

    def _spec(self, role: str) -> TopicSpec:
        results = role in (WINDOWS, VERDICTS, ALERTS, INCIDENTS, OPERATIONS)
        return TopicSpec(
            self.name(role),
            self.partitions,
            self.replication_factor,
            self.results_retention_ms if results else self.retention_ms,
            compacted=role in (ALERT_MEMORY, INCIDENT_MEMORY),
        )


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as the broker has it; None where the broker does not say."""

    name: str
    partitions: int
    cleanup_policy: str | None = None
    retention_ms: Millis | None = None


class TopicAdmin(Protocol):
    """Whatever can look at topics and make them."""

    def find(self, names: Sequence[str]) -> dict[str, FoundTopic]:
        """Those of the topics that exist."""
        ...

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics and return when they can be used; one that exists by now is no error."""
        ...


def create_topics(layout: TopicLayout, admin: TopicAdmin) -> list[TopicSpec]:
    """Create what is missing of a namespace; what exists must be as the layout wants it. Returns what was created.

    Raises:
        RefusedError: an existing topic differs; nothing has been created.
    """
    found = admin.find([spec.name for spec in layout.specs()])
    faults = [str(fault) for spec in layout.specs() if spec.name in found for fault in differences(spec, found[spec.name])]
    if faults:
        raise RefusedError("; ".join(faults) + ". Change the settings to match, choose another namespace, or delete the topics")
    missing = [spec for spec in layout.specs() if spec.name not in found]
    if missing:
        admin.create(missing)
    return missing


def check_topics(layout: TopicLayout, roles: Sequence[str], admin: TopicAdmin) -> int:
    """Make sure that the topics of these roles exist with equally many partitions; returns how many.

    Raises:
        RefusedError: one is missing, or partition counts differ.
    """
    names = [layout.name(role) for role in roles]
    found = admin.find(names)
    missing = [name for name in names if name not in found]
    if missing:
        raise RefusedError(f"no topic {', '.join(missing)}; create it with: daywatch topics create --namespace {layout.namespace}")
    counts = {found[name].partitions for name in names}
    if len(counts) > 1:
        shown = ", ".join(f"{name} {found[name].partitions}" for name in names)
        raise RefusedError(f"partition counts differ ({shown}); all topics of a namespace need the same")
    return counts.pop()


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting of a topic that is not as it should be."""

    topic: str
    setting: str
    """`partitions`, `cleanup.policy` or `retention.ms`."""
    found: str
    wanted: str

    def __str__(self) -> str:
        if self.setting == "partitions":
            return f"topic {self.topic} has {self.found} partitions, not {self.wanted}"
        return f"topic {self.topic} has {self.setting} {self.found}, not {self.wanted}"


def differences(spec: TopicSpec, found: FoundTopic) -> list[Difference]:
    """What is not as it should be; what the broker does not say is taken as right."""
    faults = []
    if found.partitions != spec.partitions:
        faults.append(Difference(spec.name, "partitions", str(found.partitions), str(spec.partitions)))
    policy = spec.config()["cleanup.policy"]
    if found.cleanup_policy is not None and found.cleanup_policy != policy:
        faults.append(Difference(spec.name, "cleanup.policy", found.cleanup_policy, policy))
    if not spec.compacted and found.retention_ms is not None and found.retention_ms != spec.retention_ms:
        faults.append(Difference(spec.name, "retention.ms", str(found.retention_ms), str(spec.retention_ms)))
    return faults


class MemoryTopicAdmin:
    """Topics in memory: the twin of a broker's admin."""

    def __init__(self) -> None:
        self.topics: dict[str, FoundTopic] = {}

    def find(self, names: Sequence[str]) -> dict[str, FoundTopic]:
        """Those of the topics that exist."""
        return {name: self.topics[name] for name in names if name in self.topics}

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Remember the topics."""
        for spec in specs:
            retention_ms = None if spec.compacted else spec.retention_ms
            self.topics.setdefault(spec.name, FoundTopic(spec.name, spec.partitions, spec.config()["cleanup.policy"], retention_ms))
