"""`daywatch classify`: label log lines of a file or of a topic. Knows how to put the parts together and what to show."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daywatch.cli import settings_of
from daywatch.inputs import opened

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from detector.logline.classifier import LineClassifier
    from detector.logline.inputs import Found
    from sinks.triage_worker import TriageWorker
    from stream.telemetry import Telemetry


def classify(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="Log file, - for standard input.", show_default=False)] = None,
    format_: Annotated[str, typer.Option("--format", help="auto, text, json (JSON lines) or cert (rows of a CERT file).")] = "auto",
    model: Annotated[
        str | None, typer.Option(help="Classifier or adapter: hub id or directory (default: the one shipped).", show_default=False)
    ] = None,
    base: Annotated[str | None, typer.Option(help="Base of an adapter that does not name its own.", show_default=False)] = None,
    labels: Annotated[
        str | None, typer.Option(help="The model's outputs in order, when its configuration does not name them.", show_default=False)
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, int8 or nf4.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Commit of a hub model.", show_default=False)] = None,
    scores: Annotated[bool, typer.Option("--scores", help="The scores of all five labels, too.")] = False,
    text: Annotated[bool, typer.Option("--text/--no-text", help="Whether the lines themselves are put out.")] = True,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="Lines taken on at a time.")] = 1_024,
    from_topic: Annotated[str | None, typer.Option(help="Triage a live topic of log lines.", show_default=False)] = None,
    to_topic: Annotated[str | None, typer.Option(help="Topic for the labels; as many partitions.", show_default=False)] = None,
    alert_on: Annotated[
        str | None, typer.Option(help="Labels that raise an alert on NAMESPACE.alerts, such as Malicious,Error.", show_default=False)
    ] = None,
    until_done: Annotated[bool, typer.Option("--until-done", help="Stop when everything that was there has been labelled.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while it goes well.")] = False,
) -> None:
    """Label log lines as Normal, Suspicious, Malicious, Informational or Error.

    Of a file: JSON lines on standard output, one for each line. Of a topic: labels to another topic and alerts for those that are
    asked for, each exactly once, whatever dies; what holds no line goes to the dead letters.
    """
    from detector.logline.inputs import Format

    topics = _topics(file, from_topic, to_topic, alert_on)
    try:
        chosen = Format(format_)
    except ValueError as error:
        raise typer.BadParameter("it is auto, text, json or cert", param_hint="--format") from error
    given = _listed(labels, "--labels") or None
    wanted = frozenset(_listed(alert_on, "--alert-on"))
    settings = settings_of(ctx)

    def classifier() -> "LineClassifier":
        from detector.logline.classifier import LineClassifier

        return LineClassifier.load(model, base=base, labels=given, precision=precision, device=device, revision=revision)

    if topics is not None:
        _triage(settings, classifier(), topics, wanted, batch, until_done=until_done, quiet=quiet)
    elif file is not None:
        from detector.logline.inputs import Reader

        _label(file, Reader(chosen, file.name), classifier, batch, scores=scores, text=text, quiet=quiet)


def _listed(text: str | None, flag: str) -> tuple[str, ...]:
    from detector.logline.labels import BadLabels, parse_labels

    try:
        return parse_labels(text) if text else ()
    except BadLabels as error:
        raise typer.BadParameter(str(error), param_hint=flag) from error


def _topics(file: Path | None, from_topic: str | None, to_topic: str | None, alert_on: str | None) -> tuple[str, str] | None:
    if file is not None:
        if from_topic or to_topic or alert_on:
            raise typer.BadParameter("give a file, or --from-topic and --to-topic")
        return None
    if from_topic is None or to_topic is None:
        raise typer.BadParameter("give a file (- for standard input), or --from-topic and --to-topic")
    if from_topic == to_topic:
        raise typer.BadParameter("it must be another topic than --from-topic", param_hint="--to-topic")
    return from_topic, to_topic


# a file --------------------------------------------------------------------------------------------------------------------


def _label(file: Path, reader: Any, load: "Callable[[], LineClassifier]", batch: int, *, scores: bool, text: bool, quiet: bool) -> None:
    import orjson

    from detector.logline.inputs import chunks

    counts: dict[str | None, int] = {}
    unusable = 0
    # opened before the model is loaded: a wrong name should not cost a minute
    with opened(file) as stream:
        classifier = load()
        began = time.monotonic()
        with _progress(file, quiet=quiet) as advance:
            for lines in chunks(stream, batch):
                found = reader.take(lines)
                for record in _records(found, classifier, scores=scores, text=text):
                    sys.stdout.buffer.write(orjson.dumps(record) + b"\n")
                    unusable += record["label"] is None
                    counts[record["label"]] = counts.get(record["label"], 0) + 1
                sys.stdout.buffer.flush()
                advance(sum(len(line) + 1 for line in lines))
    if not quiet:
        total, seconds = sum(counts.values()), time.monotonic() - began
        told = ", ".join(f"{count:,} {label}" for label, count in sorted(counts.items(), key=lambda one: -one[1]) if label is not None)
        rest = f", {unusable:,} unusable" if unusable else ""
        rest = f": {told}{rest}" if told else rest
        speed = f"{total / max(seconds, 1e-9):,.0f} lines/s"
        sys.stderr.write(f"daywatch classify: {total:,} lines read as {reader.format.value}{rest}; {speed}\n")


def _records(found: "Iterable[Found]", classifier: "LineClassifier", *, scores: bool, text: bool) -> Iterator[dict[str, Any]]:
    """What is put out for each line, in order; a line that cannot be used has no label and says why."""
    from detector.logline.labels import LABELS

    ones = list(found)
    rows = iter(classifier.scores([one.line for one in ones if one.line is not None]).tolist())
    for one in ones:
        record: dict[str, Any] = {"n": one.number}
        record |= {name: value for name, value in (("kind", one.kind), ("id", one.id)) if value}
        if one.line is None:
            yield record | {"label": None, "score": None, "error": one.error}
            continue
        row = next(rows)
        best = max(range(len(LABELS)), key=row.__getitem__)
        record |= {"label": LABELS[best], "score": row[best]}
        if scores:
            record["scores"] = dict(zip(LABELS, row, strict=True))
        if text:
            record["text"] = one.line
        yield record


@contextmanager
def _progress(file: Path, *, quiet: bool) -> "Iterator[Callable[[int], None]]":
    """A bar on standard error while it is a terminal; nothing otherwise."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    total = file.stat().st_size if str(file) != "-" and file.is_file() else None
    shown = console.is_terminal and not quiet
    with Progress(BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console, transient=True, disable=not shown) as bars:
        work = bars.add_task("classify", total=total)
        yield lambda size: bars.advance(work, size)


