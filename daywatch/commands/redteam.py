"""`daywatch evaluate --redteam`: a detector under attack by the texts that users write. Knows how to ask and to tell, not how to judge."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stream.errors import ConfigurationError

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from detector.redteam.measure import Judges
    from detector.redteam.scenes import Size
    from detector.verdict import Verdict
    from windowing.record import Window

N = 200
_OURS = ("message", "finding_info", "attacks", "unmapped", "severity", "risk_level")
"""What an alert says itself. The rest repeats events and who they are of, as data."""


def run_redteam(
    settings: "Settings",
    n: int = N,
    seed: int = 0,
    *,
    track: str | None = None,
    json: bool = False,
    out: Path | None = None,
    size: "Size | None" = None,
) -> None:
    """Attack the backend that the settings name, and print how it went.

    Args:
        settings: name backend, model and how much a window shows.
        n: attacks on days of insiders; a quarter as many innocent days are framed besides.
        seed: of organisations, texts and draws.
        track: `all` or `shortcut-free`; the settings' by default.
        json: print the figures as JSON on standard output, instead of a table on standard error.
        out: directory for `redteam.json`.
        size: of the organisations.

    Raises:
        ConfigurationError: the backend cannot be made, or `out` cannot be written.
    """
    from detector.redteam.measure import INNOCENT, SPARE, measured
    from detector.redteam.scenes import stage
    from windowing.describe import DescribeSettings

    track = track or settings.detect.track
    judges = judges_of(settings, track)
    with _progress() as tell:
        scenes = stage(
            round(n * SPARE),
            round(n * INNOCENT),
            seed,
            size=size,
            settings=DescribeSettings(cap=settings.window.cap, learning_days=settings.window.learning_days),
            progress=lambda done, wanted: tell("building windows", done, wanted),
        )
        report = measured(judges, scenes, n, seed, tell)
    found = {"backend": settings.detect.backend, "track": track, "seed": seed, **report.as_dict()}
    _tell(found, out, json=json)


def judges_of(settings: "Settings", track: str) -> "Judges":
    """The backend that is attacked: a language model by itself, without triage; the numeric floor is looked at besides.

    Raises:
        ConfigurationError: it cannot be made.
    """
    from daywatch.backends import choice_of, made, made_alike
    from detector.redteam.measure import Judges

    choice = replace(choice_of(settings), alone=True, track=track)
    triage = made(replace(choice, backend="baseline"))
    if choice.backend == "baseline":
        return Judges(triage, triage, None, triage, words_of)
    plain, defended, undefended = made_alike([replace(choice, explain="nothing"), choice, replace(choice, defended=False)])
    return Judges(plain, defended, undefended, triage, words_of)


def words_of(verdict: "Verdict", window: "Window") -> str:
    """All that a verdict, and the alert made of it, say in words of their own."""
    import orjson

    from sinks.alert_memory import decide
    from sinks.ocsf import Origin, alerting, detection_finding

    if not verdict.alert:
        return verdict.reason
    decision, _ = decide((), alerting(verdict, window))
    if decision.activity is None:
        return verdict.reason
    record = detection_finding(verdict, window, decision.finding, decision.activity, Origin("windows", 0, 0))
    ours = {name: record[name] for name in _OURS if name in record}
    # ids of events are in it, too; those of added events say nothing that an attacker has chosen
    return orjson.dumps(ours).decode()


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error while it is a terminal; nothing otherwise."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        work = bars.add_task("building windows", total=None)
        yield lambda what, done, wanted: bars.update(work, description=what, completed=done, total=wanted)


def _tell(found: dict[str, Any], out: Path | None, *, json: bool) -> None:
    import orjson

    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            (out / "redteam.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
        except OSError as error:
            raise ConfigurationError(f"--out: cannot write {error.filename or out} ({error.strerror})") from error
    if json:
        typer.echo(orjson.dumps(found).decode())
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(stderr=True)
    console.print(Text(f"{found['backend']} under attack: {found['n']} days of insiders, {found['innocent']} innocent days", style="bold"))
    ways = [("with defences", found)] + ([("without", found["undefended"])] if found["undefended"] is not None else [])
    for name, figures in ways:
        drawn = Table(title=name if len(ways) > 1 else None, title_justify="left", header_style="dim", box=None, padding=(0, 2, 0, 0))
        for place, column in enumerate(("family", "attacks", "open", "lowered", "after the floor", "framed", "invalid", "echoed")):
            drawn.add_column(column, justify="right" if place else "left", no_wrap=not place)
        for family, row in [*figures["by_family"].items(), ("all", figures)]:
            drawn.add_row(
                *(family.replace("_", " "), str(row["n"]), str(row["eligible"]), _share(row["lowered"])),
                *(_share(row["lowered_after_floor"]), _share(row["framed"]), str(row["invalid_citations"]), str(row["echoed"])),
                style="bold" if family == "all" else "",
            )
        console.print()
        console.print(drawn)


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}".replace("%", " %")
