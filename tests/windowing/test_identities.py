"""The map from pseudonyms to users, on every implementation, and the outlet that writes it before it sends."""

import json
from collections.abc import Iterator, Mapping

import pytest
import redis

from stream.errors import ConfigurationError, TransientError
from stream.log import Commit, MemoryLog, MemoryOutlet, Out, TopicPartition
from stream.marks import encode_mark
from stream.partitioner import partition_of
from tests.windowing.test_pseudonyms import DAY, KEY, record
from windowing.identities import IdentityMap, MemoryIdentities, PseudonymousOutlet, Revealed
from windowing.pseudonyms import Pseudonyms
from windowing.record import parse_window
from windowing.redis_identities import RedisIdentities

PARTITIONS = 4
WINDOWS = "x.windows"


@pytest.fixture(params=["memory", "valkey", "redis"])
def identities(request: pytest.FixtureRequest, namespace: str) -> Iterator[IdentityMap]:
    if request.param == "memory":
        yield MemoryIdentities()
        return
    found = RedisIdentities(request.getfixturevalue(f"{request.param}_server").url, namespace)
    yield found
    found.close()


def test_who_is_behind_a_pseudonym_can_be_looked_up(identities: IdentityMap) -> None:
    identities.keep({"u-1": "ana", "u-2": "Zoë"})
    identities.keep({"u-1": "ana"})
    assert [identities.look_up(name) for name in ("u-1", "u-2", "u-3")] == ["ana", "Zoë", None]


def test_everybody_who_asked_is_in_the_log(identities: IdentityMap) -> None:
    asked = [Revealed(1_262_592_753_000 + n, f"eva{n}@desk", "case 7", "u-1", known=n > 0) for n in range(3)]
    for each in asked:
        identities.record(each)
    assert identities.log() == asked


def test_forgetting_takes_what_older_keys_made_of_a_user_too_and_nobody_else(identities: IdentityMap) -> None:
    identities.keep({"u-old": "ana", "u-new": "ana", "u-bo": "bo"})
    assert identities.forget(["u-new"], "ana") == 2
    assert [identities.look_up(name) for name in ("u-old", "u-new", "u-bo")] == [None, None, "bo"]
    assert identities.forget([], "ana") == 0


def test_a_map_that_is_not_there_is_a_passing_trouble_and_names_nobody(namespace: str) -> None:
    with pytest.raises(TransientError, match=r"privacy\.map_url") as error:
        RedisIdentities("redis://ana:secret@127.0.0.1:1/0", namespace).look_up("u-1")
    assert "secret" not in str(error.value)


def test_rights_of_ones_own_keep_the_map_from_whoever_has_no_business_with_it(redis_server, namespace: str) -> None:  # type: ignore[no-untyped-def]
    """The rules that docs/privacy.md gives: workers write the map and cannot read it; who reveals can read it and cannot touch the log."""
    admin = redis.Redis.from_url(redis_server.url)
    worker, auditor = f"worker-{namespace}", f"auditor-{namespace}"
    admin.execute_command("ACL", "SETUSER", worker, "on", ">w", f"%W~{namespace}:identities", "-@all", "+hset")
    rules = (f"%R~{namespace}:identities", f"~{namespace}:identities:log", "-@all", "+hget", "+xadd", "+xrange")
    admin.execute_command("ACL", "SETUSER", auditor, "on", ">a", *rules)
    try:
        writing = RedisIdentities(redis_server.url, namespace, username=worker, password="w")
        reading = RedisIdentities(redis_server.url, namespace, username=auditor, password="a")
        writing.keep({"u-1": "ana"})
        with pytest.raises(ConfigurationError):
            writing.look_up("u-1")
        assert reading.look_up("u-1") == "ana"
        reading.record(Revealed(1, "eva", "case 7", "u-1", known=True))
        with pytest.raises(ConfigurationError):
            reading.keep({"u-2": "bo"})
        with pytest.raises(redis.exceptions.NoPermissionError):
            redis.Redis.from_url(redis_server.url, username=auditor, password="a").delete(f"{namespace}:identities:log")
    finally:
        admin.execute_command("ACL", "DELUSER", worker, auditor)


# the outlet ---------------------------------------------------------------------------------------------------------------


def world() -> tuple[MemoryLog, MemoryIdentities, PseudonymousOutlet]:
    log, identities = MemoryLog([WINDOWS, "x.dead-letters", "x.logon"], PARTITIONS), MemoryIdentities()
    return log, identities, PseudonymousOutlet(MemoryOutlet(log), WINDOWS, Pseudonyms(KEY, PARTITIONS), identities)


def windows_of(*users: str) -> list[Out]:
    records = []
    for user in users:
        value = record(DAY, user)
        headers = [("ce_specversion", b"1.0"), ("ce_id", parse_window(value).id.encode())]
        records.append(Out(TopicPartition(WINDOWS, partition_of(user.encode(), PARTITIONS)), user.encode(), value, headers))
    return records


def test_windows_go_out_under_pseudonyms_in_the_partition_where_they_were() -> None:
    log, identities, outlet = world()
    commits = {TopicPartition("x.logon", 0): Commit(7)}
    outlet.transact(windows_of("AWL0042", "BCR0017"), commits, log.generation)
    assert sorted(identities.people.values()) == ["AWL0042", "BCR0017"]
    kept = {at: records for at, records in log.logs.items() if records}
    for at, records in kept.items():
        for each in records:
            window = parse_window(each.value or b"")
            assert each.key == window.user.encode()
            assert at.partition == partition_of(each.key, PARTITIONS) == partition_of(identities.people[window.user].encode(), PARTITIONS)
            assert dict(each.headers() or [])["ce_id"] == window.id.encode()
    assert sum(map(len, kept.values())) == 2
    assert log.committed == commits


def test_marks_and_records_of_other_topics_go_out_as_they_are() -> None:
    log, identities, outlet = world()
    letter = Out(TopicPartition("x.dead-letters", 1), b"ana", b'{"user":"ana"}', [("daywatch-reason", b"late")])
    mark = Out(TopicPartition(WINDOWS, 2), None, None, encode_mark(5))
    outlet.transact([letter, mark], {}, log.generation)
    assert log.records("x.dead-letters")[0].value == b'{"user":"ana"}'
    assert [each.headers() for each in log.records(WINDOWS)] == [encode_mark(5)]
    assert identities.people == {}


def test_nothing_is_sent_whose_name_could_not_be_written_down() -> None:
    log, _, _ = world()

    class Away(MemoryIdentities):
        def keep(self, people: Mapping[str, str]) -> None:
            raise TransientError("away")

    outlet = PseudonymousOutlet(MemoryOutlet(log), WINDOWS, Pseudonyms(KEY, PARTITIONS), Away())
    with pytest.raises(TransientError):
        outlet.transact(windows_of("AWL0042"), {}, log.generation)
    assert log.records(WINDOWS) == []


def test_an_entry_that_the_map_has_lost_comes_back_with_the_next_window() -> None:
    log, identities, outlet = world()
    outlet.transact(windows_of("AWL0042"), {}, log.generation)
    identities.people.clear()
    outlet.transact(windows_of("AWL0042"), {}, log.generation)
    assert list(identities.people.values()) == ["AWL0042"]
    assert json.loads(log.records(WINDOWS)[0].value or b"")["user"] in identities.people
