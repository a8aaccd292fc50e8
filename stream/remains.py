"""How long a topic keeps what it holds, as its settings on the broker say. Settings in, times out; knows no broker and no record.

Kafka deletes whole segments: a record goes when the newest of its segment is older than the retention, and the segment that is being
written is closed after `segment.ms` at the latest. A compacted topic keeps the newest record of each key and drops the older ones when
its cleaner comes by, which `max.compaction.lag.ms` bounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stream.kinds import Millis

_WEEK_MS: Final[Millis] = 7 * 86_400_000
_DAY_MS: Final[Millis] = 86_400_000
_NEVER: Final[Millis] = 2**62
"""Kafka's own word for never is the largest number that there is."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a topic's settings say: `policy` as Kafka's `cleanup.policy`, `retention_ms` -1 for ever; both None where nobody told."""

    policy: str | None = None
    retention_ms: Millis | None = None
    segment_ms: Millis = _WEEK_MS
    compaction_lag_ms: Millis | None = None
    """The longest that an older record of a key may stay in a compacted topic; None without a bound."""
    tombstone_ms: Millis = _DAY_MS

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "Kept":
        """Read a topic's settings, in Kafka's names.

        >>> Kept.of({"cleanup.policy": "delete", "retention.ms": "-1"}).until(0) is None
        True
        """
        lag = _whole(settings, "max.compaction.lag.ms", _NEVER)
        return cls(
            settings.get("cleanup.policy"),
            _whole(settings, "retention.ms", -1) if "retention.ms" in settings else None,
            _whole(settings, "segment.ms", _WEEK_MS),
            None if lag >= _NEVER else lag,
            _whole(settings, "delete.retention.ms", _DAY_MS),
        )

    @property
    def compacted(self) -> bool:
        """Whether only the newest record of a key stays."""
        return self.policy is not None and "compact" in self.policy

    def until(self, newest_ms: Millis) -> Millis | None:
        """When the last of some records is gone, the newest of which was written then; None when no time is promised.

        >>> Kept("delete", retention_ms=1_000, segment_ms=500).until(10_000)
        11500
        >>> Kept("compact").until(10_000) is None
        True
        """
        if self.compacted:
            # the tombstone itself stays for a while after what it deletes
            return None if self.compaction_lag_ms is None else newest_ms + self.compaction_lag_ms + self.tombstone_ms
        if self.retention_ms is None or self.retention_ms < 0:
            return None
        return newest_ms + self.retention_ms + self.segment_ms


def _whole(settings: Mapping[str, str], name: str, otherwise: int) -> int:
    text = settings.get(name, "")
    return int(text) if text.lstrip("-").isdigit() else otherwise
