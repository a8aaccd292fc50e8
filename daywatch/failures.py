"""What to say of an error that ends a process, and with which exit code.

Exit codes: 1 failed, 2 wrong usage.
"""

from stream.errors import PipelineError, UsageError, said_by_system


def said(error: Exception) -> tuple[str, int]:
    """The last words, and the exit code.

    >>> said(UsageError("no such file: org"))
    ('no such file: org', 2)
    >>> said(KeyError("ana"))[0]
    'unexpected KeyError; run again with DAYWATCH_DEBUG=1 to see where it came from'
    """
    if isinstance(error, PipelineError):
        return str(error), 2 if isinstance(error, UsageError) else 1
    if isinstance(error, OSError):
        # a disk that is full, standard output that cannot take more: the system says it best, and names no more than a path
        return f"{f'{error.filename}: ' if error.filename else ''}{said_by_system(error)}", 1
    if isinstance(error, MemoryError):
        return "out of memory; fewer users or days, a smaller batch or a larger machine would help", 1
    # an unforeseen error's text may hold log contents: name its kind, not its words
    return f"unexpected {type(error).__name__}; run again with DAYWATCH_DEBUG=1 to see where it came from", 1
