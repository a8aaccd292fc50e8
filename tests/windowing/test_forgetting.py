"""Taking somebody out of a partition's state: nothing of them stays, nothing of anybody else changes, whatever else goes on."""

import json
import random
from collections.abc import Iterator
from typing import Protocol

import polars as pl
import pytest

from stream.errors import StaleError
from stream.kinds import Kind, frame_schema
from stream.partitioner import partition_of
from tests.windowing.logs import PARTITIONS, sent_dead, sent_windows, truth
from tests.windowing.test_delivery import World, run_schedule
from tests.windowing.test_worker import DAY_MS, HOUR, KINDS, T0, Bench
from windowing.clocks import LONG_AGO, TopicClock
from windowing.forgetting import Forgotten, forget
from windowing.ledger import Place, decode_clocks, encode_state
from windowing.panes import decode_blobs, encode_blob
from windowing.partition import Closed
from windowing.redis_store import RedisStore
from windowing.store import Advance, Erasure, ForgettingStore, MemoryStore, Start, WindowStore

NUMBER = 3


class BothStores(WindowStore, ForgettingStore, Protocol):
    """What a worker and forgetting ask of a store."""


@pytest.fixture(params=["memory", "valkey", "redis"])
def store(request: pytest.FixtureRequest, namespace: str) -> Iterator[BothStores]:
    if request.param == "memory":
        yield MemoryStore()
        return
    found = RedisStore(request.getfixturevalue(f"{request.param}_server").url, namespace)
    yield found
    found.close()


def blob(kind: Kind, *users: str) -> bytes:
    rows = [{"user": user, "ts": T0 + place, "id": f"e{place}", "pc": "PC-1", "first": 0} for place, user in enumerate(users)]
    return encode_blob({kind: pl.DataFrame(rows, schema=frame_schema(kind) | {"first": pl.Int64()})})


def state(pending_user: str = "") -> str:
    clocks = {kind: TopicClock(T0, T0 + DAY_MS if pending_user else LONG_AGO, pending_user, marked=True) for kind in KINDS}
    return encode_state(clocks)


def begun(store: BothStores, closed_user: str = "", pending_user: str = "") -> tuple[int, str]:
    """A partition that has come some way: its epoch and position."""
    epoch = store.claim(NUMBER, "layout").epoch
    store.begin([Start(NUMBER, epoch, "start", state())])
    at = Place((9, 8, 7, 6, 5), Closed(70, 0, closed_user)).encode()
    appends = [
        (70, blob(Kind.LOGON, "ana", "bo", "ana")),
        (70, blob(Kind.HTTP, "bo", "cy")),
        (71, blob(Kind.FILE, "ana")),
        (72, blob(Kind.EMAIL, *["ana", "bo", "cy"] * 200)),
    ]
    profiles = [("ana", b"a"), ("bo", b"b")]
    store.advance([Advance(NUMBER, epoch, "start", at, state(pending_user), appends=appends, profiles=profiles)])
    return epoch, at


def users_held(store: BothStores) -> list[list[str]]:
    """Users of every blob, in order."""
    return [
        [user for frame in decode_blobs([each]).values() for user in frame["user"]]
        for pane in store.peek(NUMBER).panes for each in store.tail(NUMBER, pane, 0)
    ]  # fmt: skip


def test_nothing_of_somebody_stays_in_profiles_panes_position_and_clocks(store: BothStores) -> None:
    begun(store, closed_user="bo", pending_user="bo")
    assert forget(store, NUMBER, "bo").profile
    found = store.peek(NUMBER)
    assert users_held(store) == [["ana", "ana"], ["cy"], ["ana"], ["ana", "cy"] * 200]
    assert [user for page in store.profiles(NUMBER) for user, _ in page] == ["ana"]
    assert "bo" not in found.at + found.state
    clock = decode_clocks(found.state)[Kind.LOGON]
    assert (clock.at_ms, clock.pending_ms, clock.marked) == (T0, LONG_AGO, True)


def test_how_much_was_held_is_told_and_a_second_time_finds_nothing(store: BothStores) -> None:
    epoch, _ = begun(store)
    assert forget(store, NUMBER, "ana") == Forgotten(profile=True, events=2 + 1 + 200, epoch=epoch + 1)
    assert forget(store, NUMBER, "ana") == Forgotten(profile=False, events=0, epoch=epoch + 2)


def test_a_partition_that_nobody_has_read_holds_nobody(store: BothStores) -> None:
    assert forget(store, NUMBER, "ana") == Forgotten()
    assert store.claim(NUMBER, "layout").epoch == 1


def test_whoever_held_the_partition_is_fenced(store: BothStores) -> None:
    epoch, at = begun(store)
    forget(store, NUMBER, "ana")
    with pytest.raises(Exception, match="newer owner"):
        store.advance([Advance(NUMBER, epoch, at, "later", state(), profiles=[("ana", b"back again")])])
    assert not store.knows(NUMBER, "ana")


