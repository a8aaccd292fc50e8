"""The chain behind closed doors: Apache Kafka with TLS, certificates, SCRAM and ACLs, a Redis with TLS and ACLs, and each wrong key."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from daywatch.__main__ import main
from daywatch.settings import load
from stream.errors import ConfigurationError
from stream.kafka_producer import KafkaEventSink
from stream.kafka_reader import read_all
from stream.kafka_source import KafkaOutlet, KafkaSource
from stream.kafka_transactions import Outgoing, TransactionalProducer
from stream.log import Commit, Out, TopicPartition
from stream.synth import write_organisation
from tests.secure_servers import KEY_PASSWORD, PASSWORD, Certificates, SecureKafka, SecureRedis
from tests.servers import create_topics, kafka_launcher, redis_program
from tests.windowing.test_redis_access import least, operators

EVENTS = ("logon", "device", "file", "email", "http")


@dataclass
class House:
    """The broker, the store's certificates, and how a user is described in settings."""

    kafka: SecureKafka
    certificates: Certificates
    known: set[str] = field(default_factory=set)

    def by_password(self, user: str, **other: str) -> dict[str, object]:
        """Settings of a user who comes in by TLS and SCRAM."""
        if user not in self.known:
            self.kafka.know(user)
            self.known.add(user)
        told = {
            "bootstrap_servers": self.kafka.address("SASL_SSL"), "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": user, "sasl_password": PASSWORD, "ssl_ca_location": self.certificates.authority.certificate, **other,
        }  # fmt: skip
        return {f"kafka.{name}": value for name, value in told.items()}

    def by_certificate(self, files: tuple[str, str, str], **other: str) -> dict[str, object]:
        """Settings of a user who comes in by certificate."""
        told = {
            "bootstrap_servers": self.kafka.address("SSL"), "security_protocol": "SSL",
            "ssl_ca_location": self.certificates.authority.certificate,
            "ssl_certificate_location": files[0], "ssl_key_location": files[1], **other,
        }  # fmt: skip
        return {f"kafka.{name}": value for name, value in told.items()}

    def may_all(self, user: str, namespace: str) -> None:
        for kind in ("TOPIC", "GROUP", "TRANSACTIONAL_ID"):
            self.kafka.allow(user, kind, namespace, "ALL", prefix=True)
        self.kafka.allow(user, "GROUP", "daywatch-reader", "READ")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    launcher = kafka_launcher()
    if launcher is None:
        pytest.skip("no Apache Kafka: needs Java and DAYWATCH_TEST_KAFKA=DIR with the kafka launcher")
    directory = tmp_path_factory.mktemp("secure-kafka")
    certificates = Certificates.make(directory / "certificates")
    kafka = SecureKafka(launcher, directory / "broker", certificates)
    try:
        kafka.start()
        yield House(kafka, certificates)
    finally:
        kafka.kill()


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few people, some of whom are insiders."""
    place = tmp_path_factory.mktemp("organisation") / "r4.2"
    write_organisation(place, 16, 24, seed=5, insiders=3, zone="UTC")
    return place


# --------------------------------------------------------------------------------------------- everything that is a client


def client_of(flags: dict[str, object]) -> dict[str, str]:
    return load(flags=flags, alone=True).kafka.client()


def way_in(house: House, way: str, user: str) -> dict[str, object]:
    certificates = house.certificates
    match way:
        case "TLS and SCRAM-SHA-512":
            return house.by_password(user)
        case "TLS and SCRAM-SHA-256":
            return house.by_password(user, sasl_mechanism="SCRAM-SHA-256")
        case "SCRAM without TLS":
            flags = house.by_password(user, security_protocol="SASL_PLAINTEXT", bootstrap_servers=house.kafka.address("SASL_PLAINTEXT"))
            return {name: value for name, value in flags.items() if name != "kafka.ssl_ca_location"}
        case "a certificate":
            return house.by_certificate(certificates.authority.issue(user))
        case _:
            return house.by_certificate(certificates.authority.issue(user, password=KEY_PASSWORD), ssl_key_password=KEY_PASSWORD)


WAYS = ["TLS and SCRAM-SHA-512", "TLS and SCRAM-SHA-256", "SCRAM without TLS", "a certificate", "a certificate with a locked key"]


@pytest.mark.parametrize("way", WAYS)
def test_every_client_comes_in(house: House, namespace: str, way: str) -> None:
    """Admin, producer, group member, transactional producer and reader, one after the other."""
    house.may_all(namespace, namespace)
    client = client_of(way_in(house, way, namespace))
    names = [f"{namespace}.in", f"{namespace}.out"]
    from stream.kafka_topics import KafkaTopicAdmin
    from stream.topics import TopicSpec

    admin = KafkaTopicAdmin(client)
    admin.create([TopicSpec(name, 1) for name in names])
    assert set(admin.find([*names, f"{namespace}.none"])) == set(names)
    sink = KafkaEventSink(client, 1)
    sink.send(names[0], [b"ana"], [b"one"], None)
    sink.flush()
    source = KafkaSource(client, f"{namespace}.group", names[:1])
    outlet = KafkaOutlet(TransactionalProducer(client, f"{namespace}.id"))
    try:
        while not source.joined():
            source.poll(1, 100)
        at = TopicPartition(names[0], 0)
        assert source.committed([0]) == {}
        source.start({at: 0})
        found: list[bytes | None] = []
        while not found:
            found = [value for records in source.poll(10, 100).records for value in records.values]
        outlet.transact([Out(TopicPartition(names[1], 0), b"ana", found[0], ())], {at: Commit(1)}, source.group())
        assert source.committed([0]) == {at: Commit(1)}
    finally:
        source.close()
        outlet.close()
    assert [message.value() for batch in read_all(client, names[1:]) for message in batch] == [b"one"]


@pytest.mark.parametrize("way", WAYS)
def test_the_worker_of_incidents_comes_in_too(house: House, namespace: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has another Kafka client, which is told the same."""
    pytest.importorskip("faust")
    from aiokafka.client import AIOKafkaClient
    from aiokafka.conn import AIOKafkaConnection
    from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

    from sinks.incidents.faust_app import _credentials

    close = AIOKafkaConnection.close
    writers: list[asyncio.StreamWriter] = []

    def closing(connection: Any, *arguments: Any, **more: Any) -> Any:
        # aiokafka itself does not say when a connection is really closed
        if connection._writer is not None:
            writers.append(connection._writer)
        return close(connection, *arguments, **more)

    monkeypatch.setattr(AIOKafkaConnection, "close", closing)

    async def brokers(client: dict[str, str]) -> int:
        found = AIOKafkaClient(bootstrap_servers=client["bootstrap.servers"], **credentials_to_aiokafka_auth(_credentials(client)))
        try:
            await found.bootstrap()
            return len(found.cluster.brokers())
        finally:
            await found.close()
            # a TLS connection takes its leave after aiokafka has said it is closed; the loop must not end before
            await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    client = client_of(way_in(house, way, namespace))
    assert asyncio.run(brokers(client)) == 1
    assert writers


