"""Rules about consumer groups and the state they share with the store. Pure; the worker's own rules of refusal are asked, not repeated."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from daywatch.doctor.about_broker import listed, span
from daywatch.doctor.facts import Facts, Group, Held, Log, Missing, known
from daywatch.doctor.findings import Told, fine, problem, warning
from stream.errors import RefusedError
from stream.kinds import KINDS, Millis
from stream.log import TopicPartition
from stream.topics import ALERTS, VERDICTS, WINDOWS, TopicLayout
from windowing.ledger import Place, check_begun, check_layout, check_position, is_fresh

READS: Final[Mapping[str, tuple[str, ...]]] = {"window": tuple(KINDS), "detect": (WINDOWS,), "correlate": (ALERTS, VERDICTS)}
"""Which topics each group reads, by role."""
COMMANDS: Final = {"window": "daywatch window", "detect": "daywatch detect", "correlate": "daywatch correlate"}


_PATIENCE_MS: Final[Millis] = 600_000


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where a group stands in one log, and since when a record waits for it there; None where none does."""

    at: TopicPartition
    position: int | None
    log: Log
    since_ms: Millis | None

    @property
    def lag(self) -> int:
        """Records that wait; what ends a transaction is none, though it has an offset."""
        position = self.log.start if self.position is None else self.position
        return max(self.log.end - max(position, self.log.start), 1) if self.since_ms is not None else 0


def members(facts: Facts) -> Iterable[Told]:
    """Is somebody at work in each group?"""
    for role, group in known(facts.groups).items():
        name = facts.wanted.group(role)
        if group.members:
            yield fine(f"{_number(group.members, 'member')}, {group.state.lower()}", name)
            continue
        waiting = sum(each.lag for each in _standings(facts, role, group))
        if role == "correlate" and not group.committed:
            yield fine("not in use", name)
        elif waiting:
            yield warning(
                f"nobody reads, and {_number(waiting, 'record')} {'waits' if waiting == 1 else 'wait'}",
                f"start a worker: {COMMANDS[role]}",
                name,
            )
        else:
            yield fine("no member at present, and nothing waits", name)


def lag(facts: Facts) -> Iterable[Told]:
    """Do groups keep up?"""
    for role, group in known(facts.groups).items():
        name, standings = facts.wanted.group(role), _standings(facts, role, group)
        if role == "correlate" and not group.committed:
            yield fine("not in use", name)
            continue
        by_topic: dict[str, int] = {}
        for each in standings:
            by_topic[each.at.topic] = by_topic.get(each.at.topic, 0) + each.lag
        told = ", ".join(f"{topic} {n:,}" for topic, n in by_topic.items() if n) or "none"
        oldest = min((each.since_ms for each in standings if each.since_ms is not None), default=facts.now_ms)
        if facts.now_ms - oldest <= _PATIENCE_MS:
            yield fine(f"lag: {told}", name)
        elif group.members:
            most = facts.wanted.layout.partitions
            yield warning(
                f"falls behind: the oldest record that waits came {span(facts.now_ms - oldest)} ago (lag: {told})",
                f"start more workers of it, up to {most} in all (one a partition), or see in their logs what holds them up",
                name,
            )
        else:
            yield warning(
                f"the oldest record that waits came {span(facts.now_ms - oldest)} ago (lag: {told})",
                f"start a worker: {COMMANDS[role]}",
                name,
            )


def positions(facts: Facts) -> Iterable[Told]:
    """Do all positions lie in their logs?"""
    for role, group in known(facts.groups).items():
        name = facts.wanted.group(role)
        where = _positions(facts, role, group)
        faults = [fault for at, position in where.items() if (fault := _outside(facts, at, position)) is not None]
        if faults:
            yield problem(_first([fault.told for fault in faults]), faults[0].cure, name)
        else:
            yield fine(f"{_number(len(where), 'position')}, each in its log" if where else "no position yet", name)


