"""`daywatch incidents`: show the incidents of a topic or a file. Knows where they come from and which are wanted, not how they look."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import settings_of
from daywatch.stopping import StopRequest
from daywatch.viewing import records_of_file, records_of_topic, show, since_of
from stream.kinds import Millis

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sinks.incidents.show import Change, Incident


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
    show("incidents", source, _Stories(wanted, settings.zone), as_json=json)


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


class _Stories:
    """Incidents as they stand after every revision."""

    def __init__(self, wanted: _Wanted, zone: str) -> None:
        from sinks.incidents.show import Incidents

        self._known, self._wanted, self._zone = Incidents(), wanted, zone

    def take(self, record: bytes) -> "Change | None":
        change = self._known.take(record)
        return None if change.repeated else change

    def line(self, record: bytes, news: "Change") -> bytes | None:
        return record if self._wanted(news.incident) else None

    def change(self, news: "Change") -> "RenderableType | None":
        from sinks.incidents.show import change_text, incident_text

        if not self._wanted(news.incident):
            return None
        known = news.before is not None and self._wanted(news.before)
        return change_text(news, self._zone) if known else incident_text(news.incident, self._zone)

    def standing(self) -> "Iterable[RenderableType]":
        from sinks.incidents.show import incident_text

        return [incident_text(one, self._zone) for one in sorted(self._shown(), key=lambda one: (one.opened_ms, one.user, one.uid))]

    def total(self) -> str:
        found, read = self._shown(), len(self._known.by_uid)
        users, still = len({incident.user for incident in found}), sum(not incident.closed for incident in found)
        rest = f" of {read:,}" if len(found) < read else ""
        return f"{len(found):,}{rest} incident{'s' if len(found) != 1 else ''}, {still:,} open, {users:,} user{'s' if users != 1 else ''}"

    def _shown(self) -> "list[Incident]":
        return [incident for incident in self._known.by_uid.values() if self._wanted(incident)]
