"""`daywatch evaluate`: a detector held against a directory, without servers. Knows how to ask and where to write, not how to judge."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import settings_of
from stream.errors import ConfigurationError

if TYPE_CHECKING:
    from detector.backend import Backend
    from detector.evaluation.evaluate import Evaluation, Steps
    from stream.cert import ReadCount

TRACKS = ("all", "shortcut-free")
SEEDS = 5


def evaluate(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="CERT directory with answers/.", show_default=False)],
    backend: Annotated[str, typer.Option(help="Who judges: baseline.")] = "baseline",
    model: Annotated[
        Path | None, typer.Option(help="Judge with this model as it is, instead of training one for each fold.", show_default=False)
    ] = None,
    track: Annotated[
        list[str] | None, typer.Option(help="all or shortcut-free; may be repeated (default: both).", show_default=False)
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Into how many folds users are dealt.")] = 5,
    seed: Annotated[int, typer.Option(help=f"The first of {SEEDS} seeds of deals, models and samples.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = SEEDS,
    zone: Annotated[str | None, typer.Option(help="Zone of the organisation's days.", show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory for evaluation.json and report.html (default: none are written).", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON on standard output.")] = False,
) -> None:
    """Evaluate a detector over a directory, without servers: both tracks, user-disjoint folds, baselines, evidence, intervals."""
    from detector.evaluation.evaluate import Plan
    from detector.evaluation.evaluate import evaluate as run
    from detector.training import fit
    from windowing.describe import DescribeSettings

    settings = settings_of(ctx, {"zone": zone, "detect.backend": backend, "detect.model": model})
    tracks = tuple(dict.fromkeys(track or TRACKS))
    if not set(tracks) <= set(TRACKS):
        raise typer.BadParameter("it is all or shortcut-free", param_hint="--track")
    if backend != "baseline":
        raise typer.BadParameter("there is only the backend baseline", param_hint="--backend")
    plan = Plan(
        tracks=tracks,
        folds=folds,
        seeds=tuple(range(seed, seed + seeds)),
        zone=settings.zone,
        describe=DescribeSettings(cap=settings.window.cap, learning_days=settings.window.learning_days),
    )
    with _progress() as steps:
        if model is None:
            found = run(directory, plan, fit, None, steps)
        else:
            found = run(directory, plan, None, _given(model, tracks, settings.detect.budget), steps)
    found.summary["backend"] = backend
    found.summary["model"] = model.name if model is not None else None
    if out is not None:
        _write(found, out)
    _tell(found, out, json)


def _given(model: Path, tracks: tuple[str, ...], budget: float) -> "dict[str, Backend]":
    """The model in a file, once for each track."""
    from detector.baseline import Baseline

    return {track: Baseline.load(model, track=track, budget=budget) for track in tracks}


@contextmanager
def _progress() -> "Iterator[Steps]":
    """Bars on standard error while it is a terminal; nothing otherwise."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from detector.evaluation.evaluate import Steps

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        reading = bars.add_task("building windows", total=None)
        work = bars.add_task("", total=None, visible=False)

        def read(count: "ReadCount") -> None:
            bars.update(reading, completed=count.bytes_read, total=count.bytes_total)

        def working(what: str, done: int, total: int) -> None:
            bars.update(reading, visible=False)
            bars.update(work, description=what, completed=done, total=total, visible=True)

        yield Steps(read, working)


def _write(found: "Evaluation", out: Path) -> None:
    import orjson

    from sinks.evaluation_report import write_evaluation

    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "evaluation.json").write_bytes(orjson.dumps(_plain(found), option=orjson.OPT_INDENT_2) + b"\n")
        write_evaluation(found, out / "report.html")
    except OSError as error:
        raise ConfigurationError(f"--out: cannot write {error.filename or out} ({error.strerror})") from error


def _plain(found: "Evaluation") -> object:
    from detector.evaluation.figures import json_safe

    return json_safe(found.as_dict())


def _tell(found: "Evaluation", out: Path | None, json: bool) -> None:
    import orjson
    from rich.console import Console

    from daywatch.pages import print_page
    from sinks.evaluation_report import evaluation_page

    if json:
        typer.echo(orjson.dumps(_plain(found)).decode())
        return
    console = Console(stderr=True)
    print_page(evaluation_page(found), console)
    if out is not None:
        console.print(f"Written: {out / 'evaluation.json'}, {out / 'report.html'}", style="dim", highlight=False)
