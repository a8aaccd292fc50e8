"""The settings: what they are called, what they default to, and where they come from. Made once, then never changed.

Precedence: flags, then environment (`DAYWATCH_KAFKA__BOOTSTRAP_SERVERS`), then the TOML file, then the defaults.
Durations are written with a unit (`90s`, `6h`, `1d`) and held as whole milliseconds. A secret may lie in a file of its own, which the
setting with `_file` behind its name then names. Knows nothing of commands or clients.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from daywatch.origins import ENV_PREFIX, Given
from stream.errors import ConfigurationError, UsageError
from stream.kinds import Millis
from windowing.calendar import WindowSpec

DEFAULT_FILE = "daywatch.toml"

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_LONGEST_MS = 36_525 * 86_400_000
_DURATION = re.compile(r"(\d+)\s*(ms|s|m|h|d|w)")


def parse_duration(text: object) -> Millis:
    """Read a duration such as `90s`, `6h` or `1d` (units ms, s, m, h, d, w) as whole milliseconds.

    >>> parse_duration("6h")
    21600000
    >>> parse_duration("1d12h")
    129600000

    Raises:
        ValueError: it is no such text; a bare number has no unit and is refused, except 0.
    """
    plain = str(text).strip().lower()
    if plain == "0" and not isinstance(text, bool):
        return 0
    if not isinstance(text, str) or not re.fullmatch(f"({_DURATION.pattern})+".replace("(", "(?:"), plain):
        raise ValueError(f"{text!r} is not a duration; write a number and a unit, such as 90s, 6h or 1d")
    found = sum(int(number) * _UNITS_MS[unit] for number, unit in _DURATION.findall(plain))
    if found > _LONGEST_MS:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return found


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name!r}; use an IANA name such as Europe/Berlin") from error
    return name


def _forever_or_duration(text: object) -> Millis:
    return -1 if text in ("forever", "-1", -1) else parse_duration(text)


Duration = Annotated[Millis, BeforeValidator(parse_duration)]
Retention = Annotated[Millis, BeforeValidator(_forever_or_duration)]
Zone = Annotated[str, AfterValidator(_known_zone)]
TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$")]


class _Group(BaseModel):
    # defaults go through the same reading as what a person writes, so that they can be written the same way
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, given: Any) -> Any:
        """Take secrets from the files that are named for them, as Docker and Kubernetes hand them over."""
        if not isinstance(given, dict):
            return given
        found = dict(given)
        for name in cls.model_fields:
            path = found.get(f"{name}_file")
            if path is None or f"{name}_file" not in cls.model_fields:
                continue
            if found.get(name) is not None:
                raise ValueError(f"{name}_file: {name} is given, too; give one of them")
            found[name] = _secret_of(f"{name}_file", Path(path))
        return found


def _secret_of(name: str, path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{name}: cannot read {path} ({error.strerror}); name a file that holds the secret and nothing else") from error
    except UnicodeDecodeError:
        raise ValueError(f"{name}: {path} is no text; name a file that holds the secret and nothing else") from None
    if not secret:
        raise ValueError(f"{name}: {path} is empty; name a file that holds the secret and nothing else")
    return secret


def _existing_file(path: str) -> str:
    try:
        with Path(path).open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror}); name an existing PEM file") from error


PemFile = Annotated[str, AfterValidator(_existing_file)]


def _addresses(text: str) -> str:
    for address in text.split(","):
        _, _, port = address.strip().rpartition(":")
        if not re.fullmatch(r"([^\s:/@]+|\[[0-9a-fA-F:.]+\]):\d{1,5}", address.strip()) or not 0 < int(port) < 65_536:
            raise ValueError("not broker addresses; write host:port, several with commas between them, such as kafka-1:9092,kafka-2:9092")
    return text


class KafkaSettings(_Group):
    """Where the broker is and how to be let in."""

    bootstrap_servers: Annotated[str, AfterValidator(_addresses)] = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = None
    ssl_ca_location: PemFile | None = None
    ssl_certificate_location: PemFile | None = None
    ssl_key_location: PemFile | None = None
    ssl_key_password: SecretStr | None = None
    ssl_key_password_file: Path | None = None
    session_timeout: Duration = Field(default="10s", ge=1_000)  # type: ignore[assignment]
    embedded: bool = Field(default=False, description="The broker is the embedded one, whose end offsets cannot be believed.")

    _no_properties: ClassVar[frozenset[str]] = frozenset({"session_timeout", "embedded", "sasl_password_file", "ssl_key_password_file"})

    @model_validator(mode="after")
    def _fits_together(self) -> "KafkaSettings":
        protocol = self.security_protocol
        for name in ("sasl_mechanism", "sasl_username", "sasl_password"):
            given = getattr(self, name) is not None
            if protocol.startswith("SASL") and not given:
                raise ValueError(f"{name}: missing, and kafka.security_protocol is {protocol}; set it, or another protocol")
            if given and not protocol.startswith("SASL"):
                raise ValueError(f"{name}: of no use with kafka.security_protocol {protocol}; set that to SASL_SSL, or take this away")
        for name in ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location", "ssl_key_password"):
            if getattr(self, name) is not None and not protocol.endswith("SSL"):
                cure = "SSL" if protocol == "PLAINTEXT" else "SASL_SSL"
                raise ValueError(f"{name}: of no use with kafka.security_protocol {protocol}; set that to {cure}, or take this away")
        _pair(self.ssl_certificate_location, self.ssl_key_location)
        return self

    def client(self) -> dict[str, str]:
        """The properties that every Kafka client is made with, in librdkafka's names."""
        # what matters comes as an exception; librdkafka's own lines would only confuse whoever runs a command
        properties: dict[str, str] = {"log_level": "2"}
        for name, value in self:
            if value is not None and name not in self._no_properties:
                properties[name.replace("_", ".")] = _plain(value)
        return properties

    def member(self) -> dict[str, int]:
        """What a member of a consumer group is made with besides, `_` for `.`: when it counts as dead, how often it says it lives."""
        return {"session_timeout_ms": self.session_timeout, "heartbeat_interval_ms": self.session_timeout // 4}


def _pair(certificate: str | None, key: str | None) -> None:
    """A certificate without its key proves nothing, and a key without its certificate neither."""
    if certificate is None and key is not None:
        raise ValueError("ssl_certificate_location: missing, and ssl_key_location is given; the two belong together")
    if key is None and certificate is not None:
        raise ValueError("ssl_key_location: missing, and ssl_certificate_location is given; the two belong together")


def _whole_address(url: str) -> str:
    try:
        # a password with a bare / or # in it would be taken for the end of the host: say so, and do not show it
        parts = urlsplit(url)
        whole = (parts.port or 0) >= 0 and bool(parts.path if parts.scheme == "unix" else parts.hostname)
    except ValueError:
        whole = False
    if not whole:
        raise ValueError("no address such as redis://host:6379/0; a password is better set as store.password, or else written %-encoded")
    return url


class StoreSettings(_Group):
    """Where the Redis-protocol store is, of what kind, and how to be let in."""

    url: Annotated[str, AfterValidator(_whole_address)] = Field(
        default="redis://127.0.0.1:6379/0", pattern=r"^(redis|rediss|unix)://", repr=False
    )
    cluster: bool = Field(default=False, description="The server is one of a Redis Cluster.")
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    ssl_ca_location: PemFile | None = None
    ssl_certificate_location: PemFile | None = None
    ssl_key_location: PemFile | None = None
    ssl_key_password: SecretStr | None = None
    ssl_key_password_file: Path | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "StoreSettings":
        parts = urlsplit(self.url)
        if self.cluster and (parts.scheme == "unix" or parts.path not in ("", "/", "/0")):
            raise ValueError("cluster: a cluster has hosts and database 0 only; let store.url be redis://host:6379/0")
        named = {name for name, _ in parse_qsl(parts.query)}
        for name, there in (("username", parts.username or "username" in named), ("password", parts.password or "password" in named)):
            if there and getattr(self, name) is not None:
                raise ValueError(f"{name}: given, and store.url holds one, too; give it once")
        for name in ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location", "ssl_key_password"):
            if getattr(self, name) is not None and parts.scheme != "rediss":
                raise ValueError(f"{name}: of no use without TLS; let store.url begin with rediss://, or take this away")
        _pair(self.ssl_certificate_location, self.ssl_key_location)
        return self

    def options(self) -> dict[str, Any]:
        """What a client is made with besides the address, in redis-py's names; `cluster` is ours."""
        names = {"username": "username", "password": "password", "ssl_ca_location": "ssl_ca_certs"}
        names |= {"ssl_certificate_location": "ssl_certfile", "ssl_key_location": "ssl_keyfile", "ssl_key_password": "ssl_password"}
        found = {theirs: getattr(self, ours) for ours, theirs in names.items()}
        chosen: dict[str, Any] = {name: _plain(value) for name, value in found.items() if value is not None}
        return chosen | ({"cluster": True} if self.cluster else {})


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


class TopicSettings(_Group):
    """What the topics are called (behind the namespace), how many partitions they have and how long they keep records."""

    partitions: int = Field(default=4, ge=1, le=4096)
    replication_factor: int = Field(default=1, ge=1, le=16)
    retention: Retention = Field(default="7d")  # type: ignore[assignment]
    results_retention: Retention = Field(default="forever")  # type: ignore[assignment]
    logon: TopicName = "logon"
    device: TopicName = "device"
    file: TopicName = "file"
    email: TopicName = "email"
    http: TopicName = "http"
    windows: TopicName = "windows"
    verdicts: TopicName = "verdicts"
    alerts: TopicName = "alerts"
    alert_memory: TopicName = "alert-memory"
    incidents: TopicName = "incidents"
    incident_memory: TopicName = "incident-memory"
    dead_letters: TopicName = "dead-letters"
    operations: TopicName = "operations"


class WindowSettings(_Group):
    """How events become windows."""

    size: Duration = Field(default="1d", le=31 * 86_400_000)  # type: ignore[assignment]
    hop: Duration = Field(default="6h")  # type: ignore[assignment]
    allowed_lateness: Duration = Field(default="0s")  # type: ignore[assignment]
    out_of_orderness: Duration = Field(default="5m")  # type: ignore[assignment]
    max_jump: Duration = Field(default="2d")  # type: ignore[assignment]
    future_tolerance: Duration = Field(default="10m")  # type: ignore[assignment]
    idle_after: Duration = Field(default="1m")  # type: ignore[assignment]
    write_marks: bool = True
    cap: int = Field(default=40, ge=1, le=1000)
    learning_days: int = Field(default=14, ge=0, le=365)
    directory: Path | None = None
    processes: int = Field(default=1, ge=1, le=64, description="That share the partitions of a worker.")

    def spec(self) -> WindowSpec:
        """Size, hop and allowed lateness as the calendar wants them.

        Raises:
            ConfigurationError: the hop does not divide both the day and the size.
        """
        return WindowSpec(size_ms=self.size, hop_ms=self.hop, allowed_lateness_ms=self.allowed_lateness)


class DetectSettings(_Group):
    """Who judges the windows, and with what."""

    backend: str = "baseline"
    model: Path | None = None
    track: Literal["all", "shortcut-free"] = "all"
    budget: float = Field(default=5.0, gt=0, description="Alerts a day per 1,000 users.")
    base: str | None = None
    adapter: str | None = None
    revision: str | None = None
    precision: Literal["auto", "fp32", "bf16", "int8", "nf4"] = "auto"
    device: str = "auto"
    shots: int = Field(default=0, ge=0, le=8)
    prompt_tokens: int | None = Field(default=None, ge=200, le=100_000)
    share: float | None = Field(default=None, gt=0, le=1)
    seconds_a_day: float | None = Field(default=None, gt=0)
    windows_a_day: float | None = Field(default=None, gt=0)
    seconds_per_window: float | None = Field(default=None, gt=0)
    batch: int | None = Field(default=None, ge=1, le=100_000)
    lines: str | None = None
    groups: bool | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> "DetectSettings":
        seconds = (self.seconds_a_day, self.windows_a_day, self.seconds_per_window)
        if any(seconds) and not all(seconds):
            raise ValueError("seconds_a_day, windows_a_day and seconds_per_window belong together")
        if self.share is not None and self.seconds_a_day is not None:
            raise ValueError("give share or seconds_a_day, not both")
        return self


class DeadLetterSettings(_Group):
    """How many dead letters are too many."""

    share: float = Field(default=0.1, gt=0, le=1, description="Of a block of records of one topic-partition.")
    records: int = Field(default=500, ge=10, le=1_000_000, description="In such a block.")


class SilenceSettings(_Group):
    """When a source that says nothing is worth a finding."""

    watch: bool = True
    least: Duration = Field(default="1h", ge=60_000)  # type: ignore[assignment]


class IncidentSettings(_Group):
    """How alerts become incidents."""

    gap: Duration = Field(default="7d", ge=60_000)  # type: ignore[assignment]
    half_life: Duration = Field(default="3d", ge=60_000)  # type: ignore[assignment]
    assignees: str = Field(default="insider risk", min_length=1, max_length=200)


class RemoteSettings(_Group):
    """The OpenAI-compatible server that the backend `remote` asks."""

    url: str | None = Field(default=None, pattern=r"^https?://", repr=False)
    model: str | None = None
    api_key: SecretStr | None = None
    api_key_file: Path | None = None
    timeout: Duration = Field(default="60s", ge=100)  # type: ignore[assignment]
    attempts: int = Field(default=5, ge=1, le=100)
    concurrency: int = Field(default=8, ge=1, le=1024)


class PrivacySettings(_Group):
    """Whether windows, verdicts and alerts name people, and where it is kept who they are."""

    pseudonyms: bool = False
    key: SecretStr | None = None
    key_file: Path | None = None
    machines: bool = False
    map_url: Annotated[str, AfterValidator(_whole_address)] | None = Field(default=None, pattern=r"^(redis|rediss|unix)://", repr=False)
    map_username: str | None = None
    map_password: SecretStr | None = None
    map_password_file: Path | None = None

    @model_validator(mode="after")
    def _has_a_key(self) -> "PrivacySettings":
        if self.pseudonyms and self.key is None:
            raise ValueError("key: missing, and privacy.pseudonyms is true; make one (openssl rand -hex 32) and name its file as key_file")
        if self.key is not None and len(self.key.get_secret_value()) < _FEWEST_KEY_CHARACTERS:
            raise ValueError(f"key: needs {_FEWEST_KEY_CHARACTERS} characters or more; make one with: openssl rand -hex 32")
        return self


_FEWEST_KEY_CHARACTERS = 32


class MetricsSettings(_Group):
    """Where each worker shows its metrics and its health."""

    port: int | None = Field(default=None, ge=0, le=65_535)
    host: str = Field(default="127.0.0.1", min_length=1)
    stalled_after: Duration = Field(default="5m", ge=1_000)  # type: ignore[assignment]
    unanswered_after: Duration = Field(default="30s", ge=1_000)  # type: ignore[assignment]


class LogSettings(_Group):
    """How workers write what they have to say."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """Everything that can be set. Field names are the setting names, in TOML, environment and flags."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_ignore_empty=True, frozen=True, extra="forbid", validate_default=True
    )

    namespace: str = Field(default="daywatch", pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")
    zone: Zone = "UTC"
    instance: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    kafka: KafkaSettings = KafkaSettings()
    store: StoreSettings = StoreSettings()
    topics: TopicSettings = TopicSettings()
    window: WindowSettings = WindowSettings()
    detect: DetectSettings = DetectSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    silence: SilenceSettings = SilenceSettings()
    incidents: IncidentSettings = IncidentSettings()
    remote: RemoteSettings = RemoteSettings()
    privacy: PrivacySettings = PrivacySettings()
    metrics: MetricsSettings = MetricsSettings()
    logs: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags first, then the environment, then the file."""
        # what is around travels with the flags under a name that no setting can have, and comes last here
        given = dict(init_settings())
        file_values = given.pop("", None)
        flags = InitSettingsSource(settings_cls, given)
        return (flags,) if file_values is None else (flags, env_settings, InitSettingsSource(settings_cls, file_values))

    def topic(self, role: str) -> str:
        """The full name of a topic, by its role: an event kind, `windows`, `verdicts`, `alerts`, `dead_letters`, `operations`, …."""
        return f"{self.namespace}.{getattr(self.topics, role.replace('-', '_'))}"

    def group(self, role: str) -> str:
        """The consumer group of a role: `window`, `detect` or `correlate`."""
        return f"{self.namespace}.{role}"


def load(config: Path | None = None, flags: Mapping[str, object] | None = None, *, alone: bool = False) -> Settings:
    """Merge flags (dotted names), environment, TOML file and defaults into settings that are valid; `alone`: flags and defaults only.

    Raises:
        UsageError: a file cannot be read, or a setting is unknown or not usable; the text names it and the cure.
    """
    said = Given(flags or {}) if alone else given(config, flags)
    if misnamed := said.misnamed(setting_names()):
        raise UsageError("; ".join(_no_such(variable, near, "environment variable") for variable, near in misnamed.items()))
    make: Callable[..., Settings] = Settings
    try:
        settings = make(**_nested(said.flags), **{"": None if alone else said.file_values})
        settings.window.spec()
    except ConfigurationError as error:
        raise UsageError(f"window.size, window.hop: {error}") from error
    except ValidationError as error:
        raise UsageError(_explain(error, said)) from None  # its own text shows values, which may be secret
    except SettingsError as error:
        raise UsageError(f"environment: {error}; nested settings are written as {ENV_PREFIX}KAFKA__BOOTSTRAP_SERVERS") from None
    return settings


def given(config: Path | None = None, flags: Mapping[str, object] | None = None) -> Given:
    """What flags, environment and settings file say, not yet read as settings.

    Raises:
        UsageError: the file cannot be read.
    """
    path = config or Path(DEFAULT_FILE)
    file = path if config is not None or path.is_file() else None
    return Given(flags or {}, dict(os.environ), _read(file) if file else {}, file)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config: cannot read {path} ({error.strerror}); name an existing TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config: {path} is not TOML: {error}") from None


def _nested(flags: Mapping[str, object]) -> dict[str, Any]:
    """Turn dotted names into nested groups.

    >>> _nested({"window.hop": "6h", "zone": "UTC"})
    {'window': {'hop': '6h'}, 'zone': 'UTC'}
    """
    nested: dict[str, Any] = {}
    for name, value in flags.items():
        *groups, leaf = name.split(".")
        place = nested
        for group in groups:
            place = place.setdefault(group, {})
        place[leaf] = value
    return nested


def _explain(error: ValidationError, said: Given) -> str:
    lines = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in fault["loc"] if not str(part).startswith("function-"))
        text = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            near = get_close_matches(name, setting_names(), n=1)
            lines.append(_no_such(name, near[0] if near else "", str(said.origin(name))))
            continue
        # what two settings of a group have against each other begins with the name of the one to look at
        leaf, colon, rest = text.partition(": ")
        if colon and f"{name}.{leaf}" in setting_names():
            name, text = f"{name}.{leaf}", rest
        lines.append(f"{name}: {text} ({said.origin(name)})")
    return "; ".join(dict.fromkeys(lines))


def _no_such(name: str, near: str, origin: str) -> str:
    cure = f"did you mean {near}?" if near else "see docs/settings.md"
    return f"{name}: there is no such setting; {cure} ({origin})"


def setting_names() -> list[str]:
    """The dotted name of every setting, in the order of definition."""
    return list(setting_fields())


def setting_fields() -> dict[str, FieldInfo]:
    """Every setting by its dotted name, in the order of definition; those outside of groups first, as in a TOML file."""
    alone: dict[str, FieldInfo] = {}
    grouped: dict[str, FieldInfo] = {}
    for name, info in Settings.model_fields.items():
        group = info.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            grouped |= {f"{name}.{leaf}": each for leaf, each in group.model_fields.items()}
        else:
            alone[name] = info
    return alone | grouped


def is_duration(info: FieldInfo) -> bool:
    """Whether a setting is written as a duration."""
    readers = (parse_duration, _forever_or_duration)
    return any(isinstance(mark, BeforeValidator) and mark.func in readers for mark in _marks(info))


def _marks(info: FieldInfo) -> list[object]:
    """What is said about a setting beside its type; in `Duration | None` the members of the union say it."""
    return [*info.metadata, *(mark for part in get_args(info.annotation) for mark in getattr(part, "__metadata__", ()))]


def bare_environment() -> dict[str, str]:
    """This process's environment without any of our settings, for a child whose settings are all given to it."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(ENV_PREFIX) or name == "DAYWATCH_DEBUG"}
