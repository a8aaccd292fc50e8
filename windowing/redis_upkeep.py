"""What operators ask of the window store in Redis or Valkey: what it holds of each partition, and putting one back.

Looking changes nothing and takes no ownership. Keys are those of `windowing/redis_store.py`, of one namespace only.
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from redis.exceptions import RedisError, ResponseError

from stream.errors import FencedError, PipelineError
from windowing.redis_access import connect, servers, trouble, where
from windowing.redis_store import key_of
from windowing.upkeep import Held, Memory

_SAMPLES = 20


class RedisUpkeep:
    """Looks at one namespace's keys, and resets partitions.

    Raises:
        TransientError: the server could not be reached, from any method.
        ConfigurationError: it does not let us in, or forbids something, from any method.
    """

    def __init__(self, url: str, namespace: str, **options: Any) -> None:
        self._redis = connect(url, **options)
        self._where = f"store at {where(self._redis)}"
        self._namespace = namespace
        self._reset = self._redis.register_script((files("windowing") / "scripts" / "reset.lua").read_text())

    def partitions(self) -> list[int]:
        """Numbers of the partitions that have any key, sorted."""
        # a namespace holds no character that means something in a pattern
        shape = re.compile(rf"{re.escape(self._namespace)}:\{{p(\d+)\}}:")
        try:
            keys = [key.decode("utf-8", "replace") for key in self._redis.scan_iter(match=f"{self._namespace}:{{p*}}:*", count=1_000)]
        except RedisError as error:
            raise self._unreachable(error) from error
        return sorted({int(found[1]) for key in keys if (found := shape.match(key))})

    def look(self, number: int) -> Held:
        """What the store holds of a partition."""
        meta, panes, profiles = (key_of(self._namespace, number, name) for name in ("meta", "panes", "profiles"))
        try:
            epoch, layout, at, state = (_text(value) for value in self._redis.hmget(meta, ["epoch", "layout", "at", "state"]))
            numbers = tuple(sorted(int(pane) for pane in self._redis.smembers(panes)))
            known = int(self._redis.hlen(profiles))
            keys = [meta, panes, profiles, *(key_of(self._namespace, number, "pane", pane) for pane in numbers)]
            return Held(number, int(epoch or 0), layout, at, state, numbers, known, self._bytes(keys))
        except RedisError as error:
            raise self._unreachable(error) from error

    def _bytes(self, keys: list[str]) -> int | None:
        try:
            return sum(int(self._redis.memory_usage(key, samples=_SAMPLES) or 0) for key in keys)
        except ResponseError:
            return None  # managed servers forbid the command

    def memory(self) -> Memory:
        """The server's memory, of all namespaces and whatever else lies there."""
        try:
            told: list[Mapping[str, Any]] = [server.info("memory") for server in servers(self._redis)]
        except RedisError as error:
            raise self._unreachable(error) from error
        return Memory(*(sum(int(one.get(name, 0)) for one in told) for name in ("used_memory", "maxmemory")))

    def reset(self, number: int, epoch: int, at: str, state: str, layout: str) -> None:
        """Let a partition hold nothing but this: one step for the server. The epoch, which grows for ever, stays.

        Args:
            number: the partition.
            epoch: from a claim just made.
            at: where it stands then; empty for a partition that nobody has begun to read.
            state: its clocks; empty with `at`.
            layout: what its state is made with; empty with `at`.

        Raises:
            FencedError: a worker has claimed it since; nothing was changed.
        """
        names = ("meta", "panes", "profiles")
        try:
            keys = [key_of(self._namespace, number, name) for name in names]
            keys += [key_of(self._namespace, number, "pane", int(pane)) for pane in self._redis.smembers(keys[1])]
            answer = self._reset(keys=keys, args=[epoch, at, state, layout])
        except RedisError as error:
            raise self._unreachable(error) from error
        if answer != b"done":
            raise FencedError(f"a worker has claimed partition {number} in the meantime; stop it, and try again")

    def _unreachable(self, error: RedisError) -> PipelineError:
        return trouble(error, self._where)

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()


def _text(value: Any) -> str:
    return (value or b"").decode()
