"""Where a replay keeps how far it has come: one small JSON file. Knows nothing of what is replayed."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream.errors import ConfigurationError
from stream.replay import Place

_LAYOUT = 1


class PlaceFile:
    """The place of one replay, told apart from others by its `identity` (plain JSON values)."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self._identity = json.loads(json.dumps(identity, sort_keys=True))

    @staticmethod
    def beneath(directory: Path, identity: Mapping[str, Any]) -> "PlaceFile":
        """The file for this identity in a directory that holds those of all replays."""
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        return PlaceFile(directory / f"{digest}.json", identity)

    def load(self) -> tuple[Place, int] | None:
        """The place that was kept, and by how many days that replay shifts; None when there is none of this identity.

        Raises:
            ConfigurationError: the file cannot be read.
        """
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{self.path} cannot be read; delete it to begin anew") from error
        if kept.get("layout") != _LAYOUT or kept.get("identity") != self._identity:
            return None
        return Place(**kept["place"]), int(kept["shift_days"])

    def save(self, place: Place, shift_days: int) -> None:
        """Keep a place; whoever reads sees the old one or the new one whole.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        kept = {"layout": _LAYOUT, "identity": self._identity, "place": dataclasses.asdict(place), "shift_days": shift_days}
        beside = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(kept), encoding="utf-8")
            beside.replace(self.path)
        except OSError as error:
            raise ConfigurationError(f"--state: {self.path} cannot be written ({error.strerror})") from error
