"""What a log-line classifier that was trained here says of itself: `daywatch.json` beside its weights. Knows no model library."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from detector.logline.labels import label_order
from stream.errors import ConfigurationError

SCHEMA: Final = "daywatch.logline/1"
FILE: Final = "daywatch.json"
MASKED: Final = "masked/1"
RAW: Final = "raw"


class BadNotes(ConfigurationError):
    """The notes beside a model cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class LineNotes:
    """How the classifier reads: its base, the labels of its outputs in order, what it is given of a line, and how it was made."""

    base: str
    base_sha256: str
    labels: tuple[str, ...]
    text: str = MASKED
    length: int = 96
    """Tokens of a line that it sees."""
    made: Mapping[str, Any] = field(default_factory=dict)


def write_notes(directory: Path, notes: LineNotes) -> None:
    """Write the notes into a model's directory."""
    document = {"schema": SCHEMA, **asdict(notes), "labels": list(notes.labels), "made": dict(notes.made)}
    (directory / FILE).write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")


def read_notes(directory: Path) -> LineNotes | None:
    """The notes of a model; None where there are none: then it is somebody else's.

    Raises:
        BadNotes: they cannot be read, or are those of a model of another kind.
        BadLabels: they do not name the five labels.
    """
    path = directory / FILE
    if not path.is_file():
        return None
    try:
        found = orjson.loads(path.read_bytes())
        if found.get("schema") != SCHEMA:
            raise BadNotes(f"{path} is of schema {str(found.get('schema'))[:40]}, not {SCHEMA}: this is no log-line classifier")
        if found["text"] not in (MASKED, RAW):
            raise BadNotes(f"{path} asks for lines as {str(found['text'])[:40]!r}, which this version does not know")
        labels = label_order(dict(enumerate(found["labels"])))
        return LineNotes(found["base"], found["base_sha256"], labels, found["text"], int(found["length"]), found["made"])
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise BadNotes(f"{path} is damaged: {type(error).__name__}; train the classifier anew") from error
