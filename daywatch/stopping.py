"""What every long-running command needs: to be asked to stop, and to say now and then how far it has come."""

import signal
from types import FrameType

from stream.clock import SystemClock
from stream.kinds import Millis

_EVERY_MS: Millis = 10_000


class StopRequest:
    """Remembers SIGINT and SIGTERM from the moment when it is made. Ctrl-C for the second time interrupts whatever is still under way."""

    def __init__(self) -> None:
        self._asked = False
        self._clock, self._spoke_ms = SystemClock(), 0
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._ask)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True

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
