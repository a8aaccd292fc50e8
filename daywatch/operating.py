"""Puts together how workers tell of what they notice: operational findings on a topic of their own. Knows no worker."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from stream.operations import Operations
    from stream.share import ShareSpec


def operations_of(settings: "Settings", *, until_done: bool) -> "Operations":
    """Operational findings as the settings say; a run over what is there (`until_done`) stops where a live one raises a finding.

    Raises:
        RefusedError: there is no topic for them.
    """
    from sinks.operations import encode_operation
    from stream.kafka_consumer import partitions_of
    from stream.operations import Operations

    topic = settings.topic("operations")
    least_ms = settings.silence.least if settings.silence.watch else None
    partitions = partitions_of(settings.kafka.client(), topic)
    return Operations(topic, partitions, encode_operation, share_of(settings), stops=until_done, least_silence_ms=least_ms)


def share_of(settings: "Settings") -> "ShareSpec":
    """How many refused records are too many."""
    from stream.share import ShareSpec

    return ShareSpec(settings.dead_letters.share, settings.dead_letters.records)
