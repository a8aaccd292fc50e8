"""How a command is asked to stop."""

import signal

import pytest

from daywatch.stopping import StopRequest

pytestmark = pytest.mark.usefixtures("handlers_come_back")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_request_that_stays(sent: signal.Signals) -> None:
    stop = StopRequest()
    assert not stop.asked()
    signal.raise_signal(sent)
    assert stop.asked()
    # whoever started a worker may ask again, as a terminal and a parent both do: the batch in hand is finished all the same
    signal.raise_signal(signal.SIGTERM)
    assert stop.asked()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_what_only_prepares_ends_at_once_and_well(sent: signal.Signals) -> None:
    stop = StopRequest()
    with pytest.raises(SystemExit) as ended, stop.ends_at_once():
        signal.raise_signal(sent)
    assert ended.value.code == 0
    signal.raise_signal(signal.SIGTERM)  # afterwards a request waits for the batch, as ever


def test_a_second_ctrl_c_does_not_wait() -> None:
    stop = StopRequest()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert stop.asked()
