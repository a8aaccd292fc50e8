"""How long a worker waits for what takes its time, and what becomes of it when somebody asks to stop."""

from threading import Event

import pytest

from sinks.cycle import StoppedError
from sinks.patience import Patience


def test_a_result_is_waited_for_as_long_as_it_takes_while_nobody_asks_to_stop() -> None:
    patience, go = Patience("test", drain_s=0.0), Event()
    waits = patience.begin(lambda: go.wait(60) and "done")
    go.set()
    assert waits() == "done"
    assert not patience.left


def test_whoever_asks_to_stop_does_not_wait_for_minutes() -> None:
    patience, go = Patience("test", drain_s=0.0), Event()
    patience.stop = lambda: True
    waits = patience.begin(go.wait, 600)
    try:
        with pytest.raises(StoppedError):
            waits()
        assert patience.left
    finally:
        go.set()


def test_what_is_done_already_is_taken_though_somebody_asked_to_stop() -> None:
    patience = Patience("test", drain_s=0.0)
    waits = patience.begin(lambda: 7)
    assert waits() == 7
    patience.stop = lambda: True
    assert waits() == 7


def test_an_error_of_the_work_is_its_callers_even_a_timeout() -> None:
    def fails() -> None:
        raise TimeoutError("the model's own")

    with pytest.raises(TimeoutError, match="the model's own"):
        Patience("test").begin(fails)()
