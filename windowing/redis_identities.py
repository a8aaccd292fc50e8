"""The map from pseudonyms to users in Redis or Valkey, on the store's server or one of its own. Knows no window and no key.

- `NAMESPACE:identities`: hash of pseudonym to user
- `NAMESPACE:identities:log`: stream of who looked a pseudonym up, when and why
"""

from collections.abc import Mapping, Sequence
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from stream.errors import TransientError
from windowing.identities import Revealed


class RedisIdentities:
    """One namespace's map.

    Raises:
        TransientError: the server could not be reached or refused, from any method.
    """

    def __init__(self, url: str, namespace: str, **options: Any) -> None:
        retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=5)
        self._redis = redis.Redis.from_url(url, retry=retry, socket_timeout=30, decode_responses=True, **options)
        self._map, self._asked = f"{namespace}:identities", f"{namespace}:identities:log"

    def keep(self, people: Mapping[str, str]) -> None:
        """Write down who is behind these pseudonyms."""
        try:
            self._redis.hset(self._map, mapping={pseudonym: user for pseudonym, user in people.items()})  # noqa: C416 - the stubs want their own key type
        except RedisError as error:
            raise _refused(error) from error

    def look_up(self, pseudonym: str) -> str | None:
        """The user behind a pseudonym."""
        try:
            found: Any = self._redis.hget(self._map, pseudonym)
        except RedisError as error:
            raise _refused(error) from error
        return None if found is None else str(found)

    def record(self, revealed: Revealed) -> None:
        """Write into the log that somebody asked."""
        entry: dict[Any, Any] = {
            "at_ms": revealed.at_ms, "by": revealed.by, "why": revealed.why, "pseudonym": revealed.pseudonym, "known": int(revealed.known),
        }  # fmt: skip
        try:
            self._redis.xadd(self._asked, entry)
        except RedisError as error:
            raise _refused(error) from error

    def log(self) -> list[Revealed]:
        """Everybody who asked, oldest first."""
        try:
            found: Any = self._redis.xrange(self._asked)
        except RedisError as error:
            raise _refused(error) from error
        return [Revealed(int(entry["at_ms"]), entry["by"], entry["why"], entry["pseudonym"], entry["known"] == "1") for _, entry in found]

    def forget(self, pseudonyms: Sequence[str], user: str) -> int:
        """Take a user's pseudonyms out of the map, those that older keys made as well."""
        try:
            gone = set(pseudonyms)
            for pseudonym, behind in self._redis.hscan_iter(self._map, count=512):
                if behind == user:
                    gone.add(pseudonym)
            return int(self._redis.hdel(self._map, *sorted(gone))) if gone else 0
        except RedisError as error:
            raise _refused(error) from error

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()


def _refused(error: RedisError) -> TransientError:
    # the class says what happened; the text of a server's reply may quote keys and names
    return TransientError(f"the map of pseudonyms: {type(error).__name__}; is privacy.map_url right, its server up, and this user allowed?")
