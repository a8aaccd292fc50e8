"""`daywatch alerts`: show the alerts of a topic or a file. Knows where they come from and which are wanted, not how they look."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daywatch.cli import settings_of
from daywatch.stopping import StopRequest
from daywatch.viewing import records_of_file, records_of_topic, show, since_of
from stream.kinds import Millis

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sinks.operations import Seen
    from sinks.show import Alert, Change


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
    if operational and (user is not None or min_risk):
        raise typer.BadParameter("its findings are about nobody, and have no risk", param_hint="--operational")
    since_ms = since_of(since, settings.zone)
    stop = StopRequest() if follow else None
    role = "operations" if operational else "alerts"
    source = records_of_topic(settings, role, stop) if file is None else records_of_file(file)
    if operational:
        show("alerts", source, _Operational(since_ms, settings.zone), as_json=json)
    else:
        show("alerts", source, _Alerts(Wanted(user, min_risk, since_ms), settings.zone), as_json=json)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which alerts are to be shown; `since_ms` in UTC ms of event time."""

    user: str | None = None
    min_risk: int = 0
    since_ms: Millis | None = None

    def __call__(self, user: str, risk: int, time_ms: Millis) -> bool:
        """Whether an alert of this user, risk and time is."""
        return (self.user is None or user == self.user) and risk >= self.min_risk and (self.since_ms is None or time_ms >= self.since_ms)


class _Alerts:
    """Alerts with their updates folded in."""

    def __init__(self, wanted: Wanted, zone: str) -> None:
        from sinks.show import Findings

        self._findings, self._wanted, self._zone = Findings(), wanted, zone

    def take(self, record: bytes) -> "Change":
        return self._findings.take(record)

    def line(self, record: bytes, news: "Change") -> bytes | None:
        import orjson

        parsed: Mapping[str, Any] = orjson.loads(record)
        return orjson.dumps(parsed) if self._wanted(news.alert.user, int(parsed.get("risk_score", 0)), int(parsed["time"])) else None

    def change(self, news: "Change") -> "RenderableType | None":
        from sinks.show import alert_text, update_text

        alert = news.alert
        if not self._wanted(alert.user, alert.risk, alert.time_ms):
            return None
        known = news.risk_before is not None and self._wanted(alert.user, news.risk_before, alert.time_ms)
        return update_text(news, self._zone) if known else alert_text(alert, self._zone)

    def standing(self) -> "Iterable[RenderableType]":
        from sinks.show import alert_text

        return [alert_text(alert, self._zone) for alert in sorted(self._shown(), key=lambda one: (one.created_ms, one.user, one.uid))]

    def total(self) -> str:
        found, read = self._shown(), len(self._findings.by_uid)
        users = len({alert.user for alert in found})
        rest = f" of {read:,}" if len(found) < read else ""
        return f"{len(found):,}{rest} alert{'s' if len(found) != 1 else ''}, {users:,} user{'s' if users != 1 else ''}"

    def _shown(self) -> "list[Alert]":
        return [alert for alert in self._findings.by_uid.values() if self._wanted(alert.user, alert.risk, alert.time_ms)]


class _Operational:
    """Operational findings, closings folded in."""

    def __init__(self, since_ms: Millis | None, zone: str) -> None:
        from sinks.operations import Operations

        self._findings, self._since_ms, self._zone = Operations(), since_ms, zone

    def take(self, record: bytes) -> "Seen":
        return self._findings.take(record)

    def line(self, record: bytes, news: "Seen") -> bytes | None:
        return record if self._wanted(news) else None

    def change(self, news: "Seen") -> "RenderableType | None":
        from sinks.operations import operation_text

        return operation_text(news, self._zone) if self._wanted(news) else None

    def standing(self) -> "Iterable[RenderableType]":
        from sinks.operations import operation_text

        found = sorted(filter(self._wanted, self._findings.by_uid.values()), key=lambda one: (one.opened_ms, one.uid))
        return [operation_text(one, self._zone) for one in found]

    def total(self) -> str:
        return f"{len(self._findings.by_uid):,} operational findings, {len(self._findings.open):,} open"

    def _wanted(self, seen: "Seen") -> bool:
        return self._since_ms is None or (seen.closed_ms or seen.opened_ms) >= self._since_ms
