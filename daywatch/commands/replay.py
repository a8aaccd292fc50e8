"""`daywatch replay`: stream a CERT directory into the event topics. Knows how to ask and to show, not how events are sent."""

import dataclasses
import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from daywatch import logs
from daywatch.cli import settings_of
from daywatch.logs import NOTICE
from daywatch.stopping import StopRequest
from daywatch.watched import watched
from stream.notes import logger_of, note
from stream.telemetry import NO_TELEMETRY, Telemetry

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from stream.checkpoint import PlaceFile
    from stream.clock import Clock
    from stream.kinds import Kind, Millis
    from stream.replay import EventSink, Place, Progress, ReplayPlan, ReplayReport
    from stream.topics import TopicLayout

_SHOW_EVERY_MS = 10_000
_LOG = logger_of("replay")


def replay(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="CERT directory: logon.csv, device.csv, … (also .gz, .zst).", show_default=False)],
    speed: Annotated[str, typer.Option(help="max, or how much faster than it happened: 1x, 3600x.")] = "max",
    from_: Annotated[str | None, typer.Option("--from", help="Leave out what is older than this date or time.", show_default=False)] = None,
    to: Annotated[str | None, typer.Option("--to", help="Leave out this time and all after it.", show_default=False)] = None,
    kinds: Annotated[str | None, typer.Option(help="Only these kinds, such as logon,http.", show_default=False)] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end, later in time and with ids marked ~2, ~3, …")] = False,
    shift_to_now: Annotated[bool, typer.Option("--shift-to-now", help="Shift by whole days so that it happens now.")] = False,
    size: Annotated[str | None, typer.Option(help="Length of a window; says where the last mark lies.", show_default=False)] = None,
    hop: Annotated[str | None, typer.Option(help="Distance between windows; says where the last mark lies.", show_default=False)] = None,
    zone: Annotated[str | None, typer.Option(help="What the files' dates mean: an IANA name (default UTC).", show_default=False)] = None,
    cloud_events: Annotated[bool, typer.Option("--cloud-events/--no-cloud-events", help="Write CloudEvents headers.")] = True,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew where an earlier run was interrupted.")] = False,
    state: Annotated[Path | None, typer.Option(help="File that keeps how far this replay has come.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and encode everything, send nothing.")] = False,
    progress: Annotated[bool, typer.Option("--progress", help="Show the progress bar even if standard error is no terminal.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while it goes well.")] = False,
) -> None:
    """Stream the files, merged by event time, into the event topics of the namespace, with clock marks.

    The last mark closes the windows over the newest event. An interrupted replay writes none and goes on where it was when it is
    started again in the same way.
    """
    from stream.clock import SystemClock
    from stream.memory import keep_freed_memory

    keep_freed_memory()
    settings = settings_of(ctx, {"zone": zone, "window.size": size, "window.hop": hop})
    logs.begin(settings.logs)
    plan = _plan(settings, directory, speed, from_, to, kinds, loop, cloud_events)
    clock = SystemClock()
    if dry_run:
        from stream.replay import NullSink

        plan = _shifted(plan, clock) if shift_to_now else plan
        _tell(_run(settings, plan, None, lambda _place: None, NullSink(), clock, _Show(progress, quiet)), plan, quiet, dry_run=True)
        return
    _replay_to_kafka(settings, plan, clock, _Show(progress, quiet), shift_to_now, restart, state, quiet)


def replay_into(settings: "Settings", plan: "ReplayPlan", sink: "EventSink", clock: "Clock") -> "ReplayReport":
    """Replay a plan into a sink from its beginning, without showing or keeping anything."""
    from stream.replay import Replay

    return Replay(plan, layout(settings).event_topics(), sink, closing_mark(settings), clock).run(lambda ms: time.sleep(ms / 1000))


def closing_mark(settings: "Settings") -> "Callable[[Millis], Millis]":
    """Where the last mark must lie for a newest event: at the end of the last window over it, plus allowed lateness."""
    from windowing.calendar import Calendar

    calendar = Calendar(settings.window.spec(), settings.zone)
    return lambda newest_ms: calendar.window_end(calendar.pane_of(newest_ms)) + calendar.spec.allowed_lateness_ms


def layout(settings: "Settings") -> "TopicLayout":
    """The topics that the settings ask for."""
    from daywatch.commands.topics import layout_of

    return layout_of(settings)


def _plan(
    settings: "Settings",
    directory: Path,
    speed: str,
    from_: str | None,
    to: str | None,
    kinds: str | None,
    loop: bool,
    cloud_events: bool,
) -> "ReplayPlan":
    from stream.replay import ReplayPlan

    return ReplayPlan(
        directory,
        settings.zone,
        _kinds(kinds),
        _instant("--from", from_, settings.zone),
        _instant("--to", to, settings.zone),
        _speed(speed),
        passes=0 if loop else 1,
        cloud_events=cloud_events,
    )


