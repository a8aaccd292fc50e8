"""Why a broker does not let us in, decided from what was seen; tests/test_security.py asks a real one."""

import pytest
from confluent_kafka import KafkaError

from stream.kafka_access import Complaint, forbidden, is_forbidden, unusable, why_refused
from stream.tls import Spoken

AT = "kafka-1:9093"
REFUSED = Complaint(
    KafkaError._AUTHENTICATION,
    f"sasl_ssl://{AT}/bootstrap: SASL authentication error: Authentication failed during authentication due to invalid credentials",
)
HUNG_UP = Complaint(KafkaError._TRANSPORT, f"ssl://{AT}/bootstrap: Disconnected (after 1ms in state APIVERSION_QUERY)")
ALERT = Complaint(
    KafkaError._TRANSPORT, f"ssl://{AT}/bootstrap: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate"
)


def test_a_refused_password_is_told_whatever_else_was_seen() -> None:
    why = why_refused("SASL_SSL", [HUNG_UP, REFUSED], {AT: Spoken.OTHER_NAME}, for_long=False)
    assert why is not None
    assert why.startswith(f"the broker at {AT} refuses kafka.sasl_username with kafka.sasl_password")


@pytest.mark.parametrize(
    ("protocol", "spoken", "said"),
    [
        ("PLAINTEXT", Spoken.TLS, "set SSL or SASL_SSL"),
        ("SASL_PLAINTEXT", Spoken.UNKNOWN_AUTHORITY, "set SASL_SSL"),
        ("SSL", Spoken.NO_TLS, "set PLAINTEXT"),
        ("SASL_SSL", Spoken.NO_TLS, "set SASL_PLAINTEXT"),
        ("SSL", Spoken.EXPIRED, "renew it"),
        ("SSL", Spoken.OTHER_NAME, "kafka.bootstrap_servers: "),
        ("SASL_SSL", Spoken.UNKNOWN_AUTHORITY, "kafka.ssl_ca_location: "),
    ],
)
def test_what_the_port_speaks_decides(protocol: str, spoken: Spoken, said: str) -> None:
    why = why_refused(protocol, [HUNG_UP], {AT: spoken}, for_long=False)
    assert said in (why or "")
    assert AT in (why or "")


@pytest.mark.parametrize(
    ("protocol", "spoken", "for_long"),
    [
        ("PLAINTEXT", Spoken.NOTHING, True),
        ("SASL_SSL", Spoken.NOTHING, True),
        # who asks for users and passwords may be starting
        ("SASL_SSL", Spoken.TLS, True),
        ("SASL_PLAINTEXT", Spoken.NO_TLS, True),
        # and so may who has closed a connection just now
        ("PLAINTEXT", Spoken.NO_TLS, False),
        ("SSL", Spoken.TLS, False),
    ],
)
def test_what_may_pass_is_waited_for(protocol: str, spoken: Spoken, for_long: bool) -> None:
    assert why_refused(protocol, [HUNG_UP], {AT: spoken}, for_long=for_long) is None


def test_a_broker_that_answers_nothing_for_long_may_want_a_password() -> None:
    assert "set SASL_PLAINTEXT" in (why_refused("PLAINTEXT", [HUNG_UP], {AT: Spoken.NO_TLS}, for_long=True) or "")
    assert "set SASL_SSL" in (why_refused("SSL", [HUNG_UP], {AT: Spoken.TLS}, for_long=True) or "")


def test_an_alert_after_the_handshake_is_about_our_certificate() -> None:
    without = why_refused("SSL", [ALERT], {AT: Spoken.TLS}, for_long=False)
    assert "asks for a certificate of ours" in (without or "")
    strange = why_refused("SSL", [ALERT], {AT: Spoken.TLS}, for_long=False, certificate=True)
    assert "does not trust our certificate" in (strange or "")


def test_the_first_broker_that_is_there_decides() -> None:
    why = why_refused("SSL", [HUNG_UP], {"gone:1": Spoken.NOTHING, AT: Spoken.NO_TLS}, for_long=False)
    assert f"the broker at {AT} does not speak TLS" in (why or "")


def test_what_is_not_allowed_names_the_thing_and_where_to_read() -> None:
    error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    assert is_forbidden(error)
    assert not is_forbidden(None)
    assert not is_forbidden(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    assert str(forbidden(error, "acme.windows")) == (
        "the broker forbids use of a topic, acme.windows, to this user (TOPIC_AUTHORIZATION_FAILED); "
        "grant it what docs/security.md lists for its role"
    )


def test_a_property_that_cannot_be_used_is_told_by_its_setting() -> None:
    text = "Failed to create admin client: ssl.key.location failed: error:05800074:x509 certificate routines::key values mismatch"
    assert unusable(text).startswith("kafka.ssl_key_location: the file cannot be used (x509 certificate routines: key values mismatch)")
    assert unusable("something else") == "kafka: something else"
