"""`daywatch train groups`: fit the models of threat groups to ATT&CK. Knows how to ask and what to show, not how to learn."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daywatch.bars import steps
from stream.errors import ConfigurationError

if TYPE_CHECKING:
    from detector.groups.corpus import Corpus
    from detector.groups.finetune import Tuning
    from detector.groups.table import Answer, Row

KINDS = ("words", "mpnet")


def groups(
    bundle: Annotated[Path, typer.Argument(help="ATT&CK as a STIX 2 bundle, plain or gzipped.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Model file to write, or for mpnet a directory (default: only the table).", show_default=False),
    ] = None,
    attack_version: Annotated[
        str | None, typer.Option(help="ATT&CK's version, such as 18.1, where the bundle does not say.", show_default=False)
    ] = None,
    kind: Annotated[str, typer.Option(help="words (TF-IDF, no PyTorch) or mpnet (needs the extra llm).")] = "words",
    table: Annotated[bool, typer.Option("--table/--no-table", help="Whether folds are trained and compared.")] = True,
    folds: Annotated[int, typer.Option(min=2, max=20, help="Grouped folds of the table.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Decides folds, order and new weights.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="The table as one JSON object on standard output.")] = False,
    base: Annotated[str, typer.Option(help="mpnet: directory, hub id or package: name of the backbone.")] = "package:mpnet",
    unmasked: Annotated[bool, typer.Option("--unmasked", help="mpnet: learn from texts with the names in them, as on the card.")] = False,
    layers: Annotated[int, typer.Option(min=0, help="mpnet: uppermost layers that learn; the card's model: 10.")] = 2,
    epochs: Annotated[int, typer.Option(min=1, max=100, help="mpnet: epochs.")] = 6,
    rate: Annotated[
        float, typer.Option(min=1e-7, max=1.0, help="mpnet: learning rate of the layers; the head's is ten times that.")
    ] = 1e-4,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="mpnet: texts of a batch.")] = 32,
    mlm_epochs: Annotated[int, typer.Option(min=0, max=100, help="mpnet: epochs of guessing hidden words before.")] = 0,
    tuned_folds: Annotated[
        int, typer.Option(min=1, max=20, help="mpnet: on how many of the folds it is compared; each is a training.")
    ] = 5,
    device: Annotated[str, typer.Option(help="mpnet: auto, cpu or cuda.")] = "auto",
) -> None:
    """Fit a model of ATT&CK's threat groups, and compare it with TF-IDF and nearest centroid on grouped folds.

    Masked means that names of groups, their aliases, software and campaigns are replaced. Names give most texts away.
    """
    from detector.groups.corpus import read_corpus

    if kind not in KINDS:
        raise typer.BadParameter("it is words or mpnet", param_hint="--kind")
    if out is not None:
        _writable(out, directory=kind == "mpnet")
    corpus = read_corpus(bundle, attack_version)
    if kind == "mpnet":
        from detector.groups.finetune import Tuning
        from detector.groups.weights import mpnet_at

        place = mpnet_at(base)
        tuning: Tuning | None = Tuning(layers, epochs, rate, rate * 10, batch, mlm_epochs=mlm_epochs, seed=seed)
    else:
        place, tuning = None, None
    with steps() as step:
        answer = _compared(corpus, folds, seed, place, tuning, min(tuned_folds, folds), device, step) if table else None
        if out is not None and tuning is None:
            told = _words(corpus, answer, out)
        elif out is not None and place is not None and tuning is not None:
            told = _mpnet(corpus, place, tuning, device, out, answer, step, masked=not unmasked)
        else:
            told = ""
    if answer is not None:
        _show(corpus, answer, as_json=json)
    if told:
        sys.stderr.write(f"daywatch train groups: {told}\n")


def _compared(
    corpus: "Corpus",
    folds: int,
    seed: int,
    base: Path | None,
    tuning: "Tuning | None",
    tuned_folds: int,
    device: str,
    step: Callable[[str, int, int], None],
) -> "Answer":
    from detector.groups.finetune import Tuning
    from detector.groups.table import Question, compare

    return compare(corpus, Question(folds, seed, base=base, tuning=tuning or Tuning(), tuned_folds=tuned_folds, device=device), step)


def _made(corpus: "Corpus", answer: "Answer | None") -> dict[str, Any]:
    from importlib.metadata import version

    from detector.groups.fit import groups_of

    lessons = corpus.lessons()
    return {
        "by": f"daywatch {version('daywatch')}",
        "attack_version": corpus.version,
        "bundle_sha256": corpus.sha256,
        "texts": len(lessons),
        "groups": len(groups_of(lessons)),
        "notice": "© 2025 The MITRE Corporation. This work is reproduced and distributed with the permission of The MITRE Corporation.",
        "table": [row.plain() for row in answer.rows] if answer is not None else [],
    }


def _words(corpus: "Corpus", answer: "Answer | None", out: Path) -> str:
    from importlib.metadata import version

    from detector.groups.fit import SHARPNESS, Recipe, fit_groups_model
    from detector.groups.lexical import write_groups_model

    made = {**_made(corpus, answer), "scikit-learn": version("scikit-learn")}
    model = fit_groups_model(corpus, Recipe(), answer.sharpness if answer is not None else SHARPNESS, made)
    sha256 = write_groups_model(model, out)
    return f"{out}: {out.stat().st_size / 1024:,.0f} KiB, {made['groups']} groups of ATT&CK v{corpus.version}; SHA-256 {sha256}"


def _mpnet(
    corpus: "Corpus",
    base: Path,
    tuning: "Tuning",
    device: str,
    out: Path,
    answer: "Answer | None",
    step: Callable[[str, int, int], None],
    *,
    masked: bool,
) -> str:
    from detector.groups.finetune import Learner
    from detector.groups.fit import groups_of, truth_of
    from detector.models.files import identity

    lessons = corpus.lessons()
    labels = groups_of(lessons)
    learner = Learner(base, labels, tuning, device)
    losses = learner.tune([one.masked if masked else one.text for one in lessons], truth_of(lessons, labels), step)
    notes = {**_made(corpus, answer), "masked": masked, "base_sha256": identity(base), "losses": losses}
    learner.write(out, notes)
    return f"{out}: {len(labels)} groups of ATT&CK v{corpus.version}, loss {losses[-1]:.3f}; use it with `daywatch groups --model {out}`"


def _show(corpus: "Corpus", answer: "Answer", *, as_json: bool) -> None:
    if as_json:
        import orjson

        record = {"attack_version": corpus.version, "bundle_sha256": corpus.sha256, "rows": [row.plain() for row in answer.rows]}
        sys.stdout.buffer.write(orjson.dumps(record) + b"\n")
        return
    from rich.console import Console
    from rich.table import Table

    console = Console() if sys.stdout.isatty() else Console(width=200)
    for split, text in dict.fromkeys((row.split, row.text) for row in answer.rows):
        rows: list[Row] = [row for row in answer.rows if (row.split, row.text) == (split, text)]
        table = Table(title=f"{text}; {split}", title_justify="left")
        for name in ("model", "accuracy", "macro F1", "top-5", "reports of 5", "reports top-5", "texts", "reports"):
            table.add_column(name, justify="left" if name == "model" else "right")
        for row in rows:
            one = row.figures
            shares = (one.accuracy, one.macro_f1, one.top_5, one.reports, one.reports_top_5)
            table.add_row(row.model, *(f"{share:.3f}" for share in shares), f"{one.n:,}", f"{one.n_reports:,}")
        console.print(table)


def _writable(out: Path, *, directory: bool) -> None:
    """Say so before hours of work, not after.

    Raises:
        ConfigurationError: it is of the wrong kind, or there is no such directory.
    """
    if (out.is_dir() and not directory) or (out.is_file() and directory) or not out.absolute().parent.is_dir():
        what = "a directory" if directory else "a file in a directory that exists"
        raise ConfigurationError(f"--out: {out} must be {what}")
