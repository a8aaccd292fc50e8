"""`daywatch window`: the windowing worker on the command line. Knows only how to put the parts together and what to show."""

import logging
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch import logs
from daywatch.cli import settings_of
from daywatch.stopping import StopRequest
from daywatch.watched import watched
from stream.errors import UsageError
from stream.kinds import KINDS
from stream.memory import collect_seldom, keep_freed_memory
from stream.notes import logger_of, note
from stream.parts import Part
from stream.telemetry import NO_TELEMETRY, Telemetry

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from windowing.cycle import Totals
    from windowing.worker import WindowWorker

_LOG = logger_of("window")
_WRITE_AFTER_MS = 1_000  # of reading, at most, is done again after a crash


def window(
    ctx: typer.Context,
    size: Annotated[str | None, typer.Option(help="Length of a window (default 1d).", show_default=False)] = None,
    hop: Annotated[
        str | None, typer.Option(help="Distance between windows; divides the day (default 6h; 24h: plain user/days).", show_default=False)
    ] = None,
    zone: Annotated[str | None, typer.Option(help="The organisation's time zone, an IANA name (default UTC).", show_default=False)] = None,
    directory: Annotated[
        Path | None, typer.Option(help="Dated snapshots of who works here, YYYY-MM.csv as in CERT's LDAP directory.", show_default=False)
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            help="Share the partitions among so many processes; one makes use of little more than one core (default 1).", show_default=False
        ),
    ] = None,
    until_done: Annotated[bool, typer.Option("--until-done", help="Stop when everything that was there has been worked off.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while it goes well.")] = False,
) -> None:
    """Turn the five topics' events into windows of each user's day, and send each closed window once.

    Reads the event topics as the consumer group NAMESPACE.window, keeps its state in the store, and writes NAMESPACE.windows. Several
    may run side by side; each takes its share of the partitions. Stop it with Ctrl-C or SIGTERM: it goes on where it was.
    """
    flags = {"window.size": size, "window.hop": hop, "zone": zone, "window.directory": directory, "window.processes": processes}
    settings = settings_of(ctx, flags)
    if settings.window.processes == 1:
        done = [_work(settings, until_done, quiet, None)]
    else:
        from daywatch.processes import side_by_side

        logs.begin(settings.logs, quiet=quiet)
        done = side_by_side(partial(_work, settings, until_done, quiet), settings.window.processes)
    _summary(done, until_done)


@dataclass(frozen=True, slots=True)
class _Done:
    """What a process has done, and how many windows it leaves open."""

    totals: "Totals"
    still_open: int


def _work(settings: "Settings", until_done: bool, quiet: bool, part: Part | None) -> _Done:
    """Run a worker to its end; with a `part`, as one of several processes."""
    keep_freed_memory()
    collect_seldom()
    stop = StopRequest()
    if part is not None:
        settings = _one_of_several(settings, part)
    with watched(settings, "window", quiet=quiet, ask_store=_asking(settings)) as telemetry:
        worker, close = build_worker(settings, until_done, telemetry, part)
        try:
            worker.run(stop.asked, lambda _: None if quiet or not stop.time_to_speak() else _show(worker))
        finally:
            close()
    return _Done(worker.totals, sum(partition.open_windows for partition in worker.partitions.values()))


def _one_of_several(settings: "Settings", part: Part) -> "Settings":
    """What must differ between processes: the port of the metrics, and the name."""
    changed: dict[str, object] = {}
    if settings.metrics.port:
        port = settings.metrics.port + part.number
        if port > 65_535:
            raise UsageError(f"metrics.port: process {part.number + 1} would show its metrics on {port}; choose a lower port")
        changed["metrics"] = settings.metrics.model_copy(update={"port": port})
    if settings.instance:
        changed["instance"] = f"{settings.instance}-{part.number}"
    return settings.model_copy(update=changed)


def _show(worker: "WindowWorker") -> None:
    """One line on how far the work has come."""
    watermark = min((partition.watermark_ms for partition in worker.partitions.values()), default=-(2**62))
    events, windows = sum(worker.totals.read.values()), worker.totals.windows
    note(
        _LOG,
        logging.INFO,
        "progress",
        f"{len(worker.partitions)} partitions, {events:,} events read, {windows:,} windows closed, watermark {_when(watermark)}",
        partitions=len(worker.partitions),
        events=events,
        windows=windows,
        watermark_ms=watermark if watermark > 0 else None,
    )


