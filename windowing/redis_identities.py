"""The map from pseudonyms to users in Redis or Valkey, on the store's server or one of its own. Knows no window and no key.

- `NAMESPACE:identities`: hash of pseudonym to user
- `NAMESPACE:identities:log`: stream of who looked a pseudonym up, when and why
"""

from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import RedisError

from stream.errors import PipelineError
from windowing.identities import Revealed
from windowing.redis_access import connect, trouble


class RedisIdentities:
    """One namespace's map.

    Raises:
        TransientError: the server could not be reached, from any method.
        ConfigurationError: it does not let us in, or forbids something, from any method.
    """

    def __init__(self, url: str, namespace: str, settings: str = "privacy.map_", **options: Any) -> None:
        self._redis = connect(url, settings, decode_responses=True, **options)
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


def _refused(error: RedisError) -> PipelineError:
    return trouble(error, "the map of pseudonyms", "privacy.map_url")
