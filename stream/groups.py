"""A consumer group as seen from outside: who is in it and what it has committed. Values only; knows no broker."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.log import Commit, TopicPartition


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a group: what its client calls itself, where it runs, and the logs it holds."""

    client: str
    host: str
    logs: frozenset[TopicPartition]


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group as the broker has it; `state` is the broker's word, `dead` for a group that does not exist."""

    name: str
    state: str
    members: tuple[Member, ...] = ()
    commits: Mapping[TopicPartition, Commit] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether anybody is in it, or is joining it just now."""
        return bool(self.members) or self.state not in ("empty", "dead")
