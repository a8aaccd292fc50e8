"""`daywatch groups`: which known threat groups texts are like. Knows how to ask and what to show, not how to score."""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daywatch.inputs import opened
from stream.errors import PipelineError

if TYPE_CHECKING:
    from detector.groups.lexical import GroupsModel
    from detector.groups.likeness import Like, Scorer

BATCH = 256
_FIELDS = ("text", "description", "message", "reason")


def groups(
    file: Annotated[Path, typer.Argument(help='Texts, one a line or as JSON lines ({"text": …} or {"texts": […]}); - for standard input.')],
    model: Annotated[
        str | None,
        typer.Option(
            help="Another model: a file made by `train groups`, or MPNet with its head (directory or hub id; needs the extra llm).",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="For MPNet: its group ids in the order of its outputs, JSON or one a line.", show_default=False)
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=200, help="How many groups for each text.")] = 5,
    report: Annotated[bool, typer.Option("--report", help="All texts together are one report about one group.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on a terminal, too.")] = False,
    precision: Annotated[str, typer.Option(help="For MPNet: auto, fp32 or bf16.")] = "auto",
    device: Annotated[str, typer.Option(help="For MPNet: auto, cpu or cuda.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="For MPNet: commit of a hub model.", show_default=False)] = None,
) -> None:
    """Show which of ATT&CK's threat groups texts are like: ids, names and scores. A resemblance of wording, no attribution.

    Groups that a text calls by name come first; the scores beside them are by the words alone, names masked.
    """
    from detector.groups.likeness import likenesses

    known = _known(model)
    refused = 0
    with opened(file) as lines:
        scorer = _scorer(model, known, labels, precision, device, revision)
        show = _table if sys.stdout.isatty() and not json else _json_lines
        for batch in _batches(_reports(lines, together=report)):
            for number, texts in batch:
                if not texts:
                    refused += 1
                    sys.stderr.write(f"daywatch groups: line {number}: no text in it\n")
            usable = [(number, texts) for number, texts in batch if texts]
            for (number, texts), likes in zip(usable, likenesses([texts for _, texts in usable], scorer, known, top), strict=True):
                show(number, texts, likes, scorer.name, known)
    if refused:
        raise PipelineError(f"{refused:,} lines hold no text")


def _known(model: str | None) -> "GroupsModel":
    from detector.groups.lexical import read_groups_model
    from detector.groups.shipped import shipped_groups

    return read_groups_model(Path(model)) if model is not None and Path(model).is_file() else shipped_groups()


def _scorer(model: str | None, known: "GroupsModel", labels: Path | None, precision: str, device: str, revision: str | None) -> "Scorer":
    from detector.groups.likeness import WordScorer

    if model is None or Path(model).is_file():
        return WordScorer(known)
    from detector.groups.encoder import Encoder

    return Encoder.load(model, labels=labels, precision=precision, device=device, revision=revision)


def _reports(lines: Iterable[bytes], *, together: bool) -> Iterator[tuple[int, list[str]]]:
    """Numbers of lines and the texts that stand there; none where a line holds no text. Empty lines do not count."""
    found = ((number, _texts(line)) for number, line in enumerate(lines, 1) if line.strip())
    if together:
        yield 1, [text for _, texts in found for text in texts]
    else:
        yield from found


def _texts(line: bytes) -> list[str]:
    import orjson

    text = line.decode("utf-8", errors="replace").strip().lstrip("\ufeff")
    if text[:1] not in ("{", "[", '"'):
        return [text] if text else []
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return [text]
    if isinstance(value, dict):
        value = value.get("texts") or next((value[field] for field in _FIELDS if value.get(field)), None)
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, str) and one.strip()]


def _batches(reports: Iterable[tuple[int, list[str]]]) -> Iterator[list[tuple[int, list[str]]]]:
    rest = iter(reports)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _json_lines(number: int, texts: list[str], likes: "list[Like]", by: str, known: "GroupsModel") -> None:
    import orjson

    record: dict[str, Any] = {"line": number, "texts": len(texts), "by": by, "attack_version": known.attack_version}
    sys.stdout.buffer.write(orjson.dumps({**record, "groups": [one.plain() for one in likes]}) + b"\n")
    sys.stdout.buffer.flush()


def _table(number: int, texts: list[str], likes: "list[Like]", by: str, known: "GroupsModel") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # texts are strangers': shown as text, never as markup, and without what would move the cursor
    shown = "".join(character if character.isprintable() else " " for character in texts[0])
    more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
    console = Console()
    console.print(Text(f"{number}  {shown[:100]}{'…' if len(shown) > 100 else ''}{more}"), soft_wrap=True)
    table = Table(caption=f"likeness by {by}, ATT&CK v{known.attack_version}; no attribution")
    table.add_column("group")
    table.add_column("name")
    table.add_column("score", justify="right")
    table.add_column("")
    for one in likes:
        table.add_row(one.group, Text(one.name), f"{one.score:.3f}", "named" if one.named else "")
    console.print(table)
