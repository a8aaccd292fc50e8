"""Being let in by a Redis-protocol server: a client that says why it is not, in one line that names the setting to mend, and at once.

The client library tries again whatever went wrong, a wrong password too, and has the same words for a wrong certificate and a server
that is away. Here a failure is looked at before it is tried again. Never says a user's name, a key or a secret.
"""

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.cluster import RedisCluster
from redis.exceptions import (
    AuthenticationError,
    ClusterError,
    MovedError,
    NoPermissionError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer
from redis.retry import Retry

from stream.errors import ConfigurationError, RefusedError, TransientError
from stream.tls import Spoken, not_believed, spoken_at

_T = TypeVar("_T")
_CONNECT_S = 5.0
# what a script may not do is told as an error of the script: in Redis 7.0, and later
_UNREACHABLE = re.compile(r"connecting to (\S+:\d+)")  # the client's own words, not a server's
_CLUSTER_AWRY = (ClusterError, TryAgainError)  # down, or a slot is just moving (TRYAGAIN)
_IN_SCRIPT = re.compile(r"The user executing the script can't|ACL failure in script")


# what a server says when it works and yet cannot do its part, by the word that its reply begins with; waiting mends none of it
_MENDS: Mapping[str, str] = {
    "command not allowed when used memory": "is full (maxmemory): give it more memory, or remove what else lies there",
    "write against a read only replica": "is a read-only replica: name the primary in store.url",
    "MISCONF": "cannot write to its disk (MISCONF): make room there, or mend what its log names",
    "WRONGTYPE": "holds something else under our keys (WRONGTYPE): use another database or namespace",
    "unknown command": "is too old or no Redis: Redis 7 or Valkey is needed",
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where a client connects, and with what; `settings` is what the names of the settings begin with."""

    host: str
    port: int
    path: str = ""
    encrypted: bool = False
    authority: str | None = None
    password: bool = False
    certificate: bool = False
    settings: str = "store."

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def connect(url: str, settings: str = "store.", *, retries: int = 5, cluster: bool = False, **options: Any) -> redis.Redis:
    """A client that tries again for a few seconds what may pass, and nothing else. It connects when it is first used, to a cluster at once.

    Args:
        url: the server's address; begins with `rediss://` for TLS.
        settings: what the names of the settings begin with, for messages.
        retries: how often a failure that may pass is tried again.
        cluster: the server is one of a Redis Cluster; the others are asked for what they hold.
        options: as for redis-py.

    Raises:
        ConfigurationError: a certificate or a key cannot be used; from any use of the client, too: the server does not let us in.
        TransientError: a cluster cannot be reached.
    """
    options = {"socket_timeout": 30, "socket_connect_timeout": _CONNECT_S, **options}
    client = redis.Redis.from_url(url, **options)
    connection = client.get_connection_kwargs()
    _check_files(connection, settings)
    server = Server(
        str(connection.get("host") or "localhost"),
        int(connection.get("port") or 6379),
        str(connection.get("path") or ""),
        encrypted=url.startswith("rediss:"),
        authority=connection.get("ssl_ca_certs"),
        password=bool(connection.get("password")),
        certificate=bool(connection.get("ssl_certfile")),
        settings=settings,
    )
    client.set_retry(_OnlyWhatMayPass(server, _Met(), retries))
    return _cluster_of(client, server, url, retries, options) if cluster else client


class _Cluster(RedisCluster):
    """A cluster's client; what it cannot do for the moment is a connection that failed."""

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Ask the server that holds the key."""
        try:
            return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        except RedisClusterException as error:
            raise NoConnection("the cluster does not hold every key at present") from error


def _cluster_of(client: redis.Redis, server: Server, url: str, retries: int, options: Mapping[str, Any]) -> redis.Redis:
    try:
        client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call] # why it does not let us in is told here
        whole = _Cluster.from_url(url, retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), retries), **options)
    except RedisClusterException:
        raise TransientError(f"store at {server}: its cluster does not hold every key at present; mend the cluster") from None
    except RedisError as error:
        if "cluster support disabled" in str(error):
            raise ConfigurationError(f"{server.settings}cluster: the server at {server} belongs to no cluster; take this away") from None
        raise trouble(error, f"store at {server}", f"{server.settings}url") from error
    finally:
        client.close()
    return cast("redis.Redis", whole)  # it has the same commands


def is_cluster(client: object) -> bool:
    """Whether it is a client of a whole cluster, where scripts do not go into pipelines."""
    return isinstance(client, RedisCluster)


def servers(client: redis.Redis) -> list[redis.Redis]:
    """A client of each server that may be written to: what one says of itself, the others of a cluster may say otherwise."""
    if not is_cluster(client):
        return [client]
    whole = cast("RedisCluster", client)
    return [whole.get_redis_connection(node) for node in whole.get_primaries()]  # type: ignore[no-untyped-call]


def where(client: redis.Redis) -> str:
    """Host and port of a client's server, or its socket: an address may hold a password. Of a cluster, of its first."""
    connection = servers(client)[0].get_connection_kwargs()
    return str(connection.get("path") or f"{connection.get('host') or 'localhost'}:{connection.get('port') or 6379}")


def trouble(error: RedisError, server: str, url: str = "store.url") -> TransientError | ConfigurationError | RefusedError:
    """What to raise for an error of a server (`store at host:port`): it forbids something, cannot write until mended, or it may pass."""
    if isinstance(error, NoPermissionError) or _IN_SCRIPT.search(str(error)):
        # the reply may quote a key: only the command is told
        command = re.search(r"run the '([a-z|_-]+)' command", str(error))
        what = f"the command {command[1].upper()}" if command else "a key or a command"
        return ConfigurationError(f"{server} forbids this user {what}; grant it what docs/security.md lists (ACL SETUSER)")
    if isinstance(error, MovedError):
        return ConfigurationError(f"{url}: {server} is one of a cluster; set store.cluster = true")
    if (mend := next((mend for word, mend in _MENDS.items() if word in str(error)), None)) is not None:
        return RefusedError(f"{server} {mend}; nothing is lost: what was not written is read again")
    if isinstance(error, _CLUSTER_AWRY):
        return TransientError(
            f"{server}: its cluster does not hold every key at present ({type(error).__name__}); mend it if that stays so"
        )
    if url == "store.url" and (gone := _UNREACHABLE.search(str(error))) is not None and gone[1] not in server:
        return TransientError(f"{server}: {gone[1]}, a server of its cluster, does not answer; is it running?")
    # the class says what happened; the text of a server's reply may quote keys
    return TransientError(f"{server}: {type(error).__name__}; is it running, and is {url} right?")


def why_refused(error: Exception, server: Server, spoken: Spoken) -> str | None:
    """Why a server does not let us in, and the cure; None where waiting may help. `spoken` is what a handshake with it found."""
    setting, whose = server.settings, f"the server at {server}"
    if isinstance(error, AuthenticationError):
        if not server.password:
            return f"{setting}password: {whose} asks for a user and a password; set {setting}username and this"
        return f"{whose} refuses {setting}username with {setting}password; is each as it knows them, and the user on?"
    if spoken is Spoken.NOTHING:
        return None
    if not server.encrypted:
        if spoken is Spoken.NO_TLS:
            return None
        return f"{setting}url: redis://, but {whose} speaks TLS there; let the address begin with rediss://, or name its other port"
    if spoken is Spoken.NO_TLS:
        return f"{setting}url: rediss://, but {whose} does not speak TLS there; name its TLS port, or let the address begin with redis://"
    if spoken is not Spoken.TLS:
        return not_believed(spoken, whose, f"{setting}url", f"{setting}ssl_ca_location")
    if "EOF" not in str(error) and "ALERT" not in str(error).upper():
        return None
    # with TLS 1.3 a server that does not like our certificate hangs up after the handshake
    if not server.certificate:
        return f"{setting}ssl_certificate_location: {whose} asks for a certificate of ours; set this and {setting}ssl_key_location"
    return f"{setting}ssl_certificate_location: {whose} does not trust our certificate; take one signed by an authority it knows"


@dataclass(slots=True)
class _Met:
    """Whether a server has ever answered: from then on only time tells what is wrong with it."""

    yet: bool = False


class _OnlyWhatMayPass(Retry):
    """Tries again what may pass by itself; anything else ends the call with its reason."""

    def __init__(self, server: Server, met: _Met, retries: int) -> None:
        super().__init__(ExponentialBackoff(cap=1.0, base=0.05), retries)
        self._server, self._met, self._most = server, met, retries

    def __deepcopy__(self, memo: object) -> "_OnlyWhatMayPass":
        """Every connection counts its own tries."""
        return type(self)(self._server, self._met, self._most)

    def call_with_retry(self, do: Callable[[], _T], *arguments: Any, **options: Any) -> _T:
        """Call until it succeeds, has failed too often, or need not be tried again."""

        def once() -> _T:
            if self._server.encrypted and not self._met.yet:
                # a server without TLS takes a handshake for a command that has not ended, and waits
                self._refuse(NoAnswer())
            try:
                answer = do()
            except (NoConnection, NoAnswer, OSError) as error:
                self._refuse(error)
                raise
            self._met.yet = True
            return answer

        return super().call_with_retry(once, *arguments, **options)

    def _refuse(self, error: Exception) -> None:
        server, spoken = self._server, Spoken.NOTHING
        if not (server.path or self._met.yet or isinstance(error, AuthenticationError)):
            spoken = spoken_at(server.host, server.port, server.authority, verify=server.encrypted)
        if (why := why_refused(error, server, spoken)) is not None:
            raise ConfigurationError(why) from None


def _check_files(connection: Mapping[str, Any], settings: str) -> None:
    if not connection.get("ssl_ca_certs") and not connection.get("ssl_certfile"):
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if connection.get("ssl_ca_certs"):
            context.load_verify_locations(connection["ssl_ca_certs"])
    except OSError as error:
        raise ConfigurationError(f"{settings}ssl_ca_location: the file cannot be used ({_reason(error)}); is it PEM?") from None
    if not connection.get("ssl_certfile"):
        return
    try:
        # without a password it would be asked for on the terminal
        context.load_cert_chain(connection["ssl_certfile"], connection.get("ssl_keyfile"), connection.get("ssl_password") or "")
    except OSError as error:
        raise ConfigurationError(
            f"{settings}ssl_key_location: certificate and key cannot be used ({_reason(error)}); "
            f"are both PEM, is it the certificate's key, and {settings}ssl_key_password its password?"
        ) from None


def _reason(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or type(error).__name__
