"""`daywatch train`: fit a detector. Knows how to ask and where to write, not how to learn."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.bars import steps
from daywatch.cli import settings_of
from daywatch.commands.train_groups import groups
from daywatch.commands.train_logline import logline
from daywatch.commands.train_narrative import narrative
from stream.errors import ConfigurationError

if TYPE_CHECKING:
    from detector.model_file import Model

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Fit a detector on a directory.")
_TRACKS = ("all", "shortcut-free")
app.command("groups")(groups)
app.command("logline")(logline)
app.command("narrative")(narrative)
Out = Annotated[Path, typer.Option("--out", help="The model file to write.", show_default=False)]


@app.command("baseline")
def baseline(
    ctx: typer.Context,
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="CERT directories with answers/.", show_default=False)],
    out: Out,
    track: Annotated[
        list[str] | None, typer.Option(help="all or shortcut-free; may be repeated (default: both).", show_default=False)
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Zone of the organisation's days (default UTC).", show_default=False)] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and data give the same model.")] = 0,
) -> None:
    """Fit the baseline on CERT directories: trees, peers, calibration and thresholds, all in one file for `detect --model`."""
    from importlib.metadata import version

    from detector.from_directory import lessons_of_directory
    from detector.training import fit_model, joined
    from windowing.describe import DescribeSettings

    tracks = tuple(dict.fromkeys(track or _TRACKS))
    if not set(tracks) <= set(_TRACKS):
        raise typer.BadParameter("it is all or shortcut-free", param_hint="--track")
    settings = settings_of(ctx, {"zone": zone})
    _writable(out)
    describe = DescribeSettings(cap=settings.window.cap, learning_days=settings.window.learning_days)
    with steps() as step:
        parts = []
        for place, directory in enumerate(directories):
            step(f"windows of {directory.name}", place, len(directories))
            parts.append(lessons_of_directory(directory, settings.zone, describe=describe))
        made = {"by": f"daywatch {version('daywatch')}", "lightgbm": version("lightgbm"), "directories": len(directories)}
        model = fit_model(joined(parts), tracks, seed, made, step)
    _write(model, out)


@app.command("shipped")
def shipped(out: Out) -> None:
    """Make the model that comes with Daywatch anew, bit for bit, from synthetic organisations alone."""
    from detector.shipped import make_shipped

    _writable(out)
    with steps() as step:
        model = make_shipped(step=step)
    _write(model, out)


def _writable(out: Path) -> None:
    """Say so before hours of work, not after.

    Raises:
        ConfigurationError: there is no such directory.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise ConfigurationError(f"--out: {out} must be a file in a directory that exists")


def _write(model: "Model", out: Path) -> None:
    from rich.console import Console

    from detector.model_file import write_model

    write_model(model, out)
    made = model.made
    Console(stderr=True).print(
        f"{out}: {out.stat().st_size / 1024:,.0f} KiB, fitted to {made['windows']:,} windows of {made['users']:,} people, "
        f"{made['malicious_windows']:,} of them malicious; tracks {', '.join(model.tracks)}; SHA-256 {model.sha256}",
        highlight=False,
        soft_wrap=True,
    )
