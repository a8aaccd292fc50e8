"""The errors we raise on purpose. One type for each thing that somebody does differently about it."""

import os
import re
from collections.abc import Iterable
from typing import ClassVar


class PipelineError(Exception):
    """Root of every error we raise on purpose; the command line prints its text and exits with 1."""


class ConfigurationError(PipelineError):
    """What the user asked for cannot work; the text names the setting or argument and the cure."""


class UsageError(ConfigurationError):
    """A flag, an environment variable or the settings file says what cannot be; the command line exits with 2."""


class TransientError(PipelineError):
    """Keep the batch, wait, try again."""


class PendingError(TransientError):
    """A transaction over a group's commits stays open, though its writer's time is over: its end was forgotten.

    `writers` are the transactional ids of those who committed last; one of them has left it.
    """

    def __init__(self, told: str, writers: Iterable[str] = ()) -> None:
        super().__init__(told)
        self.writers = frozenset(writers)


class TakenBackError(TransientError):
    """What had been sent is gone again, or some of it; what was committed with it may stand."""


class PoisonError(PipelineError):
    """This record can never work: dead-letter it and go on."""

    code: ClassVar[str] = "poison"


class FencedError(PipelineError):
    """A newer owner exists: stop at once, write nothing more."""


class StaleError(PipelineError):
    """The store is not where this cycle began: drop what is in memory and claim again."""


class RefusedError(PipelineError):
    """Going on would lose or double something: the text says what was found and the cure.

    >>> str(RefusedError("topic a has 3 partitions, not 4", "Use a new namespace"))
    'topic a has 3 partitions, not 4. Use a new namespace'
    """

    def __init__(self, told: str, cure: str = "") -> None:
        super().__init__(f"{told}. {cure}" if cure else told)
        self.told, self.cure = told, cure


def of_later_version(what: str, found: int, ours: int) -> str:
    """What to say of a piece of state with a schema that this version does not know yet.

    >>> of_later_version("a stored pane", 2, 1)
    'a stored pane was written by a later version of Daywatch (schema 2; this one reads 1): upgrade this worker, or use a new namespace'
    """
    later = f"{what} was written by a later version of Daywatch (schema {found}; this one reads {ours})"
    return f"{later}: upgrade this worker, or use a new namespace"


def said_by_system(error: OSError) -> str:
    """What the operating system says is wrong, without what was being written or read.

    >>> said_by_system(OSError(28, "No space left on device"))
    'No space left on device'
    >>> said_by_system(OSError("writing failed (os error 28): somewhere"))
    'No space left on device'
    """
    # libraries that are not Python's own leave the number in the text
    number = re.search(r"\(os error (\d+)\)", str(error))
    return error.strerror or (os.strerror(int(number[1])) if number else type(error).__name__)
