"""`daywatch judge`: windows from a file in, verdicts out, with any backend and without servers. Knows nothing of how they are judged."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import settings_of
from daywatch.inputs import opened
from daywatch.options import Adapter, Base, Precision, Share, Shots
from stream.errors import PipelineError, PoisonError

if TYPE_CHECKING:
    from detector.backend import Backend
    from windowing.record import Window

BATCH = 128


def judge(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Window records as JSON lines, - for standard input.", show_default=False)],
    backend: Annotated[str | None, typer.Option(help="Who judges: baseline (default), narrative or remote.", show_default=False)] = None,
    model: Annotated[Path | None, typer.Option(help="The baseline's fitted model.", show_default=False)] = None,
    base: Base = None,
    adapter: Adapter = None,
    precision: Precision = None,
    shots: Shots = None,
    share: Share = None,
    track: Annotated[str | None, typer.Option(help="all (default) or shortcut-free.", show_default=False)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")] = False,
) -> None:
    """Judge windows of a file: a verdict for each on standard output, one a line, in the order of the file.

    A line that is no window, or that cannot be judged, is named on standard error; the others are judged, and the exit code is 1.
    """
    settings = settings_of(
        ctx,
        {
            "detect.backend": backend,
            "detect.model": model,
            "detect.base": base,
            "detect.adapter": adapter,
            "detect.precision": precision,
            "detect.shots": shots,
            "detect.share": share,
            "detect.track": track,
        },
    )
    from daywatch.backends import backend_of, spent_by

    with opened(file) as lines:
        judge_of = backend_of(settings)
        work = _Work(judge_of, settings.detect.batch or BATCH)
        with _progress(file, quiet) as advanced:
            for verdicts, bytes_read in work.run(lines):
                sys.stdout.buffer.write(verdicts)
                sys.stdout.buffer.flush()
                advanced(bytes_read)
    if not quiet:
        spent = spent_by(judge_of)
        sys.stderr.write(f"daywatch judge: {work.judged:,} windows judged, {work.alerts:,} alerts{f'; {spent}' if spent else ''}\n")
    if work.refused:
        raise PipelineError(f"{work.refused:,} of {work.refused + work.judged:,} lines could not be judged")


class _Work:
    """Judges lines in batches, and counts."""

    def __init__(self, backend: "Backend", batch: int) -> None:
        self._backend, self._batch = backend, batch
        self.judged = self.alerts = self.refused = 0

    def run(self, lines: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
        """Verdict records of one batch after the other, each ending in a line break; and the bytes read for them."""
        numbered = enumerate(lines, 1)
        while batch := list(islice(numbered, self._batch)):
            yield self._judged(batch), sum(len(line) for _, line in batch)

    def _judged(self, batch: Iterable[tuple[int, bytes]]) -> bytes:
        from detector.backend import judged
        from sinks.records import verdict_record

        windows = dict(self._readable(batch))
        written = []
        for number, verdict in zip(windows, judged(self._backend, list(windows.values())), strict=True):
            if isinstance(verdict, PoisonError):
                self._refuse(number, verdict)
                continue
            self.judged += 1
            self.alerts += verdict.alert
            written.append(verdict_record(verdict, None) + b"\n")
        return b"".join(written)

    def _readable(self, batch: Iterable[tuple[int, bytes]]) -> "Iterator[tuple[int, Window]]":
        from windowing.record import parse_window

        for number, line in batch:
            if not line.strip():
                continue
            try:
                yield number, parse_window(line)
            except PoisonError as error:
                self._refuse(number, error)

    def _refuse(self, number: int, error: PoisonError) -> None:
        self.refused += 1
        sys.stderr.write(f"daywatch judge: line {number}: {error}\n")


@contextmanager
def _progress(file: Path, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar over the file's bytes on standard error while it is a terminal; nothing otherwise."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    total = file.stat().st_size if file.is_file() else None
    columns = (TextColumn("judging windows"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bars:
        task = bars.add_task("", total=total)
        yield lambda number: bars.advance(task, number)
