"""The seam behind which windows are judged: gradient-boosted trees, a language model, or a fixed answer."""

from collections.abc import Sequence
from typing import Protocol

from detector.verdict import Verdict
from windowing.record import Window


class Backend(Protocol):
    """Whatever turns windows into verdicts."""

    name: str

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        """One verdict for each window, in order; what it says depends on that window alone.

        Raises:
            PoisonError: one of the windows can never be judged.
            TransientError: worth another try.
        """
        ...