def test_what_is_appended_while_it_is_being_read_is_not_overlooked(store: BothStores) -> None:
    epoch, at = begun(store)
    busy = Busy(store, epoch, at)
    forget(busy, NUMBER, "ana")
    assert busy.moves == 5
    assert "ana" not in {user for users in users_held(store) for user in users}
    assert not store.knows(NUMBER, "ana")
    assert json.loads(store.peek(NUMBER).at)[0][0] == 9 + 5, "nothing that the owner did is lost"


class Busy:
    """A store whose owner moves on five times while somebody looks at it."""

    def __init__(self, store: BothStores, epoch: int, at: str) -> None:
        self._store, self._epoch, self._at, self.moves = store, epoch, at, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def erase(self, change: Erasure) -> None:
        if self.moves < 5:
            self.moves += 1
            at = Place((9 + self.moves, 8, 7, 6, 5), Closed(70 + self.moves, 1)).encode()
            appends = [(72, blob(Kind.LOGON, "ana", "bo")), (73 + self.moves, blob(Kind.HTTP, "ana"))]
            drops = [71] if self.moves == 2 else []
            advance = Advance(NUMBER, self._epoch, self._at, at, state(), appends=appends, drops=drops, profiles=[("ana", b"again")])
            self._store.advance([advance])
            self._at = at
        self._store.erase(change)


def test_much_is_taken_out_in_several_steps_and_the_owner_goes_on_until_the_last(
    store: BothStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windowing.forgetting._MOST_BYTES", 1)
    begun(store)
    assert forget(store, NUMBER, "ana").events == 203
    assert users_held(store) == [["bo"], ["bo", "cy"], [], ["bo", "cy"] * 200]


def test_an_erasure_of_a_state_that_has_moved_on_changes_nothing(store: BothStores) -> None:
    epoch, at = begun(store)
    store.claim(NUMBER, "layout")
    with pytest.raises(StaleError):
        store.erase(Erasure(NUMBER, epoch, at, at, state(), [(71, 0, b"")], ["ana"]))
    assert store.knows(NUMBER, "ana")
    assert users_held(store)[2] == ["ana"]


# with a worker ------------------------------------------------------------------------------------------------------------


def test_a_worker_that_had_somebody_in_memory_forgets_them_and_meets_them_as_new() -> None:
    bench = Bench()
    worker = bench.worker()

    def one_day(day: int) -> None:
        for kind in KINDS:
            for user in ("ana", "bo"):
                bench.event(kind, T0 + day * DAY_MS + 9 * HOUR, f"{kind[0]}{user}{day}", user)
            bench.mark(kind, T0 + (day + 1) * DAY_MS)

    def work() -> None:
        worker.run(worker_idle(worker))

    for day in range(20):
        one_day(day)
    work()
    assert [w["learning"] for w in bench.windows()][-2:] == [False, False]
    assert forget(bench.store, 0, "ana").profile
    one_day(20)
    work()
    assert [(w["user"], w["learning"]) for w in bench.windows()][-2:] == [("ana", True), ("bo", False)]
    assert bench.windows()[-2]["features"]["profile_days"] == 0
    assert worker.totals.recoveries == 1


def worker_idle(worker):  # type: ignore[no-untyped-def]
    """Stop when fifty cycles have passed; a cycle without records does nothing."""
    left = iter(range(60))
    return lambda: next(left, None) is None


def test_events_of_open_windows_are_gone_for_the_worker_that_had_read_them_too() -> None:
    bench = Bench()
    worker = bench.worker()
    for user in ("ana", "bo"):
        bench.event(Kind.LOGON, T0 + HOUR, f"e{user}", user)
    for _ in range(3):
        worker.step()
    assert forget(bench.store, 0, "ana").events == 1
    for kind in KINDS:
        bench.mark(kind, T0 + DAY_MS)
    worker.run(worker_idle(worker))
    assert [w["user"] for w in bench.windows()] == ["bo"]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_else_dies_meanwhile_the_others_windows_go_out_once_and_unchanged(seed: int) -> None:
    whims, names, asked = random.Random(seed), ["ana", "eve", "di"], []

    def besides(world: World) -> None:
        if len(asked) < 4 and whims.random() < 0.02:
            user = whims.choice(names)
            if forget(world.store, partition_of(user.encode(), PARTITIONS), user).epoch:
                asked.append(user)
            world.older = []  # it waits for an fsync: nothing older can come back

    log, _ = run_schedule(seed, 6, besides)
    assert asked
    plain, _ = run_schedule(seed, 0)
    windows = sent_windows(log)
    others = [each for each in windows if each[0][0] not in asked]
    expected = [each for each in sent_windows(plain) if each[0][0] not in asked]
    assert sorted(others) == sorted(expected)
    assert sent_dead(log) == sent_dead(plain)
    theirs = [key for key, _, _ in windows if key[0] in asked]
    assert len(theirs) == len(set(theirs)), "a window of somebody forgotten went out twice"
    assert set(theirs) <= set(truth(log)[0])
