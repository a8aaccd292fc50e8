"""A real redis-server behind TLS, passwords and ACLs, and what is said to who may not come in."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from stream.errors import ConfigurationError, PipelineError, TransientError
from stream.tls import Spoken
from tests.secure_servers import KEY_PASSWORD, PASSWORD, Certificates, SecureRedis
from tests.servers import redis_program
from windowing.identities import Revealed
from windowing.redis_access import Server, connect, trouble, why_refused
from windowing.redis_identities import RedisIdentities
from windowing.redis_store import RedisStore
from windowing.redis_upkeep import RedisUpkeep
from windowing.store import Advance, Erasure, Start


@dataclass
class Place:
    """One server that asks for passwords, one that asks for certificates."""

    certificates: Certificates
    passwords: SecureRedis
    mutual: SecureRedis


def operators(page: str) -> str:
    """What docs/security.md grants the commands of operators besides."""
    more = re.search(r"^(\+scan .*)$", page, re.MULTILINE)
    assert more is not None
    return more[1]


def least(page: str, namespace: str) -> str:
    """The rule of docs/security.md, as a line of an ACL file."""
    rule = re.search(r"^ACL SETUSER daywatch (on .*)$", page, re.MULTILINE)
    assert rule is not None
    # a redis-server need not know a command that came later
    words = [word for word in rule[1].split() if word != "+waitaof"]
    return "user worker " + " ".join(words).replace("PASSWORD", PASSWORD).replace("NAMESPACE", namespace)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Place]:
    program = redis_program()
    if program is None:
        pytest.skip("no Redis: needs redis-server on the PATH or DAYWATCH_TEST_REDIS=PROGRAM")
    directory = tmp_path_factory.mktemp("secure-redis")
    certificates = Certificates.make(directory / "certificates")
    page = (repository / "docs" / "security.md").read_text(encoding="utf-8")
    worker = least(page, "acme")
    users = [
        "user default off", worker, f"{worker} {operators(page)}".replace("user worker", "user operator"),
        worker.replace(" +rpush", "").replace("user worker", "user hindered"), f"user owner on >{PASSWORD} ~* &* +@all",
    ]  # fmt: skip
    passwords = SecureRedis(directory / "passwords", program, certificates, users)
    mutual = SecureRedis(directory / "mutual", program, certificates, mutual=True)
    passwords.start()
    mutual.start()
    try:
        yield Place(certificates, passwords, mutual)
    finally:
        passwords.stop()
        mutual.stop()


def used(url: str, namespace: str, **options: object) -> None:
    """A worker's life with a store: everything that it ever asks."""
    store = RedisStore(url, namespace, **options)
    try:
        store.check()
        claimed = store.claim(0, "layout")
        store.begin([Start(0, claimed.epoch, "start", "fresh")])
        store.advance([Advance(0, claimed.epoch, "start", "next", "s", appends=[(1, b"x")], profiles=[("ana", b"p")])])
        assert dict(store.panes(0, [1])) == {1: [b"x"]}
        assert [pair for page in store.profiles(0) for pair in page] == [("ana", b"p")]
        assert store.look(0) == ("next", "s")
        store.advance([Advance(0, claimed.epoch, "next", "last", "s", drops=[1])])
    finally:
        store.close()
        redis.Redis.from_url(url, **options).close()


def test_a_worker_lives_with_no_more_than_the_page_grants_over_tls(place: Place) -> None:
    used(place.passwords.tls, "acme", username="worker", password=PASSWORD, ssl_ca_certs=place.certificates.authority.certificate)


def test_an_operators_commands_need_no_more_than_the_page_grants(place: Place) -> None:
    door = {"username": "operator", "password": PASSWORD, "ssl_ca_certs": place.certificates.authority.certificate}
    store, upkeep = RedisStore(place.passwords.tls, "acme", **door), RedisUpkeep(place.passwords.tls, "acme", **door)
    identities = RedisIdentities(place.passwords.tls, "acme", "store.", **door)
    claimed = store.claim(3, "layout")
    store.begin([Start(3, claimed.epoch, "start", "fresh")])
    store.advance([Advance(3, claimed.epoch, "start", "next", "s", appends=[(1, b"x")], profiles=[("ana", b"p")])])
    assert 3 in upkeep.partitions()
    assert upkeep.look(3).panes == (1,)
    assert (upkeep.look(3).bytes or 0) > 0
    assert upkeep.memory().used > 0
    assert store.knows(3, "ana")
    store.erase(Erasure(3, claimed.epoch, "next", "later", "s", blobs=[(1, 0, b"y")], users=["ana"]))
    assert (store.tail(3, 1, 0), store.knows(3, "ana")) == ([b"y"], False)
    upkeep.reset(3, store.claim(3, "layout").epoch, "", "", "")
    assert upkeep.look(3).panes == ()
    identities.keep({"u-1": "ana"})
    assert identities.look_up("u-1") == "ana"
    identities.record(Revealed(1, "bo", "because", "u-1", True))
    assert len(identities.log()) == 1
    assert identities.forget(["u-1"], "ana") == 1


def test_user_and_password_may_stand_in_the_address(place: Place) -> None:
    authority = place.certificates.authority.certificate
    url = place.passwords.tls.replace("rediss://", f"rediss://owner:{PASSWORD}@") + f"?ssl_ca_certs={authority}"
    used(url, "by-address")


