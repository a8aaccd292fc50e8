"""The recipe of the model that comes with Daywatch: synthetic organisations alone, each from its seed. Bit for bit the same every time.

No row of anybody's data goes into it. The seeds are kept out of every examination (`SEEDS` are for training only).
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from detector.from_directory import lessons_of_directory
from detector.model_file import Model
from detector.training import TRACKS, Lessons, fit_model, joined
from stream.synth import SEMANTICS, write_organisation

SEEDS: Final = tuple(range(9001, 9011))
USERS: Final = 300
DAYS: Final = 60
_SEED: Final = 1


def make_shipped(
    seeds: Sequence[int] = SEEDS,
    users: int = USERS,
    days: int = DAYS,
    step: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> Model:
    """Make the organisations in a temporary directory one after the other, and fit both tracks to all of them."""
    lessons: list[Lessons] = []
    for place, seed in enumerate(seeds):
        step(f"organisation {seed}", place, len(seeds))
        with TemporaryDirectory(prefix="daywatch-train-") as scratch:
            write_organisation(Path(scratch) / "organisation", users, days, seed)
            lessons.append(lessons_of_directory(Path(scratch) / "organisation"))
    return fit_model(joined(lessons), TRACKS, _SEED, provenance(seeds, users, days), step)


def provenance(seeds: Sequence[int], users: int, days: int) -> dict[str, Any]:
    """What the model says of where it comes from."""
    return {
        "by": f"daywatch {version('daywatch')}",
        "lightgbm": version("lightgbm"),
        "organisations": {"synthetic": True, "semantics": SEMANTICS, "users": users, "days": days, "seeds": list(seeds)},
    }
