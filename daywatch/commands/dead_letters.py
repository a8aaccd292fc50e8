"""`daywatch dead-letters`: show what was refused, why, and where it lay. Knows where letters come from, not why records are refused."""

import json as json_text
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daywatch.cli import settings_of
from daywatch.stopping import StopRequest
from sinks.records import iso
from stream.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.table import Table

    from daywatch.settings import Settings
    from stream.dead_letters import Refusal

_MOST_SHOWN = 300


def dead_letters(
    ctx: typer.Context,
    reason: Annotated[list[str] | None, typer.Option(help="Refused for this reason only; may be repeated.", show_default=False)] = None,
    topic: Annotated[
        str | None, typer.Option(help="Refused from this topic only, in full or behind the namespace.", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing letters as they come; Ctrl-C ends it.")] = False,
    summary: Annotated[bool, typer.Option("--summary", help="How many of each reason and topic, and no single letters.")] = False,
    last: Annotated[int | None, typer.Option(min=1, help="The newest so many only.", show_default=False)] = None,
    show_values: Annotated[bool, typer.Option("--show-values", help="Keys and values, too: they hold personal data.")] = False,
    save: Annotated[Path | None, typer.Option(help="Write each value, as it was, to a file in this directory.", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on standard output.")] = False,
) -> None:
    """Show what was refused, why, and from where: topic, partition and offset.

    Each letter holds the record untouched; what it says is shown only when asked for. Counts by reason come on standard error.
    """
    settings = settings_of(ctx)
    if follow and (summary or last is not None):
        raise typer.BadParameter("it goes on; --summary and --last need an end", param_hint="--follow")
    wanted = _Wanted(frozenset(reason or ()), _full(settings, topic))
    stop = StopRequest() if follow else None
    counts: dict[tuple[str, str], int] = {}
    letters = _counted((letter for letter in _letters(settings, stop) if wanted(letter.refusal)), counts)
    if last is not None:
        letters = iter(sorted(letters, key=lambda letter: (letter.at_ms, letter.partition, letter.offset))[-last:])
    if save is not None:
        letters = _saved(letters, _directory(save))
    if summary:
        for _ in letters:
            pass
        _print_summary(counts, as_json=json)
    else:
        _print_letters(letters, as_json=json, values=show_values)
    _tell(counts)


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: what its headers say, where it lies itself, and the record."""

    refusal: "Refusal"
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None

    def as_json(self, values: bool) -> dict[str, Any]:
        """As plain values; the record's own bytes only when wanted, as text as far as they are text."""
        found: dict[str, Any] = {
            "reason": self.refusal.reason,
            "message": self.refusal.message,
            "topic": self.refusal.topic,
            "partition": self.refusal.partition,
            "offset": self.refusal.offset,
            "refused_at": iso(self.at_ms),
            "bytes": len(self.value) if self.value is not None else None,
            "letter": {"partition": self.partition, "offset": self.offset},
        }
        if values:
            found |= {"key": _text(self.key), "value": _text(self.value)}
        return found


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which letters are to be shown; no reasons: of any."""

    reasons: frozenset[str]
    topic: str | None

    def __call__(self, refusal: "Refusal") -> bool:
        return (not self.reasons or refusal.reason in self.reasons) and (self.topic is None or refusal.topic == self.topic)


def _full(settings: "Settings", topic: str | None) -> str | None:
    if topic is None or topic.startswith(f"{settings.namespace}."):
        return topic
    return f"{settings.namespace}.{topic}"


def _letters(settings: "Settings", stop: StopRequest | None) -> Iterable[Letter]:
    from stream.kafka_reader import follow, read_all

    client, topics = settings.kafka.client(), [settings.topic("dead_letters")]
    if stop is None:
        for batch in read_all(client, topics, embedded=settings.kafka.embedded):
            yield from map(_letter, batch)
        return
    for followed in follow(client, topics, stop=stop.asked):
        yield from map(_letter, followed.messages)


def _letter(message: Any) -> Letter:
    from stream.dead_letters import read_refusal

    return Letter(
        read_refusal(message.headers()), message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value()
    )


def _counted(letters: Iterable[Letter], counts: dict[tuple[str, str], int]) -> Iterable[Letter]:
    for letter in letters:
        place = letter.refusal.reason, letter.refusal.topic or "unknown"
        counts[place] = counts.get(place, 0) + 1
        yield letter


# showing -----------------------------------------------------------------------------------------------------------------


def _print_letters(letters: Iterable[Letter], *, as_json: bool, values: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from sinks.show import plain

    console = Console(highlight=False, soft_wrap=True)
    for letter in letters:
        if as_json:
            print(json_text.dumps(letter.as_json(values), ensure_ascii=False), flush=True)
            continue
        refusal = letter.refusal
        line = Text.assemble(
            (iso(letter.at_ms), "dim"), "  ", (plain(refusal.reason), "bold yellow"), "  ",
            f"{plain(refusal.topic or 'unknown')}/{refusal.partition}/{refusal.offset}  ", plain(refusal.message, _MOST_SHOWN),
        )  # fmt: skip
        if values:
            line.append(f"\n    key {_shown(letter.key)}\n    value {_shown(letter.value)}")
        console.print(line)


def _shown(raw: bytes | None) -> str:
    """A record's bytes on one line, made harmless for a terminal."""
    from sinks.show import plain

    return plain(_text(raw) or "null", _MOST_SHOWN)


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "backslashreplace")


def _print_summary(counts: dict[tuple[str, str], int], *, as_json: bool) -> None:
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    if as_json:
        for (reason, topic), count in rows:
            print(json_text.dumps({"reason": reason, "topic": topic, "count": count}))
    elif rows:
        from rich.console import Console

        Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(_summary_table(rows))


def _summary_table(rows: list[tuple[tuple[str, str], int]]) -> "Table":
    from rich.table import Table

    from sinks.show import plain

    table = Table("reason", "topic", box=None, pad_edge=False, header_style="dim")
    table.add_column("letters", justify="right")
    for (reason, topic), count in rows:
        table.add_row(plain(reason), plain(topic), f"{count:,}")
    return table


def _tell(counts: dict[tuple[str, str], int]) -> None:
    reasons: dict[str, int] = {}
    for (reason, _), count in counts.items():
        reasons[reason] = reasons.get(reason, 0) + count
    total = sum(reasons.values())
    why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items(), key=lambda one: (-one[1], one[0])))
    sys.stderr.write(f"{total:,} dead letter{'s' if total != 1 else ''}{f': {why}' if why else ''}\n")


# saving ------------------------------------------------------------------------------------------------------------------


def _directory(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"--save: {path}: {error.strerror}; name a directory that can be written to") from error
    return path


def _saved(letters: Iterable[Letter], directory: Path) -> Iterable[Letter]:
    """Each letter's value in a file that is called for where it lay; a value of null is an empty file."""
    for letter in letters:
        refusal = letter.refusal
        # only what a topic may be called gets into a file's name
        topic = "".join(c if c.isalnum() or c in "._-" else "_" for c in refusal.topic or "unknown")
        name = (
            f"{topic}-{refusal.partition}-{refusal.offset}" if refusal.offset is not None else f"letter-{letter.partition}-{letter.offset}"
        )
        try:
            # what it holds is personal: for nobody else's eyes
            path = directory / name
            path.touch(mode=0o600)
            path.write_bytes(letter.value or b"")
        except OSError as error:
            raise ConfigurationError(f"--save: {directory}: {error.strerror}; name a directory that can be written to") from error
        yield letter
