"""Operational findings: what a worker notices of its sources rather than of people. Values, and the way out of a worker.

How such a finding is written down is handed in (`Encode`): a worker knows neither its format nor its readers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from stream.kinds import Millis
from stream.log import Headers, Out, Records, TopicPartition
from stream.share import Crossing, Share, ShareSpec, TooManyDeadLetters


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


@dataclass(frozen=True, slots=True)
class Noticed:
    """A finding, and the offset of the record that shows it."""

    offset: int
    operation: Operation


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
        return Out(self.log_of(operation.at.partition), operation.key.encode(), value, headers)

    def log_of(self, number: int) -> TopicPartition:
        """Where findings about a partition go."""
        return TopicPartition(self.topic, number % self.partitions)

    def check(self, noticed: Iterable[Noticed]) -> None:
        """Stop a run over recorded data of which too much is refused.

        Raises:
            TooManyDeadLetters: it is such a run, and too much is. What was read is dealt with: a later run goes on behind it.
        """
        over = next((one.operation for one in noticed if one.operation.about is About.DEAD_LETTERS and not one.operation.closed), None)
        if self.stops and over is not None:
            why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(over.facts["refused"].items(), key=lambda one: -one[1]))
            raise TooManyDeadLetters(
                f"{over.at.topic}, partition {over.at.partition}: of {self.share.records:,} records from offset {over.since} on, more than "
                f"{self.share.share:.0%} were refused ({why}); look at them with `daywatch dead-letters`, mend what writes them, or raise "
                "dead_letters.share to go on behind them"
            )


def count_refused(share: Share, found: Records, refused: Sequence[tuple[int, str]], spec: ShareSpec) -> tuple[Share, list[Noticed]]:
    """The count after a batch of one log, of which those offsets were refused for those reasons (ascending), and what that shows.

    A finding's time is that of the record that shows it.
    """
    if not found.raw:
        return share, []
    after, crossings = share.read(found.raw[0].offset() or 0, found.next_offset, refused, spec)
    return after, [Noticed(one.offset, _told(one, found, spec)) for one in crossings]


def _told(crossing: Crossing, found: Records, spec: ShareSpec) -> Operation:
    facts = {"offset": crossing.offset, "refused": dict(crossing.refused), "share": spec.share, "records": spec.records}
    return Operation(About.DEAD_LETTERS, found.at, crossing.since, not crossing.over, _stamp(found, crossing.offset), facts)


def _stamp(found: Records, offset: int) -> Millis:
    """When the record at an offset arrived, or the one before it where there is none."""
    low, high = 0, len(found.stamps) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if (found.raw[middle].offset() or 0) <= offset else (low, middle - 1)
    return found.stamps[low]