def _kinds(text: str | None) -> "tuple[Kind, ...]":
    from stream.kinds import KINDS

    if text is None:
        return KINDS
    names = {name.strip() for name in text.split(",") if name.strip()}
    unknown = names - set(KINDS)
    if unknown or not names:
        raise typer.BadParameter(f"{', '.join(sorted(unknown)) or 'nothing'} is none of {', '.join(KINDS)}", param_hint="--kinds")
    return tuple(kind for kind in KINDS if kind in names)


def _speed(text: str) -> float:
    """Event time per wall time; 0 for as fast as possible."""
    if text == "max":
        return 0.0
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < 1e9:
        raise typer.BadParameter(f"{text!r} is neither max nor a factor such as 1x or 3600x", param_hint="--speed")
    return speed


def _instant(name: str, text: str | None, zone: str) -> "Millis | None":
    """A date or time as UTC ms; without an offset it is local time in the zone."""
    import polars as pl

    from stream.times import read_iso

    if text is None:
        return None
    written = text.replace(" ", "T") if len(text) > len("2010-01-04") else f"{text}T00:00:00"
    ts, good = read_iso(pl.Series([written]), zone)
    if not good[0]:
        raise typer.BadParameter(f"{text!r} is no date or time such as 2010-01-04 or 2010-01-04T08:00:00", param_hint=name)
    return int(ts[0])


def _shifted(plan: "ReplayPlan", clock: "Clock") -> "ReplayPlan":
    from stream.replay import days_to_now

    return dataclasses.replace(plan, shift_days=days_to_now(plan, clock.now_ms()))


# ----------------------------------------------------------------------------------------------------------------- running


def _replay_to_kafka(
    settings: "Settings",
    plan: "ReplayPlan",
    clock: "Clock",
    show: "_Show",
    shift_to_now: bool,
    restart: bool,
    state: Path | None,
    quiet: bool,
) -> None:
    from stream.cert import find_files
    from stream.kafka_producer import KafkaEventSink
    from stream.kinds import KINDS
    from stream.topics import check_topics

    find_files(plan.directory, plan.kinds)  # a wrong directory is told before a broker is asked
    from daywatch.commands.topics import admin_of

    admin = admin_of(settings)
    partitions = check_topics(layout(settings), KINDS, admin)
    kept = _kept_place(settings, plan, admin.cluster_id(), shift_to_now, state)
    found = None if restart or kept is None else kept.load()
    place: Place | None = None
    if found is not None and not found[0].done and found[0].at_ms is not None and _still_there(settings, found[0]):
        place, days = found
        plan = dataclasses.replace(plan, shift_days=days)
        _say(f"going on after {place.events:,} events of an interrupted run (--restart begins anew)", quiet)
    elif shift_to_now:
        plan = _shifted(plan, clock)
    if place is None:
        _warn_if_late(settings, plan, partitions)
    kept = _writable(kept, place, plan, required=state is not None)
    sink = KafkaEventSink(settings.kafka.client(), partitions)
    save = (lambda at: kept.save(at, plan.shift_days)) if kept is not None else (lambda _place: None)
    try:
        with watched(settings, "replay", quiet=quiet, group=False) as telemetry:
            report = _run(settings, plan, place, save, sink, clock, show, telemetry)
    except BaseException:
        sink.abandon()
        raise
    _tell(report, plan, quiet)
    if report.last_mark_ms is None and not plan.passes:
        return  # a loop has no other end
    if report.last_mark_ms is None:
        raise typer.Exit(1)


def _run(
    settings: "Settings",
    plan: "ReplayPlan",
    place: "Place | None",
    save: "Callable[[Place], None]",
    sink: "EventSink",
    clock: "Clock",
    show: "_Show",
    telemetry: Telemetry = NO_TELEMETRY,
) -> "ReplayReport":
    from daywatch.operating import share_of
    from stream.replay import Replay

    run = Replay(plan, layout(settings).event_topics(), sink, closing_mark(settings), clock, place, telemetry, share_of(settings))
    stop = StopRequest()
    with show:
        return run.run(lambda ms: time.sleep(ms / 1000), stop.asked, save, show)


