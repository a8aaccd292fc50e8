"""The window store in Redis or Valkey. Everything a partition owns lies under one hash tag, so that scripts work on a cluster.

- `NAMESPACE:{p7}:meta`: hash of layout, epoch, at, by, state, habits
- `NAMESPACE:{p7}:panes`: set of the pane numbers that have a list
- `NAMESPACE:{p7}:pane:N`: list of blobs, in the order of reading
- `NAMESPACE:{p7}:profiles`: hash of user to blob
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from redis.exceptions import RedisError, ResponseError

from stream.errors import FencedError, PipelineError, StaleError
from windowing.redis_access import connect, is_cluster, servers, trouble, where
from windowing.store import Advance, Claimed, Erasure, Start, check_eviction

_PAGE = 64  # blobs; a blob is at most a batch
_FSYNC_TIMEOUT_MS = 10_000


def key_of(namespace: str, partition: int, *parts: object) -> str:
    """A key of a partition.

    >>> key_of("acme", 7, "pane", 12)
    'acme:{p7}:pane:12'
    """
    return ":".join((namespace, f"{{p{partition}}}", *map(str, parts)))


class RedisStore:
    """Durable state of one namespace's partitions in Redis 7 or Valkey.

    Raises:
        TransientError: the server could not be reached, from any method.
        ConfigurationError: it does not let us in, or forbids something, from any method.
    """

    def __init__(self, url: str, namespace: str, **options: Any) -> None:
        self._redis = connect(url, health_check_interval=30, **options)
        self._where = f"store at {where(self._redis)}"
        self._namespace = namespace
        scripts = files("windowing") / "scripts"
        self._claim = self._redis.register_script((scripts / "claim.lua").read_text())
        self._begin = self._redis.register_script((scripts / "begin.lua").read_text())
        self._advance = self._redis.register_script((scripts / "advance.lua").read_text())
        self._erase = self._redis.register_script((scripts / "erase.lua").read_text())

    def _key(self, partition: int, *parts: object) -> str:
        return key_of(self._namespace, partition, *parts)

    def check(self) -> None:
        """Refuse a server that may forget state under pressure.

        Raises:
            RefusedError: an eviction policy is set that can drop keys.
        """
        try:
            policies = [server.config_get("maxmemory-policy").get("maxmemory-policy") or "noeviction" for server in servers(self._redis)]
        except ResponseError:
            return  # managed servers forbid CONFIG; the operator has been told in the documentation
        except RedisError as error:
            raise self._unreachable(error) from error
        for policy in policies:
            check_eviction(policy)

    def claim(self, partition: int, layout: str) -> Claimed:
        """Become the owner of a partition."""
        try:
            epoch, held, at, state, panes, habits = self._claim(
                keys=[self._key(partition, "meta"), self._key(partition, "panes")], args=[layout]
            )
        except RedisError as error:
            raise self._unreachable(error) from error
        return Claimed(int(epoch), _text(held), _text(at), _text(state), tuple(sorted(int(pane) for pane in panes)), _text(habits))

    def look(self, partition: int) -> tuple[str, str]:
        """Where a partition stands, and its state."""
        try:
            at, state = self._redis.hmget(self._key(partition, "meta"), ["at", "state"])
        except RedisError as error:
            raise self._unreachable(error) from error
        return _text(at or b""), _text(state or b"")

    def confirm(self, epochs: Mapping[int, int]) -> None:
        """Return if these are still the newest owners."""
        for partition, epoch in epochs.items():
            try:
                (found,) = self._redis.hmget(self._key(partition, "meta"), ["epoch"])
            except RedisError as error:
                raise self._unreachable(error) from error
            if _text(found or b"") != str(epoch):
                raise FencedError(f"partition {partition} has a newer owner")

    def begin(self, starts: Sequence[Start]) -> None:
        """Write starting positions and wait until they are on disk."""
        try:
            for start in starts:
                answer = self._begin(keys=[self._key(start.partition, "meta")], args=[start.epoch, start.at, start.state])
                if answer != b"done":
                    raise FencedError(f"partition {start.partition} has a newer owner")
            self._wait_for_fsync()
        except RedisError as error:
            raise self._unreachable(error) from error

    def _wait_for_fsync(self) -> None:
        for server in servers(self._redis):
            if not int(server.info("persistence").get("aof_enabled", 0)):
                continue
            try:
                server.execute_command("WAITAOF", 1, 0, _FSYNC_TIMEOUT_MS)  # type: ignore[no-untyped-call]
            except ResponseError:
                # Redis before 7.2 has no WAITAOF: an explicit rewrite is the only command whose end means "on disk"
                server.bgrewriteaof()
                while any(int(server.info("persistence")[name]) for name in ("aof_rewrite_in_progress", "aof_rewrite_scheduled")):
                    time.sleep(0.01)

    def panes(self, partition: int, panes: Sequence[int]) -> Iterator[tuple[int, list[bytes]]]:
        """The blobs of these panes, a page of a list at a time."""
        for pane in panes:
            key = self._key(partition, "pane", pane)
            blobs: list[bytes] = []
            try:
                while page := self._redis.lrange(key, len(blobs), len(blobs) + _PAGE - 1):
                    blobs.extend(_raw(blob) for blob in page)
            except RedisError as error:
                raise self._unreachable(error) from error
            yield pane, blobs

    def profiles(self, partition: int) -> Iterator[list[tuple[str, bytes]]]:
        """All profiles, a page at a time; one may come twice."""
        cursor: Any = 0
        while True:
            try:
                cursor, page = self._redis.hscan(self._key(partition, "profiles"), cursor, count=512)
            except RedisError as error:
                raise self._unreachable(error) from error
            held: dict[Any, Any] = page  # type: ignore[assignment]
            yield [(_raw(user).decode(), _raw(blob)) for user, blob in held.items()]
            if not cursor:
                return

    def advance(self, changes: Sequence[Advance]) -> None:
        """Carry out the changes, one script a partition, in one round trip; on a cluster, one trip each."""
        try:
            if is_cluster(self._redis):
                answers = [self._advance(*self._call(change)) for change in changes]
            else:
                with self._redis.pipeline(transaction=False) as pipeline:
                    for change in changes:
                        self._advance(*self._call(change), client=pipeline)
                    answers = pipeline.execute()
        except RedisError as error:
            raise self._unreachable(error) from error
        for change, answer in zip(changes, answers, strict=True):
            if answer == b"fenced":
                raise FencedError(f"partition {change.partition} has a newer owner")
            if answer == b"stale":
                raise StaleError(f"partition {change.partition} is not where this cycle began")

    def _call(self, change: Advance) -> tuple[list[str], list[Any]]:
        keys = [self._key(change.partition, name) for name in ("meta", "panes", "profiles")]
        keys += [self._key(change.partition, "pane", pane) for pane, _ in change.appends]
        keys += [self._key(change.partition, "pane", pane) for pane in change.drops]
        args: list[Any] = [
            change.epoch,
            change.begin,
            change.end,
            change.state,
            len(change.appends),
            len(change.drops),
            change.habits or "",
        ]
        for pane, blob in change.appends:
            args += (pane, blob)
        args += change.drops
        for user, blob in change.profiles:
            args += (user, blob)
        return keys, args

    def peek(self, partition: int) -> Claimed:
        """Where a partition stands, and whose it is."""
        try:
            found = self._redis.hmget(self._key(partition, "meta"), ["epoch", "layout", "at", "state"])
            panes = self._redis.smembers(self._key(partition, "panes"))
        except RedisError as error:
            raise self._unreachable(error) from error
        epoch, layout, at, state = (_text(value or b"") for value in found)
        return Claimed(int(epoch or 0), layout, at, state, tuple(sorted(int(pane) for pane in panes)))

    def tail(self, partition: int, pane: int, start: int) -> list[bytes]:
        """The blobs of a pane from a place on, a page at a time."""
        key, blobs = self._key(partition, "pane", pane), list[bytes]()
        try:
            while page := self._redis.lrange(key, start + len(blobs), start + len(blobs) + _PAGE - 1):
                blobs.extend(_raw(blob) for blob in page)
        except RedisError as error:
            raise self._unreachable(error) from error
        return blobs

    def knows(self, partition: int, user: str) -> bool:
        """Whether there is a profile of this user."""
        try:
            return bool(self._redis.hexists(self._key(partition, "profiles"), user))
        except RedisError as error:
            raise self._unreachable(error) from error

    def erase(self, change: Erasure) -> None:
        """Carry out an erasure in one script."""
        keys = [self._key(change.partition, name) for name in ("meta", "profiles")]
        keys += [self._key(change.partition, "pane", pane) for pane, _, _ in change.blobs]
        args: list[Any] = [change.epoch, change.at, int(change.last), change.new_at, change.new_state, len(change.blobs)]
        for _, place, blob in change.blobs:
            args += (place, blob)
        try:
            answer = self._erase(keys=keys, args=[*args, *change.users])
        except RedisError as error:
            raise self._unreachable(error) from error
        if answer != b"done":
            raise StaleError(f"partition {change.partition} has moved on")

    def settle(self) -> None:
        """Return when what was written is on disk, if the server keeps an append-only file."""
        try:
            self._wait_for_fsync()
        except RedisError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: RedisError) -> PipelineError:
        return trouble(error, self._where)

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()


def _text(answer: bytes | str) -> str:
    """What the server answered as text; what is none cannot be of ours, and whoever reads it finds that out."""
    return _raw(answer).decode(errors="replace")


def _raw(answer: bytes | str) -> bytes:
    """What the server answered; bytes, as the client was not told to decode."""
    return answer.encode() if isinstance(answer, str) else answer
