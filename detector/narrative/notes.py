"""What stands beside an adapter: the base it belongs to, the prompt it was trained on, its calibration and thresholds. Knows no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from stream.errors import ConfigurationError

FILE: Final = "daywatch.json"
SCHEMA: Final = "daywatch.narrative/1"


@dataclass(frozen=True, slots=True)
class Notes:
    """An adapter's own facts.

    Args:
        base: hub id, directory or package name of the base model.
        base_sha256: of the base's weights; another base is refused.
        track: whose features the prompt shows.
        prompt: identity of the prompt (version and hash).
        budget: tokens of a prompt.
        calibration: slope and intercept that turn the log-odds of the model's own p(malicious) into a probability at natural rates.
        decision: the model's log-odds of malicious from which on its own label says so; 0 is the likeliest label as it is.
        combination: weights of the model's and of the triage's log-odds, and an intercept: the cascade's score; None without one.
        thresholds: scores from which on a window is `malicious`, `suspicious`, and alerts at 5 a day per 1,000 users (`alert@5`).
        triage: triage score from which on a window reaches the model, by the share of windows (as text, `0.05`) that do.
        made: data, seeds, versions, figures.
    """

    base: str
    base_sha256: str
    track: str
    prompt: str
    budget: int
    calibration: tuple[float, float] | None = None
    decision: float = 0.0
    combination: tuple[float, float, float] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    triage: Mapping[str, float] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)


def read_notes(directory: Path) -> Notes | None:
    """The notes beside an adapter; None where there are none, as with adapters of other makers.

    Raises:
        ConfigurationError: the file cannot be understood.
    """
    path = directory / FILE
    if not path.is_file():
        return None
    try:
        record = orjson.loads(path.read_bytes())
        if record.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        for name in ("calibration", "combination"):
            record[name] = tuple(float(number) for number in record[name]) if record.get(name) else None
        return Notes(**record)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} is not what this version of Daywatch writes beside an adapter ({type(error).__name__})"
        ) from error


def write_notes(directory: Path, notes: Notes) -> None:
    """Write the notes beside an adapter."""
    (directory / FILE).write_bytes(
        orjson.dumps({"schema": SCHEMA} | asdict(notes), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
    )
