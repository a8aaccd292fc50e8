"""A window store that tells how often it is asked and how long it takes. Changes nothing of what is asked."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from stream.errors import PipelineError
from stream.metrics import STORE_CALLS, STORE_FAILURES, STORE_SECONDS
from stream.telemetry import Beat, Telemetry
from windowing.store import Advance, Claimed, Start, WindowStore

_Page = TypeVar("_Page")


class MeasuredStore:
    """The `WindowStore` seam around another one."""

    def __init__(self, store: WindowStore, telemetry: Telemetry, timer: Callable[[], float] = time.perf_counter) -> None:
        self._store, self._telemetry, self._timer = store, telemetry, timer

    @contextmanager
    def _measured(self, call: str) -> Iterator[None]:
        began = self._timer()
        try:
            yield
        except PipelineError:
            self._telemetry.count(STORE_FAILURES, call=call)
            raise
        self._telemetry.count(STORE_CALLS, call=call)
        self._telemetry.observe(STORE_SECONDS, self._timer() - began, call=call)
        self._telemetry.beat(Beat.STORE)

    def _paged(self, call: str, pages: Iterator[_Page]) -> Iterator[_Page]:
        """Each page is a round trip of its own."""
        while True:
            with self._measured(call):
                page = next(pages, None)
            if page is None:
                return
            yield page

    def claim(self, partition: int, layout: str) -> Claimed:
        """Become the owner of a partition."""
        with self._measured("claim"):
            return self._store.claim(partition, layout)

    def look(self, partition: int) -> tuple[str, str]:
        """Where a partition stands, and its state."""
        with self._measured("look"):
            return self._store.look(partition)

    def confirm(self, epochs: Mapping[int, int]) -> None:
        """Return if these are still the newest owners."""
        with self._measured("confirm"):
            self._store.confirm(epochs)

    def begin(self, starts: Sequence[Start]) -> None:
        """Write starting positions."""
        with self._measured("begin"):
            self._store.begin(starts)

    def panes(self, partition: int, panes: Sequence[int]) -> Iterator[tuple[int, list[bytes]]]:
        """The blobs of these panes."""
        return self._paged("panes", self._store.panes(partition, panes))

    def profiles(self, partition: int) -> Iterator[list[tuple[str, bytes]]]:
        """All profiles, in pages."""
        return self._paged("profiles", self._store.profiles(partition))

    def advance(self, changes: Sequence[Advance]) -> None:
        """Carry out each change."""
        with self._measured("advance"):
            self._store.advance(changes)
