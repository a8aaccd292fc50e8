"""`daywatch train logline`: train the log-line classifier. Knows how to ask and what to show, not how to learn."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from daywatch.bars import steps

_PRECISIONS: tuple[Literal["fp32", "bf16", "nf4"], ...] = ("fp32", "bf16", "nf4")


def logline(
    out: Annotated[
        Path, typer.Option("--out", help="Directory of the classifier; an unfinished run in it is taken up.", show_default=False)
    ],
    base: Annotated[str, typer.Option(help="Hub id, directory or package: name of the base.")] = "package:minilm",
    method: Annotated[str, typer.Option(help="lora: an adapter and the head; full: the whole model.")] = "lora",
    seed: Annotated[int, typer.Option(min=0, help="Decides lines, splits and order.")] = 1,
    each: Annotated[int, typer.Option(min=1, max=1000, help="Lines made of every template.")] = 8,
    apart: Annotated[float, typer.Option(min=0.05, max=0.5, help="Share of systems, and of templates, kept for testing.")] = 0.2,
    epochs: Annotated[int, typer.Option(min=1, max=100, help="Epochs at most.")] = 6,
    rate: Annotated[float | None, typer.Option(help="Learning rate (default 1e-3 for lora, 5e-5 for full).", show_default=False)] = None,
    rank: Annotated[int, typer.Option(min=1, max=256, help="Rank of the adapter.")] = 8,
    layers: Annotated[
        int | None, typer.Option(min=1, help="Uppermost layers the adapter reaches (default all).", show_default=False)
    ] = None,
    length: Annotated[int, typer.Option(min=16, max=1024, help="Tokens of a line that are read.")] = 96,
    batch_tokens: Annotated[int, typer.Option(min=64, help="Tokens of a batch.")] = 1_024,
    precision: Annotated[str, typer.Option(help="fp32, bf16, or nf4 with lora on a GPU.")] = "fp32",
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
) -> None:
    """Train the log-line classifier on lines made by Daywatch: five labels, tested on templates and systems it has never seen.

    May be killed and started again with the same options: it goes on where it was.
    """
    from detector.logline.training import Recipe, train

    recipe = Recipe(
        base, _method(method), seed, each, apart, epochs, 3, rate, rank, layers, length, batch_tokens, _precision(precision), device
    )
    with steps("daywatch train logline") as step:
        trained = train(recipe, out, step)
    figures, plain = trained.figures, trained.plain
    told = "; ".join(f"{name} {_both(figures[name])} (TF-IDF {_both(plain[name])})" for name in figures)
    sys.stderr.write(f"daywatch train logline: {out}; accuracy/macro F1 on unseen: {told}\n")


def _both(found: dict[str, Any]) -> str:
    return f"{found['accuracy']:.3f}/{found['macro_f1']:.3f}"


def _method(text: str) -> Literal["lora", "full"]:
    if text == "lora":
        return "lora"
    if text == "full":
        return "full"
    raise typer.BadParameter("it is lora or full", param_hint="--method")


def _precision(text: str) -> Literal["fp32", "bf16", "nf4"]:
    for known in _PRECISIONS:
        if text == known:
            return known
    raise typer.BadParameter("it is fp32, bf16 or nf4", param_hint="--precision")
