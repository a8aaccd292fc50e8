"""State that an earlier version wrote is read by this one, and goes on with the same bytes; what a later one wrote is left alone.

`recorded/` has one recording for each schema of the state there ever was (`tests/upgrade/record.py`).
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis

from daywatch.embedded import EmbeddedStore
from sinks.incidents.memory import decode_place, decode_state, encode_place, encode_state
from stream.errors import RefusedError
from stream.log import MemoryLog, TopicPartition
from tests.sinks import test_detect_worker as detecting
from tests.upgrade.record import window_worker
from tests.upgrade.recording import OPERATIONS, RECORDED, TOPICS, load, pack, restore_log, restore_store, unpack
from windowing.ledger import LAYOUT_VERSION
from windowing.panes import UnreadableStateError
from windowing.profiles import UnreadableProfile
from windowing.redis_store import RedisStore

RECORDINGS = sorted(RECORDED.glob("*.json.gz"))


@pytest.fixture(params=RECORDINGS, ids=lambda path: path.name.partition(".")[0])
def recording(request: pytest.FixtureRequest) -> Any:
    return load(request.param)


@pytest.fixture
def store(recording: Any, valkey_server: EmbeddedStore, namespace: str) -> Iterator[RedisStore]:
    """A store as the earlier version left it."""
    with redis.Redis.from_url(valkey_server.url) as client:
        restore_store(client, recording["store"], namespace)
    found = RedisStore(valkey_server.url, namespace)
    yield found
    found.close()


def following(log: MemoryLog, before: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What a log holds beyond what it held before, as recordings have it."""
    return {
        f"{at.topic}/{at.partition}": [
            [pack(kept.key), pack(kept.value), [[name, pack(text)] for name, text in kept.headers() or []]]
            for kept in records[len(before.get(f"{at.topic}/{at.partition}", ())) :]
        ]
        for at, records in log.logs.items()
    }


def recorded(follows: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: [[key, value, headers] for key, value, headers, _ in records] for name, records in follows["logs"].items()}


def test_a_worker_goes_on_from_an_earlier_version_s_state_with_the_same_bytes(recording: Any, store: RedisStore) -> None:
    log = restore_log(recording["broker"])
    window_worker(log, store).run(lambda: False)
    found, expected = following(log, recording["broker"]["logs"]), recorded(recording["follows"])
    for topic in (TOPICS.windows, TOPICS.dead_letters, OPERATIONS):
        for partition in range(TOPICS.partitions):
            assert found[f"{topic}/{partition}"] == expected[f"{topic}/{partition}"]
    assert sum(len(records) for name, records in found.items() if name.startswith(TOPICS.windows)) > 50
    assert {f"{at.topic}/{at.partition}": commit[0] for at, commit in log.committed.items()} == {
        name: offset for name, (offset, _) in recording["follows"]["committed"].items()
    }


def test_a_recording_holds_whatever_a_state_can_hold(recording: Any) -> None:
    """Else the test above would show less than it says."""
    held = recording["store"]
    closed = {tuple(json.loads(meta["hash"]["at"])[1]) for name, meta in held.items() if name.endswith(":meta")}
    assert any(stage == 0 and user for _, stage, user in closed), "it died in the midst of a window"
    assert all(json.loads(commit[1])["sent"] for commit in recording["broker"]["committed"].values())
    assert any('"ana",true' in meta["hash"]["state"] for name, meta in held.items() if name.endswith(":meta")), "a leap is pending"
    assert all("habits" in meta["hash"] for name, meta in held.items() if name.endswith(":meta"))
    blobs = [unpack(blob) or b"" for name, value in held.items() if ":pane:" in name for blob in value["list"]]
    assert any(b"ARROW1" in blob for blob in blobs)
    assert any(len(value["list"]) > 1 for name, value in held.items() if ":pane:" in name)
    assert sum(len(value["hash"]) for name, value in held.items() if name.endswith(":profiles")) > 3


def test_the_present_schema_has_been_recorded() -> None:
    """Whoever changes a schema raises its version, and makes a recording of the new one; the older recordings stay."""
    assert {load(path)["schema"]["layout"] for path in RECORDINGS} == set(range(1, LAYOUT_VERSION + 1))


def test_a_detect_worker_goes_on_from_an_earlier_version_s_memory_and_positions(recording: Any) -> None:
    before = recording["detector"]["broker"]
    log = restore_log(before)
    detecting.worker(log).run(lambda: False)
    found, expected = following(log, before["logs"]), recorded(recording["detector"]["follows"])
    assert {name: [without_version(row) for row in rows] for name, rows in found.items()} == {
        name: [without_version(row) for row in rows] for name, rows in expected.items()
    }
    assert any(records for name, records in before["logs"].items() if name.startswith("alert-memory"))
    assert found["alerts/0"] or found["alerts/1"]


