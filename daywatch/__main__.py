"""Where the process begins: reads the environment, runs the command line, turns errors into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Knows nothing of any one command.
"""

import os
import sys

from stream.errors import PipelineError, UsageError, said_by_system


def main() -> None:
    """Run `daywatch` with the arguments of this process and leave with its exit code."""
    from daywatch.cli import app

    try:
        app(prog_name="daywatch")
    except UsageError as error:
        _fail(str(error), code=2)
    except PipelineError as error:
        _fail(str(error))
    except OSError as error:
        # a disk that is full, standard output that cannot take more: the system says it best, and names no more than a path
        _fail(f"{f'{error.filename}: ' if error.filename else ''}{said_by_system(error)}")
    except MemoryError:
        _fail("out of memory; fewer users or days, a smaller batch or a larger machine would help")
    except Exception as error:
        if os.environ.get("DAYWATCH_DEBUG"):
            raise
        # an unforeseen error's text may hold log contents: name its kind, not its words
        _fail(f"unexpected {type(error).__name__}; run again with DAYWATCH_DEBUG=1 to see where it came from")


def _fail(text: str, code: int = 1) -> None:
    if os.environ.get("DAYWATCH_DEBUG"):
        import traceback

        traceback.print_exc()
    # the last words go to standard error: standard output is for data
    from daywatch.logs import last_words

    if not last_words(text):
        sys.stderr.write(f"daywatch: error: {text}\n")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
