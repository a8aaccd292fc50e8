"""How commands say how far training has come: a bar, or lines where there is no terminal. Knows no training."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_APART_MS: Final = 10_000


@contextmanager
def steps(speaker: str | None = None) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error while it is a terminal; otherwise nothing, or a line every ten seconds under the name of `speaker`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from stream.clock import SystemClock

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    clock, spoke = SystemClock(), 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        work = bars.add_task("train", total=None)

        def step(what: str, done: int, total: int) -> None:
            nonlocal spoke
            bars.update(work, description=what, completed=done, total=total)
            if speaker is not None and not console.is_terminal and clock.now_ms() - spoke >= _APART_MS:
                spoke = clock.now_ms()
                sys.stderr.write(f"{speaker}: {what}, step {done:,} of {total:,}\n")

        yield step