# ------------------------------------------------------------------------------------------------------------- wrong keys

Shown = Callable[..., str]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Shown:
    """What `daywatch ARGS` says when it fails, at once, with 1 and without a secret; libraries' own lines count."""
    monkeypatch.chdir(tmp_path)

    def shown(flags: dict[str, object], *arguments: str) -> str:
        pairs = [part for name, value in flags.items() for part in ("--set", f"{name}={value}")]
        monkeypatch.setattr(sys, "argv", ["daywatch", *arguments, *pairs])
        capfd.readouterr()
        began = time.monotonic()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capfd.readouterr()
        assert (left.value.code, out) == (1, ""), err
        # a connection that is never answered takes the longest to tell from one that is only slow
        assert time.monotonic() - began < 25
        # a worker greets before it fails
        greeting, _, error = err.rpartition("daywatch: error: ")
        assert re.fullmatch(r"(daywatch \w+: .*\n)?", greeting), err
        assert error.count("\n") == 1, err
        for secret in (PASSWORD, KEY_PASSWORD, "not-the-password"):
            assert secret not in err
        return error.strip()

    return shown


def test_a_wrong_user_password_or_mechanism_is_told(house: House, shown: Shown) -> None:
    refused = r"the broker at localhost:\d+ refuses kafka.sasl_username with kafka.sasl_password"
    assert re.match(refused, shown(house.by_password("ana", sasl_password="not-the-password"), "topics", "list"))
    assert re.match(refused, shown(house.by_password("ana", sasl_username="nobody-known"), "topics", "create"))
    text = shown(house.by_password("ana", sasl_mechanism="PLAIN"), "topics", "list")
    assert text.startswith("kafka.sasl_mechanism: the broker at localhost:")
    assert text.endswith("does not offer it; it offers SCRAM-SHA-512, SCRAM-SHA-256")