def _when(ms: int) -> str:
    """An instant as people read it, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M") if ms > 0 else "–"


def _asking(settings: "Settings") -> Callable[[], object]:
    """Something small to ask the store, over a connection of its own."""
    from windowing.redis_store import RedisStore

    store = RedisStore(settings.store.url, settings.namespace, **settings.store.options())
    return lambda: store.look(0)


def build_worker(
    settings: "Settings", until_done: bool, telemetry: "Telemetry" = NO_TELEMETRY, part: Part | None = None
) -> "tuple[WindowWorker, Callable[[], None]]":
    """Put a worker together from the settings; also returns what closes it."""
    import secrets

    from daywatch.operating import operations_of
    from daywatch.privacy import identities_of, pseudonyms_of
    from stream.clock import SystemClock
    from stream.kafka_source import KafkaOutlet, KafkaSource
    from stream.kafka_transactions import TransactionalProducer, still_open
    from stream.log import Outlet
    from windowing.calendar import Calendar
    from windowing.clocks import ClockSpec
    from windowing.describe import DescribeSettings
    from windowing.directory import Directory
    from windowing.identities import PseudonymousOutlet
    from windowing.intake import Topics
    from windowing.partition import Rules
    from windowing.redis_store import RedisStore
    from windowing.worker import WindowWorker, WorkerSettings

    chosen, client = settings.window, settings.kafka.client()
    # what lies at hand is looked at first: a wrong file is told before any server is asked
    people = Directory.read(chosen.directory) if chosen.directory else None
    store = RedisStore(settings.store.url, settings.namespace, **settings.store.options())
    store.check()
    events = {kind: settings.topic(kind.value) for kind in KINDS}
    instance = settings.instance or secrets.token_hex(4)
    name = f"{settings.namespace}.window.{instance}"
    # the embedded broker's groups cannot be trusted to share partitions out
    dealt_out = part if settings.kafka.embedded else None
    source = KafkaSource(client, settings.group("window"), list(events.values()), dealt_out, client_id=name, **settings.kafka.member())
    topics = Topics(events, settings.topic("windows"), settings.topic("dead_letters"), source.partitions)
    ends = None if settings.kafka.embedded else still_open(client)
    outlet: Outlet = KafkaOutlet(TransactionalProducer(client, name, still_open=ends))
    key_id, identities = None, None
    if settings.privacy.pseudonyms:
        pseudonyms, identities = pseudonyms_of(settings, source.partitions), identities_of(settings)
        key_id, outlet = pseudonyms.key_id, PseudonymousOutlet(outlet, topics.windows, pseudonyms, identities)
    rules = Rules(
        Calendar(chosen.spec(), settings.zone),
        ClockSpec(chosen.out_of_orderness, chosen.max_jump, chosen.future_tolerance),
        DescribeSettings(cap=chosen.cap, learning_days=chosen.learning_days),
        people,
        key_id,
    )
    how = WorkerSettings(
        idle_after_ms=chosen.idle_after if chosen.write_marks else None,
        until_done=until_done,
        trust_bounds=not settings.kafka.embedded,
        dealt_out=dealt_out is not None,
        write_after_ms=_WRITE_AFTER_MS,
    )

    def close() -> None:
        source.close()
        outlet.close()
        store.close()
        if identities is not None:
            identities.close()

    operations = operations_of(settings, until_done=until_done)
    return WindowWorker(source, outlet, store, topics, rules, how, SystemClock(), telemetry=telemetry, operations=operations), close


def _summary(done: "Sequence[_Done]", until_done: bool) -> None:
    """What all processes together have come to."""
    for kind in KINDS:
        read = sum(each.totals.read[kind] for each in done)
        duplicates = sum(each.totals.duplicates[kind] for each in done)
        reasons: Tally[str] = sum((Tally(each.totals.refused[kind]) for each in done), Tally())
        refused = reasons.total()
        why = f" ({', '.join(f'{n:,} {reason}' for reason, n in sorted(reasons.items()))})" if reasons else ""
        kept = max(read - refused - duplicates, 0)  # an earlier life may have read what was found to be doubled now
        line = f"{kind:>6}  {read:>10,} read  {kept:>10,} in panes  {duplicates:>6,} duplicates  {refused:>6,} refused{why}"
        note(_LOG, logs.NOTICE, "summary", line, kind=kind.value, read=read, duplicates=duplicates, refused=dict(reasons))
    windows, still = sum(each.totals.windows for each in done), sum(each.still_open for each in done)
    note(
        _LOG,
        logs.NOTICE,
        "summary",
        f"{windows:,} windows closed, {still:,} stay open",
        windows=windows,
        open=still,
        recoveries=sum(each.totals.recoveries for each in done),
    )
    if until_done and still:
        note(_LOG, logs.NOTICE, "summary", "open windows close when events or clock marks come that are later than their end")
