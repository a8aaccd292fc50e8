"""`daywatch detect`: the detect worker on the command line. Knows only how to put the parts together and what to show."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.backends import backend_of, spent_by
from daywatch.cli import settings_of
from daywatch.logs import NOTICE
from daywatch.model_meter import ModelMeter
from daywatch.options import Adapter, Base, Precision, Share, Shots
from daywatch.stopping import StopRequest, leave_at_once
from daywatch.watched import watched
from stream.notes import logger_of, note
from stream.telemetry import Telemetry

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from detector.backend import Backend
    from sinks.detect_worker import DetectWorker


_LOG = logger_of("detect")


class Track(StrEnum):
    """Which features may be used."""

    ALL = "all"
    SHORTCUT_FREE = "shortcut-free"


def detect(
    ctx: typer.Context,
    backend: Annotated[
        str | None, typer.Option(help="Who judges: baseline (default), narrative (a language model here) or remote.", show_default=False)
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="The baseline's fitted model (default: the one that comes with Daywatch).", show_default=False)
    ] = None,
    base: Base = None,
    adapter: Adapter = None,
    precision: Precision = None,
    shots: Shots = None,
    share: Share = None,
    track: Annotated[
        Track | None,
        typer.Option(help="Features to use: all (default), or without those that give CERT's scenarios away.", show_default=False),
    ] = None,
    until_done: Annotated[bool, typer.Option("--until-done", help="Stop when everything that was there has been worked off.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while it goes well.")] = False,
) -> None:
    """Judge windows: leave a verdict for each, and raise an alert, with the events it rests on, where it is due.

    Reads NAMESPACE.windows as the consumer group NAMESPACE.detect, and writes NAMESPACE.verdicts and NAMESPACE.alerts in one
    transaction with its position. Several may run side by side; each takes its share of the partitions. Stop it with Ctrl-C or
    SIGTERM: the batch in hand is finished, and it goes on where it was.
    """
    settings = settings_of(
        ctx,
        {
            "detect.backend": backend,
            "detect.model": model,
            "detect.base": base,
            "detect.adapter": adapter,
            "detect.precision": precision,
            "detect.shots": shots,
            "detect.share": share,
            "detect.track": track.value if track else None,
        },
    )
    stop = StopRequest()
    view = _View(stop)
    with watched(settings, "detect", quiet=quiet) as telemetry:
        with stop.ends_at_once():  # a large model takes minutes
            judge = backend_of(settings)
        meter = ModelMeter(telemetry, judge)
        worker, close = _worker(settings, judge, until_done, telemetry)

        def after_step(one: "DetectWorker") -> None:
            meter.read()
            if not quiet:
                view.show(one)

        try:
            worker.run(stop.asked, after_step)
        finally:
            close()
        meter.read()
        _summary(worker, judge, until_done)
    leave_at_once(worker.left_judging)


class _View:
    """A line every ten seconds at most, and none while nothing happens."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop, self._shown = stop, -1

    def show(self, worker: "DetectWorker") -> None:
        """Say how far the work has come, if there is something new to say."""
        from sinks.records import partition_lists

        if not worker.partitions or self._shown == worker.totals.windows or not self._stop.time_to_speak():
            return
        self._shown = worker.totals.windows
        sentence = f"partitions {partition_lists(worker.partitions)}; {_counts(worker)}"
        note(_LOG, logging.INFO, "progress", sentence, partitions=list(worker.partitions), **asdict(worker.totals))


MODEL_BATCH = 128
"""Windows at a time where a language model judges: a member that is silent for five minutes is taken for dead."""


def _worker(settings: "Settings", judge: "Backend", until_done: bool, telemetry: Telemetry) -> "tuple[DetectWorker, Callable[[], None]]":
    """Put a worker together from the settings; also returns what closes it."""
    import secrets

    from daywatch.operating import operations_of
    from sinks.detect_worker import DetectSettings, DetectWorker, Topics
    from stream.clock import SystemClock
    from stream.kafka_consumer import common_partitions
    from stream.kafka_reader import KafkaPast
    from stream.kafka_source import KafkaOutlet, KafkaSource
    from stream.kafka_transactions import TransactionalProducer, still_open

    client = settings.kafka.client()
    roles = ("windows", "verdicts", "alerts", "alert_memory", "dead_letters")
    names = {role: settings.topic(role) for role in roles}
    common_partitions(client, names.values())
    name = f"{settings.namespace}.detect.{settings.instance or secrets.token_hex(4)}"
    source = KafkaSource(client, settings.group("detect"), [names["windows"]], client_id=name, **settings.kafka.member())
    trusted = not settings.kafka.embedded
    producer = TransactionalProducer(client, name, still_open=still_open(client) if trusted else None)
    # ends at once what a dead worker of the same instance left open, which would hold up the recovery
    producer.reopen()
    outlet = KafkaOutlet(producer)
    slow = settings.detect.backend != "baseline"
    batch = settings.detect.batch or (MODEL_BATCH if slow else DetectSettings().batch_windows)
    how = DetectSettings(batch_windows=batch, until_done=until_done, trust_bounds=trusted, prefetch=slow)
    topics = Topics(**names, partitions=source.partitions)

    def close() -> None:
        source.close()
        outlet.close()

    past = KafkaPast(client, embedded=not trusted)
    operations = operations_of(settings, until_done=until_done)
    return DetectWorker(source, outlet, past, judge, topics, how, SystemClock(), telemetry=telemetry, operations=operations), close


def _counts(worker: "DetectWorker") -> str:
    totals = worker.totals
    text = f"{totals.windows:,} windows judged, {totals.alerts:,} alerts, {totals.updates:,} updates"
    if totals.refused:
        text += f", {sum(totals.refused.values()):,} refused ({', '.join(f'{n:,} {code}' for code, n in sorted(totals.refused.items()))})"
    if totals.recoveries:
        text += f", {totals.recoveries:,} recoveries"
    return text


def _summary(worker: "DetectWorker", judge: "Backend", until_done: bool) -> None:
    text = _counts(worker)
    if until_done:
        # every window that this worker has read is judged; which users' windows are still open only `window` knows
        text += ", 0 windows stay open here"
    note(_LOG, NOTICE, "summary", text, **asdict(worker.totals))
    if (spent := spent_by(judge)) is not None:
        note(_LOG, NOTICE, "summary", spent)
