"""`daywatch state`: how far a namespace has come, partition by partition. Knows whom to ask and how to show it; changes nothing."""

import json as json_text
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import settings_of
from daywatch.stopping import StopRequest

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from daywatch.overview import Bounds, Letters, Overview, PartitionState
    from daywatch.settings import Settings
    from stream.groups import Group
    from stream.kinds import Millis
    from windowing.calendar import Calendar
    from windowing.upkeep import Held

_MOST_READ = 50_000
"""Dead letters that are counted one by one; of more, only how much room they take."""


def state(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show it again and again; Ctrl-C ends it.")] = False,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks with --follow.")] = 5.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out what must be read through: open windows, dead letters by reason.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a look on standard output.")] = False,
) -> None:
    """Show partitions, owners, clocks, watermarks, open windows, lag and memory, and the groups that work on them.

    Only looks: it joins no group and takes no ownership. Lag counts offsets; a log that ends in a transaction's marker has a lag of 1.
    """
    settings = settings_of(ctx)
    stop = StopRequest() if follow else None
    looks = _Looks(settings, quick=quick)
    try:
        while True:
            _show(looks.take(), as_json=json, again=follow)
            if stop is None or _waited(every, stop):
                return
    finally:
        looks.close()


def _waited(seconds: float, stop: StopRequest) -> bool:
    """Whether somebody asked to stop within that time."""
    pause = threading.Event()
    for _ in range(max(1, int(seconds / 0.1))):
        if stop.asked() or pause.wait(0.1):
            return True
    return stop.asked()


def _show(overview: "Overview", *, as_json: bool, again: bool) -> None:
    if as_json:
        print(json_text.dumps(overview.as_json()), flush=True)
        return
    from rich.console import Console

    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=200)
    if again and console.is_terminal:
        console.clear()
    print_overview(overview, console)


# gathering ---------------------------------------------------------------------------------------------------------------


class _Looks:
    """Looks at broker and store as often as wanted, with the same connections."""

    def __init__(self, settings: "Settings", *, quick: bool) -> None:
        from stream.kafka_groups import KafkaGroups
        from windowing.redis_store import RedisStore
        from windowing.redis_upkeep import RedisUpkeep

        self._settings, self._quick, self._client = settings, quick, settings.kafka.client()
        self._groups = KafkaGroups(self._client)
        options = settings.store.options()
        self._upkeep = RedisUpkeep(settings.store.url, settings.namespace, **options)
        self._store = RedisStore(settings.store.url, settings.namespace, **options)

    def take(self) -> "Overview":
        """One look.

        Raises:
            TransientError: broker or store cannot be reached.
            RefusedError: a topic is missing.
        """
        from daywatch.overview import Overview, group_state, partition_state
        from stream.clock import SystemClock
        from stream.kafka_consumer import partitions_of
        from stream.kinds import KINDS
        from stream.log import TopicPartition
        from windowing.ledger import Place

        settings = self._settings
        topics = {kind: settings.topic(kind) for kind in KINDS}
        window = self._groups.look(settings.group("window"))
        count = partitions_of(self._client, topics[KINDS[0]])
        helds = {number: self._upkeep.look(number) for number in range(count)}
        bounds = self._bounds([*topics.values()])
        partitions = []
        positions: dict[TopicPartition, int] = {}
        for number, held in helds.items():
            calendar = _calendar(held)
            opened = self._open_windows(held, calendar)
            partitions.append(partition_state(held, topics, calendar, window, bounds, opened))
            if held.at:
                places = Place.decode(held.at).positions
                positions |= {TopicPartition(topics[kind], number): at for kind, at in zip(KINDS, places, strict=True)}
        groups = [group_state(window, "window", [*topics.values()], bounds, positions)]
        for group, role, reads in self._others():
            groups.append(group_state(group, role, reads, self._bounds(reads), {}))
        memory = self._upkeep.memory()
        opened_findings, findings = self._operations()
        return Overview(
            settings.namespace, SystemClock().now_ms(), tuple(partitions), tuple(groups), self._letters(), opened_findings, findings,
            memory.used, memory.most or None,
        )  # fmt: skip

    def _bounds(self, topics: Iterable[str]) -> "Bounds":
        from stream.kafka_consumer import Place, bounds, partitions_of
        from stream.log import TopicPartition

        places = [Place(topic, number) for topic in topics for number in range(partitions_of(self._client, topic))]
        return {TopicPartition(*place): (bound.start, bound.end) for place, bound in bounds(self._client, places).items()}

    def _others(self) -> "Iterable[tuple[Group, str, Sequence[str]]]":
        """The groups of this namespace besides the window workers', with what each reads."""
        names = [name for name in self._groups.names() if name.startswith(f"{self._settings.namespace}.")]
        for role in ("detect", "correlate", *sorted({name.removeprefix(f"{self._settings.namespace}.") for name in names})):
            if role in ("detect", "correlate"):
                if role == "correlate" and self._settings.group(role) not in names:
                    continue
                group = self._groups.look(self._settings.group(role))
                reads = [self._settings.topic("windows")] if role == "detect" else sorted({at.topic for at in group.commits})
                names = [name for name in names if name != group.name]
                yield group, role, reads
            elif role.startswith("classify.") and self._settings.group(role) in names:
                yield self._groups.look(self._settings.group(role)), "classify", [role.removeprefix("classify.")]

    def _open_windows(self, held: "Held", calendar: "Calendar | None") -> int | None:
        """Counted from the panes themselves: what the store holds of them is read."""
        from windowing.ledger import Place
        from windowing.panes import decode_blobs
        from windowing.partition import Partition, Rules

        if calendar is None or not held.at:
            return 0
        if self._quick:
            return None
        seen = Partition(Rules(calendar))
        seen.closed = Place.decode(held.at).closed
        for pane, blobs in self._store.panes(held.number, held.panes):
            seen.restore(pane, decode_blobs(blobs))
        return seen.open_windows

    def _letters(self) -> "Letters":
        from daywatch.overview import Letters
        from stream.dead_letters import read_refusal
        from stream.kafka_reader import read_all

        topic = self._settings.topic("dead_letters")
        room = sum(end - start for start, end in self._bounds([topic]).values())
        if self._quick or room > _MOST_READ:
            return Letters(room, exact=room == 0)
        reasons: dict[str, int] = {}
        for batch in read_all(self._client, [topic], embedded=self._settings.kafka.embedded):
            for message in batch:
                reason = read_refusal(message.headers()).reason  # type: ignore[arg-type]
                reasons[reason] = reasons.get(reason, 0) + 1
        return Letters(sum(reasons.values()), exact=True, reasons=dict(sorted(reasons.items())))

    def _operations(self) -> tuple[int, int]:
        """How many operational findings are open, and how many there have been."""
        from sinks.operations import Operations
        from stream.kafka_reader import read_all

        found = Operations()
        for batch in read_all(self._client, [self._settings.topic("operations")], embedded=self._settings.kafka.embedded):
            for message in batch:
                value = message.value()
                if value is not None:
                    found.take(value)
        return len(found.open), len(found.by_uid)

    def close(self) -> None:
        """Let go of the connections."""
        self._upkeep.close()
        self._store.close()


