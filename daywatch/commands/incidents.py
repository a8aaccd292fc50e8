"""`daywatch incidents`: show the incidents of a topic or a file. Knows where they come from and which are wanted, not how they look."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import settings_of
from daywatch.stopping import StopRequest
from daywatch.viewing import Batches, output_console, records_of_file, records_of_topic, since_of
from stream.errors import PipelineError
from stream.kinds import Millis

if TYPE_CHECKING:
    from rich.console import Console

    from sinks.incidents.show import Change, Incident, Incidents


def incidents(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="Incidents as JSON lines, - for standard input (default: the topic).", show_default=False),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing incidents as they come; Ctrl-C ends it.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="The records themselves, one a line, every revision once: openings, growth, closings.")
    ] = False,
    user: Annotated[str | None, typer.Option(help="Of this user only.", show_default=False)] = None,
    min_risk: Annotated[int, typer.Option(min=0, max=100, help="That have had this risk or more, 0-100.")] = 0,
    since: Annotated[
        str | None, typer.Option(help="Last told of since then: 2010-07-01, 2010-07-01T09:00, or 36h, 7d before now.", show_default=False)
    ] = None,
    still_open: Annotated[bool, typer.Option("--open", help="Those that are not closed.")] = False,
) -> None:
    """Show incidents: what a user did as one story, with its alerts, the events they cite, and how the risk went.

    The oldest comes first. Times are those of the organisation's zone.
    """
    settings = settings_of(ctx)
    if follow and file is not None:
        raise typer.BadParameter("a file cannot be followed", param_hint="--follow")
    wanted = _Wanted(user, min_risk, since_of(since, settings.zone), still_open)
    stop = StopRequest() if follow else None
    source = records_of_topic(settings, "incidents", stop) if file is None else records_of_file(file)
    _show(source, wanted, settings.zone, as_json=json)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which incidents are to be shown; `since_ms` in UTC ms of event time."""

    user: str | None
    min_risk: int
    since_ms: Millis | None
    still_open: bool

    def __call__(self, incident: "Incident") -> bool:
        """Whether an incident is."""
        return (
            (self.user is None or incident.user == self.user)
            and incident.peak >= self.min_risk
            and (self.since_ms is None or incident.time_ms >= self.since_ms)
            and not (self.still_open and incident.closed)
        )


def _show(batches: Batches, wanted: _Wanted, zone: str, *, as_json: bool) -> None:
    from sinks.incidents.show import Incidents

    known, shown_before, number, refused = Incidents(), False, 0, 0
    console = output_console()
    for records, caught_up in batches:
        changes = []
        for record in records:
            number += 1
            change = _taken(known, record, number)
            refused += change is None
            if change is not None and not change.repeated:
                changes.append((record, change))
        if as_json:
            _print_json(changes, wanted)
        elif shown_before:
            for _, change in changes:
                _print_change(change, wanted, zone, console)
        elif caught_up:
            # those that were there already are shown as they stand; from then on each record as it comes
            _print_all(known, wanted, zone, console)
        shown_before = shown_before or caught_up
    if not as_json:
        _count(known, wanted)
    if refused:
        raise PipelineError(f"{refused:,} of {number:,} records could not be shown")


def _taken(known: "Incidents", record: bytes, number: int) -> "Change | None":
    """What a record changes; one that is no incident is named, and does not hide the others."""
    from sinks.incidents.show import BadIncident

    try:
        return known.take(record)
    except BadIncident as error:
        sys.stderr.write(f"daywatch incidents: record {number}: {error}\n")
        return None


def _print_json(changes: "Iterable[tuple[bytes, Change]]", wanted: _Wanted) -> None:
    for record, change in changes:
        if wanted(change.incident):
            sys.stdout.buffer.write(record + b"\n")
    sys.stdout.buffer.flush()


def _print_all(known: "Incidents", wanted: _Wanted, zone: str, console: "Console") -> None:
    from sinks.incidents.show import incident_text

    for incident in sorted(known.by_uid.values(), key=lambda found: (found.opened_ms, found.user, found.uid)):
        if wanted(incident):
            console.print(incident_text(incident, zone))


def _print_change(change: "Change", wanted: _Wanted, zone: str, console: "Console") -> None:
    from sinks.incidents.show import change_text, incident_text

    if wanted(change.incident):
        known = change.before is not None and wanted(change.before)
        console.print(change_text(change, zone) if known else incident_text(change.incident, zone))


def _count(known: "Incidents", wanted: _Wanted) -> None:
    found = [incident for incident in known.by_uid.values() if wanted(incident)]
    users, still = len({incident.user for incident in found}), sum(not incident.closed for incident in found)
    rest = f" of {len(known.by_uid):,}" if len(found) < len(known.by_uid) else ""
    sys.stderr.write(
        f"{len(found):,}{rest} incident{'s' if len(found) != 1 else ''}, {still:,} open, {users:,} user{'s' if users != 1 else ''}\n"
    )
