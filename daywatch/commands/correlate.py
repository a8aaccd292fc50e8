"""`daywatch correlate`: the correlate worker on the command line. Knows only how to put the parts together and what to show."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import settings_of
from daywatch.extras import installed
from daywatch.logs import NOTICE
from daywatch.stopping import StopRequest
from daywatch.watched import watched
from stream.errors import ConfigurationError
from stream.notes import logger_of, note
from stream.telemetry import Telemetry

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from sinks.incidents.faust_app import Correlator
    from sinks.incidents.stories import StoryTopics, StoryTotals
    from stream.kafka_reader import KafkaPast
    from stream.log import TopicPartition

_LOG = logger_of("correlate")


def correlate(
    ctx: typer.Context,
    gap: Annotated[
        str | None,
        typer.Option(help="Alerts of a user that follow each other within this are one incident (default 7d).", show_default=False),
    ] = None,
    until_done: Annotated[bool, typer.Option("--until-done", help="Stop when everything that was there has been worked off.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while it goes well.")] = False,
) -> None:
    """Merge what one user did into one story: incidents that open, grow and close.

    Reads NAMESPACE.verdicts, which tell the time, and NAMESPACE.alerts as the consumer group NAMESPACE.correlate, and writes
    NAMESPACE.incidents. Several may run side by side; each takes its share of the partitions. Stop it with Ctrl-C or SIGTERM: the batch
    in hand is finished, and it goes on where it was. Needs the extra incidents.
    """
    settings = settings_of(ctx, {"incidents.gap": gap})
    if not installed("faust"):
        raise ConfigurationError("correlate needs the extra incidents, which is not installed: pip install 'daywatch[incidents]'")
    stop = StopRequest()
    view = _View(stop, quiet=quiet)
    with watched(settings, "correlate", quiet=quiet) as telemetry:
        from sinks.incidents.running import run_through

        make = _workers(settings, until_done, telemetry)
        totals = run_through(make, stop.asked, view.show, again=not settings.kafka.embedded, telemetry=telemetry)
        note(_LOG, NOTICE, "summary", _counts(totals), **asdict(totals))


class _View:
    """A line every ten seconds at most, and none while nothing happens."""

    def __init__(self, stop: StopRequest, *, quiet: bool) -> None:
        self._stop, self._quiet, self._shown = stop, quiet, (-1, -1)

    def show(self, worker: "Correlator") -> None:
        """Say how far the work has come, if there is something new to say."""
        from sinks.records import partition_lists

        totals = worker.totals
        now = (totals.verdicts, totals.alerts)
        if self._quiet or self._shown == now or not worker.partitions or not self._stop.time_to_speak():
            return
        self._shown = now
        sentence = f"partitions {partition_lists(worker.partitions)}; {_counts(totals)}"
        note(_LOG, logging.INFO, "progress", sentence, partitions=list(worker.partitions), **asdict(totals))


def _workers(settings: "Settings", until_done: bool, telemetry: Telemetry) -> "Callable[[], Correlator]":
    """What makes a worker from the settings, and another when one has broken down.

    Raises:
        RefusedError: going on would lose something, or a topic is missing.
    """
    from sinks.incidents.faust_app import CorrelateSettings, Correlator
    from sinks.incidents.stories import StoryTopics
    from sinks.incidents.story import Merging
    from stream.kafka_consumer import Place, bounds, common_partitions
    from stream.kafka_reader import KafkaPast
    from stream.log import TopicPartition

    client = settings.kafka.client()
    roles = ("verdicts", "alerts", "incidents", "incident_memory", "dead_letters")
    names = {role: settings.topic(role) for role in roles}
    topics = StoryTopics(**names, partitions=common_partitions(client, names.values()))
    trusted = not settings.kafka.embedded
    logs = [Place(name, number) for name in (topics.verdicts, topics.alerts) for number in range(topics.partitions)]
    found = {TopicPartition(*at): (bound.start, bound.end) for at, bound in bounds(client, logs).items()}
    past = KafkaPast(client, embedded=not trusted)
    if trusted:
        _refuse_to_lose(settings, topics, found, past)
    how = CorrelateSettings(
        group=settings.group("correlate"),
        client=client,
        bounds=found,
        assignees=settings.incidents.assignees,
        merging=Merging(gap_ms=settings.incidents.gap, half_life_ms=settings.incidents.half_life),
        session_timeout_ms=settings.kafka.session_timeout,
        until_done=until_done,
        trust_bounds=trusted,
    )
    return lambda: Correlator(how, topics, past, telemetry)


def _refuse_to_lose(
    settings: "Settings", topics: "StoryTopics", found: "Mapping[TopicPartition, tuple[int, int]]", past: "KafkaPast"
) -> None:
    from confluent_kafka import Consumer

    from sinks.incidents.running import refuse_to_lose
    from stream.kafka_consumer import Place, committed_when_stable, group_config
    from stream.log import TopicPartition

    # asks for the group's positions without joining it
    consumer = Consumer(group_config(settings.kafka.client(), settings.group("correlate")))
    try:
        commits = committed_when_stable(consumer, [Place(*at) for at in found])
    finally:
        consumer.close()
    memories = past.latest([TopicPartition(topics.incident_memory, number) for number in range(topics.partitions)])
    refuse_to_lose(
        topics,
        {TopicPartition(*at): commit.offset for at, commit in commits.items()},
        found,
        {at.partition: memory for at, memory in memories.items()},
    )


def _counts(totals: "StoryTotals") -> str:
    text = (
        f"{totals.verdicts:,} verdicts and {totals.alerts:,} alert records read; "
        f"incidents: {totals.opened:,} opened, {totals.grown:,} grown, {totals.closed:,} closed"
    )
    if totals.repeated:
        text += f"; {totals.repeated:,} alert records known already"
    if totals.refused:
        text += f"; {sum(totals.refused.values()):,} refused ({', '.join(f'{n:,} {code}' for code, n in sorted(totals.refused.items()))})"
    return text
