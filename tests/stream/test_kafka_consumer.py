"""How long a broker is asked again, and what is said in the end."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from stream.errors import ConfigurationError, RefusedError, TransientError
from stream.kafka_access import Complaint, KafkaDoor
from stream.kafka_consumer import _patiently


def failing(times: int, code: int) -> Callable[[float], str]:
    """A question that is answered only after so many tries."""
    left = times

    def ask(_left_s: float) -> str:
        nonlocal left
        left -= 1
        if left >= 0:
            raise KafkaException(KafkaError(code))
        return "answer"

    return ask


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._NOENT])
def test_a_broker_that_starts_is_asked_again_for_a_topic_that_was_there_before(code: int) -> None:
    assert _patiently(failing(2, code), 10.0, "end of a log", missing_s=10.0) == "answer"


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._NOENT])
def test_a_topic_that_stays_unknown_is_missing(code: int) -> None:
    with pytest.raises(RefusedError, match="topics create"):
        _patiently(failing(1, code), 10.0, "end of a log", missing_s=0.0)


def test_a_broker_that_stays_away_is_said_to_be_away_and_may_be_asked_later() -> None:
    with pytest.raises(TransientError, match="no Kafka broker answers"):
        _patiently(failing(1, KafkaError._TRANSPORT), 0.0, "end of a log")


@dataclass
class Door:
    """A client that counts how often it was told to look who leads which log."""

    looks: int = 0
    anew: int = 0
    met: bool = False

    def check(self) -> None: ...

    def look_again(self) -> None:
        self.looks += 1

    def begin_anew(self) -> None:
        self.anew += 1


@pytest.mark.parametrize(
    ("code", "looks"), [(KafkaError.FENCED_LEADER_EPOCH, 2), (KafkaError.NOT_LEADER_FOR_PARTITION, 2), (KafkaError._TRANSPORT, 0)]
)
def test_a_log_that_has_another_leader_is_looked_for(code: int, looks: int) -> None:
    door: Any = Door()
    assert _patiently(failing(2, code), 10.0, "end of a log", door) == "answer"
    assert door.looks == looks


def test_a_log_that_had_no_leader_is_asked_for_by_another_client() -> None:
    door: Any = Door()
    assert _patiently(failing(2, KafkaError._NOENT), 10.0, "end of a log", door, missing_s=10.0) == "answer"
    assert door.anew == 2


def test_a_broker_that_has_answered_once_is_known() -> None:
    door: Any = Door()
    with pytest.raises(TransientError):
        _patiently(failing(1, KafkaError._TRANSPORT), 0.0, "end of a log", door)
    assert not door.met
    _patiently(failing(0, KafkaError._TRANSPORT), 0.0, "end of a log", door)
    assert door.met


def test_a_broker_that_was_met_and_answers_nothing_is_starting_and_no_setting_is_blamed() -> None:
    # takes connections, and says nothing: as a broker does that starts, or one that waits for a password
    with socket.create_server(("127.0.0.1", 0)) as silent:
        door = KafkaDoor({"bootstrap.servers": f"127.0.0.1:{silent.getsockname()[1]}", "socket.timeout.ms": 1_000})
        door._complaints.append(Complaint(KafkaError._TRANSPORT, "Disconnected"))
        door._began -= 60
        with pytest.raises(ConfigurationError, match="SASL_PLAINTEXT"):
            door.check()
        door.met = True
        door.check()
