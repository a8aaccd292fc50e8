"""Where models are kept on this machine. Knows paths, nothing of what lies there."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """Two directories: one that may be deleted at any time, one that holds what was recorded."""

    cache: Path
    records: Path

    @property
    def registry(self) -> Path:
        """The file of registered models."""
        return self.records / "models.json"

    @property
    def identities(self) -> Path:
        """Notes on weights whose identity was taken before."""
        return self.cache / "identities"


def usual_places() -> Places:
    """The XDG directories: `~/.cache/daywatch` and `~/.local/share/daywatch` unless it says otherwise."""
    return Places(_xdg("XDG_CACHE_HOME", ".cache"), _xdg("XDG_DATA_HOME", ".local/share"))


def _xdg(variable: str, usual: str) -> Path:
    # not one of our settings: the desktop's convention, read where it is needed, as every library's own cache directory is
    given = os.environ.get(variable, "")  # noqa: TID251
    # the specification: a relative path counts as not given
    return (Path(given) if given.startswith("/") else Path.home() / usual) / "daywatch"
