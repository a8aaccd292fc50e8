"""Fixtures that every test may ask for: real servers and small models, made once per test process, only when asked for."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.detector.model_fixtures import (  # noqa: F401 - fixtures, for every test to ask for
    minilm,
    mpnet,
    smollm2,
    tiny_adapter,
    tiny_classifier,
    tiny_models,
    tiny_mpnet,
    tiny_qwen2,
    tiny_qwen3_5,
    tiny_qwen3_5_composite,
)
from tests.servers import ApacheKafka, EmbeddedBroker, EmbeddedStore, RedisCluster, kafka_launcher, redis_program

# on a busy machine a single example may take long; a slow test is no wrong one
hypothesis.settings.register_profile("daywatch", deadline=None)
hypothesis.settings.load_profile("daywatch")


def pytest_configure() -> None:
    """Before anything is collected: test processes run side by side, so each does its sums on one thread; nobody asks a hub."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """An Apache Kafka broker; skips where there is none to be had."""
    launcher = kafka_launcher()
    if launcher is None:
        pytest.skip("no Apache Kafka: needs Java and DAYWATCH_TEST_KAFKA=DIR with the kafka launcher")
    # tests let workers die: how long the broker waits for them is most of such a test's time
    impatient = ["group.min.session.timeout.ms=1000", "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000"]
    broker = ApacheKafka(launcher, tmp_path_factory.mktemp("kafka"), impatient)
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """A Redis server; skips where there is none to be had."""
    program = redis_program()
    if program is None:
        pytest.skip("no Redis: needs redis-server on the PATH or DAYWATCH_TEST_REDIS=PROGRAM")
    yield from _running_store(EmbeddedStore(tmp_path_factory.mktemp("redis"), program))


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A Redis Cluster of three servers; skips where there is no Redis to be had."""
    program = redis_program()
    if program is None:
        pytest.skip("no Redis: needs redis-server on the PATH or DAYWATCH_TEST_REDIS=PROGRAM")
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"), program)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """The Valkey that comes with the embedded extra."""
    yield from _running_store(EmbeddedStore(tmp_path_factory.mktemp("valkey")))


def _running_store(store: EmbeddedStore) -> Iterator[EmbeddedStore]:
    try:
        store.start()
        yield store
    finally:
        store.stop()


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """The broker that comes with the embedded extra."""
    broker = EmbeddedBroker(tmp_path_factory.mktemp("tansu"))
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses, so that tests may share servers."""
    return f"t{secrets.token_hex(5)}"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return Path(__file__).resolve().parent.parent
