"""`daywatch verify`: an alert's window judged again, with what the alert says it was judged with. Knows where both are found."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import settings_of
from stream.errors import ConfigurationError

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from detector.backend import Backend
    from sinks.second_judgement import Told
    from windowing.record import Window


def verify(
    ctx: typer.Context,
    alert: Annotated[str, typer.Argument(help="uid of a finding, or of one record of it.", show_default=False)],
    alerts: Annotated[
        Path | None, typer.Option(help="Look for it in this file of alert records (default: the topic).", show_default=False)
    ] = None,
    windows: Annotated[
        Path | None, typer.Option(help="Look for its window in this file of window records (default: the topic).", show_default=False)
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="The baseline's model file, if it is not the one that comes with Daywatch.", show_default=False)
    ] = None,
) -> None:
    """Judge an alert's window again, and compare label, score, evidence, reason and hashes with what the alert says.

    Backend, base, adapter, precision, track, budget and share are those that the alert names. Says `the same` and ends with 0, or
    says what differs and ends with 1. A finding is verified record by record, its updates included.
    """
    settings = settings_of(ctx, {"detect.model": model})
    found = _alerts(settings, alert, alerts)
    if not found:
        raise ConfigurationError(f"there is no alert {alert[:64]!r} in {alerts or settings.topic('alerts')}")
    backends: dict[object, Backend] = {}
    differing = sum(not _holds(told, settings, windows, backends) for told in found)
    if differing:
        raise typer.Exit(1)


def _holds(told: "Told", settings: "Settings", windows: Path | None, backends: "dict[object, Backend]") -> bool:
    """Judge one record's window again, and say what comes of it."""
    from detector.backend import judged
    from sinks.second_judgement import differences
    from stream.errors import PoisonError

    window = _window(settings, told, windows)
    key = (told.by, told.track, tuple(sorted((name, told.provenance.get(name, "")) for name in _MADE_OF)))
    backend = backends.get(key) or backends.setdefault(key, _backend(settings, told))
    [verdict] = judged(backend, [window])
    found = [f"it cannot be judged: {verdict}"] if isinstance(verdict, PoisonError) else differences(told, verdict)
    head = f"alert {told.uid} ({told.by}, window {told.window_id})"
    if not found:
        sys.stdout.write(f"{head}: the same\n")
        return True
    sys.stdout.write(f"{head}: differs\n" + "".join(f"  {line}\n" for line in found))
    return False


_MADE_OF = ("base", "adapter", "precision", "shots", "prompt_tokens", "triage_share", "budget")


def _backend(settings: "Settings", told: "Told") -> "Backend":
    """The backend that the alert names, made anew."""
    from dataclasses import replace

    from daywatch.backends import NAMES, NO_ADAPTER, choice_of, made, with_lines

    if told.by not in NAMES:
        raise ConfigurationError(f"the alert was raised by {told.by[:40]!r}, which this version does not know")
    said, chosen = told.provenance, choice_of(settings)
    try:
        choice = replace(
            chosen,
            backend=told.by,
            track=told.track,
            budget=float(said.get("budget", chosen.budget)),
            shots=int(said.get("shots", 0)),
            share=float(said["triage_share"]) if "triage_share" in said else None,
            prompt_tokens=int(said["prompt_tokens"]) if "prompt_tokens" in said else None,
        )
    except ValueError as error:
        raise ConfigurationError("the alert's provenance holds something else than numbers where numbers belong") from error
    if told.by == "narrative":
        choice = replace(choice, base=said.get("base"), adapter=said.get("adapter", NO_ADAPTER), precision=said.get("precision", "auto"))
    lines = (settings.detect.lines or "shipped") if "lines" in said else None
    return with_lines(lines, settings.detect.device, lambda told_lines: made(replace(choice, lines=told_lines)))


def _alerts(settings: "Settings", uid: str, file: Path | None) -> "list[Told]":
    """All records of that uid, oldest first."""
    from sinks.second_judgement import NoAlert, Told

    found = []
    for record in _lines(file) if file is not None else _topic(settings):
        # most records are others': look closely only at those that hold the uid at all
        if uid.encode() not in record:
            continue
        try:
            told = Told.read(record)
        except NoAlert:
            continue
        if told.is_called(uid):
            found.append(told)
    return found


def _topic(settings: "Settings") -> Iterator[bytes]:
    from stream.kafka_reader import read_all

    for batch in read_all(settings.kafka.client(), [settings.topic("alerts")], embedded=settings.kafka.embedded):
        yield from (value for message in batch if (value := message.value()) is not None)


def _window(settings: "Settings", told: "Told", file: Path | None) -> "Window":
    """The window that the alert names.

    Raises:
        ConfigurationError: it is not there any more, or it is not whole.
    """
    from stream.errors import PoisonError
    from windowing.record import is_intact, parse_window

    if file is not None:
        record = next((line for line in _lines(file) if told.window_id.encode() in line and _is(line, told)), None)
        where = str(file)
    else:
        from stream.kafka_reader import read_one

        record = read_one(settings.kafka.client(), told.topic, told.partition, told.offset)
        where = f"{told.topic}, partition {told.partition}, offset {told.offset}"
    if record is None:
        raise ConfigurationError(f"window {told.window_id[:32]} is not in {where}: it has expired, or was never there")
    try:
        window = parse_window(record)
    except PoisonError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    if window.id != told.window_id:
        raise ConfigurationError(f"{where} holds another window than the alert's; was the topic made anew?")
    if not is_intact(record.strip()):
        sys.stderr.write(f"daywatch verify: window {window.id}: its digest does not fit its content\n")
    return window


def _is(line: bytes, told: "Told") -> bool:
    from stream.errors import PoisonError
    from windowing.record import parse_window

    try:
        return parse_window(line).id == told.window_id
    except PoisonError:
        return False


def _lines(file: Path) -> Iterable[bytes]:
    try:
        with file.open("rb") as lines:
            yield from (line for line in lines if line.strip())
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from error
