"""Findings as people and programs read them. Knows no check and asks nothing."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from daywatch.doctor.checks import GROUPS
from daywatch.doctor.findings import Finding, State, worst

SCHEMA: Final = "daywatch.doctor/1"
_SIGNS: Final[Mapping[State, tuple[str, str]]] = {
    State.OK: ("ok", "green"),
    State.UNKNOWN: ("unknown", "cyan"),
    State.WARNING: ("warning", "yellow"),
    State.PROBLEM: ("PROBLEM", "bold red"),
}


def document(namespace: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """All findings as one JSON object; ids stay the same between versions."""
    return {
        "schema": SCHEMA,
        "namespace": namespace,
        "state": worst(findings).value,
        "counts": {state.value: sum(finding.state is state for finding in findings) for state in State},
        "findings": [
            {"id": f.id, "group": f.group, "state": f.state.value, "about": f.about, "told": f.told, "cure": f.cure} for f in findings
        ],
    }


def show(console: Console, findings: Sequence[Finding]) -> None:
    """The findings, group by group, and a last line that says what they come to."""
    for group, each in groupby(findings, key=lambda finding: finding.group):
        console.print(Text(GROUPS[group], style="bold"))
        rows = Table.grid(padding=(0, 2))
        rows.add_column(no_wrap=True, width=7)
        rows.add_column(no_wrap=True, width=11, style="dim")
        rows.add_column(overflow="fold")
        for alike in _gathered(list(each)):
            word, style = _SIGNS[alike[0].state]
            names = list(dict.fromkeys(finding.id.partition(".")[2] for finding in alike))
            rows.add_row(Text(word, style=style), names[0] if len(names) == 1 else f"{len(names)} checks", _text(alike, names))
        console.print(Padding(rows, (0, 0, 0, 2)))
    console.print(Text(summary(findings), style=_SIGNS[worst(findings)][1]))


def summary(findings: Sequence[Finding]) -> str:
    """What the findings come to.

    >>> summary([Finding("disk.space", "disk", State.OK, "", "12 GiB free", "")])
    'nothing to mend: 1 ok'
    """
    counts = [(sum(finding.state is state for finding in findings), state) for state in reversed(State)]
    told = ", ".join(f"{n} {state.value}{'s' if n > 1 and state in (State.WARNING, State.PROBLEM) else ''}" for n, state in counts if n)
    return ("something must be mended: " if worst(findings) is State.PROBLEM else "nothing to mend: ") + told


def _gathered(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Findings of a group in order; those that say the very same are one line."""
    rows: dict[tuple[State, str, str], list[Finding]] = {}
    for finding in findings:
        rows.setdefault((finding.state, finding.told, finding.cure), []).append(finding)
    return list(rows.values())


def _text(alike: Sequence[Finding], names: Sequence[str]) -> Text:
    about = ", ".join(dict.fromkeys(finding.about for finding in alike if finding.about))
    if len(names) > 1:
        about = ", ".join(names) + (f" of {about}" if about else "")
    text = Text(f"{about}: " if about else "")
    text.append(alike[0].told)
    if alike[0].cure:
        text.append(f"\n→ {alike[0].cure}", style="" if alike[0].state is State.UNKNOWN else "bold")
    return text
