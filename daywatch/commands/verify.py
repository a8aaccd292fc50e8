"""`daywatch verify`: an alert's window judged again, with what the alert says it was judged with. Knows where both are found."""

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
    base: Annotated[
        str | None, typer.Option(help="The language model to ask, if it is not where the alert's name finds it.", show_default=False)
    ] = None,
    adapter: Annotated[str | None, typer.Option(help="The same for its adapter.", show_default=False)] = None,
) -> None:
    """Judge an alert's window again, and compare label, score, evidence, reason and hashes with what the alert says.

    Backend, base, adapter, precision, track, budget and share are those that the alert names. Says `the same` and ends with 0, or
    says what differs and ends with 1. A finding is verified record by record, its updates included.

    An alert names a model that lay in a directory by that directory's name alone: detect.base and detect.adapter, or these options,
    say where it lies.
    """
    settings = settings_of(ctx, {"detect.model": model})
    asked = _Asked(base, adapter)
    found = _alerts(settings, alert, alerts)
    backends: dict[object, Backend] = {}
    differing = sum(not _holds(told, settings, windows, asked, backends) for told in found)
    if differing:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Where the command line says that a language model lies."""

    base: str | None
    adapter: str | None


def _holds(told: "Told", settings: "Settings", windows: Path | None, asked: _Asked, backends: "dict[object, Backend]") -> bool:
    """Judge one record's window again, and say what comes of it."""
    from detector.backend import judged
    from sinks.second_judgement import differences, retouched
    from stream.errors import PoisonError

    window = _window(settings, told, windows)
    key = (told.by, told.track, tuple(sorted((name, told.provenance.get(name, "")) for name in _MADE_OF)))
    backend = backends.get(key) or backends.setdefault(key, _backend(settings, told, asked))
    [verdict] = judged(backend, [window])
    if isinstance(verdict, PoisonError):
        found = [f"it cannot be judged: {verdict}"]
    else:
        found = differences(told, verdict) + retouched(told, verdict, window)
    head = f"alert {told.uid} ({told.by}, window {told.window_id})"
    if not found:
        sys.stdout.write(f"{head}: the same\n")
        return True
    sys.stdout.write(f"{head}: differs\n" + "".join(f"  {line}\n" for line in found))
    return False


_MADE_OF = ("base", "adapter", "revision", "precision", "shots", "prompt_tokens", "triage_share", "budget", "lines")


def _backend(settings: "Settings", told: "Told", asked: _Asked) -> "Backend":
    """The backend that the alert names, made anew."""
    from dataclasses import replace

    from daywatch.backends import NAMES, NO_ADAPTER, choice_of, made, with_lines

    if told.by not in NAMES:
        raise ConfigurationError(f"the alert was raised by {told.by[:40]!r}, which this version does not know")
    said, chosen = told.provenance, choice_of(settings)
    try:
        budget = float(said.get("budget", chosen.budget))
        if not 0 < budget < math.inf:
            raise ValueError
        choice = replace(
            chosen,
            backend=told.by,
            track=told.track,
            budget=budget,
            shots=int(said.get("shots", 0)),
            share=float(said["triage_share"]) if "triage_share" in said else None,
            prompt_tokens=int(said["prompt_tokens"]) if "prompt_tokens" in said else None,
        )
    except ValueError as error:
        raise ConfigurationError("the alert's provenance holds no usable numbers where budget, share, shots or tokens belong") from error
    if told.by == "narrative":
        choice = replace(
            choice,
            base=asked.base or _place(said.get("base"), chosen.base),
            adapter=asked.adapter or _place(said.get("adapter", NO_ADAPTER), chosen.adapter),
            revision=chosen.revision if asked.base else said.get("revision"),
            precision=said.get("precision", "auto"),
        )
    lines = (settings.detect.lines or "shipped") if "lines" in said else None
    return with_lines(lines, settings.detect.device, lambda told_lines: made(replace(choice, lines=told_lines)))


def _place(named: str | None, configured: str | None) -> str | None:
    """Where the model of that name lies: an alert names a directory by the last part of its path, and the settings by all of it."""
    return configured if configured is not None and Path(configured).name == named else named


def _alerts(settings: "Settings", uid: str, file: Path | None) -> "list[Told]":
    """All records of that uid, oldest first.

    Raises:
        ConfigurationError: there are none, or none that can be judged again.
    """
    from sinks.second_judgement import NoAlert, Told

    found, unfit = [], None
    where = str(file) if file is not None else settings.topic("alerts")
    for record in _topic(settings) if file is None else _lines(file):
        # most records are others': look closely only at those that hold the uid at all
        if uid.encode() not in record:
            continue
        try:
            told = Told.read(record)
        except NoAlert as error:
            unfit = error
            continue
        if told.is_called(uid):
            found.append(told)
    if not found and unfit is not None:
        raise ConfigurationError(f"{where}: what names {uid[:64]!r} cannot be judged again: {unfit}")
    if not found:
        raise ConfigurationError(f"there is no alert {uid[:64]!r} in {where}")
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
