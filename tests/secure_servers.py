"""Servers that do not let everybody in: a certificate authority for tests, and Apache Kafka and Redis behind TLS, passwords and ACLs.

The only name in the servers' certificates is `localhost`, so that 127.0.0.1 is a wrong one.
"""

import datetime as dt
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from daywatch.embedded import EmbeddedStore, free_port
from tests.servers import ApacheKafka, _free_pair

PASSWORD = "S3cret-of-the-test"
KEY_PASSWORD = "K3y-of-the-test"


class Authority:
    """Signs certificates; all are PEM files in a directory."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._name = directory, _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        usage = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
        usage |= {"key_cert_sign": True, "crl_sign": True, "encipher_only": False, "decipher_only": False}
        made = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        )
        self.certificate = str(directory / "authority.pem")
        Path(self.certificate).write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: tuple[int, int] = (-1, 2)) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return x509.CertificateBuilder(
            self._name, subject, key.public_key(), x509.random_serial_number(),
            now + dt.timedelta(days=days[0]), now + dt.timedelta(days=days[1]),
        )  # fmt: skip

    def issue(
        self, name: str, hosts: Iterable[str] = (), password: str | None = None, days: tuple[int, int] = (-1, 2)
    ) -> tuple[str, str, str]:
        """A new certificate: its file, its key's file, and a file that holds both. Valid from and until so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = self._builder(_name(name), key, days).add_extension(issuer, critical=False)
        if names := [x509.DNSName(host) for host in hosts]:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        lock = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        key_text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
        files = [self._directory / f"{name}.{ending}" for ending in ("crt", "key", "pem")]
        for file, text in zip(files, (certificate, key_text, key_text + certificate), strict=True):
            file.write_bytes(text)
        return str(files[0]), str(files[1]), str(files[2])


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass
class Certificates:
    """What a test needs: two authorities that do not know each other, and what they have signed."""

    authority: Authority
    other: Authority
    server: tuple[str, str, str]
    worker: tuple[str, str, str]
    locked: tuple[str, str, str]
    stranger: tuple[str, str, str]

    @classmethod
    def make(cls, directory: Path) -> "Certificates":
        authority, other = Authority(directory / "ours", "the authority"), Authority(directory / "others", "another authority")
        return cls(
            authority, other, authority.issue("server", ["localhost"]), authority.issue("worker"),
            authority.issue("locked", password=KEY_PASSWORD), other.issue("stranger"),
        )  # fmt: skip


class SecureKafka:
    """Apache Kafka with ACLs and four doors: plain (its owner's; who comes by it may do everything), TLS that asks for a
    certificate (`SSL`), and SCRAM with TLS and without (`SASL_SSL`, `SASL_PLAINTEXT`).
    """

    def __init__(self, launcher: Path, directory: Path, certificates: Certificates) -> None:
        self._launcher, self._directory, self._certificates = launcher, directory, certificates
        self.ports: dict[str, int] = {}

    def start(self) -> None:
        for attempt in range(3):
            plain = _free_pair()
            self.ports = {"PLAINTEXT": plain} | {name: free_port() for name in ("SSL", "SASL_SSL", "SASL_PLAINTEXT")}
            broker = ApacheKafka(self._launcher, self._directory, self._properties(plain + 1))
            broker._port = plain
            try:
                broker.start()
            except RuntimeError:
                if attempt == 2:
                    raise
                shutil.rmtree(self._directory, ignore_errors=True)
            else:
                self._broker = broker
                return

    def _properties(self, controller: int) -> list[str]:
        doors = {**self.ports, "CONTROLLER": controller}
        hosts = {name: "127.0.0.1" if name in ("PLAINTEXT", "CONTROLLER") else "localhost" for name in doors}
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return [
            "listeners=" + ",".join(f"{name}://127.0.0.1:{port}" for name, port in doors.items()),
            "advertised.listeners=" + ",".join(f"{name}://{hosts[name]}:{port}" for name, port in doors.items()),
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={self._certificates.server[2]}",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={self._certificates.authority.certificate}",
            "listener.name.ssl.ssl.client.auth=required",
            "ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/,DEFAULT",
            "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512",
            *(
                f"listener.name.{door}.scram-sha-{bits}.sasl.jaas.config={scram}"
                for door in ("sasl_ssl", "sasl_plaintext") for bits in (256, 512)
            ),
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS",
            "group.min.session.timeout.ms=1000",
            # retried by a client for as long as it is not allowed; the default makes each wrong password wait
            "connection.failed.authentication.delay.ms=10",
        ]  # fmt: skip

    def kill(self) -> None:
        self._broker.kill()

    @property
    def owner(self) -> dict[str, Any]:
        """Properties of a client that may do everything."""
        return {"bootstrap.servers": f"127.0.0.1:{self.ports['PLAINTEXT']}", "log_level": "2"}

    def address(self, door: str, host: str = "localhost") -> str:
        return f"{host}:{self.ports[door]}"

    def know(self, user: str, password: str = PASSWORD) -> None:
        """Let a user come in by password."""
        from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

        admin = AdminClient(self.owner)
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            known = UserScramCredentialUpsertion(user, ScramCredentialInfo(mechanism, 4096), password.encode())
            for made in admin.alter_user_scram_credentials([known]).values():
                made.result(30)
        # a broker that has taken a password down may still refuse it for a moment
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            door = {"security.protocol": "SASL_PLAINTEXT", "bootstrap.servers": self.address("SASL_PLAINTEXT"), "log_level": "2"}
            by_password = {"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password}
            AdminClient({**door, **by_password}).list_topics(timeout=60)

    def allow(self, user: str, kind: str, name: str, *operations: str, prefix: bool = False) -> None:
        """Let a user do something with a topic, group or transactional id (`TOPIC`, `GROUP`, `TRANSACTIONAL_ID`)."""
        from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType

        pattern = ResourcePatternType.PREFIXED if prefix else ResourcePatternType.LITERAL
        rules = [
            AclBinding(ResourceType[kind], name, pattern, f"User:{user}", "*", AclOperation[operation], AclPermissionType.ALLOW)
            for operation in operations
        ]
        admin = AdminClient(self.owner)  # kept until it has answered
        for made in admin.create_acls(rules).values():
            made.result(30)


class SecureRedis:
    """A redis-server with TLS at one port and none at the other, users by an ACL file, and optionally certificates asked for."""

    def __init__(
        self, directory: Path, program: str, certificates: Certificates, users: Iterable[str] = (), *, mutual: bool = False
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.tls_port = free_port()
        rules = [*users] or ["user default on nopass ~* &* +@all"]
        (directory / "users.acl").write_text("\n".join(rules) + "\n")
        certificate, key, _ = certificates.server
        options = ["--tls-port", str(self.tls_port), "--tls-cert-file", certificate, "--tls-key-file", key]
        options += ["--tls-ca-cert-file", certificates.authority.certificate, "--tls-auth-clients", "yes" if mutual else "no"]
        options += ["--aclfile", str(directory / "users.acl")]
        self._store = EmbeddedStore(directory, program, options)
        # one that asks for a password does not answer PING: that it answers at all is enough
        self._store._child.serves = _speaks
        self.start, self.stop = self._store.start, self._store.stop

    @property
    def plain(self) -> str:
        return self._store.url.replace("127.0.0.1", "localhost")

    @property
    def tls(self) -> str:
        return f"rediss://localhost:{self.tls_port}/0"


def _speaks(port: int) -> bool:
    import socket

    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