def without_version(row: list[Any]) -> Any:
    """An alert names the version of Daywatch that made it; a later version's results say what they answer."""
    key, value, headers = row
    headers = [header for header in headers if header[0] != "daywatch-answers"]
    try:
        alert = json.loads(value)
        alert["metadata"]["product"].pop("version")
    except (TypeError, ValueError, KeyError):
        return [key, value, headers]
    return [key, alert, headers]


def test_the_memory_of_incidents_is_read(recording: Any) -> None:
    for state in recording["incidents"]["states"]:
        assert encode_state(decode_state(state.encode())).decode() == state
    for place in recording["incidents"]["places"]:
        assert encode_place(decode_place(place.encode())).decode() == place


# state of a version to come --------------------------------------------------------------------------------------------


def all_of(url: str, namespace: str) -> dict[bytes, bytes]:
    with redis.Redis.from_url(url) as client:
        return {key: bytes(client.dump(key) or b"") for key in client.scan_iter(match=f"{namespace}:*") if not key.endswith(b":meta")}  # type: ignore[arg-type]


def change_meta(url: str, namespace: str, layout: str) -> None:
    with redis.Redis.from_url(url) as client:
        for partition in range(TOPICS.partitions):
            client.hset(f"{namespace}:{{p{partition}}}:meta", "layout", layout)


def test_state_of_a_later_version_is_refused_and_left_as_it_is(
    recording: Any, store: RedisStore, valkey_server: EmbeddedStore, namespace: str
) -> None:
    layout = json.loads(store.peek(0).layout) | {"version": LAYOUT_VERSION + 1, "something": "new"}
    change_meta(valkey_server.url, namespace, json.dumps(layout))
    before, log = all_of(valkey_server.url, namespace), restore_log(recording["broker"])
    with pytest.raises(RefusedError, match="later version of Daywatch") as refused:
        window_worker(log, store).run(lambda: False)
    assert "upgrade this worker" in str(refused.value)
    assert all_of(valkey_server.url, namespace) == before
    assert store.look(0)[0] == recording["store"]["acme:{p0}:meta"]["hash"]["at"]
    assert not any(following(log, recording["broker"]["logs"]).values())


@pytest.mark.parametrize("what", ["note", "pane", "profile"])
def test_a_single_part_of_a_later_version_is_refused_too(
    what: str, recording: Any, store: RedisStore, valkey_server: EmbeddedStore, namespace: str
) -> None:
    log = restore_log(recording["broker"])
    with redis.Redis.from_url(valkey_server.url) as client:
        if what == "note":
            at = TopicPartition(f"{TOPICS.windows.partition('.')[0]}.http", 0)
            note = json.loads(log.committed[at].note) | {"v": 9}
            log.committed[at] = log.committed[at]._replace(note=json.dumps(note))
        elif what == "pane":
            key = next(iter(client.scan_iter(match=f"{namespace}:{{p0}}:pane:*")))
            blob: Any = client.lindex(key, 0)
            client.lset(key, 0, b"\x09" + blob[1:])
        else:
            key = f"{namespace}:{{p0}}:profiles".encode()
            held: Any = client.hgetall(key)
            user, blob = next(iter(held.items()))
            client.hset(key, user, b"\x09" + blob[1:])
    with pytest.raises((RefusedError, UnreadableStateError, UnreadableProfile), match="version") as refused:
        window_worker(log, store).run(lambda: False)
    assert "later version" in str(refused.value)
    assert not any(following(log, recording["broker"]["logs"]).values())


def test_an_older_worker_beside_a_newer_one_reads_what_that_wrote(recording: Any, store: RedisStore) -> None:
    """As long as the schema is the same, partitions may move to and fro while workers are replaced one by one."""
    log = restore_log(recording["broker"])
    for _ in range(6):
        moved = window_worker(log, store)
        for _ in range(4):
            moved.step()
    window_worker(log, store).run(lambda: False)
    found, expected = following(log, recording["broker"]["logs"]), recorded(recording["follows"])
    assert {name: rows for name, rows in found.items() if name.startswith(TOPICS.windows)} == {
        name: rows for name, rows in expected.items() if name.startswith(TOPICS.windows)
    }


def test_recordings_hold_no_more_than_they_must() -> None:
    assert all(path.stat().st_size < 200_000 for path in RECORDINGS)
    assert Path(RECORDED).is_dir()
    assert RECORDINGS