def test_a_certificate_lets_in_with_an_encrypted_key_too(place: Place) -> None:
    authority = place.certificates.authority.certificate
    for certificate, key, _ in (place.certificates.worker, place.certificates.locked):
        used(
            place.mutual.tls, f"mutual-{Path(certificate).stem}", ssl_ca_certs=authority, ssl_certfile=certificate, ssl_keyfile=key,
            ssl_password=KEY_PASSWORD,
        )  # fmt: skip


def refused(url: str, **options: object) -> str:
    began = time.monotonic()
    with pytest.raises(PipelineError) as error:
        RedisStore(url, "acme", **options).check()
    assert type(error.value) is ConfigurationError
    # the library by itself tries for up to three minutes
    assert time.monotonic() - began < 20
    text = str(error.value)
    assert PASSWORD not in text
    assert "worker" not in text
    assert "\n" not in text
    return text


def test_what_keeps_us_out_is_told_at_once_with_the_setting_to_mend(place: Place) -> None:
    ours, others = place.certificates.authority.certificate, place.certificates.other.certificate
    by_password = {"username": "worker", "password": PASSWORD}
    tls, plain, mutual = place.passwords.tls, place.passwords.plain, place.mutual.tls
    assert "refuses store.username with store.password" in refused(plain, username="worker", password="wrong")
    assert "refuses store.username with store.password" in refused(plain, username="nobody", password=PASSWORD)
    assert refused(plain).startswith("store.password: the server at localhost:")
    assert refused(tls, **by_password, ssl_ca_certs=others).startswith("store.ssl_ca_location: ")
    assert refused(tls, **by_password).startswith("store.ssl_ca_location: ")
    assert "for another name" in refused(tls.replace("localhost", "127.0.0.1"), **by_password, ssl_ca_certs=ours)
    assert refused(tls.replace("rediss:", "redis:"), **by_password).startswith("store.url: redis://, but the server")
    assert refused(plain.replace("redis:", "rediss:"), **by_password, ssl_ca_certs=ours).startswith("store.url: rediss://, but the server")
    assert "asks for a certificate of ours" in refused(mutual, ssl_ca_certs=ours)
    certificate, key, _ = place.certificates.stranger
    assert "does not trust our certificate" in refused(mutual, ssl_ca_certs=ours, ssl_certfile=certificate, ssl_keyfile=key)


def test_a_file_that_is_no_certificate_or_key_is_told_before_anybody_is_asked(place: Place, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nothing")
    certificate, key, _ = place.certificates.locked
    url = "rediss://nowhere.invalid/0"
    assert refused(url, ssl_ca_certs=str(nonsense)).startswith("store.ssl_ca_location: the file cannot be used")
    assert refused(url, ssl_certfile=certificate, ssl_keyfile=key).startswith("store.ssl_key_location: ")
    assert refused(url, ssl_certfile=certificate, ssl_keyfile=key, ssl_password="wrong").startswith("store.ssl_key_location: ")
    other = place.certificates.worker[1]
    assert refused(url, ssl_certfile=certificate, ssl_keyfile=other).startswith("store.ssl_key_location: ")


def test_a_key_or_a_command_that_is_not_allowed_ends_the_worker_with_its_reason(place: Place) -> None:
    options = {"ssl_ca_certs": place.certificates.authority.certificate, "password": PASSWORD}
    elsewhere = RedisStore(place.passwords.tls, "other", username="worker", **options)
    elsewhere.check()
    with pytest.raises(ConfigurationError, match=r"^store at localhost:\d+ forbids this user a key or a command; grant it what docs/sec"):
        elsewhere.look(0)
    with pytest.raises(ConfigurationError, match="forbids this user"):
        elsewhere.claim(0, "layout")
    hindered = RedisStore(place.passwords.tls, "acme", username="hindered", **options)
    claimed = hindered.claim(7, "layout")
    hindered.begin([Start(7, claimed.epoch, "start", "fresh")])
    with pytest.raises(PipelineError) as error:
        hindered.advance([Advance(7, claimed.epoch, "start", "next", "s", appends=[(1, b"x")])])
    assert type(error.value) is ConfigurationError
    with pytest.raises(redis.RedisError) as found:
        connect(place.passwords.plain, username="worker", password=PASSWORD).keys("acme:*")
    assert "forbids this user the command KEYS" in str(trouble(found.value, "store"))


def test_a_server_that_is_away_is_waited_for_and_then_a_passing_trouble() -> None:
    with pytest.raises(TransientError, match="store at 127.0.0.1:1: ConnectionError"):
        RedisStore("rediss://127.0.0.1:1/0", "acme").check()


def test_once_met_a_server_is_taken_for_away_and_not_for_another(place: Place) -> None:
    client = connect(place.passwords.plain, username="owner", password=PASSWORD)
    client.ping()
    retry = client.get_connection_kwargs()["retry"]
    assert retry._met.yet
    retry._refuse(redis.ConnectionError("gone"))  # says nothing


@pytest.mark.parametrize(
    ("encrypted", "spoken", "said"),
    [
        (False, Spoken.NO_TLS, None),
        (False, Spoken.NOTHING, None),
        (True, Spoken.NOTHING, None),
        (True, Spoken.TLS, None),
        (True, Spoken.EXPIRED, "has expired or is not valid yet"),
    ],
)
def test_what_may_pass_is_no_reason(encrypted: bool, spoken: Spoken, said: str | None) -> None:
    why = why_refused(redis.ConnectionError("Connection reset by peer"), Server("h", 1, encrypted=encrypted), spoken)
    assert why is None if said is None else said in (why or "")
