"""Waiting for work that takes its time, and no longer than a worker that is asked to stop may wait. Knows nothing of the work."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from sinks.cycle import StoppedError

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

_DRAIN_S = 5.0
_LOOK_S = 0.25


class Patience:
    """Does one thing at a time beside its caller."""

    def __init__(self, name: str, drain_s: float = _DRAIN_S) -> None:
        """`drain_s` is how long is waited for a result after somebody has asked to stop."""
        self._pool, self._drain_s = ThreadPoolExecutor(1, name), drain_s
        self.stop: Callable[[], bool] = lambda: False
        """Whether somebody has; to be set by whoever knows."""
        self.left = False
        """Whether a result was not waited for: its thread may be busy for minutes more."""

    def begin(self, work: "Callable[_Given, _Result]", *args: "_Given.args", **kwargs: "_Given.kwargs") -> "Callable[[], _Result]":
        """Begin it; what is returned waits for the result.

        Raises:
            StoppedError: from waiting: somebody asked to stop, and it takes too long.
        """
        under_way = self._pool.submit(work, *args, **kwargs)
        return lambda: self._await(under_way)

    def _await(self, under_way: "Future[_Result]") -> _Result:
        left_s = self._drain_s
        while not under_way.done():
            if self.stop():
                left_s -= _LOOK_S
            if left_s < 0:
                self.left = True
                raise StoppedError("stopped before a batch was judged")
            try:
                return under_way.result(_LOOK_S)
            except TimeoutError:
                continue  # ours, or the work's own, which comes again below
        return under_way.result()
