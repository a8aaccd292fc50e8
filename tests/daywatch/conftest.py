"""What tests of the front door share."""

import signal
from collections.abc import Iterator

import pytest

from daywatch.stopping import REQUESTS


@pytest.fixture
def handlers_come_back() -> Iterator[None]:
    """Whatever listens to requests to stop meanwhile, the test run's own handlers are in place afterwards."""
    before = {name: signal.getsignal(name) for name in REQUESTS}
    yield
    for name, handler in before.items():
        signal.signal(name, handler)
