"""What commands that show records of a topic have in common: where records come from, since when, and on what they are written.

Knows neither alerts nor incidents: what they are and how they look is a `View`'s business.
"""

import re
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

import typer

from daywatch.stopping import StopRequest
from stream.errors import ConfigurationError, PipelineError, PoisonError
from stream.kinds import Millis

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from daywatch.settings import Settings

News = TypeVar("News")
Batches: TypeAlias = Iterable[tuple[list[bytes], bool]]
"""Some records, and whether all that was there at the start has been read."""


class View(Protocol[News]):
    """What has been read of one kind of record, and how it looks."""

    def take(self, record: bytes) -> News | None:
        """Take a record in; None when it changes nothing.

        Raises:
            PoisonError: it is no record of this kind.
        """

    def line(self, record: bytes, news: News) -> bytes | None:
        """The record as a line of JSON; None when it is not wanted."""

    def change(self, news: News) -> "RenderableType | None":
        """What is to be read about a record that came while somebody was looking; None when it is not wanted."""

    def standing(self) -> "Iterable[RenderableType]":
        """All that is wanted as it stands, in order."""

    def total(self) -> str:
        """How much has been shown."""


def show(command: str, batches: Batches, view: View[News], *, as_json: bool) -> None:
    """Show records: those that were there already as they stand, from then on each as it comes; as JSON each as it is.

    Raises:
        PipelineError: some could not be shown; each of them was named, and none hid the others.
    """
    shown_before, number, refused = False, 0, 0
    console = output_console()
    for records, caught_up in batches:
        taken = []
        for record in records:
            number += 1
            try:
                news = view.take(record)
            except PoisonError as error:
                refused += 1
                sys.stderr.write(f"daywatch {command}: record {number}: {error}\n")
                continue
            if news is not None:
                taken.append((record, news))
        if as_json:
            lines = (view.line(record, news) for record, news in taken)
            sys.stdout.buffer.writelines(line + b"\n" for line in lines if line is not None)
            sys.stdout.buffer.flush()
        else:
            texts = [view.change(news) for _, news in taken] if shown_before else view.standing() if caught_up else []
            for text in texts:
                if text is not None:
                    console.print(text)
        shown_before = shown_before or caught_up
    if not as_json:
        sys.stderr.write(view.total() + "\n")
    if refused:
        raise PipelineError(f"{refused:,} of {number:,} records could not be shown")


def since_of(text: str | None, zone: str) -> Millis | None:
    """A day or time of the organisation, or a duration before now, in UTC ms.

    Raises:
        typer.BadParameter: it is neither.
    """
    if text is None:
        return None
    from daywatch.settings import parse_duration
    from stream.clock import SystemClock

    try:
        if re.match(r"\d{4}-", text):
            moment = datetime.fromisoformat(text)
            return round((moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).timestamp() * 1000)
        return SystemClock().now_ms() - parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no day, time or duration", param_hint="--since") from error


def records_of_file(path: Path) -> Batches:
    """The whole file as one batch of lines; - is standard input.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        text = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    yield [line for line in text.splitlines() if line.strip()], True


def records_of_topic(settings: "Settings", role: str, stop: StopRequest | None) -> Batches:
    """The values of a topic's records; with `stop`, those that come as well, until somebody asks to stop."""
    from stream.kafka_reader import follow, read_all

    client, topics = settings.kafka.client(), [settings.topic(role)]
    if stop is not None:
        for followed in follow(client, topics, stop=stop.asked):
            yield _values(followed.messages), followed.caught_up
        return
    found: list[bytes] = []
    for batch in read_all(client, topics, embedded=settings.kafka.embedded):
        found += _values(batch)
    yield found, True


def _values(messages: Iterable[Any]) -> list[bytes]:
    return [value for message in messages if (value := message.value()) is not None]


def output_console() -> "Console":
    """Standard output as rich writes on it: in a pipe nothing is cut, since whoever reads it there has no width."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False) if sys.stdout.isatty() else Console(highlight=False, width=1_000)
