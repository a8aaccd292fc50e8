"""Being let in by a Kafka broker: an admin client that says why it is not, in one line that names the setting to mend.

librdkafka reports a refused password or certificate beside the call that waits for an answer, over and over, while the call itself only
times out; and whether TLS is spoken at a port, or why a certificate is not believed, it does not say at all: a handshake of our own
finds that out (`stream/tls.py`). Never says a user's name or a secret. Knows nothing of topics, groups or what they are for.
"""

import contextlib
import logging
import re
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from stream.errors import ConfigurationError
from stream.tls import Spoken, not_believed, spoken_at

# a broker that starts or stops may close a connection, too
_CLOSES_S = 5.0

_FORBIDDEN: Mapping[int, str] = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "use of a topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "use of a consumer group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "use of a transactional id",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "writing to any topic, or an operation on the cluster",
}


# ------------------------------------------------------------------------------------------------------------- permissions


def is_forbidden(error: KafkaError | None) -> bool:
    """Whether the broker knows who asks and does not allow it: waiting does not mend that."""
    return error is not None and error.code() in _FORBIDDEN


def forbidden(error: KafkaError, what: str = "") -> ConfigurationError:
    """What to raise then; `what` names the topic, group or transactional id."""
    text = f"the broker forbids {_FORBIDDEN[error.code()]}{f', {what},' if what else ''} to this user ({error.name()})"
    return ConfigurationError(f"{text}; grant it what docs/security.md lists for its role")


# ----------------------------------------------------------------------------------------------------------- the decision


@dataclass(frozen=True, slots=True)
class Complaint:
    """One error of a connection: librdkafka's code and text."""

    code: int
    text: str


def why_refused(
    protocol: str, complaints: Iterable[Complaint], ports: Mapping[str, Spoken], *, for_long: bool, certificate: bool = False
) -> str | None:
    """Why a broker does not let us in, and the cure; None where waiting may help.

    `ports` are the broker's addresses with what a handshake found there; `for_long`: this has gone on for some seconds;
    `certificate`: we have one of our own.

    >>> why_refused("SSL", [], {"kafka:9093": Spoken.NO_TLS}, for_long=False)
    'kafka.security_protocol: SSL, but the broker at kafka:9093 does not speak TLS there; name its TLS port, or set PLAINTEXT'
    """
    complaints = list(complaints)
    for each in complaints:
        if each.code == KafkaError._AUTHENTICATION:  # noqa: SLF001 - librdkafka's own codes begin with an underscore
            return _not_authenticated(each.text)
    encrypted, plain = protocol.endswith("SSL"), protocol.replace("SASL_SSL", "SASL_PLAINTEXT").replace("SSL", "PLAINTEXT")
    for address, spoken in ports.items():
        if spoken is Spoken.NOTHING:
            continue
        if not encrypted and spoken is not Spoken.NO_TLS:
            cure = "SSL or SASL_SSL" if protocol == "PLAINTEXT" else "SASL_SSL"
            return f"kafka.security_protocol: {protocol}, but the broker at {address} speaks TLS there; name its other port, or set {cure}"
        if encrypted and spoken is Spoken.NO_TLS:
            text = f"kafka.security_protocol: {protocol}, but the broker at {address} does not speak TLS there; name its TLS port"
            return f"{text}, or set {plain if protocol != 'SASL_SSL' else 'SASL_PLAINTEXT'}"
        if encrypted and spoken is not Spoken.TLS:
            return not_believed(spoken, f"the broker at {address}", "kafka.bootstrap_servers", "kafka.ssl_ca_location")
        if encrypted and any("alert" in each.text for each in complaints):
            return _our_certificate(address, certificate)
        if for_long and not protocol.startswith("SASL"):
            cure = "SASL_SSL" if encrypted else "SASL_PLAINTEXT"
            return (
                f"kafka.security_protocol: {protocol}, but the broker at {address} takes connections and answers nothing; "
                f"if it wants a user and a password, set {cure}"
            )
    return None


def _not_authenticated(text: str) -> str:
    broker = _address_in(text)
    if found := re.search(r"broker's supported mechanisms: *([A-Z0-9,-]*)", text):
        offered = found[1].replace(",", ", ")
        if not offered:
            return f"kafka.security_protocol: the broker at {broker} asks for no user and password there; set it to PLAINTEXT or SSL"
        return f"kafka.sasl_mechanism: the broker at {broker} does not offer it; it offers {offered}"
    return (
        f"the broker at {broker} refuses kafka.sasl_username with kafka.sasl_password (by kafka.sasl_mechanism); is each as it knows them?"
    )


def _our_certificate(address: str, certificate: bool) -> str:
    if not certificate:
        return (
            f"kafka.ssl_certificate_location: the broker at {address} asks for a certificate of ours; "
            "set this and kafka.ssl_key_location to one that it trusts"
        )
    return (
        f"kafka.ssl_certificate_location: the broker at {address} does not trust our certificate; take one signed by an authority it knows"
    )