def test_a_wrong_authority_or_name_is_told(house: House, shown: Shown) -> None:
    unknown = "kafka.ssl_ca_location: the authority that signed the certificate of the broker at localhost:"
    assert shown(house.by_password("ana", ssl_ca_location=house.certificates.other.certificate), "topics", "list").startswith(unknown)
    without = {name: value for name, value in house.by_password("ana").items() if name != "kafka.ssl_ca_location"}
    assert shown(without, "topics", "list").startswith(unknown)
    text = shown(house.by_password("ana", bootstrap_servers=house.kafka.address("SASL_SSL", "127.0.0.1")), "topics", "list")
    assert text.startswith("kafka.bootstrap_servers: the certificate of the broker at 127.0.0.1:")


def test_plain_against_tls_and_tls_against_plain_are_told(house: House, shown: Shown) -> None:
    kafka = house.kafka
    text = shown({"kafka.bootstrap_servers": kafka.address("SASL_SSL")}, "topics", "list")
    assert text.startswith("kafka.security_protocol: PLAINTEXT, but the broker at localhost:")
    assert "speaks TLS there" in text
    text = shown(house.by_password("ana", bootstrap_servers=kafka.address("PLAINTEXT")), "topics", "list")
    assert "does not speak TLS there; name its TLS port, or set SASL_PLAINTEXT" in text
    text = shown({"kafka.bootstrap_servers": kafka.address("SASL_PLAINTEXT")}, "topics", "list")
    assert "takes connections and answers nothing; if it wants a user and a password, set SASL_PLAINTEXT" in text


def test_a_missing_strange_or_unusable_certificate_of_ours_is_told(house: House, shown: Shown, tmp_path: Path) -> None:
    certificates = house.certificates
    own = house.by_certificate(certificates.worker)
    without = {name: value for name, value in own.items() if not name.endswith(("certificate_location", "key_location"))}
    assert "asks for a certificate of ours" in shown(without, "topics", "list")
    assert "does not trust our certificate" in shown(house.by_certificate(certificates.stranger), "topics", "list")
    fits = "kafka.ssl_key_location: the file cannot be used"
    assert shown({**own, "kafka.ssl_key_location": certificates.locked[1]}, "topics", "list").startswith(fits)
    locked = house.by_certificate(certificates.locked, ssl_key_password="not-the-password")
    assert shown(locked, "topics", "list").startswith(fits)
    (tmp_path / "nonsense.pem").write_text("nothing")
    text = shown({**own, "kafka.ssl_ca_location": str(tmp_path / "nonsense.pem")}, "topics", "list")
    assert text.startswith("kafka.ssl_ca_location: the file cannot be used")


@pytest.mark.parametrize("command", ["window", "detect", "alerts", "replay", "state"])
def test_workers_and_readers_say_it_too_and_do_not_wait(
    house: House, shown: Shown, command: str, tmp_path: Path, organisation: Path
) -> None:
    flags: dict[str, object] = house.by_password("ana", sasl_password="not-the-password")
    arguments = [command]
    if command == "window":
        # nobody is asked for the store's sake when it lets us in
        program = redis_program()
        if program is None:
            pytest.skip("no Redis: needs redis-server on the PATH or DAYWATCH_TEST_REDIS=PROGRAM")
        store = SecureRedis(tmp_path / "redis", program, house.certificates)
        store.start()
        flags |= {"store.url": store.tls, "store.ssl_ca_location": house.certificates.authority.certificate}
    if command == "replay":
        arguments.append(str(organisation))
    assert "refuses kafka.sasl_username with kafka.sasl_password" in shown(flags, *arguments)
    if command == "window":
        store.stop()


# ------------------------------------------------------------------------------------------------------------ permissions


def test_what_is_not_allowed_is_told_by_name(house: House, shown: Shown, namespace: str) -> None:
    create_topics(house.kafka.owner["bootstrap.servers"], [f"{namespace}.{name}" for name in (*EVENTS, "windows")], 1)
    flags = {**house.by_password("powerless"), "namespace": namespace}
    forbidden = rf"the broker forbids use of a topic, {namespace}\.\w+, to this user \(TOPIC_AUTHORIZATION_FAILED\); grant it what docs/sec"
    assert re.match(forbidden, shown(flags, "topics", "list"))
    assert re.match(forbidden, shown(flags, "alerts"))
    assert re.match(forbidden, shown(flags, "detect"))


def read_to_its_end(client: dict[str, str], topic: str) -> int:
    return sum(len(batch) for batch in read_all(client, [topic]))


def written_by_its_owner(house: House, topic: str) -> None:
    sink = KafkaEventSink(house.kafka.owner, 1)
    sink.send(topic, [b"ana"], [b"one"], None)
    sink.flush()


