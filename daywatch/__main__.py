"""Where the process begins: reads the environment, runs the command line, turns errors into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Knows nothing of any one command.
"""

import os
import sys

from daywatch.failures import said
from stream.errors import PipelineError


def main() -> None:
    """Run `daywatch` with the arguments of this process and leave with its exit code."""
    from daywatch.cli import app

    try:
        app(prog_name="daywatch")
    except Exception as error:
        expected = isinstance(error, PipelineError | OSError | MemoryError)
        if os.environ.get("DAYWATCH_DEBUG"):
            if not expected:
                raise
            import traceback

            traceback.print_exc()
        _fail(*said(error))


def _fail(text: str, code: int) -> None:
    # the last words go to standard error: standard output is for data
    from daywatch.logs import last_words

    if not last_words(text):
        sys.stderr.write(f"daywatch: error: {text}\n")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