def _kept_place(settings: "Settings", plan: "ReplayPlan", cluster: str, shift_to_now: bool, state: Path | None) -> "PlaceFile | None":
    """Where this replay's place is kept. What makes a replay another one is in its identity: the broker, the files, the choice."""
    from stream.cert import find_files
    from stream.checkpoint import PlaceFile

    if settings.kafka.embedded:
        return None  # such a broker does not outlive the run
    files = [path.stat() for path in find_files(plan.directory, plan.kinds).values()]
    identity = {
        "cluster": cluster,
        "topics": [*layout(settings).event_topics().values()],
        "directory": str(plan.directory.resolve()),
        "files": [[file.st_size, file.st_mtime_ns] for file in files],
        "kinds": list(plan.kinds),
        "zone": plan.zone,
        "from": plan.from_ms,
        "to": plan.to_ms,
        "passes": plan.passes,
        "shift_to_now": shift_to_now,
    }
    if state is not None:
        return PlaceFile(state, identity)
    return PlaceFile.beneath(Path.home() / ".local" / "state" / "daywatch" / "replay", identity)


def _writable(kept: "PlaceFile | None", place: "Place | None", plan: "ReplayPlan", required: bool) -> "PlaceFile | None":
    """The file, once it has been written to: better now than after an hour. Without one, a replay can only begin anew."""
    from stream.errors import ConfigurationError
    from stream.replay import Place

    if kept is None:
        return None
    try:
        kept.save(place or Place(), plan.shift_days)
    except ConfigurationError as error:
        if required:
            raise
        _say(f"note: if interrupted, this replay cannot go on where it was: {error}")
        return None
    return kept


def _still_there(settings: "Settings", place: "Place") -> bool:
    """Whether the topics still are those into which the place's events went: topics made anew have shorter logs."""
    from stream.kafka_consumer import Place as Log
    from stream.kafka_consumer import bounds, partitions_of

    client = settings.kafka.client()
    logs = [Log(topic, number) for topic in layout(settings).event_topics().values() for number in range(partitions_of(client, topic))]
    return sum(found.end for found in bounds(client, logs).values()) >= place.events


def _warn_if_late(settings: "Settings", plan: "ReplayPlan", partitions: int) -> None:
    """Say so before sending events that are older than what the topics have shown: they will be late."""
    from stream.kafka_tail import newest_time
    from stream.replay import first_time

    if settings.kafka.embedded:
        return
    newest = newest_time(settings.kafka.client(), layout(settings).event_topics().values(), partitions, settings.zone)
    first = first_time(plan)
    if newest is not None and first is not None and first < newest:
        _say(
            f"warning: the topics of namespace {settings.namespace} have come to {_written(newest)} already, and this replay begins at "
            f"{_written(first)}: its events will be late; use a new namespace (--namespace NAME)",
        )


# ----------------------------------------------------------------------------------------------------------------- showing


class _Show:
    """Shows how far a replay is: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, wanted: bool, quiet: bool) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, force_terminal=True if wanted else None)
        self._bar: Any = None
        self._task: Any = None
        self._lines = not quiet and not self._console.is_terminal
        self._with_bar = not quiet and self._console.is_terminal
        self._began = self._shown = 0.0

    def __enter__(self) -> Self:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._began = self._shown = time.monotonic()
        if self._with_bar:
            columns = ("replay", BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[facts]}"), TimeRemainingColumn(compact=True))
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task("replay", total=None, facts="")
            self._bar.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: "Progress") -> None:
        now = time.monotonic()
        rate = progress.events / max(now - self._began, 1e-6)
        facts = f"{progress.events:,} events, {rate:,.0f}/s, {_written(progress.ts)}"
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.bytes_read, total=progress.bytes_total, facts=facts)
        elif self._lines and now - self._shown >= _SHOW_EVERY_MS / 1000:
            self._shown = now
            done = progress.bytes_read / max(progress.bytes_total, 1)
            left = (now - self._began) * (1 - done) / done if done else 0.0
            _say(f"{facts}, {done:.0%} of the files read, about {left:,.0f} s left")


def _tell(report: "ReplayReport", plan: "ReplayPlan", quiet: bool, dry_run: bool = False) -> None:
    by_kind = ", ".join(f"{n:,} {kind}" for kind, n in report.events.items() if n)
    if report.unusable:
        _say(f"warning: {report.unusable:,} rows without a proper id, date or user were left out")
    if report.last_mark_ms is None:
        _say(
            f"stopped after {report.total:,} events ({by_kind}); no last mark written"
            + ("" if plan.passes == 0 else ", start again to go on")
        )
        return
    span = f"{_written(report.first_ms)} to {_written(report.newest_ms)}, " if report.first_ms and report.newest_ms else ""
    would = "would be " if dry_run else ""
    _say(f"{report.total:,} events {would}sent ({by_kind}), {span}last clock mark {_written(report.last_mark_ms)}", quiet)


def _say(text: str, quiet: bool = False) -> None:
    if not quiet:
        warns = text.startswith("warning: ")
        note(_LOG, logging.WARNING if warns else NOTICE, "warning" if warns else "message", text.removeprefix("warning: "))


def _written(ts: "Millis") -> str:
    import polars as pl

    from stream.times import format_iso

    return str(format_iso(pl.Series([ts]))[0])