def _calendar(held: "Held") -> "Calendar | None":
    """The calendar that a partition's state was made with, whatever the settings say by now."""
    from windowing.calendar import Calendar, WindowSpec

    if not held.layout:
        return None
    layout = json_text.loads(held.layout)
    return Calendar(WindowSpec(layout["size_ms"], layout["hop_ms"]), layout["zone"])


# showing -----------------------------------------------------------------------------------------------------------------


def print_overview(overview: "Overview", console: "Console") -> None:
    """Tables for people: partitions, clocks, groups, and a few lines on the rest."""
    from rich.table import Table

    def table(*columns: tuple[str, str]) -> Table:
        found = Table(box=None, pad_edge=False, header_style="dim")
        for name, side in columns:
            found.add_column(name, justify="right" if side == "r" else "left", no_wrap=True)
        return found

    console.print(f"[bold]namespace {overview.namespace}[/bold]  {_when(overview.at_ms)} UTC")
    rows = table(
        ("partition", "r"), ("epoch", "r"), ("owner", "l"), ("watermark", "l"), ("closed to", "l"), ("lag", "r"), ("panes", "r"),
        ("open windows", "r"), ("profiles", "r"), ("memory", "r"),
    )  # fmt: skip
    for one in overview.partitions:
        rows.add_row(
            str(one.partition), str(one.epoch), one.owner or "–", _when(one.watermark_ms), _when(one.closed_to_ms), f"{one.lag:,}",
            str(one.panes), _number(one.open_windows), f"{one.profiles:,}", _bytes(one.bytes),
        )  # fmt: skip
    totals: Mapping[str, int | None] = overview.as_json()["totals"]
    rows.add_row(
        "all", "", f"{totals['owned']} of {totals['partitions']} owned", _when(overview.watermark_ms), "", _number(totals["lag"]),
        _number(totals["panes"]), _number(totals["open_windows"]), _number(totals["profiles"]), _bytes(totals["bytes"]), style="bold",
    )  # fmt: skip
    console.print(rows)
    console.print()
    console.print(_clocks(overview.partitions, table))
    console.print()
    groups = table(("group", "l"), ("state", "l"), ("members", "r"), ("lag", "r"), ("reads", "l"))
    for group in overview.groups:
        groups.add_row(group.group, group.state, str(len(group.members)), f"{group.lag:,}", ", ".join(group.topics))
    console.print(groups)
    console.print()
    _print_rest(overview, console)


def _clocks(partitions: "Iterable[PartitionState]", table: "Callable[..., Table]") -> "Table":
    from stream.kinds import KINDS

    clocks = table(("partition", "r"), *((f"{kind}: clock, lag", "r") for kind in KINDS))
    for one in partitions:
        clocks.add_row(str(one.partition), *(f"{_when(log.clock_ms)} {log.lag:>7,}" for log in one.logs))
    return clocks


def _print_rest(overview: "Overview", console: "Console") -> None:
    letters = overview.dead_letters
    why = ", ".join(f"{n:,} {reason}" for reason, n in sorted(letters.reasons.items(), key=lambda one: (-one[1], one[0])))
    console.print(f"dead letters: {'' if letters.exact else 'up to '}{letters.records:,}{f' ({why})' if why else ''}")
    console.print(f"operational findings: {overview.operations_open:,} open, {overview.operations:,} in all")
    limit = f" of {_bytes(overview.store_most)}" if overview.store_most else ", no limit set"
    console.print(f"store: {_bytes(overview.store_used)} used on the whole server{limit}")


def _when(ms: "Millis | None") -> str:
    """An instant as people read it, UTC."""
    return "–" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _bytes(value: int | None) -> str:
    """A size as people read it.

    >>> _bytes(1536)
    '1.5 KiB'
    """
    if value is None:
        return "?"
    size = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
