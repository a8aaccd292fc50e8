"""`daywatch doctor`: says what is wrong with the chain and what to do. Knows how to ask and to show, not what is checked."""

import json as json_text
import sys
from typing import Annotated

import typer

from daywatch.cli import settings_of

_WIDE = 200
"""Columns where nobody looks at a terminal: a file is read with long lines."""


def doctor(
    ctx: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="One JSON object with all findings on standard output.")] = False,
    patience: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds that each question to a server may take.")] = 3.0,
) -> None:
    """Check broker, topics, groups, store, clocks, disks, models and libraries; say what is wrong and what to do.

    Looks only: joins no group, writes nothing. A server that does not answer hides nothing but its own findings. Exit code 1 when
    something must be mended (a PROBLEM), 0 otherwise.
    """
    from rich.console import Console

    from daywatch.doctor.checks import CHECKS
    from daywatch.doctor.findings import State, examine, worst
    from daywatch.doctor.gather import gather
    from daywatch.doctor.show import document, show
    from stream.clock import SystemClock

    settings = settings_of(ctx)
    findings = examine(gather(settings, SystemClock(), patience), CHECKS)
    if json:
        print(json_text.dumps(document(settings.namespace, findings), ensure_ascii=False))
    else:
        show(Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE), findings)
    if worst(findings) is State.PROBLEM:
        raise typer.Exit(1)
