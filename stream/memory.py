"""How the C library gives memory back, and how often Python looks for cycles.

Decoding takes and frees blocks of a few megabytes all the time; glibc would return each to the system at once, and the page faults of
getting it again cost as much as the decoding (measured: 2.1 against 1.4 µs an event).

Call these once, when a process that decodes or encodes many events starts. Nothing happens where there is no glibc.
"""

import ctypes
import gc
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LARGEST_KEPT_BLOCK: Final = 32 << 20  # glibc takes no more
_KEPT: Final = 128 << 20
_YOUNG: Final = 50_000


def keep_freed_memory() -> bool:
    """Let the allocator keep up to 128 MiB of freed memory for reuse; False where that cannot be told to it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BLOCK) and mallopt(_M_TRIM_THRESHOLD, _KEPT))


def collect_seldom() -> None:
    """Let Python look for cycles only after 50,000 new objects, instead of 700.

    Messages from Kafka come by the thousand and are freed without it, but it would go through them again and again: a third of the
    processor time of a loop that only consumes was that (measured).
    """
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
