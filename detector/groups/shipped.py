"""The model of threat groups that comes with Daywatch. Knows where it lies."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from detector.groups.lexical import GroupsModel, read_groups_model


def shipped_path() -> Path:
    """Where it lies."""
    return Path(str(files("detector") / "data" / "groups" / "words.npz"))


@cache
def shipped_groups() -> GroupsModel:
    """The model itself, read once.

    Raises:
        BadGroupsModel: the installation is damaged.
    """
    return read_groups_model(shipped_path())
