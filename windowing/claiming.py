"""Becoming the owner of partitions: what store and group say of them, compared, and the partitions built anew from it.

Recovery after a death, a hand-over, a store that came back older and a first start are all the same here.
"""

from collections.abc import Mapping, Sequence

from stream.errors import FencedError, PoisonError, StaleError
from stream.inheriting import inherited_commits
from stream.kinds import KINDS
from stream.log import Commit, Newest, TopicPartition
from windowing.clocks import TopicClock
from windowing.cycle import Cycle, Held
from windowing.ledger import (
    Place,
    check_begun,
    check_layout,
    check_position,
    decode_clocks,
    decode_note,
    decode_watch,
    encode_layout,
    encode_note,
    encode_state,
    is_fresh,
)
from windowing.panes import decode_blobs
from windowing.partition import Closed, Partition
from windowing.profiles import Profiles
from windowing.store import Claimed, Start
from windowing.told import Told
from windowing.watch import Watch

Bounds = dict[TopicPartition, tuple[int, int]]


class Claims:
    """Claims partitions for one worker."""

    def __init__(self, cycle: Cycle) -> None:
        self._cycle = cycle
        self._layout = encode_layout(cycle.rules.calendar, cycle.topics.partitions, cycle.rules.pseudonyms)
        self.bounds: Bounds = {}
        """First and end offset of every log, of foreign partitions too, when this worker started."""

    def look(self) -> None:
        """Find out where the logs end, if that is not known yet."""
        self.bounds = self.bounds or self._cycle.source.bounds(range(self._cycle.topics.partitions))

    def claim(self, numbers: Sequence[int]) -> None:
        """Become the owner of these partitions, as the store and the group's commits tell.

        Raises:
            RefusedError: store and group contradict each other, or the settings.
            FencedError: a newer owner came in between.
            StaleError: the store came back older in between.
        """
        cycle = self._cycle
        cycle.outlet.settle()
        claims = {number: cycle.store.claim(number, self._layout) for number in numbers}
        for claimed in claims.values():
            check_layout(self._layout, claimed.layout)
        written = cycle.topics.windows, cycle.topics.dead_letters
        committed = inherited_commits(cycle.source, cycle.outlet, numbers, cycle.topics.events.values(), written, cycle.operations)
        # the logs of windows are believed before the commits; those of the embedded broker are never contradicted by them
        logs = [TopicPartition(cycle.topics.windows, number) for number in numbers] if cycle.settings.trust_bounds else []
        newest = {at.partition: record for at, record in cycle.source.newest(logs).items()}
        # after the claim: what is compared with them must not be younger
        bounds = cycle.source.bounds(numbers if self.bounds else range(cycle.topics.partitions))
        self.bounds = self.bounds or bounds
        begun = self._begin(claims, committed, bounds)
        profiles = Profiles(cycle.rules.calendar)
        for number, claimed in claims.items():
            held = cycle.held[number] = self._recover(number, claimed, begun.get(number), committed, bounds, profiles)
            if number in newest:
                held.partition.sent = self._sent(held, newest[number])
        # a store that came back older while its pages were read has given older panes than the place that it named before
        if any(cycle.store.look(number) != (claims[number].at, claims[number].state) for number in claims.keys() - begun.keys()):
            raise StaleError("the store came back older while its state was read")
        cycle.store.confirm({number: claimed.epoch for number, claimed in claims.items()})
        cycle.source.start({
            cycle.at(kind, held.number): position
            for held in cycle.held.values() for kind, position in zip(KINDS, held.place.positions, strict=True)
        })  # fmt: skip

    def _begin(self, claims: Mapping[int, Claimed], committed: Mapping[TopicPartition, Commit], bounds: Bounds) -> dict[int, Place]:
        """Give partitions that nobody has read yet their starting positions: in the store first, on disk, then in Kafka."""
        cycle, begun = self._cycle, {}
        for number, claimed in claims.items():
            fresh = is_fresh(claimed.state)
            commits = [committed[cycle.at(kind, number)] for kind in KINDS if cycle.at(kind, number) in committed]
            read_before = any(decode_note(commit.note) > Closed() for commit in commits)
            # another worker may have begun it between our look at the store and our look at the commits
            if not claimed.at and commits and cycle.store.claim(number, self._layout).epoch != claimed.epoch + 1:
                raise FencedError(f"partition {number} has a newer owner")
            check_begun(number, held=bool(claimed.at), fresh=fresh, committed=bool(commits))
            if fresh and not read_before and len(commits) < len(KINDS):
                begun[number] = Place(tuple(bounds[cycle.at(kind, number)][0] for kind in KINDS), Closed())
        if begun:
            state = encode_state({kind: TopicClock() for kind in KINDS}, fresh=True)
            cycle.store.begin([Start(number, claims[number].epoch, place.encode(), state) for number, place in begun.items()])
            starting = {
                cycle.at(kind, number): Commit(offset, encode_note(Closed()))
                for number, place in begun.items() for kind, offset in zip(KINDS, place.positions, strict=True)
            }  # fmt: skip
            cycle.outlet.transact([], starting, cycle.source.group())
        return begun

    def _sent(self, held: Held, newest: Newest | None) -> Closed:
        """How far windows are out: what their own log says, or the commits where that cannot be read."""
        rules, committed = self._cycle.rules, held.partition.sent
        try:
            told = Told.of(newest).closed(rules.calendar) if newest is not None else Closed()
        except PoisonError:
            told = None
        if told is not None and told.user and rules.pseudonyms:
            # nobody can say whose window that is, unless the commits agree; sooner twice than never
            told = committed if committed.window == told.window else Closed(told.window)
        return max(held.place.closed, told) if told is not None else committed

    def _recover(
        self,
        number: int,
        claimed: Claimed,
        begun: Place | None,
        committed: Mapping[TopicPartition, Commit],
        bounds: Bounds,
        profiles: Profiles,
    ) -> Held:
        """Build a partition from the store, and learn from the commits what has been sent of it."""
        cycle = self._cycle
        place = begun or Place.decode(claimed.at)
        # a user lives in one partition, so all of them may keep their profiles in one place, and close together
        partition = Partition(cycle.rules, profiles)
        out_to, sent = dict(zip(KINDS, place.positions, strict=True)), place.closed
        for kind in KINDS:
            commit = committed.get(cycle.at(kind, number))
            if commit is not None:
                out_to[kind] = max(out_to[kind], commit.offset)
                sent = max(sent, decode_note(commit.note))
            position, bound = place.positions[KINDS.index(kind)], bounds[cycle.at(kind, number)]
            check_position(number, kind, position, bound, trust_bounds=cycle.settings.trust_bounds)
        partition.closed, partition.sent, watch = place.closed, sent, Watch()
        if begun is None:
            partition.clocks = decode_clocks(claimed.state)
            watch = Watch.restore(decode_watch(claimed.state), claimed.habits)
            for page in cycle.store.profiles(number):
                profiles.load(page)
            for pane, blobs in cycle.store.panes(number, claimed.panes):
                partition.restore(pane, decode_blobs(blobs))
        ends = {kind: self.bounds[cycle.at(kind, number)][1] for kind in KINDS}
        return Held(number, claimed.epoch, place, partition, out_to, ends, watch=watch)
