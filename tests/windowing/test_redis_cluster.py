"""A windowing worker on a real Redis Cluster of three servers: keys and scripts, a server that dies, and slots that move."""

import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from stream.errors import TransientError
from stream.log import MemoryLog, MemoryOutlet, MemorySource
from tests.servers import RedisCluster, redis_program, store_port
from tests.windowing.logs import EVENTS, PARTITIONS, RULES, TOPICS, complaints, make_log, sent_dead, sent_windows
from windowing.redis_store import RedisStore, key_of
from windowing.store import MemoryStore, WindowStore
from windowing.worker import WindowWorker, WorkerSettings

SEED = 41


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A cluster that these tests may kill servers of."""
    program = redis_program()
    if program is None:
        pytest.skip("no Redis: needs redis-server on the PATH or DAYWATCH_TEST_REDIS=PROGRAM")
    cluster = RedisCluster(tmp_path_factory.mktemp("own"), program)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def expected() -> list[bytes]:
    """The windows of an undisturbed run in memory."""
    log = make_log(random.Random(SEED))
    worker(log, MemoryStore()).run(lambda: False)
    return [value for _, _, value in sent_windows(log)]


def worker(log: MemoryLog, store: WindowStore, wait: Callable[[float], None] = lambda _: None) -> WindowWorker:
    settings = WorkerSettings(batch_records=120, close_windows=8, idle_after_ms=None, until_done=True)
    return WindowWorker(MemorySource(log, list(EVENTS.values())), MemoryOutlet(log), store, TOPICS, RULES, settings, log.clock, wait=wait)


def store_of(cluster: RedisCluster, namespace: str, **options: Any) -> RedisStore:
    return RedisStore(cluster.url, namespace, cluster=True, retries=1, socket_timeout=2, **options)


def keys_of(cluster: RedisCluster, namespace: str) -> dict[int, list[bytes]]:
    """The keys that each server holds of a namespace, by the server's number."""
    found: dict[int, list[bytes]] = {}
    for number, server in enumerate(cluster.stores):
        with redis.Redis.from_url(server.url) as client:
            found[number] = sorted(client.scan_iter(match=f"{namespace}:*"))
    return found


def ask(cluster: RedisCluster, number: int, *command: Any) -> Any:
    with redis.Redis.from_url(cluster.stores[number].url) as client:
        return client.execute_command(*command)


def test_a_worker_works_all_off_and_every_key_of_a_partition_lies_in_one_slot(
    own_cluster: RedisCluster, namespace: str, expected: list[bytes]
) -> None:
    log, store = make_log(random.Random(SEED)), store_of(own_cluster, namespace)
    slots: dict[int, set[int]] = {partition: set() for partition in range(PARTITIONS)}
    kinds: set[str] = set()

    def look(_: WindowWorker) -> None:
        for key in (key for keys in keys_of(own_cluster, namespace).values() for key in keys):
            partition = next(number for number in slots if f"{{p{number}}}".encode() in key)
            slots[partition].add(ask(own_cluster, 0, "CLUSTER KEYSLOT", key))
            kinds.add(key.decode().split(":")[2])

    worker(log, store).run(lambda: False, look)
    store.close()
    assert complaints(sent_windows(log), sent_dead(log), log, expected) == ""
    assert all(len(found) == 1 for found in slots.values())
    assert len(set.union(*slots.values())) == PARTITIONS, "two partitions do not lie in the same slot"
    assert kinds == {"meta", "panes", "pane", "profiles"}


def holder(cluster: RedisCluster, namespace: str, partition: int) -> int:
    meta = key_of(namespace, partition, "meta").encode()
    return next(number for number, keys in keys_of(cluster, namespace).items() if meta in keys)


