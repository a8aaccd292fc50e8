"""The seam behind which windows are judged: gradient-boosted trees, a language model, or a fixed answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from detector.verdict import EventRef, Label, Verdict, checked
from stream.errors import PipelineError, PoisonError
from stream.kinds import Kind
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


def judged(backend: Backend, windows: Sequence[Window]) -> list[Verdict | PoisonError]:
    """A verdict for each window, in order; a window that cannot be judged does not take the others down.

    Raises:
        PipelineError: the backend did not answer window by window.
        TransientError: worth another try.
    """
    if not windows:
        return []
    try:
        verdicts = backend.judge(windows)
        if [verdict.window_id for verdict in verdicts] != [window.id for window in windows]:
            raise PipelineError(f"backend {backend.name} did not answer window by window")
        return [checked(verdict, window) for verdict, window in zip(verdicts, windows, strict=True)]
    except PoisonError as error:
        if len(windows) == 1:
            return [error]
        half = len(windows) // 2
        return judged(backend, windows[:half]) + judged(backend, windows[half:])


@dataclass(frozen=True, slots=True)
class FixedAnswer:
    """What a fixed backend says of a window."""

    label: Label = "normal"
    score: float = 0.0
    cited: tuple[EventRef, ...] = ()
    reason: str = "fixed answer"
    alert: bool = False


class FixedBackend:
    """Gives the answers it was made with: the in-memory twin, for tests and examples. Its citations are checked as any other's.

    >>> FixedBackend({"w1": FixedAnswer("malicious", 0.9)}).name
    'fixed'
    """

    name = "fixed"

    def __init__(self, answers: "dict[str, FixedAnswer] | Callable[[Window], FixedAnswer]", track: str = "all") -> None:
        """Answers by window id (normal where there is none), or a function of the window."""
        self._answer = answers if callable(answers) else lambda window: answers.get(window.id, FixedAnswer())
        self._track = track

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        """One verdict for each window, in order.

        Raises:
            UnknownEvidence: an answer cites an event that is not in its window.
        """
        return [checked(self._verdict(window, self._answer(window)), window) for window in windows]

    def _verdict(self, window: Window, answer: FixedAnswer) -> Verdict:
        return Verdict(
            window_id=window.id,
            user=window.user,
            start=window.start,
            end=window.end,
            label=answer.label,
            score=answer.score,
            triage_score=answer.score,
            cited=answer.cited,
            reason=answer.reason,
            traits=(),
            techniques=(),
            alert=answer.alert,
            learning=window.learning,
            track=self._track,
            by=self.name,
            provenance={"model": "fixed", "window_digest": window.digest},
        )


def everything_shown(window: Window) -> tuple[EventRef, ...]:
    """References to all events that a window shows, in its order."""
    return tuple(EventRef(Kind(event["kind"]), event["id"]) for event in window.events)
