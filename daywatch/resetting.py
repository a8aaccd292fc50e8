"""What resetting a group changes: decided from facts, before anything is touched. Values in, a plan out; knows no server.

Resetting the window workers rebuilds their state from the logs' beginning, and sends nothing twice. That is what the delivery protocol
calls a store that came back older: positions at the logs' beginning under commits that stay as they are. The commits say how far
windows and dead letters are out; where the group has lost them, they are made anew from what the topics hold.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stream.errors import RefusedError
from stream.groups import Group
from stream.kinds import KINDS, Kind
from stream.log import Commit, TopicPartition
from windowing.calendar import Calendar
from windowing.clocks import TopicClock
from windowing.ledger import Place, check_layout, decode_note, encode_note, encode_state
from windowing.partition import Closed
from windowing.told import Told
from windowing.upkeep import Held

Bounds = Mapping[TopicPartition, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One partition's state at the logs' beginning. `at` and `state` are empty for one of which nothing is out: it begins by itself."""

    number: int
    at: str
    state: str
    commits: Mapping[TopicPartition, Commit]
    """Those that the group lacks."""
    records: int
    """Offsets that are read again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reset does: sentences for people, and the parts to carry out in this order.

    Attributes:
        groups: consumer groups that must have no member.
        goes: what is deleted or put back.
        stays: what is not touched, as far as somebody might think so.
        then: what happens when the workers are started again.
        delete_groups: their commits go.
        tombstones: compacted topics of which every key is deleted.
        delete_records: topics of which all records are deleted.
        empty: partitions of which the store is to hold nothing.
        rebuilt: partitions whose state is put back.
    """

    groups: tuple[str, ...]
    goes: tuple[str, ...]
    stays: tuple[str, ...]
    then: tuple[str, ...]
    delete_groups: tuple[str, ...] = ()
    tombstones: tuple[str, ...] = ()
    delete_records: tuple[str, ...] = ()
    empty: tuple[int, ...] = ()
    rebuilt: tuple[Rebuilt, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """What there is to know of the window workers of a namespace.

    Attributes:
        group: their group.
        topics: the event topics.
        partitions: of each.
        calendar: as the settings say.
        layout: what state is made with by the settings (`windowing.ledger.encode_layout`).
        held: what the store holds, by partition; partitions beyond `partitions` may be among them.
        bounds: of the event logs.
        told: the newest record of each partition of the windows topic that holds one.
        lettered: for each event log the offset behind the last one that a dead letter names.
        pseudonymous: the windows topic names no users.
    """

    group: Group
    topics: Mapping[Kind, str]
    partitions: int
    calendar: Calendar
    layout: str
    held: Mapping[int, Held]
    bounds: Bounds
    told: Mapping[int, Told]
    lettered: Mapping[TopicPartition, int] = field(default_factory=dict)
    pseudonymous: bool = False


def window_plan(facts: WindowFacts, windows: str) -> Plan:
    """Rebuild the state of all partitions from the logs' beginning; `windows` is the topic's name.

    Raises:
        RefusedError: that would lose or double something; the text says what to do instead.
    """
    strangers = sorted(number for number in facts.held if number >= facts.partitions)
    if strangers:
        raise RefusedError(
            f"the store holds state of partition {strangers[0]}, and the topics have {facts.partitions} partitions: the topics were made "
            "anew with fewer of them",
            "Use a new namespace, or `daywatch reset all`",
        )
    rebuilt = [_rebuilt(number, facts, windows) for number in range(facts.partitions)]
    records, made = sum(one.records for one in rebuilt), sum(len(one.commits) for one in rebuilt)
    expired = sum(start for start, _ in facts.bounds.values())
    goes = [f"the store's panes, profiles, clocks and positions of {facts.partitions} partitions: put back to the logs' beginning"]
    if made:
        goes.append(f"{made} missing positions of group {facts.group.name}: made anew from what {windows} and the dead letters say")
    then = [
        f"{records:,} offsets of the five event topics are read again; windows that are in {windows} are rebuilt, and not sent again",
        "what `daywatch forget` took out of the state comes back as far as the event topics still hold it: run it again afterwards",
    ]
    if expired:
        then.append("the logs' oldest events have expired: profiles, and windows that are still open, are rebuilt from what is left")
    return Plan(
        groups=(facts.group.name,),
        goes=tuple(goes),
        stays=(f"all records of all topics, {windows} included", "the positions that the group has committed", "the other groups"),
        then=tuple(then),
        rebuilt=tuple(rebuilt),
    )


def _rebuilt(number: int, facts: WindowFacts, windows: str) -> Rebuilt:
    logs = [TopicPartition(facts.topics[kind], number) for kind in KINDS]
    held, told = facts.held.get(number, Held(number)), facts.told.get(number)
    if held.layout:
        check_layout(facts.layout, held.layout)
    sent, lacking = _sent(number, facts, held, windows), {}
    records = sum(end - start for start, end in (facts.bounds[at] for at in logs))
    known = [at for at in logs if at in facts.group.commits]
    if not known and sent == Closed() and told is None:
        return Rebuilt(number, "", "", {}, records)
    # looked at only where commits are lacking: a state that is damaged is a reason to reset it
    lost = len(known) < len(logs)
    positions = dict(zip(logs, Place.decode(held.at).positions, strict=True)) if held.at and lost else {}
    for at in logs:
        start, end = facts.bounds[at]
        commit = facts.group.commits.get(at)
        if commit is None:
            out_to = max(start, positions.get(at, 0), facts.lettered.get(at, 0))
            lacking[at] = commit = Commit(out_to, encode_note(sent))
        if commit.offset > end:
            raise RefusedError(
                f"partition {number}: {at.topic} is dealt with up to offset {commit.offset}, but its log ends at {end}: the topic was made "
                f"anew, and {windows} holds what the old one said",
                "Use a new namespace, or `daywatch reset all`",
            )
    place = Place(tuple(facts.bounds[at][0] for at in logs), Closed())
    return Rebuilt(number, place.encode(), encode_state({kind: TopicClock() for kind in KINDS}), lacking, records)


def _sent(number: int, facts: WindowFacts, held: Held, windows: str) -> Closed:
    """How far windows of a partition are out: what any of commits, store and the windows topic itself knows of."""
    logs = [TopicPartition(facts.topics[kind], number) for kind in KINDS]
    notes = [decode_note(facts.group.commits[at].note) for at in logs if at in facts.group.commits]
    told = facts.told.get(number)
    out = _closed(told, facts, windows) if told is not None else Closed()
    if any(note > Closed() for note in notes):
        return max(notes)  # it was committed with the last window
    if facts.pseudonymous and told is not None and told.mark is None:
        raise RefusedError(
            f"partition {number}: the group has no committed offsets, and {windows} names no users: nobody can say which windows are out",
            "Use a new namespace, or `daywatch reset all`",
        )
    return max([out, *([Place.decode(held.at).closed] if held.at else [])])


def _closed(told: Told, facts: WindowFacts, windows: str) -> Closed:
    """How far a partition was closed when it sent that record."""
    found = told.closed(facts.calendar)
    if found is None:
        raise RefusedError(
            f"{windows} holds windows of another size, hop or zone than the settings say",
            "Restore that setting, use a new namespace, or `daywatch reset all`",
        )
    return found


@dataclass(frozen=True, slots=True)
class Names:
    """Groups and topics of a namespace by role."""

    groups: Mapping[str, str]
    topics: Mapping[str, str]


def detect_plan(names: Names) -> Plan:
    """Judge everything anew: verdicts and alerts go, since they would come twice."""
    verdicts, alerts, memory = (names.topics[role] for role in ("verdicts", "alerts", "alert_memory"))
    return Plan(
        groups=(names.groups["detect"],),
        goes=(
            f"the positions of group {names.groups['detect']}",
            f"all records of {verdicts} and {alerts}, those that `daywatch classify` wrote included, and all of {memory}",
        ),
        stays=(f"{names.topics['windows']}, {names.topics['incidents']} and every other topic", "the store", "the other groups"),
        then=(
            f"every window that {names.topics['windows']} holds is judged again; alerts of windows that have expired do not come back",
            "incidents merge what comes again with what they know; reset correlate, too, when a new model is to tell new stories",
        ),
        delete_groups=(names.groups["detect"],),
        tombstones=(memory,),
        # verdicts last: as long as there are some, a detect worker without positions refuses to start
        delete_records=(alerts, verdicts),
    )


def correlate_plan(names: Names) -> Plan:
    """Tell all stories anew."""
    incidents, memory = names.topics["incidents"], names.topics["incident_memory"]
    return Plan(
        groups=(names.groups["correlate"],),
        goes=(f"the positions of group {names.groups['correlate']}", f"all records of {incidents} and {memory}"),
        stays=(f"{names.topics['verdicts']}, {names.topics['alerts']} and every other topic", "the store", "the other groups"),
        then=("every alert is merged again; incidents whose alerts have expired do not come back",),
        delete_groups=(names.groups["correlate"],),
        tombstones=(memory,),
        delete_records=(incidents,),
    )


def all_plan(names: Names, held: Iterable[int]) -> Plan:
    """Forget everything that was made of the events, as if nothing had run yet. `held` are the store's partitions."""
    numbers: Sequence[int] = sorted(held)
    gone = [names.topics[role] for role in ("incidents", "alerts", "verdicts", "windows")]
    memories = [names.topics[role] for role in ("incident_memory", "alert_memory")]
    groups = tuple(names.groups[role] for role in ("correlate", "detect", "window"))
    return Plan(
        groups=groups,
        goes=(
            f"the positions of the groups {', '.join(groups)}",
            f"all records of {', '.join([*gone, *memories])}",
            f"the store's state of {len(numbers)} partitions, learned profiles included",
        ),
        stays=(
            f"the events, {names.topics['dead_letters']} and {names.topics['operations']}",
            "groups of `daywatch classify`, and the map behind pseudonyms",
        ),
        then=(
            "everything begins at the logs' beginning; what has expired there does not come back",
            "records that cannot be used are written to the dead letters again",
        ),
        delete_groups=groups,
        tombstones=tuple(memories),
        delete_records=tuple(gone),
        empty=tuple(numbers),
    )