def test_a_server_that_dies_is_said_clearly_and_the_worker_goes_on_when_it_is_back(
    own_cluster: RedisCluster, namespace: str, expected: list[bytes]
) -> None:
    log, store = make_log(random.Random(SEED)), store_of(own_cluster, namespace)
    dead: list[int] = []
    said: list[str] = []

    def dies(one: WindowWorker) -> None:
        if not dead and one.totals.windows > 10:
            dead.append(holder(own_cluster, namespace, 0))
            own_cluster.stores[dead[0]].kill()

    def comes_back(_: float) -> None:
        if not said:
            with pytest.raises(TransientError) as refused:
                store.claim(0, "layout")
            said.append(str(refused.value))
            own_cluster.stores[dead[0]].start()
        # the others may have given it up meanwhile, and need a moment to take it back
        wait_until(lambda: all(own_cluster.knows_all(server) for server in own_cluster.stores))

    running = worker(log, store, comes_back)
    running.run(lambda: False, dies)
    store.close()
    assert running.totals.recoveries >= len(said) == 1
    assert re.match(r"store at 127\.0\.0\.1:\d+: .*cluster", said[0]) or (dead == [0] and "ConnectionError" in said[0])
    assert complaints(sent_windows(log), sent_dead(log), log, expected) == ""


def wait_until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def move(cluster: RedisCluster, namespace: str, partition: int, *, whole: bool = True) -> None:
    """Move the slot of a partition to another server, as `redis-cli --cluster reshard` does; without `whole` it stays half-way."""
    slot = ask(cluster, 0, "CLUSTER KEYSLOT", key_of(namespace, partition, "meta"))
    source = holder(cluster, namespace, partition)
    target = (source + 1) % 3
    names = [ask(cluster, number, "CLUSTER MYID").decode() for number in (source, target)]
    ask(cluster, target, "CLUSTER SETSLOT", slot, "IMPORTING", names[0])
    ask(cluster, source, "CLUSTER SETSLOT", slot, "MIGRATING", names[1])
    keys = ask(cluster, source, "CLUSTER GETKEYSINSLOT", slot, 1_000)
    port = store_port(cluster.stores[target].url)
    ask(cluster, source, "MIGRATE", "127.0.0.1", port, "", 0, 5_000, "KEYS", *(keys if whole else keys[:1]))
    if whole:
        for number in (target, source, 3 - source - target):
            ask(cluster, number, "CLUSTER SETSLOT", slot, "NODE", names[1])


def test_a_partition_that_is_moved_to_another_server_is_found_there(
    own_cluster: RedisCluster, namespace: str, expected: list[bytes]
) -> None:
    log, store = make_log(random.Random(SEED)), store_of(own_cluster, namespace)
    places: list[int] = []

    def moves(one: WindowWorker) -> None:
        if one.totals.windows > 10 * (len(places) + 1) and len(places) < 2:
            places.append(holder(own_cluster, namespace, 0))
            move(own_cluster, namespace, 0)
            assert holder(own_cluster, namespace, 0) != places[-1]

    running = worker(log, store)
    running.run(lambda: False, moves)
    store.close()
    assert len(places) == 2
    assert running.totals.recoveries == 0
    assert complaints(sent_windows(log), sent_dead(log), log, expected) == ""


def steps(running: WindowWorker, number: int) -> None:
    for _ in range(number):
        running.step()


def test_a_partition_that_is_half_moved_is_worth_another_try(own_cluster: RedisCluster, namespace: str) -> None:
    log, store = make_log(random.Random(SEED)), store_of(own_cluster, namespace)
    running = worker(log, store)
    while running.totals.windows < 10:
        running.step()
    move(own_cluster, namespace, 1, whole=False)
    with pytest.raises(TransientError, match="store at"):
        steps(running, 3)
    store.close()
    # tidied up for whoever comes next
    for number in range(3):
        slot = ask(own_cluster, 0, "CLUSTER KEYSLOT", key_of(namespace, 1, "meta"))
        ask(own_cluster, number, "CLUSTER SETSLOT", slot, "STABLE")