def polled_until_it_fails(source: KafkaSource) -> None:
    while True:
        source.poll(1, 100)


def test_each_right_that_is_missing_ends_its_client_at_once(house: House, namespace: str, capfd: pytest.CaptureFixture[str]) -> None:
    names = [f"{namespace}.in", f"{namespace}.out"]
    create_topics(house.kafka.owner["bootstrap.servers"], names, 1)
    for name in names:
        house.kafka.allow(namespace, "TOPIC", name, "DESCRIBE")
    house.kafka.allow(namespace, "TOPIC", names[0], "READ")
    client = client_of(house.by_password(namespace))
    began = time.monotonic()
    capfd.readouterr()
    sink = KafkaEventSink(client, 1)
    sink.send(names[1], [b"ana"], [b"one"], None)
    with pytest.raises(ConfigurationError, match="forbids"):
        sink.flush()
    sink.abandon()
    source = KafkaSource(client, f"{namespace}.group", names[:1])
    with pytest.raises(ConfigurationError, match="forbids use of a consumer group"):
        polled_until_it_fails(source)
    source.close()
    producer = TransactionalProducer(client, f"{namespace}.id")
    with pytest.raises(ConfigurationError, match="forbids use of a transactional id"):
        producer.reopen()
    house.kafka.allow(namespace, "TRANSACTIONAL_ID", f"{namespace}.id", "WRITE", "DESCRIBE")
    with pytest.raises(ConfigurationError, match="forbids use of a topic"):
        producer.transact([Outgoing(names[1], b"ana", b"one")])
    producer.discard()
    written_by_its_owner(house, names[1])
    with pytest.raises(ConfigurationError, match="forbids"):
        read_to_its_end(client, names[1])
    assert time.monotonic() - began < 60
    assert capfd.readouterr() == ("", "")


# -------------------------------------------------------------------------------------------------------------- the chain


