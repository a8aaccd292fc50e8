"""Asks a Redis-protocol store for facts. An adapter: reads only, and what one command's refusal hides the others still tell."""

import json
from collections.abc import Mapping
from typing import Any, Final

from redis import Redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import NoPermissionError, RedisError, ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from daywatch.doctor.facts import Held, Missing, Server, Store, missing_for
from stream.clock import Clock
from stream.errors import ConfigurationError
from stream.kinds import Millis
from windowing.redis_access import connect, servers, where
from windowing.redis_store import key_of

# asks what a command with these arguments would be allowed, and runs none of them
_MAY: Final = """
local denied = {}
for call in string.gmatch(ARGV[1], '[^;]+') do
  local words = {}
  for word in string.gmatch(call, '%S+') do words[#words + 1] = word == 'KEY' and KEYS[1] or word end
  local known, may = pcall(redis.acl_check_cmd, unpack(words))
  if known and not may then denied[#denied + 1] = call end
end
return denied
"""
_CALLS: Final = (
    "HMGET KEY x", "HGET KEY x", "HSET KEY x x", "HSETNX KEY x x", "HINCRBY KEY x 1", "HSCAN KEY 0", "SMEMBERS KEY", "SADD KEY x",
    "SREM KEY x", "RPUSH KEY x", "LRANGE KEY 0 0", "UNLINK KEY", "EVALSHA x 0", "SCRIPT LOAD x", "INFO", "PING", "WAITAOF 0 0 1",
)  # fmt: skip


class RedisFacts:
    """A store's facts; `options` as for redis-py, each question is given `within_s`."""

    def __init__(self, url: str, namespace: str, within_s: float, clock: Clock, **options: Any) -> None:
        patience: dict[str, Any] = {"socket_timeout": within_s, "socket_connect_timeout": within_s, **options}
        self._redis = connect(url, retries=0, decode_responses=True, **patience)
        self._namespace, self._clock, self._within_s = namespace, clock, within_s

    def store(self, partitions: int) -> Store | Missing:
        """What it tells; `partitions` is how many the namespace should have."""
        try:
            self._redis.ping()
            found = tuple(self._server(each) for each in servers(self._redis))
            return Store(*_product(found[0].info), found, self._denied(), self._held(partitions))
        except ConfigurationError as error:
            return missing_for(str(error))
        except RedisError as error:
            return _why(error, self._within_s)
        finally:
            self._redis.close()

    def _server(self, client: Redis) -> Server:
        return Server(where(client), self._info(client), self._config(client), self._ahead_ms(client))

    @staticmethod
    def _info(client: Redis) -> Mapping[str, str]:
        try:
            return {name: str(value) for name, value in client.info().items()}
        except ResponseError:
            return {}

    @staticmethod
    def _config(client: Redis) -> Mapping[str, str] | Missing:
        try:
            return {str(name): str(value) for name, value in client.config_get("*").items()}
        except ResponseError:
            return Missing("the store does not tell its settings")

    def _ahead_ms(self, client: Redis) -> Millis | Missing:
        before = self._clock.now_ms()
        try:
            seconds, micros = client.time()
        except ResponseError:
            return Missing("the store does not tell its time", "let its user run TIME: ACL SETUSER … +time")
        here = (before + self._clock.now_ms()) // 2
        return int(seconds) * 1000 + int(micros) // 1000 - here

    def _denied(self) -> tuple[str, ...] | Missing:
        key = key_of(self._namespace, 0, "meta")
        try:
            found: Any = self._redis.eval(_MAY, 1, key, ";".join(_CALLS))
        except NoPermissionError as error:
            return (f"~{self._namespace}:*",) if "key" in str(error) else ("+eval", "+evalsha")
        except ResponseError:
            return Missing("the store does not tell what its user may do (Redis before 7)", "see that its user has all rights on its keys")
        return tuple(f"+{_rule(call)}" for call in found)

    def _held(self, partitions: int) -> Mapping[int, Held] | Missing:
        try:
            held = self._partitions(0, partitions)
        except ResponseError:
            return Missing("the store does not show the state it holds", f"ACL SETUSER … ~{self._namespace}:* +hmget")
        # the state may be of more partitions than the settings say: that is what a check is for
        recorded = max((int(json.loads(one.layout).get("partitions", 0)) for one in held.values() if one.layout), default=0)
        return held | (self._partitions(partitions, recorded) if recorded > partitions else {})

    def _partitions(self, first: int, end: int) -> dict[int, Held]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for number in range(first, end):
                pipeline.hmget(key_of(self._namespace, number, "meta"), ["layout", "at", "state"])
            answers = pipeline.execute()
        found = {first + place: Held(*(text or "" for text in answer)) for place, answer in enumerate(answers)}
        return {number: one for number, one in found.items() if one != Held()}


def _rule(call: str) -> str:
    """The word of an ACL rule for a call.

    >>> _rule("SCRIPT LOAD x"), _rule("HSET KEY x x")
    ('script|load', 'hset')
    """
    return "script|load" if call.startswith("SCRIPT LOAD") else call.partition(" ")[0].lower()


def _product(info: Mapping[str, str]) -> tuple[str, str]:
    for product, field in (("Valkey", "valkey_version"), ("Dragonfly", "dragonfly_version"), ("Redis", "redis_version")):
        if field in info:
            return product, info[field].removeprefix("df-").removeprefix("v")
    return "a store", ""


def _why(error: RedisError, within_s: float) -> Missing:
    # the class says what happened; texts of replies may quote what was sent
    if isinstance(error, NoAnswer):
        return Missing(f"the store does not answer within {within_s:g} s", "is it busy, and is store.url right?")
    if isinstance(error, NoPermissionError):
        return Missing("the store's user may not even PING", "ACL SETUSER … +ping")
    if isinstance(error, NoConnection):
        return Missing("no store answers there", "start it, or set store.url (rediss:// where it asks for TLS)")
    return Missing(f"the store refuses ({type(error).__name__})", "see the store's log")
