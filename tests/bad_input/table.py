"""The page of the documentation that shows every case: made of the cases that the tests try, `python -m tests.bad_input.table`."""

from collections.abc import Iterable
from pathlib import Path

from tests.bad_input.case import Case
from tests.bad_input.environments import ENVIRONMENTS
from tests.bad_input.events import BROKEN, ODD
from tests.bad_input.files import FILES
from tests.bad_input.windows import BROKEN_RESULTS, BROKEN_WINDOWS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bad-input.md"

_TEXT = """\
# Bad input

<!-- Made by `make bad-input` from the cases in tests/bad_input, each of which the tests try; a test compares. Do not edit. -->

What Daywatch says and does when what it is given, or what it stands on, is broken: {records} kinds of broken record and file,
{surroundings} of broken configuration, models, servers and machines. Every one is tried by the tests through the real commands, on Apache
Kafka and Redis, and held to the message (… stands for what differs), to the exit code, and to these promises:

- No traceback; standard output holds data only, and an error is one line on standard error that says what to do.
- Exit code 0: done, perhaps with something left out and counted. 1: something failed or must be mended. 2: wrong usage, or a setting that
  cannot be.
- Nothing is lost: of every event read, `window` says at its end whether it is in a pane, a duplicate, or refused; what is refused is a dead
  letter with its reason ([records.md](records.md#dead-letters)), and the good records around a bad one go their way.

## Event records

A broken event becomes a dead letter, untouched, with the reason in its headers; `daywatch window` goes on and ends with 0.

{events}
Odd, but good: each of these goes all the way, into a window and a verdict: {odd}.

## Windows on their topic

As with events: a dead letter with the reason; `daywatch detect` goes on and ends with 0.

{windows}
## Verdicts and alerts on their topics

`daywatch correlate` goes on and ends with 0.

{results}
## Files and settings

{files}
## Servers, state and machine

{environments}"""


def page() -> str:
    """The whole page."""
    files = [one.case for one in FILES]
    inputs = [case for case in files if case.command not in _SETTING_COMMANDS]
    around = [one.case for one in ENVIRONMENTS]
    return _TEXT.format(
        records=len(BROKEN) + len(BROKEN_WINDOWS) + len(BROKEN_RESULTS) + len(inputs),
        surroundings=len(files) - len(inputs) + len(around),
        events=_records(one.case for one in BROKEN),
        odd="; ".join(odd.name for odd in ODD),
        windows=_records(one.case for one in BROKEN_WINDOWS),
        results=_records(one.case for one in BROKEN_RESULTS),
        files=_commands(files),
        environments=_commands(around),
    )


_SETTING_COMMANDS = frozenset({"any command", "judge --model", "detect --model"})


def _records(cases: Iterable[Case]) -> str:
    rows = []
    for case in cases:
        reason, _, message = case.says.partition(": ")
        more = case.ends.partition("`, ")[2]
        rows.append((case.name, f"`{reason}`", _shown(message) + (f" ({more})" if more else "")))
    return _table(("what is broken", "reason", "message"), rows)


def _commands(cases: Iterable[Case]) -> str:
    rows = [(case.name, case.command, _shown(case.says), str(case.code), case.ends) for case in cases]
    return _table(("what is broken", "command", "what is said", "exit code", "and then"), rows)


def _shown(says: str) -> str:
    return says.strip().replace("…", " … ").replace("  ", " ").strip() or "nothing special"


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(titles), *([cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
