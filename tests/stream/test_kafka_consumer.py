"""How long a broker is asked again, and what is said in the end."""

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException

from stream.errors import RefusedError, TransientError
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
