"""Looks at this machine: disks, time zones, libraries. An adapter: reads, and writes nothing."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Final
from zoneinfo import TZPATH

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from daywatch.doctor.facts import Disk, Package, ZoneBase

_EDITION: Final = re.compile(r"\d{4}[a-z]*")


def disks(places: Iterable[tuple[Path, str]]) -> tuple[Disk, ...]:
    """The file systems beneath these directories, each once, and those directories that cannot be written to."""
    found: dict[int, tuple[Path, list[str]]] = {}
    failures = []
    for directory, purpose in places:
        there = _existing(directory)
        if not os.access(there, os.W_OK | os.X_OK):
            failures.append(Disk(str(directory), purpose, failure="it cannot be written to"))
        found.setdefault(there.stat().st_dev, (directory, []))[1].append(purpose)
    usages = [(directory, purposes, shutil.disk_usage(_existing(directory))) for directory, purposes in found.values()]
    return (*(Disk(str(directory), ", ".join(purposes), use.free, use.total) for directory, purposes, use in usages), *failures)


def _existing(directory: Path) -> Path:
    return next(each for each in (directory, *directory.absolute().parents) if each.exists())


def usual_directories() -> list[tuple[Path, str]]:
    """Where Daywatch itself writes."""
    from detector.models.places import usual_places

    places = usual_places()
    return [
        (Path.cwd(), "results"),
        (places.cache, "unpacked models"),
        (places.records, "the register of models"),
        (Path.home() / ".local" / "state" / "daywatch", "where replays stand"),
        (Path(tempfile.gettempdir()), "temporary files"),
    ]


def zone_base(zone: str, search: Sequence[str] = TZPATH) -> ZoneBase:
    """Where this zone is read from: the system's database first, then the package."""
    for place in map(Path, search):
        if (place / zone).is_file():
            return ZoneBase(str(place), _edition(place))
    return ZoneBase("the package tzdata", version("tzdata"))


def _edition(place: Path) -> str:
    for name in ("tzdata.zi", "+VERSION"):
        try:
            with (place / name).open(encoding="ascii") as file:
                found = _EDITION.search(file.readline(200))
        except (OSError, UnicodeDecodeError):
            continue
        if found:
            return found.group()
    return ""


def packages(extras: Iterable[str] = ()) -> tuple[Package, ...]:
    """Python and every library that Daywatch asks for, with those of some extras."""
    wanted = metadata("daywatch")["Requires-Python"] or ""
    found = [Package("python", platform.python_version(), str(wanted), SpecifierSet(wanted).contains(platform.python_version()))]
    environments = [{"extra": extra} for extra in ("", *extras)]
    for text in requires("daywatch") or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate(each) for each in environments):
            found.append(package_of(requirement))
    return tuple(found)


def package_of(requirement: Requirement) -> Package:
    """What is installed of a requirement."""
    try:
        here = version(requirement.name)
    except PackageNotFoundError:
        here = ""
    fits = bool(here) and requirement.specifier.contains(here, prereleases=True)
    return Package(requirement.name, here, str(requirement.specifier), fits)
