"""One line in the log for an event of note: a sentence, with facts attached. Knows not who reads it, nor in which format.

Facts are numbers, topics and words of the program. Never a user, a file name, an address or anything else out of a record.
"""

import logging
from typing import Final

ROOT: Final = "daywatch"


def logger_of(role: str) -> logging.Logger:
    """The log of a role, such as `window`."""
    return logging.getLogger(f"{ROOT}.{role}")


def note(log: logging.Logger, level: int, event: str, sentence: str, **facts: object) -> None:
    """Write a line.

    Args:
        log: whose line it is.
        level: of `logging`.
        event: one word for the kind of line, to be searched for.
        sentence: what happened, for people.
        facts: the same for programs.
    """
    log.log(level, sentence, extra={"event": event, "facts": facts}, stacklevel=2)
