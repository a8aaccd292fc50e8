"""Real servers for tests: Apache Kafka here; Redis, Valkey and the embedded broker are daywatch.embedded's own.

Each has start, stop, kill (SIGKILL) and restart, keeps its address over a restart, and an address attribute
(`bootstrap_servers` or `url`).
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from daywatch.embedded import EmbeddedBroker, EmbeddedStore, free_port

REPOSITORY = Path(__file__).resolve().parent.parent

__all__ = [
    "ApacheKafka",
    "EmbeddedBroker",
    "EmbeddedStore",
    "RedisCluster",
    "create_topics",
    "kafka_launcher",
    "read_values",
    "redis_program",
]


def kafka_launcher() -> Path | None:
    """The `kafka` script, from DAYWATCH_TEST_KAFKA (its directory) or beside the repository; None without it or Java."""
    named = os.environ.get("DAYWATCH_TEST_KAFKA")
    launcher = (Path(named) if named else REPOSITORY.parent / "shared" / "kafka") / "kafka"
    return launcher if launcher.is_file() and shutil.which("java") else None


def redis_program() -> str | None:
    """A redis-server, from DAYWATCH_TEST_REDIS (the program) or the PATH."""
    named = os.environ.get("DAYWATCH_TEST_REDIS")
    return named if named and Path(named).is_file() else shutil.which("redis-server")


def _free_pair() -> int:
    """A port that is free and whose neighbour is free too: the controller listens there."""
    while True:
        port = free_port()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
        return port


class ApacheKafka:
    """One Apache Kafka broker (KRaft) in a directory of its own."""

    def __init__(self, launcher: Path, directory: Path, properties: Iterable[str] = ()) -> None:
        self._launcher = launcher
        self._directory = directory
        self._properties = [part for each in properties for part in ("--set", each)]
        self._port = 0

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        pid = self._directory / "pid"
        return int(pid.read_text()) if pid.is_file() else None

    def start(self) -> None:
        for attempt in range(3):
            port = self._port or _free_pair()
            try:
                self._run("start", "--port", str(port), *self._properties)
            except RuntimeError:
                if self._port or attempt == 2:
                    raise
                shutil.rmtree(self._directory, ignore_errors=True)
            else:
                self._port = port
                return

    def stop(self) -> None:
        self._run("stop")

    def kill(self) -> None:
        self._run("stop", "--kill")

    def restart(self) -> None:
        self.stop()
        # the launcher looks for the line of readiness in the log: an old one must not answer for the new broker
        (self._directory / "server.log").unlink(missing_ok=True)
        self.start()

    def _run(self, action: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._launcher, action, "--dir", self._directory, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a pipe would be held open by the broker itself
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"kafka {action} failed: {done.stderr.strip()}")


class RedisCluster:
    """Three redis-servers that share the keys out between them; `url` is the first one's."""

    def __init__(self, directory: Path, program: str) -> None:
        self._buses = [free_port() for _ in range(3)]
        self.stores = [
            EmbeddedStore(directory / str(number), program, ["--cluster-enabled", "yes", "--cluster-port", str(bus)])
            for number, bus in enumerate(self._buses)
        ]

    @property
    def url(self) -> str:
        return self.stores[0].url

    def start(self) -> None:
        """Start them, let them meet, deal the slots, and wait until each knows of all."""
        from redis import Redis

        for store in self.stores:
            store.start()
        clients = [Redis.from_url(store.url) for store in self.stores]
        edges = [0, 5_461, 10_923, 16_384]
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER ADDSLOTSRANGE", edges[number], edges[number + 1] - 1)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", int(store_port(self.stores[number].url)), self._buses[number])
        deadline = time.monotonic() + 120
        while not all(self._knows_all(client) for client in clients):
            if time.monotonic() > deadline:
                raise RuntimeError("the servers do not become a cluster")
            time.sleep(0.05)
        for client in clients:
            client.close()

    def knows_all(self, store: EmbeddedStore) -> bool:
        """Whether a server knows of all three, and that they serve."""
        from redis import Redis

        with Redis.from_url(store.url) as client:
            return self._knows_all(client)

    @staticmethod
    def _knows_all(client: Any) -> bool:
        told = client.execute_command("CLUSTER INFO")
        facts = told if isinstance(told, dict) else dict(line.split(":") for line in told.decode().split())
        return facts["cluster_state"] == "ok" and facts["cluster_known_nodes"] == "3" and facts["cluster_size"] == "3"

    def stop(self) -> None:
        for store in self.stores:
            store.stop()


def store_port(url: str) -> str:
    """The port in a store's address."""
    return url.rpartition(":")[2].partition("/")[0]


def create_topics(bootstrap_servers: str, names: Iterable[str], partitions: int = 4, **config: str) -> None:
    """Create topics and wait until the broker has them; config in Kafka's names with _ for the dots."""
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    settings = {name.replace("_", "."): value for name, value in config.items()}
    topics = [NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings) for name in names]
    for made in admin.create_topics(topics, operation_timeout=30).values():
        made.result(30)
    # made by the controller; what clients ask the broker for comes a moment later
    deadline = time.monotonic() + 30
    while missing := {topic.topic for topic in topics} - set(admin.list_topics(timeout=20).topics):
        assert time.monotonic() < deadline, f"{len(missing)} topics are not there"


def read_values(bootstrap_servers: str, topic: str) -> list[bytes]:
    """What a topic holds, committed, read apart from all our own readers; values alone, without marks."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({
        "bootstrap.servers": bootstrap_servers, "group.id": "look", "enable.auto.commit": False,
        "isolation.level": "read_committed", "enable.partition.eof": True, "auto.offset.reset": "earliest",
    })  # fmt: skip
    try:
        numbers = set(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        found: list[bytes] = []
        while numbers:
            for message in consumer.consume(1_000, 0.5):
                if message.error() is not None:
                    numbers.discard(message.partition())
                elif message.value() is not None:
                    found.append(message.value())
        return found
    finally:
        consumer.close()