def granted(page: str) -> dict[str, tuple[list[str], list[str], list[str], list[str]]]:
    """The table of docs/security.md: by role what it reads and writes, its groups and the beginnings of its transactional ids."""
    found = {}
    for line in page.partition("### What each role needs")[2].splitlines():
        cells = [[part.strip("` ") for part in cell.split(",") if part.strip("` ")] for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            for role in cells[0]:
                found[role] = (cells[1], cells[2], cells[3], cells[4])
    return found


def grant(house: House, page: str, namespace: str, role: str, user: str) -> None:
    reads, writes, groups, ids = granted(page)[role]
    for topics, operation in ((reads, "READ"), (writes, "WRITE")):
        for topic in topics:
            for name in EVENTS if topic == "events" else [topic]:
                house.kafka.allow(user, "TOPIC", f"{namespace}.{name}", operation, "DESCRIBE")
    for group in groups:
        house.kafka.allow(user, "GROUP", group.replace("NAMESPACE", namespace), "READ")
    for beginning in ids:
        house.kafka.allow(user, "TRANSACTIONAL_ID", beginning.replace("NAMESPACE", namespace), "WRITE", "DESCRIBE", prefix=True)


@pytest.fixture
def store(house: House, repository: Path, tmp_path: Path, namespace: str) -> Iterator[SecureRedis]:
    program = redis_program()
    if program is None:
        pytest.skip("no Redis: needs redis-server on the PATH or DAYWATCH_TEST_REDIS=PROGRAM")
    page = (repository / "docs" / "security.md").read_text(encoding="utf-8")
    users = ["user default off", f"{least(page, namespace)} {operators(page)}"]
    server = SecureRedis(tmp_path / "redis", program, house.certificates, users)
    server.start()
    yield server
    server.stop()


def test_the_whole_chain_with_no_more_rights_than_the_page_grants(
    house: House, store: SecureRedis, organisation: Path, repository: Path, tmp_path: Path, namespace: str
) -> None:
    page = (repository / "docs" / "security.md").read_text(encoding="utf-8")
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    said: list[str] = []

    def run(role: str, *arguments: str) -> str:
        user = f"{namespace}-{role}"
        flags = house.by_password(user) | {
            "namespace": namespace, "window.hop": "24h", "store.url": store.tls, "store.username": "worker",
            "store.ssl_ca_location": house.certificates.authority.certificate,
        }  # fmt: skip
        del flags["kafka.sasl_password"]
        around = {f"DAYWATCH_{name.upper().replace('.', '__')}": str(value) for name, value in flags.items()}
        around |= dict.fromkeys(("DAYWATCH_KAFKA__SASL_PASSWORD_FILE", "DAYWATCH_STORE__PASSWORD_FILE"), str(tmp_path / "secret"))
        done = subprocess.run(
            [sys.executable, "-m", "daywatch", *arguments], env=os.environ | around | {"HOME": str(tmp_path)}, cwd=tmp_path, check=False,
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        said.extend((done.stdout, done.stderr))
        return done.stdout

    for operation in ("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"):
        house.kafka.allow(f"{namespace}-topics", "TOPIC", f"{namespace}.", operation, prefix=True)
    for role in ("replay", "window", "detect", "correlate", "alerts"):
        grant(house, page, namespace, role, f"{namespace}-{role}")
    house.kafka.allow(f"{namespace}-operator", "TOPIC", f"{namespace}.", "READ", "DESCRIBE_CONFIGS", prefix=True)
    house.kafka.allow(f"{namespace}-operator", "GROUP", f"{namespace}.", "DESCRIBE", prefix=True)
    house.kafka.allow(f"{namespace}-operator", "GROUP", "daywatch-", "READ", prefix=True)
    run("topics", "topics", "create", "--partitions", "2")
    run("replay", "replay", str(organisation))
    run("window", "window", "--directory", str(organisation / "LDAP"), "--until-done")
    run("detect", "detect", "--until-done")
    alerts = [json.loads(line) for line in run("alerts", "alerts", "--json").splitlines()]
    assert alerts
    assert json.loads(run("operator", "state", "--json").splitlines()[0])
    config = {row["setting"]: row for row in map(json.loads, run("alerts", "config", "--json").splitlines())}
    assert config["kafka.sasl_password"]["value"] == config["store.password"]["value"] == "********"
    if not [found for found in distributions() if found.name == "faust-streaming"]:
        pytest.skip("the extra incidents is not installed: the chain was tried up to the alerts")
    run("correlate", "correlate", "--until-done")
    incidents = run("alerts", "incidents", "--json")
    assert {finding["finding_info"]["uid"] for finding in alerts} <= set(re.findall(r"[0-9a-f-]{20,}", incidents))
    assert not any(PASSWORD in text for text in said)


# ------------------------------------------------------------------------------------------------------------- the doctor


def test_the_doctor_says_what_keeps_us_out_and_finds_nothing_with_the_rights_that_the_page_lists(house: House, namespace: str) -> None:
    from daywatch.commands.topics import layout_of
    from daywatch.doctor.checks import CHECKS
    from daywatch.doctor.findings import State, examine
    from daywatch.doctor.gather import gather
    from stream.clock import SystemClock
    from stream.kafka_topics import KafkaTopicAdmin
    from stream.topics import create_topics as create_all

    def told(flags: dict[str, object]) -> dict[str, str]:
        settings = load(flags={**flags, "namespace": namespace, "store.url": "redis://127.0.0.1:1/0"}, alone=True)
        findings = examine(gather(settings, SystemClock(), 10.0), CHECKS)
        assert "not-the-password" not in repr(findings)
        assert PASSWORD not in repr(findings)
        ours = [each for each in findings if each.group in ("broker", "topics", "groups")]
        return {each.id: f"{each.told}; {each.cure}" for each in ours if each.state is not State.OK}

    refused = told(house.by_password("looker", sasl_password="not-the-password"))
    assert "refuses kafka.sasl_username with kafka.sasl_password" in refused["broker.access"]
    assert "speaks TLS there" in told({"kafka.bootstrap_servers": house.kafka.address("SASL_SSL")})["broker.access"]

    owner = load(flags={"kafka.bootstrap_servers": house.kafka.owner["bootstrap.servers"], "namespace": namespace}, alone=True)
    create_all(layout_of(owner), KafkaTopicAdmin(owner.kafka.client()))
    flags, names = house.by_password("looker"), [spec.name for spec in layout_of(owner).specs()]
    house.kafka.allow("looker", "GROUP", "daywatch-", "READ", prefix=True)
    house.kafka.allow("looker", "GROUP", namespace, "DESCRIBE", prefix=True)
    house.kafka.allow("looker", "TOPIC", namespace, "READ", "DESCRIBE_CONFIGS", prefix=True)
    seen: set[str] = set()
    while seen != set(names):
        # a broker takes a moment to know whom it has been told to let in
        with contextlib.suppress(ConfigurationError):
            seen = set(KafkaTopicAdmin(client_of(flags)).find(names))
    # without rights on the cluster its settings are not told, and that is all
    found = told(flags)
    assert set(found) == {"broker.limits"}, found
