"""How large a part of a log is refused. Counts by blocks of offsets, so that the answer depends on the log and not on how it was read.

Knows no broker, and not why a record is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stream.errors import ConfigurationError, PipelineError


class TooManyDeadLetters(PipelineError):
    """A run over recorded data would go on to refuse it: somebody should look first."""


@dataclass(frozen=True, slots=True)
class ShareSpec:
    """Too many are more than `share` of a block of `records`.

    Raises:
        ConfigurationError: no share, or an empty block.
    """

    share: float = 0.1
    records: int = 500

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.records < 1:
            raise ConfigurationError(f"dead_letters: a share of {self.share} of {self.records} records cannot be counted")

    @property
    def most(self) -> int:
        """So many refused records in a block are just not too many."""
        return int(self.share * self.records)


class Crossing(NamedTuple):
    """A log has begun to be refused, or is taken again.

    `since` is the offset where the block begins with which it began, `offset` that of the record that shows it, and `refused` what was
    refused in that record's block, by reason (as far as counted then).
    """

    since: int
    offset: int
    over: bool
    refused: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Share:
    """One log's count: the block it is in, what was refused there, and since when too many are (an offset), None while they are not."""

    block: int = -1
    refused: Mapping[str, int] = field(default_factory=dict)
    since: int | None = None

    def read(self, first: int, end: int, refused: Sequence[tuple[int, str]], spec: ShareSpec) -> "tuple[Share, list[Crossing]]":
        """The count after records from `first` to before `end`, of which those were refused: (offset, reason), ascending.

        >>> junk = [(offset, "not_json") for offset in range(6)]
        >>> after, crossings = Share().read(0, 20, junk, ShareSpec(share=0.5, records=10))
        >>> [(one.over, one.offset) for one in crossings]
        [(True, 5), (False, 20)]
        """
        if end <= first:
            return self, []
        if not refused and self.since is None:
            return (self if self.block == end // spec.records else Share()), []
        block, counts, since = self.block, dict(self.refused), self.since
        found: list[Crossing] = []

        def pass_to(number: int) -> None:
            """Leave blocks behind: one that stayed within the share ends a bad time."""
            nonlocal block, counts, since
            # a block that was never read, before the first one, says nothing
            if since is not None and 0 <= block < number and (sum(counts.values()) <= spec.most or number > block + 1):
                calm = block if sum(counts.values()) <= spec.most else block + 1
                found.append(Crossing(since, (calm + 1) * spec.records, False, counts if calm == block else {}))
                since = None
            if number != block:
                block, counts = number, {}

        for offset, reason in refused:
            pass_to(offset // spec.records)
            counts[reason] = counts.get(reason, 0) + 1
            if since is None and sum(counts.values()) > spec.most:
                since = block * spec.records
                found.append(Crossing(since, offset, True, dict(sorted(counts.items()))))
        # a block whose last record has been read is left behind, too: nothing of it follows
        pass_to(end // spec.records)
        return (Share(block, dict(sorted(counts.items())), since) if counts or since is not None else Share()), found

    def encode(self) -> list[object]:
        """As plain values."""
        return [self.block, dict(self.refused), self.since]

    @classmethod
    def decode(cls, values: Sequence[object]) -> "Share":
        """Read what `encode` gave."""
        block, refused, since = values
        return cls(block, refused, since)  # type: ignore[arg-type]
