"""What every long-running command needs: to be asked to stop, and to say now and then how far it has come."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from stream.clock import SystemClock
from stream.kinds import Millis

_EVERY_MS: Millis = 10_000
REQUESTS: Final = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Remembers SIGINT and SIGTERM from the moment when it is made. Ctrl-C for the second time interrupts whatever is still under way."""

    def __init__(self) -> None:
        self._asked = self._at_once = False
        self._clock, self._spoke_ms = SystemClock(), 0
        for name in REQUESTS:
            signal.signal(name, self._ask)
        # whoever started this process may have held them back until somebody listens
        signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True
        if self._at_once:
            raise SystemExit(0)

    @contextmanager
    def ends_at_once(self) -> Iterator[None]:
        """While the block runs, a request ends the process: it prepares, and there is nothing to finish."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def asked(self) -> bool:
        """Whether somebody asked this process to stop."""
        return self._asked

    def time_to_speak(self) -> bool:
        """Whether ten seconds have passed since this last said so; an operator's log should be readable weeks later."""
        now = self._clock.now_ms()
        if self._spoke_ms and now - self._spoke_ms < _EVERY_MS:
            return False
        self._spoke_ms = now
        return True


def leave_at_once(still_busy: bool) -> None:
    """End the process now if a thread of it is still busy with what nobody waits for any more; everything of worth has been written."""
    if still_busy:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
