"""The promises of the window store, kept by every implementation."""

from collections.abc import Iterator

import pytest
import redis

from daywatch.embedded import EmbeddedStore
from stream.errors import ConfigurationError, FencedError, RefusedError, StaleError, TransientError
from tests.servers import RedisCluster, redis_program
from windowing.redis_store import RedisStore
from windowing.redis_upkeep import RedisUpkeep
from windowing.store import Advance, MemoryStore, Start, WindowStore


@pytest.fixture(params=["memory", "valkey", "redis", "cluster"])
def store(request: pytest.FixtureRequest, namespace: str) -> Iterator[WindowStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    cluster = request.param == "cluster"
    server = request.getfixturevalue("redis_cluster" if cluster else f"{request.param}_server")
    found = RedisStore(server.url, namespace, cluster=cluster)
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
    store.confirm({3: epoch})
    store.claim(3, "layout")
    with pytest.raises(FencedError):
        store.confirm({3: epoch})
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


def claim_all(store: RedisStore, partitions: int = 8) -> dict[int, int]:
    return {partition: store.claim(partition, "layout").epoch for partition in range(partitions)}


def test_a_cluster_is_taken_for_one_and_nothing_else_is(redis_cluster: RedisCluster, redis_server: EmbeddedStore, namespace: str) -> None:
    with pytest.raises(ConfigurationError, match=r"store\.cluster"):
        RedisStore(redis_server.url, namespace, cluster=True)
    alone = RedisStore(redis_cluster.url, namespace)
    with pytest.raises(ConfigurationError, match=r"set store\.cluster = true"):
        claim_all(alone)  # the first server holds a third of all keys
    alone.close()


def test_a_cluster_keeps_partitions_on_different_servers_and_one_trip_serves_many(redis_cluster: RedisCluster, namespace: str) -> None:
    store = RedisStore(redis_cluster.url, namespace, cluster=True)
    epochs = claim_all(store)
    store.begin([Start(partition, epoch, "start", "fresh") for partition, epoch in epochs.items()])
    changes = [Advance(partition, epoch, "start", "a", "s", appends=[(7, b"x")]) for partition, epoch in epochs.items()]
    store.advance(changes)
    store.advance(changes)
    assert [store.look(partition) for partition in epochs] == [("a", "s")] * 8
    upkeep = RedisUpkeep(redis_cluster.url, namespace, cluster=True)
    assert upkeep.partitions() == list(range(8))
    assert all(upkeep.look(partition).panes == (7,) for partition in epochs)
    upkeep.close()
    store.close()
    holding = []
    for server in redis_cluster.stores:
        with redis.Redis.from_url(server.url) as client:
            holding.append(sum(1 for _ in client.scan_iter(match=f"{namespace}:*:meta")))
    assert sum(holding) == 8
    assert all(holding), "every server has its share"


def test_a_cluster_whose_server_is_gone_is_worth_another_try(tmp_path_factory: pytest.TempPathFactory, namespace: str) -> None:
    program = redis_program()
    if program is None:
        pytest.skip("no Redis: needs redis-server on the PATH or DAYWATCH_TEST_REDIS=PROGRAM")
    cluster = RedisCluster(tmp_path_factory.mktemp("dying"), program)
    try:
        cluster.start()
        store = RedisStore(cluster.url, namespace, cluster=True, retries=1, socket_timeout=2)
        cluster.stores[2].kill()
        with pytest.raises(TransientError):
            claim_all(store)
        store.close()
    finally:
        cluster.stop()