# a topic -------------------------------------------------------------------------------------------------------------------


def _triage(
    settings: "Settings",
    classifier: "LineClassifier",
    names: tuple[str, str],
    wanted: frozenset[str],
    batch: int,
    *,
    until_done: bool,
    quiet: bool,
) -> None:
    from daywatch.logs import NOTICE
    from daywatch.stopping import StopRequest, leave_at_once
    from daywatch.watched import watched
    from stream.notes import logger_of, note

    stop, log = StopRequest(), logger_of("classify")

    def say(one: "TriageWorker", level: int, event: str) -> None:
        totals = one.totals
        note(log, level, event, _counts(one), lines=totals.lines, alerts=totals.alerts, by_label=totals.by_label, refused=totals.refused)

    def show(one: "TriageWorker") -> None:
        if not quiet and one.partitions and stop.time_to_speak():
            say(one, logging.INFO, "progress")

    with watched(settings, "classify", quiet=quiet) as telemetry:
        worker, close = _worker(settings, classifier, names, wanted, batch, until_done, telemetry)
        try:
            worker.run(stop.asked, show)
        finally:
            close()
        say(worker, NOTICE, "summary")
    leave_at_once(worker.left_labelling)


def _worker(
    settings: "Settings",
    classifier: "LineClassifier",
    names: tuple[str, str],
    wanted: frozenset[str],
    batch: int,
    until_done: bool,
    telemetry: "Telemetry",
) -> "tuple[TriageWorker, Callable[[], None]]":
    """Put a worker together from the settings; also returns what closes it."""
    import secrets

    from daywatch.operating import operations_of
    from sinks.triage_worker import TriageSettings, TriageTopics, TriageWorker
    from stream.clock import SystemClock
    from stream.kafka_consumer import common_partitions, partitions_of
    from stream.kafka_reader import KafkaPast
    from stream.kafka_source import KafkaOutlet, KafkaSource
    from stream.kafka_transactions import TransactionalProducer, still_open

    client = settings.kafka.client()
    lines, labels = names
    alerts, letters = settings.topic("alerts"), settings.topic("dead_letters")
    common_partitions(client, (lines, labels, *((alerts,) if wanted else ())), "create the output topics anew")
    group = settings.group(f"classify.{lines}")
    name = f"{group}.{settings.instance or secrets.token_hex(4)}"
    source = KafkaSource(client, group, [lines], client_id=name, **settings.kafka.member())
    trusted = not settings.kafka.embedded
    producer = TransactionalProducer(client, name, still_open=still_open(client) if trusted else None)
    # ends at once what a dead worker of the same instance left open, which would hold up the recovery
    producer.reopen()
    outlet = KafkaOutlet(producer)
    how = TriageSettings(wanted, batch, until_done=until_done, trust_bounds=trusted)
    topics = TriageTopics(lines, labels, alerts, letters, source.partitions, partitions_of(client, letters))

    def close() -> None:
        source.close()
        outlet.close()

    past = KafkaPast(client, embedded=not trusted)
    operations = operations_of(settings, until_done=until_done)
    worker = TriageWorker(source, outlet, past, classifier, topics, how, SystemClock(), telemetry=telemetry, operations=operations)
    return worker, close


def _counts(worker: "TriageWorker") -> str:
    totals = worker.totals
    text = f"{totals.lines:,} lines labelled"
    if totals.by_label:
        text += f" ({', '.join(f'{count:,} {label}' for label, count in sorted(totals.by_label.items()))})"
    text += f", {totals.alerts:,} alerts"
    if totals.refused:
        text += f", {sum(totals.refused.values()):,} refused ({', '.join(f'{n:,} {code}' for code, n in sorted(totals.refused.items()))})"
    if totals.recoveries:
        text += f", {totals.recoveries:,} recoveries"
    return text