def unusable(text: str) -> str:
    """Which setting librdkafka could not make use of, from what it said.

    >>> unusable("Failed to create admin client: ssl.ca.location failed: error:05800088:x509 certificate routines::no certificate")
    'kafka.ssl_ca_location: the file cannot be used (x509 certificate routines: no certificate); is it PEM, and a certificate?'
    """
    found = re.search(r"\b(ssl|sasl)\.[a-z.]+[a-z]", text)
    if found is None:
        return f"kafka: {text}"
    name = f"kafka.{found[0].replace('.', '_')}"
    reason = re.sub(r"error:[0-9A-F]+:", "", text.rpartition("failed: ")[2]).replace("::", ": ")
    if not name.endswith("_location"):
        return f"{name}: cannot be used ({reason})"
    cure = "is it PEM, and a certificate?"
    if name.endswith("key_location"):
        cure = "is it the PEM key of kafka.ssl_certificate_location, and kafka.ssl_key_password its password?"
    return f"{name}: the file cannot be used ({reason}); {cure}"


def _address_in(text: str) -> str:
    """The address in front of one of librdkafka's messages, such as `sasl_ssl://kafka:9093/bootstrap: …`."""
    found = re.match(r"(?:\w+://)?([^/\s]+)/", text)
    return found[1] if found else "that address"


# ------------------------------------------------------------------------------------------------------------- the device


class KafkaDoor:
    """An admin client, and what its connections complain of.

    Raises:
        ConfigurationError: a certificate, a key or another property cannot be used.
    """

    def __init__(self, client: Mapping[str, Any]) -> None:
        """Make the client; `client` are librdkafka properties such as `bootstrap.servers`."""
        self._client = dict(client)
        self._complaints: deque[Complaint] = deque(maxlen=50)
        self._began = time.monotonic()
        self.met = False
        """Whether a broker has answered a question: from then on one that does not is starting, or away."""
        self.admin = self._made()

    def _made(self) -> AdminClient:
        try:
            properties: dict[str, Any] = {**self._client, "error_cb": self._note}
            return AdminClient(properties, logger=quiet_logger())
        except KafkaException as error:
            raise ConfigurationError(unusable(error.args[0].str())) from None

    def ask_anew(self) -> None:
        """Begin another question: what was wrong before does not count for it."""
        self.admin.poll(0)
        self._complaints.clear()
        self._began = time.monotonic()

    def _note(self, error: KafkaError) -> None:
        self._complaints.append(Complaint(error.code(), error.str()))

    def list_topics(self, topic: str | None = None, within_s: float = 20.0) -> Any:
        """The cluster's metadata, of one topic or of all; asked for again and again until there is an answer.

        Raises:
            ConfigurationError: there will be none; the text says why and names the setting.
            KafkaException: no answer in time.
        """
        chosen = {} if topic is None else {"topic": topic}
        deadline, patience_s = time.monotonic() + within_s, 1.0
        while True:
            left_s = deadline - time.monotonic()
            try:
                return self.admin.list_topics(timeout=max(min(patience_s, left_s), 0.1), **chosen)
            except KafkaException as error:
                self.check(error)
                if left_s <= patience_s:
                    raise
                if error.args[0].code() == KafkaError._TIMED_OUT:  # noqa: SLF001
                    patience_s *= 2  # the answer may only be slow
                time.sleep(0.1)

    def begin_anew(self) -> None:
        """Ask with a client made anew: one that has found a log without a leader goes on saying so for half a minute (2.16)."""
        self.admin = self._made()

    def look_again(self) -> None:
        """Find out anew which broker leads which log, if one answers."""
        with contextlib.suppress(KafkaException):
            self.admin.list_topics(timeout=1.0)

    def check(self, error: KafkaException | None = None) -> None:
        """Return if a failure may pass by itself.

        Raises:
            ConfigurationError: it will not; the text says why and names the setting.
        """
        if error is not None and is_forbidden(error.args[0]):
            raise forbidden(error.args[0])
        self.admin.poll(0)
        if self.met or not self._complaints:
            return
        protocol = str(self._client.get("security.protocol", "PLAINTEXT")).upper()
        encrypted, authority = protocol.endswith("SSL"), self._client.get("ssl.ca.location")
        why = why_refused(
            protocol,
            self._complaints,
            {f"{host}:{port}": spoken_at(host, port, authority, verify=encrypted) for host, port in self._addresses()},
            for_long=time.monotonic() - self._began > _CLOSES_S,
            certificate="ssl.certificate.location" in self._client,
        )
        if why is not None:
            raise ConfigurationError(why)

    def _addresses(self) -> Sequence[tuple[str, int]]:
        """Where we were told the brokers are, and where they told us they are when that is what failed."""
        told = str(self._client.get("bootstrap.servers", "")).split(",")
        failed = [_address_in(each.text) for each in self._complaints if "SSL" in each.text]
        found = []
        for address in dict.fromkeys([*failed, *told]):
            host, _, port = address.strip().rpartition(":")
            if host and port.isdigit():
                found.append((host.strip("[]"), int(port)))
        return found[:4]


def quiet_logger() -> logging.Logger:
    """No lines of librdkafka's own, which would only confuse whoever runs a command: what matters comes as an error."""
    logger = logging.getLogger("stream.kafka_access")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
