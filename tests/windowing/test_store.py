"""The promises of the window store, kept by every implementation."""

from collections.abc import Iterator

import pytest
import redis

from stream.errors import FencedError, RefusedError, StaleError, TransientError
from windowing.redis_store import RedisStore
from windowing.store import Advance, MemoryStore, Start, WindowStore


@pytest.fixture(params=["memory", "valkey", "redis"])
def store(request: pytest.FixtureRequest, namespace: str) -> Iterator[WindowStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    server = request.getfixturevalue(f"{request.param}_server")
    found = RedisStore(server.url, namespace)
    yield found
    found.close()


def begun(store: WindowStore, partition: int = 3) -> int:
    epoch = store.claim(partition, "layout").epoch
    store.begin([Start(partition, epoch, "start", "fresh")])
    return epoch


def test_a_partition_that_nobody_has_begun_has_no_position(store: WindowStore) -> None:
    claimed = store.claim(3, "layout")
    assert (claimed.at, claimed.state, claimed.panes, claimed.layout) == ("", "", (), "layout")


def test_each_claim_raises_the_epoch_and_the_first_layout_stays(store: WindowStore) -> None:
    first, second = store.claim(3, "one"), store.claim(3, "two")
    assert second.epoch == first.epoch + 1
    assert second.layout == "one"


def test_an_advance_moves_everything_at_once(store: WindowStore) -> None:
    epoch = begun(store)
    store.advance([Advance(3, epoch, "start", "a", "s1", appends=[(7, b"x"), (8, b"y\x00\xff")], profiles=[("ana", b"p"), ("bé", b"q")])])
    store.advance([Advance(3, epoch, "a", "b", "s2", appends=[(8, b"z")], drops=[7], profiles=[("ana", b"pp")])])
    claimed = store.claim(3, "layout")
    assert (claimed.at, claimed.state, claimed.panes) == ("b", "s2", (8,))
    assert dict(store.panes(3, [8])) == {8: [b"y\x00\xff", b"z"]}
    assert dict(pair for page in store.profiles(3) for pair in page) == {"ana": b"pp", "bé": b"q"}


def test_a_repeated_advance_does_nothing_twice(store: WindowStore) -> None:
    epoch = begun(store)
    change = Advance(3, epoch, "start", "a", "s", appends=[(7, b"x")])
    store.advance([change])
    store.advance([change])
    assert dict(store.panes(3, [7])) == {7: [b"x"]}


def test_an_advance_from_elsewhere_is_stale_and_writes_nothing(store: WindowStore) -> None:
    epoch = begun(store)
    with pytest.raises(StaleError):
        store.advance([Advance(3, epoch, "elsewhere", "b", "s", appends=[(7, b"x")], profiles=[("ana", b"p")])])
    claimed = store.claim(3, "layout")
    assert (claimed.at, claimed.panes) == ("start", ())


def test_an_older_owner_is_fenced_even_at_the_right_position(store: WindowStore) -> None:
    epoch = begun(store)
    store.claim(3, "layout")
    with pytest.raises(FencedError):
        store.advance([Advance(3, epoch, "start", "a", "s", appends=[(7, b"x")])])
    with pytest.raises(FencedError):
        store.begin([Start(3, epoch, "other", "fresh")])
    assert dict(store.panes(3, [7])) == {7: []}


def test_an_end_reached_by_an_earlier_owner_is_not_mistaken_for_ones_own(store: WindowStore) -> None:
    epoch = begun(store)
    store.advance([Advance(3, epoch, "start", "a", "s")])
    newer = store.claim(3, "layout").epoch
    with pytest.raises(StaleError):
        store.advance([Advance(3, newer, "start", "a", "s", appends=[(7, b"x")])])


def test_one_may_look_without_becoming_the_owner(store: WindowStore) -> None:
    assert store.look(3) == ("", "")
    epoch = begun(store)
    assert store.look(3) == ("start", "fresh")
    store.advance([Advance(3, epoch, "start", "a", "s")])
    assert store.look(3) == ("a", "s")


def test_partitions_do_not_know_of_each_other(store: WindowStore) -> None:
    one, two = begun(store, 1), begun(store, 2)
    store.advance([Advance(1, one, "start", "a", "s", appends=[(7, b"x")]), Advance(2, two, "start", "c", "s", appends=[(7, b"y")])])
    assert dict(store.panes(1, [7])) == {7: [b"x"]}
    assert dict(store.panes(2, [7])) == {7: [b"y"]}
    assert (store.claim(1, "layout").at, store.claim(2, "layout").at) == ("a", "c")


def test_many_profiles_and_blobs_come_back_whole(store: WindowStore) -> None:
    epoch = begun(store)
    profiles = [(f"user{i}", bytes([i % 256]) * 50) for i in range(5_000)]
    store.advance([Advance(3, epoch, "start", "0", "s", profiles=profiles)])
    for i in range(150):
        store.advance([Advance(3, epoch, str(i), str(i + 1), "s", appends=[(1, str(i).encode())])])
    assert sorted({pair for page in store.profiles(3) for pair in page}) == sorted(profiles)
    assert dict(store.panes(3, [1]))[1] == [str(i).encode() for i in range(150)]


def test_a_store_that_may_evict_is_refused(redis_server, namespace: str) -> None:  # type: ignore[no-untyped-def]
    client = redis.Redis.from_url(redis_server.url)
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(RefusedError, match="allkeys-lru"):
            RedisStore(redis_server.url, namespace).check()
    finally:
        client.config_set("maxmemory-policy", "noeviction")
    RedisStore(redis_server.url, namespace).check()


def test_a_store_that_is_not_there_is_a_passing_trouble(namespace: str) -> None:
    with pytest.raises(TransientError, match="ConnectionError"):
        RedisStore("redis://127.0.0.1:1/0", namespace).claim(0, "layout")
