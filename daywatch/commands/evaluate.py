"""`daywatch evaluate`: a detector held against directories, without servers. Knows how to ask and where to write, not how to judge."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import settings_of
from daywatch.options import Adapter, Base, Precision, Share, Shots
from stream.errors import ConfigurationError

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from detector.backend import Backend
    from detector.evaluation.evaluate import Evaluation, Plan, Steps
    from detector.evaluation.figures import Figures
    from sinks.report import Page
    from stream.cert import ReadCount

BACKENDS = ("baseline", "narrative", "remote")
TRACKS = ("all", "shortcut-free")
SEEDS = 5
BALANCED = 50
SAMPLE = 500
DELETED_BY_A_MODEL = 25
"""Right alerts of a language model that the deletion test looks at: each is judged seven times."""


def evaluate(
    ctx: typer.Context,
    directories: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR...", help="CERT directories with answers/; figures of several are their means.", show_default=False),
    ] = None,
    backend: Annotated[str, typer.Option(help="Who judges: baseline, narrative or remote.")] = "baseline",
    model: Annotated[
        Path | None, typer.Option(help="Judge with this model as it is, instead of training one for each fold.", show_default=False)
    ] = None,
    base: Base = None,
    adapter: Adapter = None,
    precision: Precision = None,
    shots: Shots = None,
    share: Share = None,
    track: Annotated[
        list[str] | None, typer.Option(help="all or shortcut-free; may be repeated (default: both).", show_default=False)
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Into how many folds users are dealt.")] = 5,
    seed: Annotated[int, typer.Option(help=f"The first of {SEEDS} seeds of deals, models and samples.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = SEEDS,
    balanced: Annotated[
        int | None,
        typer.Option(
            min=2,
            help=f"User/days in a balanced draw, half of them malicious (default: {BALANCED}). Given with a language model and without "
            "--sample, the drawn user/days are all that it is asked about: minutes instead of hours.",
            show_default=False,
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="How many balanced draws, with the seeds --seed, --seed + 1, …")] = SEEDS,
    sample: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Innocent user/days that a language model is asked about without triage, besides every malicious one, for its ranking "
            f"(default: {SAMPLE}).",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Alerts a day per 1,000 users that thresholds are for (default: detect.budget).", show_default=False),
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Zone of the organisation's days.", show_default=False)] = None,
    redteam: Annotated[
        bool, typer.Option("--redteam", help="Attack the detector by the texts that users write, on organisations made for it.")
    ] = False,
    n: Annotated[int, typer.Option("--n", min=1, help="How many windows --redteam attacks.")] = 200,
    out: Annotated[
        Path | None, typer.Option(help="Directory for evaluation.json and report.html (default: none are written).", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON on standard output.")] = False,
) -> None:
    """Evaluate a detector over directories, without servers: both tracks, user-disjoint folds, baselines, evidence, intervals."""
    from detector.evaluation.evaluate import Plan
    from windowing.describe import DescribeSettings

    settings = settings_of(
        ctx,
        {
            "zone": zone,
            "detect.backend": backend,
            "detect.model": model,
            "detect.base": base,
            "detect.adapter": adapter,
            "detect.precision": precision,
            "detect.shots": shots,
            "detect.share": share,
            "detect.budget": budget,
        },
    )
    tracks = tuple(dict.fromkeys(track or TRACKS))
    if not set(tracks) <= set(TRACKS):
        raise typer.BadParameter("it is all or shortcut-free", param_hint="--track")
    if backend not in BACKENDS:
        raise typer.BadParameter(f"it is one of {', '.join(BACKENDS)}", param_hint="--backend")
    if balanced is not None and balanced % 2:
        raise typer.BadParameter("half of them are malicious, so the number is even", param_hint="--balanced")
    if redteam:
        from daywatch.commands.redteam import run_redteam

        run_redteam(settings, n, seed, track=track[0] if track else None, json=json, out=out)
        return
    if not directories:
        raise typer.BadParameter("at least one CERT directory with answers/ is needed", param_hint="DIR...")
    judges = _judges(settings, tracks, chosen=track is not None)
    plan = Plan(
        tracks=tuple(name for name in tracks if name not in judges.left_out),
        folds=folds,
        seeds=tuple(range(seed, seed + seeds)),
        zone=settings.zone,
        describe=DescribeSettings(cap=settings.window.cap, learning_days=settings.window.learning_days),
        balanced=balanced or BALANCED,
        draws=draws,
        by_balanced=balanced is not None,
        sample=SAMPLE if sample is None else sample,
        only_drawn=bool(judges.alone) and balanced is not None and sample is None,
        **({"deleted": DELETED_BY_A_MODEL} if judges.alone else {}),
    )
    found = {name: _evaluated(each, plan, settings, judges) for name, each in _named(directories).items()}
    for each in found.values():
        each.summary.update({"backend": backend, "model": model.name if model is not None else None})
        for name in judges.left_out:
            each.summary["pr_auc"][name.replace("-", "_")] = None
    _tell(found, out, json)


def _named(directories: Sequence[Path]) -> dict[str, Path]:
    """A short name for each directory, and no name twice."""
    found: dict[str, Path] = {}
    for directory in directories:
        name = directory.resolve().name or "directory"
        free = next(one for one in chain([name], (f"{name}-{number}" for number in count(2))) if one not in found)
        found[free] = directory
    return found


@dataclass(frozen=True, slots=True)
class _Judges:
    """Who judges, by track: the backend under test, and a language model without triage, with reasons and with labels alone.

    Nobody where models are trained here.
    """

    backends: "Mapping[str, Backend]" = field(default_factory=dict)
    alone: "Mapping[str, Backend]" = field(default_factory=dict)
    labels: "Mapping[str, Backend]" = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def _judges(settings: "Settings", tracks: Sequence[str], *, chosen: bool) -> _Judges:
    detect = settings.detect
    if detect.backend != "baseline":
        return _language_model(settings, tracks, chosen=chosen)
    if detect.model is None:
        return _Judges()
    from detector.baseline import Baseline

    return _Judges({track: Baseline.load(detect.model, track=track, budget=detect.budget) for track in tracks})


def _language_model(settings: "Settings", tracks: Sequence[str], *, chosen: bool) -> _Judges:
    """The cascade and the model alone, around one model. A track that its adapter has no place on is left out unless it was asked for."""
    from daywatch.backends import choice_of, made_alike

    choice = choice_of(settings)
    asked = [replace(choice, track=track) for track in tracks]
    ways = [way for one in asked for way in (one, replace(one, alone=True), replace(one, alone=True, explain="nothing"))]
    try:
        made = made_alike(ways)
    except ConfigurationError as error:
        if chosen or len(tracks) == 1:
            raise
        # an adapter that was trained on all features shows too much for the other track, and is held to its own
        found = _language_model(settings, tracks[:1], chosen=True)
        sys.stderr.write(f"daywatch evaluate: the track {tracks[1]} is left out: {error}\n")
        return replace(found, left_out=tuple(tracks[1:]))
    cascades, alone, labels = (dict(zip(tracks, made[way::3], strict=True)) for way in range(3))
    return _Judges(cascades, alone, labels)


def _evaluated(directory: Path, plan: "Plan", settings: "Settings", judges: _Judges) -> "Evaluation":
    from detector.evaluation.evaluate import evaluate as run
    from detector.training import fit

    with _progress() as steps:
        if judges.backends:
            return run(directory, plan, None, judges.backends, steps, judges.alone, judges.labels)
        return run(directory, plan, partial(fit, budget=settings.detect.budget), None, steps)


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


def _tell(found: "Mapping[str, Evaluation]", out: Path | None, json: bool) -> None:
    import orjson
    from rich.console import Console

    from daywatch.pages import print_page
    from detector.evaluation.figures import json_safe
    from sinks.evaluation_report import evaluation_page

    plain = json_safe(_figures(found))
    pages = {name: evaluation_page(each) for name, each in found.items()}
    if out is not None:
        _write(orjson.dumps(plain, option=orjson.OPT_INDENT_2) + b"\n", _files(found, pages), out)
    if json:
        typer.echo(orjson.dumps(plain).decode())
        return
    console = Console(stderr=True)
    print_page(_files(found, pages)["report.html"], console)
    if out is not None:
        console.print(f"Written: {out / 'evaluation.json'}, {out / 'report.html'}", style="dim", highlight=False)


def _figures(found: "Mapping[str, Evaluation]") -> "Figures":
    from detector.evaluation.several import combined

    each = {name: evaluation.as_dict() for name, evaluation in found.items()}
    return combined(each) if len(each) > 1 else next(iter(each.values()))


def _files(found: "Mapping[str, Evaluation]", pages: "Mapping[str, Page]") -> "dict[str, Page]":
    """Pages by file name: of one directory its page, of several an overview and each one's page."""
    from sinks.evaluation_report import overview_page

    if len(pages) == 1:
        return {"report.html": next(iter(pages.values()))}
    return {"report.html": overview_page(_figures(found))} | {f"report-{name}.html": page for name, page in pages.items()}


def _write(figures: bytes, pages: "Mapping[str, Page]", out: Path) -> None:
    from sinks.report import render

    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "evaluation.json").write_bytes(figures)
        for name, page in pages.items():
            (out / name).write_text(render(page), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--out: cannot write {error.filename or out} ({error.strerror})") from error
