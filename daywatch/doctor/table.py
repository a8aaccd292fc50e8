"""The table of checks as docs/doctor.md has it. `python -m daywatch.doctor.table` prints it. Knows the checks, and no facts."""

import sys

from daywatch.doctor.checks import CHECKS


def table() -> str:
    """A row for each check, as Markdown."""
    rows = ["| id | in order when | warning | problem |", "|---|---|---|---|"]
    rows += [f"| `{check.id}` | {check.asks} | {check.warns} | {check.fails} |" for check in CHECKS]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
