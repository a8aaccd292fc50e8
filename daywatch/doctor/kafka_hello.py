"""Says hello to a Kafka server and hears which release it is. Where nobody is at home, that fails at once and by name.

One request, ApiVersions (version 3), which a server answers before anybody logs in. Knows sockets; knows nothing of topics or groups.
"""

import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Final

from daywatch.doctor.facts import Greeting, Release

_API_VERSIONS: Final = 18
_ASKED: Final = 7_001
_MOST_BYTES: Final = 1 << 20
# the first level of `metadata.version` of each release
_LEVELS: Final = (
    (31, Release(4, 4)), (30, Release(4, 3)), (28, Release(4, 2)), (26, Release(4, 1)), (22, Release(4, 0)), (21, Release(3, 9)),
    (20, Release(3, 8)), (15, Release(3, 7)), (12, Release(3, 6)), (9, Release(3, 5)), (8, Release(3, 4)), (4, Release(3, 3)),
    (3, Release(3, 2)), (2, Release(3, 1)), (1, Release(3, 0)),
)  # fmt: skip


class _NoKafkaError(Exception):
    """What answers does not speak Kafka's protocol."""


class _SilentError(Exception):
    """It takes the connection and says nothing."""


def hello(address: str, client: Mapping[str, str], within_s: float) -> Greeting:
    """Ask the server at `host:port` what it speaks; `client` are librdkafka's properties."""
    host, _, port = address.strip().rpartition(":")
    secure = client.get("security.protocol", "PLAINTEXT").endswith("SSL")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), timeout=within_s) as plain:
            plain.settimeout(within_s)
            if not secure:
                return Greeting(address, release=_ask(plain))
            with _context(client).wrap_socket(plain, server_hostname=host) as wrapped:
                return Greeting(address, release=_ask(wrapped))
    except socket.gaierror:
        return Greeting(address, "its name cannot be resolved", "check the name in kafka.bootstrap_servers, and this machine's DNS")
    except ConnectionRefusedError:
        return Greeting(address, "nothing listens there", "start the broker, or set kafka.bootstrap_servers")
    except TimeoutError:
        return Greeting(
            address, f"no answer within {within_s:g} s", "check kafka.bootstrap_servers and what lies between (firewall, routes)"
        )
    except _SilentError:
        cure = "see that this port is a broker's, and that the broker is not stuck"
        return Greeting(address, f"it takes the connection and says nothing within {within_s:g} s", cure)
    except (ssl.SSLError, _NoKafkaError):
        # somebody is there; why we are not let in is for `stream.kafka_access` to say
        return Greeting(address)
    except (ValueError, OSError) as error:
        told = getattr(error, "strerror", None) or type(error).__name__
        return Greeting(address, f"cannot be reached ({told})", "set kafka.bootstrap_servers to host:port of a broker")


def _context(client: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=client.get("ssl.ca.location"))
    certificate, key = client.get("ssl.certificate.location"), client.get("ssl.key.location")
    if certificate is not None:
        context.load_cert_chain(certificate, key, password=client.get("ssl.key.password"))
    return context


def _ask(connection: socket.socket) -> Release | None:
    """Send the request, read the answer.

    Raises:
        _NoKafkaError: the answer is none of Kafka's.
    """
    name = b"daywatch-doctor"
    header = struct.pack(">hhih", _API_VERSIONS, 3, _ASKED, len(name)) + name + b"\0"
    request = header + _compact(b"daywatch") + _compact(b"1") + b"\0"
    connection.sendall(struct.pack(">i", len(request)) + request)
    try:
        head = _exactly(connection, 8)
    except TimeoutError as error:
        raise _SilentError from error
    except (ConnectionError, EOFError) as error:
        raise _NoKafkaError from error
    size, asked = struct.unpack(">ii", head)
    if asked != _ASKED or not 4 < size < _MOST_BYTES:
        raise _NoKafkaError
    try:
        return _release(_exactly(connection, size - 4))
    except (EOFError, IndexError, struct.error):
        return None  # it speaks Kafka, if an older version of this answer


def _release(body: bytes) -> Release | None:
    """The release by the highest `metadata.version` that the server supports; None where it tells none."""
    reader = _Reader(body)
    if reader.int16():
        return None
    for _ in range(reader.varint() - 1):
        reader.take(6)
        reader.tags()
    reader.take(4)
    supported = _Reader(reader.tags().get(0, b"\x01"))
    for _ in range(supported.varint() - 1):
        name = supported.take(supported.varint() - 1)
        supported.take(2)
        highest = supported.int16()
        supported.tags()
        if name == b"metadata.version":
            return next((release for level, release in _LEVELS if highest >= level), None)
    return None


class _Reader:
    """Reads what Kafka's flexible versions are made of."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def take(self, n: int) -> bytes:
        """The next bytes.

        Raises:
            EOFError: there are fewer.
        """
        found = self._body[self._at : self._at + n]
        if n < 0 or len(found) < n:
            raise EOFError
        self._at += n
        return found

    def int16(self) -> int:
        """A signed number of two bytes."""
        return int.from_bytes(self.take(2), "big", signed=True)

    def varint(self) -> int:
        """An unsigned number, seven bits a byte."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7

    def tags(self) -> dict[int, bytes]:
        """Tagged fields by number."""
        return {self.varint(): self.take(self.varint()) for _ in range(self.varint())}


def _compact(text: bytes) -> bytes:
    return bytes([len(text) + 1]) + text


def _exactly(connection: socket.socket, n: int) -> bytes:
    found = b""
    while len(found) < n:
        more = connection.recv(n - len(found))
        if not more:
            raise EOFError
        found += more
    return found
