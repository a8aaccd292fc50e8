"""`daywatch synth`: write a synthetic organisation. Knows how to ask and to show progress, not what happens in the organisation."""

from pathlib import Path
from typing import Annotated

import typer


def synth(
    out: Annotated[Path, typer.Option(help="Directory to write; must be empty or not exist yet.", show_default=False)],
    users: Annotated[int, typer.Option(min=1, help="How many people work there.")] = 80,
    days: Annotated[int, typer.Option(min=1, help="How many days; stories begin after the first 14.")] = 56,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 1,
    insiders: Annotated[int | None, typer.Option(min=0, help="How many insiders [default: 7 in 100 people].", show_default=False)] = None,
    zone: Annotated[str, typer.Option(help="IANA time zone whose local times the dates are.")] = "UTC",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an organisation that is already in the directory.")] = False,
) -> None:
    """Write a synthetic organisation with insiders as a CERT r4.2 directory: events, LDAP, psychometrics and the answer key."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from stream.synth import Progress, write_organisation

    console = Console(stderr=True)
    count = TextColumn("days, {task.fields[events]:,} events")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), count, TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("synth", total=days, events=0)

        def show(done: Progress) -> None:
            bar.update(task, completed=done.day, events=done.events)

        summary = write_organisation(out, users, days, seed, insiders, zone, show, overwrite=overwrite)
    console.print(
        f"{summary.total:,} events of {summary.users:,} people over {summary.days} days in {out}; "
        f"{summary.insiders} insiders did {summary.malicious_events:,} of them (answers/)",
        highlight=False,
        soft_wrap=True,
    )
