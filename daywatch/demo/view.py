"""What the audience of the demonstration sees. Values in, terminal out; knows no broker and no process.

On a terminal: a panel that stays at the bottom and changes, alerts scrolling above it. Elsewhere: one line now and then, so that
a log stays readable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self
from zoneinfo import ZoneInfo

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stream.kinds import KINDS, Kind, Millis

_LINE_EVERY_MS: Millis = 5_000
_SAME_LINE_EVERY_MS: Millis = 30_000
_DAY_MS: Millis = 86_400_000


@dataclass(slots=True)
class Seen:
    """Everything the panel shows. Event time in UTC ms; `elapsed_ms` and `streaming_ms`: how long all, and the streaming, took so far.

    `read`: windows that a language model has read; None when there is none.
    """

    phase: str = ""
    elapsed_ms: Millis = 0
    streaming_ms: Millis = 0
    first_ms: Millis = 0
    days: int = 0
    events: Mapping[Kind, int] = field(default_factory=dict)
    events_in_all: int = 0
    clock_ms: Millis | None = None
    windows: int = 0
    verdicts: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    alerts: int = 0
    updates: int = 0
    read: int | None = None


class View:
    """Shows the demonstration on a console; use it as a context manager."""

    def __init__(self, console: Console, title: str, zone: str) -> None:
        self._console, self._title, self._zone = console, title, ZoneInfo(zone)
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._line_ms: Millis = -_LINE_EVERY_MS
        self._line = ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def say(self, text: RenderableType) -> None:
        """Print something that stays: a step done, an alert."""
        self._console.print(text)

    def show(self, seen: Seen) -> None:
        """Bring the panel up to date; elsewhere than on a terminal, a line every five seconds, and more seldom while nothing changes."""
        if self._live is not None:
            self._live.update(self.panel(seen))
        elif seen.elapsed_ms - self._line_ms >= _LINE_EVERY_MS:
            line = self.line(seen)
            if line != self._line or seen.elapsed_ms - self._line_ms >= _SAME_LINE_EVERY_MS:
                self._line_ms, self._line = seen.elapsed_ms, line
                self._console.print(f"{seen.elapsed_ms / 1000:5.0f} s  {line}", highlight=False, soft_wrap=True)

    def line(self, seen: Seen) -> str:
        """Where things stand, in one line without the time."""
        read = "" if seen.read is None else f" ({seen.read:,} by the model)"
        return (
            f"{seen.phase}: {sum(seen.events.values()):,} of {seen.events_in_all:,} events, "
            f"clock {self.instant(seen.clock_ms)}, {seen.windows:,} windows, {seen.verdicts:,} judged{read}, {seen.alerts} alerts"
        )

    def panel(self, seen: Seen) -> Panel:
        """Where things stand, as a panel."""
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column()
        streamed, most = sum(seen.events.values()), max(seen.events_in_all, 1)
        rate = streamed * 1000 / seen.streaming_ms if seen.streaming_ms else 0.0
        passed = max((seen.clock_ms or seen.first_ms) - seen.first_ms, 0) / _DAY_MS
        counts = Text("   ").join(Text(f"{kind} {seen.events.get(kind, 0):,}") for kind in KINDS)
        table.add_row("events", ProgressBar(total=most, completed=min(streamed, most), width=48))
        table.add_row("", counts)
        table.add_row("", f"{streamed:,} of {seen.events_in_all:,}, {rate:,.0f} a second")
        table.add_row("clock", ProgressBar(total=max(seen.days, 1), completed=min(passed, seen.days), width=48))
        table.add_row("", f"{self.instant(seen.clock_ms)}, day {passed:.0f} of {seen.days}")
        table.add_row("windows", f"{seen.windows:,} closed, {seen.verdicts:,} judged")
        if seen.read is not None:
            table.add_row("model", f"{seen.read:,} windows read" + (f", {100 * seen.read / seen.verdicts:.1f} %" if seen.verdicts else ""))
        table.add_row("labels", "   ".join(f"{label} {n:,}" for label, n in sorted(seen.labels.items())) or "–")
        table.add_row("alerts", Text(f"{seen.alerts}" + (f", {seen.updates} updates" if seen.updates else ""), style="bold red"))
        return Panel(table, title=self._title, subtitle=f"{seen.phase} · {seen.elapsed_ms / 1000:.0f} s", border_style="blue")

    def instant(self, at_ms: Millis | None) -> str:
        """An instant of event time as the organisation's clocks show it."""
        if at_ms is None:
            return "–"
        return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self._zone).strftime("%a %Y-%m-%d %H:%M")
