"""The stories of one partition's users: records in, records to send and to remember out. Knows no broker and no clock but the logs'.

Verdicts tell the time, alerts the content, and the two topics are read in whatever turns. So that the outcome does not depend on
that, a verdict that goes with an alert record holds its user's story open until that record has been read; everything else follows from the
order of each log alone. Clock marks are passed on once nothing that they promise is still to come.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import orjson

from sinks.incidents.finding import incident_finding
from sinks.incidents.memory import Place, decode_place, decode_state, encode_place, encode_state, is_place_key, place_key
from sinks.incidents.reading import MisroutedStory, read_alert, read_verdict
from sinks.incidents.story import Merging, Step, Told, UserState, announce, close_if_quiet, merge
from sinks.records import cloud_headers, iso
from stream.dead_letters import dead_letter
from stream.errors import PoisonError
from stream.forget_request import is_forget_request
from stream.kinds import Millis
from stream.log import Headers, Out, TopicPartition
from stream.marks import ClockMark, encode_mark, parse_mark
from stream.partitioner import partition_of

_SOURCE = b"daywatch/correlate"


@dataclass(frozen=True, slots=True)
class StoryTopics:
    """Names of the topics that a correlate worker touches, and their partition count."""

    verdicts: str
    alerts: str
    incidents: str
    incident_memory: str
    dead_letters: str
    partitions: int


class Received(NamedTuple):
    """A record of the verdicts or the alerts topic."""

    topic: str
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(slots=True)
class StoryTotals:
    """What has been done."""

    verdicts: int = 0
    alerts: int = 0
    opened: int = 0
    grown: int = 0
    closed: int = 0
    repeated: int = 0
    """Alert records that had been merged before."""
    refused: dict[str, int] = field(default_factory=dict)

    def add(self, other: "StoryTotals") -> None:
        """Count another's work as this one's."""
        for name in ("verdicts", "alerts", "opened", "grown", "closed", "repeated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for code, count in other.refused.items():
            self.refused[code] = self.refused.get(code, 0) + count


@dataclass(slots=True)
class StoryWork:
    """What some records come to: what is to be sent first, and then what is to be remembered, in this order."""

    out: list[Out] = field(default_factory=list)
    memory: dict[bytes, bytes | None] = field(default_factory=dict)
    """By key what is to be kept; None for a key that is to be forgotten."""
    totals: StoryTotals = field(default_factory=StoryTotals)
    refused: dict[tuple[str, str], int] = field(default_factory=dict)
    """Dead letters by topic and reason."""


class Stories:
    """The open stories of one partition, as its memory tells them. After anything uncertain it is thrown away and made anew."""

    def __init__(self, partition: int, memory: Mapping[bytes, bytes], topics: StoryTopics, merging: Merging, assignees: str) -> None:
        """Take up what `memory` holds; what it holds of other partitions is passed over.

        Raises:
            BadMemoryError: another version wrote it.
        """
        self.partition = partition
        self._topics, self._merging, self._assignees = topics, merging, assignees
        self._users = {
            key: decode_state(record)
            for key, record in memory.items()
            if not is_place_key(key) and partition_of(key, topics.partitions) == partition
        }
        kept = memory.get(place_key(partition))
        self.place = Place() if kept is None else decode_place(kept)
        self._kept = kept is not None
        self._waiting = {key for key, state in self._users.items() if state.waiting}
        self._due: list[tuple[Millis, bytes]] = []
        """When stories may be closed; entries of stories that have moved on are passed over."""
        for key in self._users:
            self._expect(key)

    def take(self, records: Iterable[Received]) -> StoryWork:
        """Deal with records, in their order; those of one topic in the order of its log."""
        work, before = StoryWork(), self.place
        for record in records:
            try:
                self._take(record, work)
            except PoisonError as error:
                self._bury(record, error, work)
            self._close_quiet(work)
        self._pass_mark_on(work)
        if self.place != before or not self._kept:
            # behind everything that it promises: the memory's log is read from its start, and may be cut short anywhere
            work.memory[place_key(self.partition)] = encode_place(self.place)
            self._kept = True
        return work

    def worked_off(self, ends: tuple[int, int]) -> StoryWork:
        """Remember where the logs of verdicts and alerts ended when they had been worked off; an alert that was not there is lost."""
        work, before = StoryWork(), self.place
        self._wait_no_more(None, work)
        self._close_quiet(work)
        self._pass_mark_on(work)
        self.place = replace(self.place, ends=ends)
        if self.place != before:
            work.memory[place_key(self.partition)] = encode_place(self.place)
        return work

    def _take(self, record: Received, work: StoryWork) -> None:
        if is_forget_request(record.key, record.value, record.headers):
            self._forget(record, work)
        elif record.value is None:
            mark = parse_mark(record.key, record.headers)
            if record.topic == self._topics.verdicts:
                self._take_mark(mark)
        elif record.topic == self._topics.verdicts:
            self._take_verdict(record, record.value, work)
        else:
            self._take_alert(record, record.value, work)

    def _forget(self, record: Received, work: StoryWork) -> None:
        """Drop what is kept of a user: the story where alerts say so, and what waits for alerts where verdicts do.

        The two logs are read in whatever turns, and a story may have begun anew by the time the second request is met.
        """
        key, state = record.key, self._users.get(record.key or b"")
        if key is None or state is None or (record.topic == self._topics.verdicts and state.story is not None):
            return
        del self._users[key]
        self._waiting.discard(key)
        work.memory.pop(key, None)
        work.memory[key] = None

    def _take_mark(self, mark: ClockMark) -> None:
        self._tell_clock(mark.at_ms)
        place = self.place
        newer = place.mark_ms is None or mark.at_ms > place.mark_ms
        if newer or (mark.last and not place.last):
            mark_ms = mark.at_ms if newer else place.mark_ms
            self.place = replace(place, mark_ms=mark_ms, last=place.last or mark.last, passed=False)

    def _take_verdict(self, record: Received, value: bytes, work: StoryWork) -> None:
        judged = read_verdict(value)
        key = self._checked(record.key, judged.user)
        if judged.alerted:
            self._keep(key, announce(self._users.get(key, UserState()), judged.end_ms), work)
        # other users' windows with the same end may follow
        self._tell_clock(judged.end_ms - 1)
        work.totals.verdicts += 1

    def _take_alert(self, record: Received, value: bytes, work: StoryWork) -> None:
        alert = read_alert(value)
        if alert is None:
            return
        key = self._checked(record.key, alert.user)
        self._wait_no_more(alert.time_ms, work)
        state, told = merge(self._users.get(key, UserState()), alert, self._merging)
        work.totals.alerts += bool(told)
        work.totals.repeated += not told
        self._keep(key, state, work)
        self._say(key, told, record.headers, work)

    def _wait_no_more(self, before_ms: Millis | None, work: StoryWork) -> None:
        """Give up on alerts that verdicts have spoken of and that lie, if anywhere, before a time: a partition's come in order of time.

        They were refused, or have expired.
        """
        for key in sorted(self._waiting):
            state = self._users[key]
            if before_ms is None or (state.announced_ms or 0) < before_ms:
                self._keep(key, replace(state, announced_ms=state.alerts_ms), work)

    def _checked(self, key: bytes | None, user: str) -> bytes:
        if key is None or key != user.encode() or partition_of(key, self._topics.partitions) != self.partition:
            raise MisroutedStory("key, user and partition of a record do not belong together")
        return key

    def _tell_clock(self, at_ms: Millis) -> None:
        if self.place.clock_ms is None or at_ms > self.place.clock_ms:
            self.place = replace(self.place, clock_ms=at_ms)

    def _close_quiet(self, work: StoryWork) -> None:
        clock_ms, held = self.place.clock_ms, []
        while clock_ms is not None and self._due and self._due[0][0] <= clock_ms:
            due_ms, key = heapq.heappop(self._due)
            if key not in self._users:
                continue  # forgotten since
            state, told = close_if_quiet(self._users[key], clock_ms, self._merging)
            if told:
                self._keep(key, state, work)
                self._say(key, told, None, work)
            elif state.waiting and state.story is not None and due_ms == state.story.last_ms + self._merging.gap_ms:
                held.append((due_ms, key))
        for entry in held:
            heapq.heappush(self._due, entry)

    def _keep(self, key: bytes, state: UserState, work: StoryWork) -> None:
        known = self._users.get(key)
        if known == state:
            return
        self._users[key] = state
        (self._waiting.add if state.waiting else self._waiting.discard)(key)
        # a key that changes again takes its place at the end, so that what is written follows what happened
        work.memory.pop(key, None)
        work.memory[key] = encode_state(state)
        if state.story is not None and (known is None or known.story is None or known.story.last_ms != state.story.last_ms):
            self._expect(key)

    def _expect(self, key: bytes) -> None:
        if (story := self._users[key].story) is not None:
            heapq.heappush(self._due, (story.last_ms + self._merging.gap_ms, key))

    def _say(self, key: bytes, told: Iterable[Told], received: Headers | None, work: StoryWork) -> None:
        for each in told:
            record = incident_finding(each, self._merging, self._assignees)
            # what closes a story is one thing in one run and another in the next: its record shows nothing of it
            of = None if each.step is Step.CLOSE else received
            headers = cloud_headers("incident", record["metadata"]["uid"], iso(each.at_ms), of, _SOURCE)
            work.out.append(Out(TopicPartition(self._topics.incidents, self.partition), key, orjson.dumps(record), headers))
            totals = work.totals
            totals.opened += each.step is Step.OPEN
            totals.grown += each.step is Step.GROW
            totals.closed += each.step is Step.CLOSE

    def _pass_mark_on(self, work: StoryWork) -> None:
        place = self.place
        if place.mark_ms is None or place.passed or self._waiting:
            return
        headers = encode_mark(place.mark_ms, last=place.last)
        work.out.append(Out(TopicPartition(self._topics.incidents, self.partition), None, None, headers))
        self.place = replace(place, passed=True)

    def _bury(self, record: Received, error: PoisonError, work: StoryWork) -> None:
        letter = dead_letter(record.key, record.value, record.headers, error.code, str(error), record.topic, self.partition, record.offset)
        work.out.append(Out(TopicPartition(self._topics.dead_letters, self.partition), *letter))
        work.totals.refused[error.code] = work.totals.refused.get(error.code, 0) + 1
        work.refused[record.topic, error.code] = work.refused.get((record.topic, error.code), 0) + 1
