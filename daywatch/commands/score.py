"""`daywatch score`: hold what a run left behind against the ground truth. Knows how to ask and where to write, not how to judge."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import settings_of
from stream.errors import ConfigurationError

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from sinks.scorecard import Scorecard


def score(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="CERT directory with answers/.", show_default=False)],
    windows: Annotated[Path | None, typer.Option(help="Windows as JSON lines, instead of the topic.", show_default=False)] = None,
    verdicts: Annotated[Path | None, typer.Option(help="Verdicts as JSON lines, instead of the topic.", show_default=False)] = None,
    alerts: Annotated[Path | None, typer.Option(help="Alerts as JSON lines, instead of the topic.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Where scorecard.json and report.html are written.")] = Path(),
    zone: Annotated[str | None, typer.Option(help="Zone of the organisation's days.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and the balanced samples.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the scorecard as JSON on standard output.")] = False,
) -> None:
    """Compare verdicts and alerts with a ground truth; print and write the scorecard and its report.

    Records come from the topics of the namespace, or from JSON-lines files, which are then given all three. Records under pseudonyms need
    the key that these were made with, as privacy.key or privacy.key_file.
    """
    from sinks.scorecard import json_lines, scorecard

    settings = settings_of(ctx, {"zone": zone})
    given = [path for path in (windows, verdicts, alerts) if path is not None]
    if given and len(given) < 3:
        raise typer.BadParameter("give --windows, --verdicts and --alerts together, or none of them to read the topics")
    if windows is not None and verdicts is not None and alerts is not None:
        sources = [json_lines(windows), json_lines(verdicts), json_lines(alerts)]
    else:
        sources = [_records(settings, role) for role in ("windows", "verdicts", "alerts")]
    sources = _with_names(settings, directory, sources)
    card = scorecard(directory, sources[0], sources[1], sources[2], settings.zone, seed=seed)
    write(card, out)
    _tell(card, out, json)


def _with_names(settings: "Settings", directory: Path, sources: list[Iterator[bytes]]) -> list[Iterator[bytes]]:
    """The records with the names of those whom the answers name, where pseudonyms stand for them.

    What follows raises ConfigurationError for a pseudonym if there is no key, and OtherKeyError if it is not that key's.
    """
    from daywatch.privacy import pseudonyms_of
    from detector.evaluation.truth import read_answers

    if settings.privacy.key is None:
        return [map(_without_pseudonyms, source) for source in sources]
    # the number of partitions plays no part in telling whose a pseudonym is
    named = pseudonyms_of(settings, 1).names_back(read_answers(directory, settings.zone).events["user"].unique().to_list())
    return [map(named, source) for source in sources]


def _without_pseudonyms(record: bytes) -> bytes:
    from windowing.pseudonyms import PATTERN

    # windows and verdicts name their user early on
    if PATTERN.search(record, 0, 400):
        raise ConfigurationError("the records carry pseudonyms; give the key that made them as privacy.key or privacy.key_file")
    return record


def _records(settings: "Settings", role: str) -> Iterator[bytes]:
    """The values of a topic from its start to its end; clock marks are passed over."""
    from stream.kafka_reader import read_all

    for batch in read_all(settings.kafka.client(), [settings.topic(role)], embedded=settings.kafka.embedded):
        for message in batch:
            value = message.value()
            if value is not None:
                yield value


def write(card: "Scorecard", out: Path) -> None:
    """Write `scorecard.json` and `report.html` into `out`.

    Raises:
        ConfigurationError: the directory cannot be written.
    """
    import orjson

    from sinks.report import write_report

    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "scorecard.json").write_bytes(orjson.dumps(card.as_dict(), option=orjson.OPT_INDENT_2) + b"\n")
        write_report(card, out / "report.html")
    except OSError as error:
        raise ConfigurationError(f"--out: cannot write {error.filename or out} ({error.strerror})") from error


def _tell(card: "Scorecard", out: Path, json: bool) -> None:
    import orjson
    from rich.console import Console

    from daywatch.pages import print_page
    from sinks.report import scorecard_page

    if json:
        typer.echo(orjson.dumps(card.as_dict()).decode())
        return
    console = Console(stderr=True)
    print_page(scorecard_page(card), console)
    console.print(f"Written: {out / 'scorecard.json'}, {out / 'report.html'}", style="dim", highlight=False)
