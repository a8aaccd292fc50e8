from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daywatch.settings import Settings, load, parse_duration, setting_names
from stream.errors import ConfigurationError

HOUR_MS = 3_600_000
SCRAM: dict[str, object] = {
    "kafka.security_protocol": "SASL_SSL", "kafka.sasl_mechanism": "SCRAM-SHA-512",
    "kafka.sasl_username": "ana", "kafka.sasl_password": "hunter2",
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def refused(flags: dict[str, object] | None = None, config: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as error:
        load(config, flags)
    return str(error.value)


def test_the_defaults_are_a_day_every_six_hours_in_utc() -> None:
    settings = load()
    assert (settings.namespace, settings.zone, settings.topics.partitions) == ("daywatch", "UTC", 4)
    assert (settings.window.size, settings.window.hop) == (24 * HOUR_MS, 6 * HOUR_MS)
    assert settings.window.learning_days == 14


def test_flags_win_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text('zone = "Asia/Kolkata"\n[window]\nhop = "3h"\nsize = "2d"\n')
    monkeypatch.setenv("DAYWATCH_WINDOW__HOP", "12h")
    assert load().window.hop == 12 * HOUR_MS
    found = load(file)
    assert (found.zone, found.window.size, found.window.hop) == ("Asia/Kolkata", 48 * HOUR_MS, 12 * HOUR_MS)
    assert load(file, {"window.hop": "24h"}).window.hop == 24 * HOUR_MS


def test_a_settings_file_in_the_working_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "daywatch.toml").write_text('namespace = "acme"')
    assert load().namespace == "acme"


def test_the_environments_names_are_the_settings_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYWATCH_KAFKA__BOOTSTRAP_SERVERS", "k1:9092,k2:9092")
    monkeypatch.setenv("DAYWATCH_STORE__URL", "rediss://r:6380/1")
    monkeypatch.setenv("DAYWATCH_NAMESPACE", "acme")
    found = load()
    assert (found.kafka.bootstrap_servers, found.store.url, found.namespace) == ("k1:9092,k2:9092", "rediss://r:6380/1", "acme")


def test_variables_that_are_no_settings_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYWATCH_DEBUG", "1")
    monkeypatch.setenv("DAYWATCH_TEST_KAFKA", "/nowhere")
    load()


def test_an_error_names_the_setting_its_origin_and_the_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert refused({"window.hop": "6"}) == (
        "window.hop: '6' is not a duration; write a number and a unit, such as 90s, 6h or 1d (from the command line)"
    )
    assert "did you mean window.hop?" in refused({"window.hopp": "6h"})
    assert "use an IANA name such as Europe/Berlin" in refused({"zone": "Mars/Olympus"})
    file = tmp_path / "x.toml"
    file.write_text("[topics]\npartitions = 0\n")
    assert refused(config=file).endswith(f"(from {file})")
    monkeypatch.setenv("DAYWATCH_TOPICS__PARTITIONS", "many")
    assert "environment variable DAYWATCH_TOPICS__PARTITIONS" in refused()


def test_a_hop_that_does_not_divide_the_day_is_refused() -> None:
    assert "must divide" in refused({"window.hop": "7h"})


def test_a_file_that_is_missing_or_no_toml_is_refused_by_name(tmp_path: Path) -> None:
    assert "name an existing TOML file" in refused(config=tmp_path / "missing.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("zone = ")
    assert f"{bad} is not TOML" in refused(config=bad)


def test_settings_cannot_be_changed_and_hide_their_secrets() -> None:
    settings = load(flags={**SCRAM, "store.url": "redis://ana:s3cret@r:6379/0", "remote.url": "https://ana:s3cret@h/v1"})
    assert "hunter2" not in repr(settings)
    assert "s3cret" not in repr(settings)
    assert settings.kafka.client()["sasl.password"] == "hunter2"
    with pytest.raises(ValueError, match="frozen"):
        settings.zone = "Europe/Berlin"


def test_a_client_is_made_with_librdkafkas_names_and_nothing_else() -> None:
    assert load().kafka.client() == {"bootstrap.servers": "127.0.0.1:9092", "security.protocol": "PLAINTEXT", "log_level": "2"}
    assert load().kafka.member() == {"session_timeout_ms": 10_000, "heartbeat_interval_ms": 2_500}


def test_every_topic_and_group_carries_the_namespace() -> None:
    settings = load(flags={"namespace": "acme", "topics.http": "web"})
    assert settings.topic("logon") == "acme.logon"
    assert settings.topic("http") == "acme.web"
    assert settings.topic("dead-letters") == settings.topic("dead_letters") == "acme.dead-letters"
    assert settings.group("window") == "acme.window"


@pytest.mark.parametrize("name", ["a b", "", "{x}", "a:b", "x" * 65])
def test_a_namespace_that_could_not_name_a_topic_is_refused(name: str) -> None:
    assert refused({"namespace": name}).startswith("namespace: ")


@given(st.integers(0, 36_525), st.sampled_from([("ms", 1), ("s", 1000), ("m", 60_000), ("h", HOUR_MS), ("d", 24 * HOUR_MS)]))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: tuple[str, int]) -> None:
    assert parse_duration(f"{number}{unit[0]}") == number * unit[1]


def test_what_is_longer_than_a_century_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse_duration("36526d")


@pytest.mark.parametrize("text", ["6", "h", "-1h", "6 hours", "1.5h", "", 6, None, True, "1h 30"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_every_setting_has_a_documented_name(repository: Path) -> None:
    page = (repository / "docs" / "settings.md").read_text(encoding="utf-8")
    assert [name for name in setting_names() if f"`{name}`" not in page] == []
    assert set(Settings.model_fields) <= {name.split(".")[0] for name in setting_names()}


def test_a_secret_may_lie_in_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kafka").write_text("hunter2\n")
    (tmp_path / "store").write_text(" with spaces ")
    monkeypatch.setenv("DAYWATCH_KAFKA__SASL_PASSWORD_FILE", str(tmp_path / "kafka"))
    without = {name: value for name, value in SCRAM.items() if name != "kafka.sasl_password"}
    (tmp_path / "daywatch.toml").write_text(f'[store]\npassword_file = "{tmp_path / "store"}"\n')
    settings = load(flags=without)
    assert settings.kafka.client()["sasl.password"] == "hunter2"
    assert "sasl.password.file" not in settings.kafka.client()
    assert settings.store.options() == {"password": " with spaces "}


def test_a_secrets_file_that_does_not_help_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setenv("DAYWATCH_REMOTE__API_KEY_FILE", str(missing))
    assert refused() == (
        f"remote.api_key_file: cannot read {missing} (No such file or directory); name a file that holds the secret and nothing else "
        "(from the environment variable DAYWATCH_REMOTE__API_KEY_FILE)"
    )
    missing.write_text("\n")
    assert "is empty" in refused()
    missing.write_bytes(b"\xff\xfe\x00")
    assert "is no text" in refused()
    missing.write_text("x")
    assert "api_key is given, too; give one of them" in refused({"remote.api_key": "hunter2"})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"kafka.security_protocol": "SASL_SSL"}, "kafka.sasl_mechanism: missing"),
        (
            {**SCRAM, "kafka.security_protocol": "SSL"},
            "kafka.sasl_mechanism: of no use with kafka.security_protocol SSL; set that to SASL_SSL",
        ),
        ({"kafka.ssl_ca_location": __file__}, "kafka.ssl_ca_location: of no use with kafka.security_protocol PLAINTEXT; set that to SSL"),
        ({"kafka.security_protocol": "SSL", "kafka.ssl_key_location": __file__}, "kafka.ssl_certificate_location: missing"),
        ({"kafka.security_protocol": "SSL", "kafka.ssl_ca_location": "/no/ca"}, "kafka.ssl_ca_location: cannot read /no/ca"),
        (
            {"kafka.security_protocol": "SASL"},
            "kafka.security_protocol: Input should be 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'",
        ),
        ({"kafka.bootstrap_servers": "kafka-1"}, "kafka.bootstrap_servers: not broker addresses; write host:port"),
        ({"kafka.bootstrap_servers": "ana:hunter2@kafka-1:9092"}, "kafka.bootstrap_servers: not broker addresses; write host:port"),
        ({"store.url": "redis://:hun#ter2@h:6379/0"}, "store.url: no address such as redis://host:6379/0"),
        ({"store.url": "redis://:hun/ter2@h:6379/0"}, "store.url: no address such as redis://host:6379/0"),
        ({"store.url": "http://h"}, "store.url: String should match"),
        ({"store.url": "redis://:hunter2@h", "store.password": "hunter2"}, "store.password: given, and store.url holds one, too"),
        ({"store.ssl_ca_location": __file__}, "store.ssl_ca_location: of no use without TLS; let store.url begin with rediss://"),
        ({"store.url": "rediss://h", "store.ssl_certificate_location": __file__}, "store.ssl_key_location: missing"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_with_the_cure(flags: dict[str, object], said: str) -> None:
    text = refused(flags)
    assert text.startswith(said)
    assert "hun" not in text


def test_several_addresses_and_ones_of_the_new_kind_are_taken() -> None:
    for text in ("k1:9092", "k1.acme.example:9092, k2:9092", "[::1]:9092"):
        assert load(flags={"kafka.bootstrap_servers": text}).kafka.bootstrap_servers == text


def test_a_variable_that_looks_like_a_setting_and_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong, right in (
        ("DAYWATCH_KAFKA_BOOTSTRAP_SERVERS", "DAYWATCH_KAFKA__BOOTSTRAP_SERVERS"),
        ("DAYWATCH_NAMESPCE", "DAYWATCH_NAMESPACE"),
        ("DAYWATCH_KAKFA__BOOTSTRAP_SERVERS", "DAYWATCH_KAFKA__BOOTSTRAP_SERVERS"),
    ):
        with monkeypatch.context() as around:
            around.setenv(wrong, "x")
            assert refused() == f"{wrong}: there is no such setting; did you mean {right}? (environment variable)"
    monkeypatch.setenv("DAYWATCH_KAFKA__BOOTSTRAP_SERVER", "k:1")
    assert refused() == (
        "kafka.bootstrap_server: there is no such setting; did you mean kafka.bootstrap_servers? "
        "(from the environment variable DAYWATCH_KAFKA__BOOTSTRAP_SERVER)"
    )


def test_what_kubernetes_puts_around_a_pod_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DAYWATCH_PORT": "tcp://10.0.0.7:9100", "DAYWATCH_SERVICE_HOST": "10.0.0.7", "DAYWATCH_SERVICE_PORT": "9100",
        "DAYWATCH_WINDOW_PORT_9100_TCP_ADDR": "10.0.0.8", "DAYWATCH_METRICS_PORT": "tcp://10.0.0.9:9100",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    load()


def test_a_library_that_is_given_everything_does_not_look_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "daywatch.toml").write_text('namespace = "acme"')
    monkeypatch.setenv("DAYWATCH_ZONE", "Asia/Kolkata")
    monkeypatch.setenv("DAYWATCH_NAMESPCE", "x")
    settings = load(flags={"window.cap": 3}, alone=True)
    assert (settings.namespace, settings.zone, settings.window.cap) == ("daywatch", "UTC", 3)
