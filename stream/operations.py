"""Operational findings: what a worker notices of its sources rather than of people. Values, and the way out of a worker.

How such a finding is written down is handed in (`Encode`): a worker knows neither its format nor its readers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from stream.kinds import Millis
from stream.log import Headers, Out, TopicPartition
from stream.share import ShareSpec


class About(StrEnum):
    """What can be noticed."""

    SILENCE = "silence"
    """A log has been silent for longer than it ever is at this hour of the week."""
    DEAD_LETTERS = "dead_letters"
    """Too many of a log's records were refused."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One finding about one log when it opens, or the same when it closes. The same log gives the same findings, byte for byte."""

    about: About
    at: TopicPartition
    since: int
    """What tells it from the log's other findings: UTC ms for a silence, an offset for dead letters."""
    closed: bool
    time_ms: Millis
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What it is about; names nobody."""
        return f"{self.about}/{self.at.topic}/{self.at.partition}"


Encode: TypeAlias = Callable[[Operation], tuple[bytes, Headers]]


@dataclass(frozen=True, slots=True)
class Operations:
    """How a worker tells of what it notices.

    Attributes:
        topic: where findings go; each into the partition of the number that it is about, as far as there are so many.
        partitions: of that topic.
        encode: value and headers of a finding's record.
        share: how many dead letters are too many.
        stops: a run over what is there stops then, instead of raising a finding and going on.
        least_silence_ms: no shorter silence is worth a finding; None: silence is not watched for.
    """

    topic: str
    partitions: int
    encode: Encode
    share: ShareSpec
    stops: bool = False
    least_silence_ms: Millis | None = None

    def out(self, operation: Operation) -> Out:
        """The record to send."""
        value, headers = self.encode(operation)
        return Out(TopicPartition(self.topic, operation.at.partition % self.partitions), operation.key.encode(), value, headers)
