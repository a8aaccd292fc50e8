"""One piece of work by several processes that begin, stop and end as one. Knows nothing of the work.

Python runs one thread of a process at a time, so a process makes use of little more than one core. Each of these is a whole worker with
a part of the work; none shares memory with another.
"""

import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import connection, get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Final, Generic, NamedTuple, TypeVar

from daywatch.embedded import dying_with_parent
from daywatch.failures import said
from daywatch.stopping import REQUESTS, StopRequest
from stream.errors import PipelineError, UsageError
from stream.parts import Part

_T = TypeVar("_T")
_LOOK_EVERY_S: Final = 0.2
_STOP_WITHIN_S: Final = 60.0


class _Failed(NamedTuple):
    """A process' last words and its exit code; where it came from is for who looks for a fault of ours."""

    text: str
    code: int
    trace: str = ""


class _Child(NamedTuple, Generic[_T]):
    process: SpawnProcess
    answer: "Connection[None, _T | _Failed]"


def side_by_side(work: Callable[[Part], _T], processes: int) -> list[_T]:
    """Do all parts of the work, each in a process of its own, and return what each came to.

    A request to stop is passed on. Where one fails, the others are asked to stop. `work` and what it returns must be picklable; it
    has to see to `StopRequest` itself.

    Raises:
        UsageError: a process said that it cannot be used so.
        PipelineError: a process failed, or ended without a word.
    """
    stop = StopRequest()
    children: list[_Child[_T]] = []
    try:
        with _holding_back_requests():
            for number in range(processes):
                children.append(_started(work, Part(number, processes)))  # noqa: PERF401 - those that run must be known when one cannot start
        return _answers(children, stop)
    finally:
        _end(each.process for each in children)


@contextmanager
def _holding_back_requests() -> Iterator[None]:
    """What starts meanwhile hears of a request to stop only once it makes a `StopRequest`: before, it would die of it."""
    # this unblocks the same signals when it starts its own process, which it would otherwise do with the first of ours
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, REQUESTS)


def _started(work: Callable[[Part], _T], part: Part) -> _Child[_T]:
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=partial(_do, work, part, theirs), name=f"daywatch-{part.number}")
    process.start()
    theirs.close()
    return _Child(process, ours)


def _answers(children: list[_Child[_T]], stop: StopRequest) -> list[_T]:
    """What each came to, once all have ended; the first failure is raised when the others have stopped."""
    found: dict[int, _T] = {}
    failed: _Failed | None = None
    waiting, told = dict(enumerate(children)), False
    while waiting:
        if (stop.asked() or failed) and not told:
            _ask_to_stop(each.process for each in waiting.values())
            told = True
        ready = connection.wait([each.answer for each in waiting.values()], _LOOK_EVERY_S)
        for number, child in [(number, child) for number, child in waiting.items() if child.answer in ready]:
            answer = _answer(number, len(children), child)
            if isinstance(answer, _Failed):
                failed = failed or answer
            else:
                found[number] = answer
            del waiting[number]
    if failed:
        error = (UsageError if failed.code == 2 else PipelineError)(failed.text)
        error.add_note(failed.trace)
        raise error
    return [found[number] for number in sorted(found)]


def _answer(number: int, of: int, child: _Child[_T]) -> _T | _Failed:
    try:
        return child.answer.recv()
    except EOFError:
        child.process.join()
        code = child.process.exitcode or 0
        how = f"by signal {-code}" if code < 0 else f"with {code}"
        return _Failed(f"process {number + 1} of {of} ended {how}, without a word; nothing is lost: start again", 1)


def _ask_to_stop(processes: Iterable[SpawnProcess]) -> None:
    for process in processes:
        if process.is_alive():
            process.terminate()


def _end(processes: Iterable[SpawnProcess]) -> None:
    """Let none be left, however this one goes on."""
    processes, deadline = list(processes), time.monotonic() + _STOP_WITHIN_S
    _ask_to_stop(processes)
    for process in processes:
        process.join(max(deadline - time.monotonic(), 0))
        if process.is_alive():
            process.kill()
            process.join()


def _do(work: Callable[[Part], _T], part: Part, answer: "Connection[_T | _Failed, None]") -> None:
    """The life of a process: do its part, and tell what it came to."""
    if (die := dying_with_parent()) is not None:
        die()
    try:
        answer.send(work(part))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:  # noqa: BLE001 - said by the process that all belong to
        answer.send(_Failed(*said(error), "".join(traceback.format_exception(error))))
