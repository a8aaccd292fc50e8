"""`daywatch train narrative`: train an adapter for the narrative backend. Knows how to ask and what to show, not how to learn."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import settings_of
from daywatch.stopping import StopRequest

if TYPE_CHECKING:
    from detector.narrative.adapters import Tellers


def narrative(
    ctx: typer.Context,
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="CERT directories with answers/.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Directory of the adapter; an unfinished run in it is taken up.", show_default=False)],
    base: Annotated[str, typer.Option(help="Hub id, directory or package: name of the base.")] = "package:smollm2-135m",
    revision: Annotated[str | None, typer.Option(help="Commit of the base at the hub.", show_default=False)] = None,
    examples: Annotated[int, typer.Option(min=0, help="Windows to learn from; 0 takes all malicious ones and as many others.")] = 512,
    natural: Annotated[bool, typer.Option("--natural", help="Windows at natural rates instead of half malicious.")] = False,
    lookalikes: Annotated[float, typer.Option(min=0, max=1, help="Share of innocent windows taken from the most suspect ones.")] = 0.2,
    track: Annotated[str, typer.Option(help="shortcut-free (serves both tracks) or all: what the prompt shows.")] = "shortcut-free",
    prompt_tokens: Annotated[int, typer.Option(min=128, help="Most tokens of a prompt.")] = 640,
    epochs: Annotated[float, typer.Option(min=0.01, help="Passes over the windows.")] = 1.0,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the LoRA matrices; alpha is twice that.")] = 32,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="Adapt all linear layers instead of q, k, v and o.")] = False,
    upper: Annotated[float, typer.Option(min=0.05, max=1, help="Share of the layers that is adapted, from the top.")] = 1.0,
    rate: Annotated[float, typer.Option(help="Learning rate at its height.")] = 5e-4,
    batch: Annotated[int, typer.Option(min=1, help="Windows of one step.")] = 8,
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, or nf4 on a GPU.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    zone: Annotated[str | None, typer.Option(help="Zone of the organisation's days (default UTC).", show_default=False)] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of draws, order and first weights.")] = 0,
) -> None:
    """Train a LoRA adapter that judges windows and cites events, from CERT directories with answers; calibrated on users it never saw.

    May be stopped or killed and started again with the same options: it goes on where it was. Needs the extra llm.
    """
    from detector.narrative.adapters import Recipe, make_adapter
    from detector.narrative.lessons import Selection
    from detector.narrative.training import TrainingPlan
    from windowing.describe import DescribeSettings

    if track not in ("all", "shortcut-free"):
        raise typer.BadParameter("it is all or shortcut-free", param_hint="--track")
    settings = settings_of(ctx, {"zone": zone})
    stop = StopRequest()
    recipe = Recipe(
        base=base,
        revision=revision,
        precision=precision,
        device=device,
        track=track,
        prompt_tokens=prompt_tokens,
        selection=Selection(most=examples or None, rates="natural" if natural else "balanced", lookalikes=lookalikes, seed=seed),
        plan=TrainingPlan(rank=rank, everywhere=everywhere, upper=upper, epochs=epochs, learning_rate=rate, batch_lessons=batch, seed=seed),
        zone=settings.zone,
        describe=DescribeSettings(cap=settings.window.cap, learning_days=settings.window.learning_days),
    )
    with _told(stop) as tell:
        notes = make_adapter(directories, recipe, out, tell)
    if notes is None:
        sys.stderr.write(f"daywatch train narrative: stopped; the same command goes on from {out}\n")
        return
    figures = notes.made["calibration"]
    _draw(out)
    sys.stderr.write(
        f"daywatch train narrative: {out}; on {notes.made['lessons']['windows_held_out']:,} windows of users it never saw: "
        f"expected calibration error {figures['ece']:.4f}; use it with --adapter {out}\n"
    )


def _draw(out: Path) -> None:
    """The loss curve as a picture beside the adapter."""
    import orjson

    from sinks.loss_chart import loss_chart

    history = orjson.loads((out / "history.json").read_bytes())
    (out / "loss.svg").write_text(loss_chart(history["training"], history["checked"]), encoding="utf-8")


@contextmanager
def _told(stop: StopRequest) -> "Iterator[Tellers]":
    """Bars on standard error while it is a terminal, otherwise a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from detector.narrative.adapters import Tellers
    from detector.narrative.training import Progress as Step
    from stream.cert import ReadCount

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        work = bars.add_task("", total=None)

        def reading(directory: Path, count: ReadCount) -> None:
            bars.update(work, description=f"reading {directory.name}", completed=count.bytes_read, total=count.bytes_total)

        def training(step: Step) -> None:
            text = f"loss {step.loss:.3f}, {step.tokens_per_s:,.0f} tokens/s"
            bars.update(work, description=text, completed=step.step, total=step.steps)
            if not console.is_terminal and stop.time_to_speak():
                sys.stderr.write(f"daywatch train narrative: step {step.step} of {step.steps}; {text}\n")

        def doing(what: str) -> None:
            bars.update(work, description=what, completed=0, total=None)
            if not console.is_terminal:
                sys.stderr.write(f"daywatch train narrative: {what}\n")

        yield Tellers(reading, training, doing, stop.asked)
