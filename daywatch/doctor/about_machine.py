"""Rules about this machine: its disks, libraries and the detector's parts. Pure: facts in, findings out."""

from collections.abc import Callable, Iterable
from typing import Final

from daywatch.doctor.facts import Facts, known
from daywatch.doctor.findings import Told, fine, problem, warning

_GIB: Final = 1 << 30
_MIB: Final = 1 << 20
_LITTLE: Final = _GIB
_NONE_LEFT: Final = 100 * _MIB


def space(facts: Facts) -> Iterable[Told]:
    """Is there room where Daywatch itself writes?"""
    for disk in known(facts.disks):
        if disk.failure:
            continue
        told = f"{disk.purpose}: {_size(disk.free)} free of {_size(disk.total)}"
        if disk.free < _NONE_LEFT:
            yield problem(told, "make room, or let it write elsewhere", disk.directory)
        elif disk.free < _LITTLE:
            yield warning(told, "make room, or let it write elsewhere", disk.directory)
        else:
            yield fine(told, disk.directory)


def writable(facts: Facts) -> Iterable[Told]:
    """May Daywatch write there?"""
    failures = [disk for disk in known(facts.disks) if disk.failure]
    for disk in failures:
        yield warning(f"{disk.purpose}: {disk.failure}", "give this user the right to write there, or name another place", disk.directory)
    if not failures:
        yield fine("every directory can be written to")


def part(name: str, otherwise: str = "") -> Callable[[Facts], Iterable[Told]]:
    """The rule that says how a part was found; `otherwise` is what to say where nobody needs it."""

    def rule(facts: Facts) -> Iterable[Told]:
        if name not in facts.parts:
            yield fine(otherwise or f"the backend {facts.wanted.backend} does not need it")
            return
        found = known(facts.parts[name])
        if not found.fine:
            yield problem(found.told, found.cure)
        elif found.slow:
            yield warning(found.told, found.cure)
        else:
            yield fine(found.told)

    return rule


def packages(facts: Facts) -> Iterable[Told]:
    """Are Python and the libraries in the range that Daywatch supports?"""
    found = known(facts.packages)
    for each in found:
        if not each.version:
            yield problem(f"{each.name} is not installed", f"pip install '{each.name}{each.wanted}'", each.name)
        elif not each.fits:
            cure = f"use Python {each.wanted}" if each.name == "python" else f"pip install '{each.name}{each.wanted}'"
            yield problem(f"{each.name} {each.version} is outside of {each.wanted}", cure, each.name)
    if all(each.version and each.fits for each in found):
        told = ", ".join(f"{each.name} {each.version}" for each in found if each.name in ("python", "confluent-kafka", "redis"))
        yield fine(f"{told}; all {len(found)} in range")


def _size(n: int) -> str:
    return f"{n / _GIB:,.1f} GiB" if n >= _GIB else f"{n / _MIB:,.0f} MiB"
