"""Files that commands read, where `-` is standard input. Knows nothing of what stands in them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from stream.errors import ConfigurationError


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """A file's bytes, or those of standard input, which stays open.

    Raises:
        ConfigurationError: the file cannot be opened.
    """
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = file.open("rb")
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from error
    with stream:
        yield stream
