"""`daywatch alerts`: show the alerts of a topic or a file. Knows where they come from and which are wanted, not how they look."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daywatch.cli import settings_of
from daywatch.stopping import StopRequest
from daywatch.viewing import Batches, output_console, records_of_file, records_of_topic, since_of
from stream.errors import PipelineError
from stream.kinds import Millis

if TYPE_CHECKING:
    from rich.console import Console

    from daywatch.settings import Settings
    from sinks.show import Change, Findings


def alerts(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="Alerts as JSON lines, - for standard input (default: the topic).", show_default=False),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing alerts as they come; Ctrl-C ends it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The records themselves, one a line, updates as they are.")] = False,
    user: Annotated[str | None, typer.Option(help="Of this user only.", show_default=False)] = None,
    min_risk: Annotated[int, typer.Option(min=0, max=100, help="Of this risk or more, 0-100.")] = 0,
    since: Annotated[
        str | None, typer.Option(help="Last told of since then: 2010-07-01, 2010-07-01T09:00, or 36h, 7d before now.", show_default=False)
    ] = None,
    operational: Annotated[
        bool, typer.Option("--operational", help="Findings about the sources instead: silence, too many dead letters.")
    ] = False,
) -> None:
    """Show alerts with the events they cite: who, when, why.

    Updates are folded into their alert; the oldest comes first. Times are those of the organisation's zone.
    """
    settings = settings_of(ctx)
    if follow and file is not None:
        raise typer.BadParameter("a file cannot be followed", param_hint="--follow")
    if operational:
        if user is not None or min_risk:
            raise typer.BadParameter("its findings are about nobody, and have no risk", param_hint="--operational")
        _show_operational(settings, file, since_of(since, settings.zone), follow=follow, as_json=json)
        return
    wanted = Wanted(user, min_risk, since_of(since, settings.zone))
    stop = StopRequest() if follow else None
    source = records_of_topic(settings, "alerts", stop) if file is None else records_of_file(file)
    _show(source, wanted, settings.zone, as_json=json)


def _show_operational(settings: "Settings", file: Path | None, since_ms: Millis | None, *, follow: bool, as_json: bool) -> None:
    """Operational findings: as they stand, and from then on each record as it comes."""
    from sinks.operations import Operations, operation_text

    findings, console, shown_before = Operations(), output_console(), False
    stop = StopRequest() if follow else None
    for records, caught_up in records_of_topic(settings, "operations", stop) if file is None else records_of_file(file):
        for record in records:
            seen = findings.take(record)
            if since_ms is not None and (seen.closed_ms or seen.opened_ms) < since_ms:
                continue
            if as_json:
                sys.stdout.buffer.write(record + b"\n")
            elif shown_before:
                console.print(operation_text(seen, settings.zone))
        sys.stdout.buffer.flush()
        if caught_up and not shown_before and not as_json:
            for seen in sorted(findings.by_uid.values(), key=lambda one: (one.opened_ms, one.uid)):
                if since_ms is None or (seen.closed_ms or seen.opened_ms) >= since_ms:
                    console.print(operation_text(seen, settings.zone))
        shown_before = shown_before or caught_up
    sys.stderr.write(f"{len(findings.by_uid):,} operational findings, {len(findings.open):,} open\n")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which alerts are to be shown; `since_ms` in UTC ms of event time."""

    user: str | None = None
    min_risk: int = 0
    since_ms: Millis | None = None

    def __call__(self, user: str, risk: int, time_ms: Millis) -> bool:
        """Whether an alert of this user, risk and time is."""
        return (self.user is None or user == self.user) and risk >= self.min_risk and (self.since_ms is None or time_ms >= self.since_ms)


def _show(batches: Batches, wanted: Wanted, zone: str, *, as_json: bool) -> None:
    from sinks.show import Findings

    findings, shown_before, number, refused = Findings(), False, 0, 0
    console = output_console()
    for records, caught_up in batches:
        changes = []
        for record in records:
            number += 1
            change = _taken(findings, record, number)
            refused += change is None
            changes += [(record, change)] if change is not None else []
        if as_json:
            _print_json(changes, wanted)
        elif shown_before:
            for _, change in changes:
                _print_change(change, wanted, zone, console)
        elif caught_up:
            # those that were there already are shown as they stand; from then on each record as it comes
            _print_all(findings, wanted, zone, console)
        shown_before = shown_before or caught_up
    if not as_json:
        _count(findings, wanted)
    if refused:
        raise PipelineError(f"{refused:,} of {number:,} records could not be shown")


def _taken(findings: "Findings", record: bytes, number: int) -> "Change | None":
    """What a record changes; one that is no alert is named, and does not hide the others."""
    from sinks.show import BadAlert

    try:
        return findings.take(record)
    except BadAlert as error:
        sys.stderr.write(f"daywatch alerts: record {number}: {error}\n")
        return None


def _print_json(changes: "Iterable[tuple[bytes, Change]]", wanted: Wanted) -> None:
    import orjson

    for record, change in changes:
        parsed: Mapping[str, Any] = orjson.loads(record)
        if wanted(change.alert.user, int(parsed.get("risk_score", 0)), int(parsed["time"])):
            sys.stdout.buffer.write(orjson.dumps(parsed) + b"\n")
    sys.stdout.buffer.flush()


def _print_all(findings: "Findings", wanted: Wanted, zone: str, console: "Console") -> None:
    from sinks.show import alert_text

    for alert in sorted(findings.by_uid.values(), key=lambda found: (found.created_ms, found.user, found.uid)):
        if wanted(alert.user, alert.risk, alert.time_ms):
            console.print(alert_text(alert, zone))


def _print_change(change: "Change", wanted: Wanted, zone: str, console: "Console") -> None:
    from sinks.show import alert_text, update_text

    alert = change.alert
    if wanted(alert.user, alert.risk, alert.time_ms):
        known = change.risk_before is not None and wanted(alert.user, change.risk_before, alert.time_ms)
        console.print(update_text(change, zone) if known else alert_text(alert, zone))


def _count(findings: "Findings", wanted: Wanted) -> None:
    found = [alert for alert in findings.by_uid.values() if wanted(alert.user, alert.risk, alert.time_ms)]
    users = len({alert.user for alert in found})
    rest = f" of {len(findings.by_uid):,}" if len(found) < len(findings.by_uid) else ""
    sys.stderr.write(f"{len(found):,}{rest} alert{'s' if len(found) != 1 else ''}, {users:,} user{'s' if users != 1 else ''}\n")