def begun(facts: Facts) -> Iterable[Told]:
    """Do the store and the group know the same partitions?"""
    group, held = known(facts.groups)["window"], known(known(facts.store).held)
    numbers = sorted({*held, *(at.partition for at in group.committed)})

    def check(number: int) -> None:
        mine = held.get(number, Held())
        committed = any(at.partition == number for at in group.committed)
        check_begun(number, held=bool(mine.at), fresh=is_fresh(mine.state), committed=committed)

    yield from _refusals(numbers, check, facts.wanted.group("window")) or [
        fine(f"both know {_number(len(numbers), 'partition')}" if numbers else "neither knows a partition yet")
    ]


def doubled(facts: Facts) -> Iterable[Told]:
    """Could detection go on where it was?"""
    group, logs, layout = known(facts.groups)["detect"], known(facts.logs), facts.wanted.layout
    verdicts, windows = layout.name(VERDICTS), layout.name(WINDOWS)
    lost = [
        at.partition for at, log in logs.items()
        if at.topic == verdicts and log.end > log.start and TopicPartition(windows, at.partition) not in group.committed
    ]  # fmt: skip
    if lost:
        yield problem(
            f"{verdicts} holds records (partition {listed([str(p) for p in sorted(lost)])}), and the group has no position: "
            "it expires a week after the last member left",
            "use a new namespace, or reset this group",
            facts.wanted.group("detect"),
        )
    else:
        yield fine("verdicts and positions belong together", facts.wanted.group("detect"))


def layout(facts: Facts) -> Iterable[Told]:
    """Was the state in the store made with these settings?"""
    held = {number: one for number, one in known(known(facts.store).held).items() if one.layout}

    def check(number: int) -> None:
        check_layout(facts.wanted.state_layout, held[number].layout)

    if not held:
        yield fine("the store holds no state of this namespace yet")
        return
    yield from _refusals(sorted(held), check, "") or [fine(f"{_number(len(held), 'partition')} of state, made with these settings")]


def _refusals(numbers: Sequence[int], check: Callable[[int], None], about: str) -> list[Told]:
    faults: list[RefusedError] = []
    for number in numbers:
        try:
            check(number)
        except RefusedError as error:
            faults.append(error)
    return [problem(_first([fault.told for fault in faults]), faults[0].cure, about)] if faults else []


def _outside(facts: Facts, at: TopicPartition, position: int) -> RefusedError | None:
    log = known(facts.logs).get(at)
    if log is None:
        return None
    try:
        check_position(at.partition, at.topic, position, (log.start, log.end), trust_bounds=not facts.wanted.embedded)
    except RefusedError as error:
        return error
    return None


def _standings(facts: Facts, role: str, group: Group) -> list[_Standing]:
    positions, waiting = _positions(facts, role, group), known(facts.waiting)
    logs = known(facts.logs)
    return [_Standing(at, positions.get(at), logs[at], waiting.get(at)) for at in read_by(role, facts.wanted.layout, logs)]


def read_by(role: str, layout: TopicLayout, logs: Iterable[TopicPartition]) -> list[TopicPartition]:
    """Those of the logs that a role reads, topic by topic."""
    topics = [layout.name(each) for each in READS[role]]
    return sorted((at for at in logs if at.topic in topics), key=lambda at: (topics.index(at.topic), at.partition))


def _positions(facts: Facts, role: str, group: Group) -> dict[TopicPartition, int]:
    held = {} if isinstance(facts.store, Missing) or isinstance(facts.store.held, Missing) else facts.store.held
    return positions_of(role, facts.wanted.layout, group, held)


def positions_of(role: str, layout: TopicLayout, group: Group, held: Mapping[int, Held]) -> dict[TopicPartition, int]:
    """Where a group stands. Windowing's places in the store go before its commits: it commits to Kafka only what it has sent."""
    topics = {layout.name(each) for each in READS[role]}
    found = {at: offset for at, offset in group.committed.items() if at.topic in topics}
    if role == "window":
        for number, one in held.items():
            if one.at:
                found |= {
                    TopicPartition(layout.name(kind), number): position
                    for kind, position in zip(KINDS, Place.decode(one.at).positions, strict=True)
                }
    return found


def _first(told: Sequence[str]) -> str:
    return told[0] if len(told) == 1 else f"{told[0]} (and {len(told) - 1} more like this)"


def _number(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n:,} {noun}s"
