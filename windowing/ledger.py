"""What a worker writes down of where a partition stands: in the store, and as a note with the offsets it commits. Texts only."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from stream.errors import RefusedError, of_later_version
from stream.kinds import KINDS, Kind
from windowing.calendar import Calendar
from windowing.clocks import TopicClock
from windowing.partition import Closed

LAYOUT_VERSION = 1


class Place(NamedTuple):
    """Where a partition stands: the next offset of each kind, and how far closing has come.

    >>> Place((4, 0, 0, 0, 9), Closed(7, 0, "ana")).encode()
    '[[4,0,0,0,9],[7,0,"ana"]]'
    """

    positions: tuple[int, ...]
    closed: Closed

    def encode(self) -> str:
        """The text that the store compares byte by byte."""
        return _json([list(self.positions), list(self.closed)])

    @classmethod
    def decode(cls, text: str) -> "Place":
        """Read what `encode` wrote.

        Raises:
            RefusedError: it did not.
        """
        try:
            positions, closed = json.loads(text)
            if len(positions) != len(KINDS):
                raise ValueError
            return cls(tuple(map(int, positions)), Closed(*closed))
        except (ValueError, TypeError) as error:
            raise _unreadable() from error


def encode_note(sent: Closed) -> str:
    """What goes with every committed offset: how far windows are out."""
    return _json({"v": LAYOUT_VERSION, "sent": list(sent)})


def decode_note(note: str) -> Closed:
    """Read what `encode_note` wrote; a broker that drops notes gives an empty one.

    Raises:
        RefusedError: something else committed under this group's name.
    """
    if not note:
        return Closed()
    try:
        read = json.loads(note)
        if read["v"] > LAYOUT_VERSION:
            raise RefusedError(of_later_version("a commit of the group", read["v"], LAYOUT_VERSION))
        return Closed(*read["sent"])
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError("the group's commits were written by something else than this worker; use a new namespace") from error


def encode_state(clocks: Mapping[Kind, TopicClock], *, fresh: bool = False, watch: Mapping[str, Any] | None = None) -> str:
    """The five clocks, whether nothing has been read yet, and what is watched for (`windowing/watch.py`)."""
    state = {kind.value: [c.at_ms, c.pending_ms, c.pending_user, c.marked, c.last_ms] for kind, c in clocks.items()}
    return _json({"clocks": state, "fresh": fresh} | ({"watch": watch} if watch else {}))


def decode_clocks(state: str) -> dict[Kind, TopicClock]:
    """The five clocks of a state.

    Raises:
        RefusedError: it is none of ours.
    """
    try:
        clocks = json.loads(state)["clocks"]
        return {kind: TopicClock(*clocks[kind.value]) for kind in KINDS}
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable() from error


def decode_watch(state: str) -> dict[str, Any]:
    """What a state says of what is watched for; empty for nothing."""
    found: dict[str, Any] = json.loads(state).get("watch", {}) if state else {}
    return found


def is_fresh(state: str) -> bool:
    """Whether a state was written before anything was read.

    Raises:
        RefusedError: it is none of ours.
    """
    try:
        return not state or bool(json.loads(state)["fresh"])
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable() from error


def _unreadable() -> RefusedError:
    return RefusedError(
        "the store holds a state that cannot be read: it is damaged, or something else wrote it",
        "Use a new namespace, or reset this one (daywatch reset window)",
    )


def encode_layout(calendar: Calendar, partitions: int, pseudonyms: str | None = None) -> str:
    """What must not change while a namespace lives; `pseudonyms` is the id of the key that windows' names are made with, if any."""
    spec = calendar.spec
    layout = {"version": LAYOUT_VERSION, "partitions": partitions, "size_ms": spec.size_ms, "hop_ms": spec.hop_ms, "zone": calendar.zone}
    return json.dumps(layout | ({"pseudonyms": pseudonyms} if pseudonyms else {}), sort_keys=True)


def check_layout(ours: str, theirs: str) -> None:
    """Refuse a state that was made with other settings.

    Raises:
        RefusedError: names the first setting that differs, or says that a later version wrote the state.
    """
    wanted = json.loads(ours)
    try:
        found = dict(json.loads(theirs))
        if found.get("version", 0) > LAYOUT_VERSION:
            # whatever else it says, only that version knows what it means
            raise RefusedError(of_later_version("window state", found["version"], LAYOUT_VERSION))
    except (ValueError, TypeError) as error:
        raise _unreadable() from error
    for name in (*wanted, *(found.keys() - wanted.keys())):
        if wanted.get(name) != found.get(name):
            raise RefusedError(
                f"window state was made with {name} = {found.get(name)}, and the settings say {wanted.get(name)}",
                "Restore that setting, or use a new namespace",
            )


def check_begun(number: int, *, held: bool, fresh: bool, committed: bool) -> None:
    """Refuse a partition that one of store and group knows and the other does not.

    Args:
        number: the partition.
        held: the store has a position for it.
        fresh: that position was written before anything was read.
        committed: the group has committed offsets for it.

    Raises:
        RefusedError: says which of the two was lost.
    """
    if committed and not held:
        raise RefusedError(
            f"partition {number}: the group has committed offsets, but the store holds no state for it: the store was lost or "
            "emptied, or belongs to another namespace",
            "Restore it, rebuild it from the events (daywatch reset window), or start over with a new namespace",
        )
    if held and not fresh and not committed:
        raise RefusedError(
            f"partition {number}: the store holds state, but the group has no committed offsets: they expire a week after "
            "the last worker left, or the broker is a new one",
            "Use a new namespace, or reset this one (daywatch reset window)",
        )


def check_position(number: int, log: str, position: int, bounds: tuple[int, int], *, trust_bounds: bool = True) -> None:
    """Refuse a position outside its log, whose kind or topic is `log`.

    `trust_bounds` is False for a broker whose end offsets cannot be believed.

    Raises:
        RefusedError: says on which side it lies, and what that means.
    """
    low, high = bounds
    if position < low:
        raise RefusedError(
            f"partition {number}: {log} is to be read from offset {position}, but its log begins at {low}: records were deleted "
            "before they were read, or the topic was made anew",
            "Use a new namespace, or reset this one (daywatch reset window)",
        )
    if position > high and trust_bounds:
        raise RefusedError(
            f"partition {number}: {log} is to be read from offset {position}, but its log ends at {high}: the topic was made anew",
            "Use a new namespace, or reset this one (daywatch reset all)",
        )


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
