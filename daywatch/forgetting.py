"""What forgetting somebody finds and leaves: how many records stay under a name, where, and until when. Knows no command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stream.kinds import KINDS, Millis
from stream.remains import Kept
from stream.topics import ALERT_MEMORY, ALERTS, DEAD_LETTERS, INCIDENT_MEMORY, INCIDENTS, VERDICTS, WINDOWS

if TYPE_CHECKING:
    from daywatch.settings import Settings

HELD_BY: tuple[str, ...] = (*KINDS, WINDOWS, VERDICTS, ALERTS, ALERT_MEMORY, INCIDENTS, INCIDENT_MEMORY, DEAD_LETTERS)
"""Roles of the topics that hold records under people's names."""


@dataclass(frozen=True, slots=True)
class Stays:
    """What one topic still holds of somebody."""

    topic: str
    kept: Kept
    records: int = 0
    newest_ms: Millis | None = None

    @property
    def until_ms(self) -> Millis | None:
        """When the last of it is gone, at the latest; None when no time is promised."""
        return None if self.newest_ms is None else self.kept.until(self.newest_ms)

    def plain(self) -> dict[str, Any]:
        """As JSON values; times in UTC ms."""
        return {
            "topic": self.topic,
            "records": self.records,
            "newest_ms": self.newest_ms,
            "cleanup_policy": self.kept.policy,
            "retention_ms": self.kept.retention_ms,
            "until_ms": self.until_ms,
        }


def what_stays(settings: "Settings", partition: int, keys: Sequence[bytes]) -> list[Stays]:
    """Count the records under these keys in the topics that exist, and say how long they stay.

    Reads one partition of every topic, and of the dead letters all: a record that was refused may have lain in a wrong one.

    Raises:
        TransientError: the broker does not answer.
    """
    from stream.kafka_consumer import Place
    from stream.kafka_reader import read_places
    from stream.kafka_topics import KafkaTopicAdmin

    client = settings.kafka.client()
    names = {role: settings.topic(role) for role in HELD_BY}
    admin = KafkaTopicAdmin(client)
    found = admin.find(list(names.values()))
    said = admin.settings(list(found))
    places = [Place(name, partition) for role, name in names.items() if name in found and role != DEAD_LETTERS]
    if (dead := names[DEAD_LETTERS]) in found:
        places += [Place(dead, number) for number in range(found[dead].partitions)]
    counts: dict[str, tuple[int, Millis]] = {}
    wanted = frozenset(keys)
    for batch in read_places(client, places):
        for message in batch:
            if message.key() in wanted and message.value() is not None:
                count, newest = counts.get(message.topic() or "", (0, 0))
                counts[message.topic() or ""] = count + 1, max(newest, message.timestamp()[1])
    return [_stays(name, said.get(name, {}), counts.get(name)) for name in names.values() if name in found]


def _stays(topic: str, settings: Mapping[str, str], count: tuple[int, Millis] | None) -> Stays:
    records, newest_ms = count or (0, None)
    return Stays(topic, Kept.of(settings), records, newest_ms)
