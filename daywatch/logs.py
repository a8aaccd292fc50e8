"""Lines for operators on standard error: as text, or one JSON object each. Knows nothing of what the lines are about.

    text   daywatch window: holds 4 of 4 partitions
    json   {"time":"2010-01-04T08:12:33.000Z","level":"info","role":"window","event":"assigned","message":"holds …","facts":{…}}

An exception's words and trace are left out, since an unforeseen one may quote a record: its kind is named.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from stream.notes import ROOT

if TYPE_CHECKING:
    from daywatch.settings import LogSettings

NOTICE: Final = 25
"""What is said however quiet a command is to be, while nothing is wrong: what it came to in the end."""


class TextLines(logging.Formatter):
    """For people, as all commands say it; whoever keeps the lines adds the time."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        loud = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return f"{record.name.replace('.', ' ')}: {loud}{_sentence(record)}"


class JsonLines(logging.Formatter):
    """For programs."""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object."""
        import orjson

        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, object] = {
            "time": when,
            "level": record.levelname.lower(),
            "role": record.name.removeprefix(f"{ROOT}."),
            "event": getattr(record, "event", "message"),
            "message": _sentence(record).strip(),
        }
        if facts := getattr(record, "facts", None):
            line["facts"] = facts
        return orjson.dumps(line, default=str).decode()


def _sentence(record: logging.LogRecord) -> str:
    text = " ".join(record.getMessage().split("\n"))
    kind = record.exc_info[0] if record.exc_info else None
    return f"{text} ({kind.__name__})" if kind is not None else text


class _OnStandardError(logging.Handler):
    """Writes to whatever standard error is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        sys.stderr.write(self.format(record) + "\n")
        sys.stderr.flush()


def begin(chosen: "LogSettings", *, quiet: bool = False) -> None:
    """From now on the lines of all roles go to standard error, in this form; only what matters when it is to be quiet."""
    logging.addLevelName(NOTICE, "NOTICE")
    handler = _OnStandardError()
    handler.setFormatter(JsonLines() if chosen.format == "json" else TextLines())
    log = logging.getLogger(ROOT)
    log.handlers[:] = [handler]
    level = logging.getLevelNamesMapping()[chosen.level.upper()]
    log.setLevel(max(level, NOTICE) if quiet else level)


def last_words(text: str) -> bool:
    """Say why the process ends, where lines are JSON; False where they are not, and the caller says it as it always does."""
    log = logging.getLogger(ROOT)
    if not any(isinstance(handler.formatter, JsonLines) for handler in log.handlers):
        return False
    log.error(text, extra={"event": "failed"})
    return True
