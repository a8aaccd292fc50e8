import threading
from collections.abc import Iterable

import pytest

from daywatch.lookout import look, looking_out
from stream.errors import TransientError
from stream.log import TopicPartition
from stream.metrics import LAG, LOG_END, POSITION
from stream.telemetry import Beat, MemoryTelemetry

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


def ends(asked: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    return {at: {A: 10, B: 25}[at] for at in asked}


def away(_: object) -> dict[TopicPartition, int]:
    raise TransientError("nobody there")


def test_lag_is_what_lies_between_the_workers_place_and_the_end_of_the_log() -> None:
    heard = MemoryTelemetry()
    heard.levels(POSITION, {("t", "0"): 10, ("t", "1"): 5})
    look(heard, ends)
    assert heard.numbers(LOG_END) == {("t", "0"): 10, ("t", "1"): 25}
    assert heard.numbers(LAG) == {("t", "0"): 0, ("t", "1"): 20}
    assert set(heard.ages()) == {Beat.BROKER}


def test_a_worker_that_is_ahead_of_an_old_answer_has_no_negative_lag() -> None:
    heard = MemoryTelemetry()
    heard.levels(POSITION, {("t", "0"): 11})
    look(heard, ends)
    assert heard.numbers(LAG) == {("t", "0"): 0}


def test_what_moves_away_while_the_broker_is_asked_is_not_told_of() -> None:
    heard = MemoryTelemetry()
    heard.levels(POSITION, {("t", "0"): 1, ("t", "1"): 1})

    def slowly(asked: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        found = ends(list(asked))
        heard.levels(POSITION, {("t", "1"): 2})
        return found

    look(heard, slowly)
    assert heard.numbers(LAG) == {("t", "1"): 23}


def test_ends_that_cannot_be_believed_give_no_lag_but_a_sign_of_life() -> None:
    heard = MemoryTelemetry()
    heard.levels(POSITION, {("t", "0"): 1})
    look(heard, ends, believed=False)
    assert heard.numbers(LAG) == heard.numbers(LOG_END) == {}
    assert set(heard.ages()) == {Beat.BROKER}


def test_a_broker_that_does_not_answer_gives_no_sign_of_life() -> None:
    heard = MemoryTelemetry()
    with pytest.raises(TransientError):
        look(heard, away)
    assert heard.ages() == {}


def test_beside_a_worker_it_goes_on_whether_or_not_anybody_answers() -> None:
    heard, asked, thrice = MemoryTelemetry(), 0, threading.Event()

    def store() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            thrice.set()
        if asked % 2:
            raise TransientError("gone")

    with looking_out(heard, away, store, every_s=0.01):
        assert thrice.wait(60)
    assert Beat.BROKER not in heard.ages()
    assert Beat.STORE in heard.ages()


def test_it_does_not_hold_up_the_end_of_a_worker() -> None:
    heard, asked, release = MemoryTelemetry(), threading.Event(), threading.Event()

    def hanging(_: object) -> dict[TopicPartition, int]:
        asked.set()
        release.wait(60)
        return {}

    with looking_out(heard, hanging, None):
        assert asked.wait(60)
    release.set()
