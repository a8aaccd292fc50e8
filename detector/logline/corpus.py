"""Labelled log lines from the catalogue of templates and from made-up events, and the ways to keep test lines apart from training.

Lines of one template are alike: a split by line asks for nothing but memory, and is made here only to show that. What counts are
lines of templates that were never seen, and of systems of which no line was. Deterministic by seed; knows no model.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Final

from detector.logline.frames import FRAMES, framed
from detector.logline.labels import ERROR, INFORMATIONAL, MALICIOUS, NORMAL, SUSPICIOUS
from detector.logline.rows import rows
from detector.logline.slots import filled

CATALOGUE: Final = "logline-templates.txt"
OWN: Final = frozenset(row.system for row in rows())
"""Systems that are never kept out of training."""
_TESTED: Final = 2
"""Lines of each template that is tested on."""
_LETTERS: Final = {"N": NORMAL, "S": SUSPICIOUS, "M": MALICIOUS, "I": INFORMATIONAL, "E": ERROR}


@dataclass(frozen=True, slots=True)
class Template:
    """What lines of one kind have in common; `system` is the program or device that writes them."""

    name: str
    system: str
    label: str
    line: Callable[[random.Random], str]


@dataclass(frozen=True, slots=True)
class Example:
    """A line, its label, and what it must be kept apart by."""

    text: str
    label: str
    template: str
    system: str


@dataclass(frozen=True, slots=True)
class Split:
    """Training, the lines that training is stopped by, and three tests: each harder, and more honest, than the one before."""

    training: list[Example] = field(default_factory=list)
    stopping: list[Example] = field(default_factory=list)
    lines: list[Example] = field(default_factory=list)
    """New lines of templates that are trained on."""
    templates: list[Example] = field(default_factory=list)
    """Templates that are not trained on, of systems that are."""
    systems: list[Example] = field(default_factory=list)
    """Systems of which nothing is trained on."""


def catalogue(text: str) -> list[Template]:
    """Read templates as they are written in the data file.

    Raises:
        ValueError: a line is neither a section, a template nor a comment.
    """
    found: list[Template] = []
    system = frame = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            system, frame = line[1:-1].split()
            if frame not in FRAMES:
                raise ValueError(f"line {number}: there is no frame {frame}")
        elif system and line[0] in _LETTERS and line[1] == " ":
            found.append(_template(f"{system}/{number}", system, frame, _LETTERS[line[0]], line[2:]))
        else:
            raise ValueError(f"line {number}: no template")
    return found


def _template(name: str, system: str, frame: str, label: str, text: str) -> Template:
    return Template(name, system, label, lambda chance: framed(filled(text, chance), system, frame, label, chance))


@cache
def templates() -> tuple[Template, ...]:
    """Every template: the catalogue's, and one for each kind of made-up event."""
    text = (files("detector") / "data" / CATALOGUE).read_text(encoding="utf-8")
    return (*catalogue(text), *(Template(row.name, row.system, row.label, row.line) for row in rows()))


def examples(chosen: Sequence[Template], each: int, seed: int) -> list[Example]:
    """`each` different lines of every template, as far as it has so many; the same seed gives the same lines."""
    found: list[Example] = []
    for template in chosen:
        chance = random.Random(f"{seed}/{template.name}")
        texts = dict.fromkeys(template.line(chance) for _ in range(each))
        found += [Example(text, template.label, template.name, template.system) for text in texts]
    return found


def split(each: int, seed: int, apart: float = 0.2) -> Split:
    """Lines for training and for the three tests; a share `apart` of systems, and then of templates, is never trained on."""
    known = templates()
    # events of our own five kinds are written by ourselves: there is no other system of their sort that a model could meet
    systems = sorted({template.system for template in known} - OWN)
    away = set(_drawn(systems, apart, seed, "system"))
    left = [template for template in known if template.system not in away]
    held = set(_drawn([template.name for template in left], apart, seed, "template"))
    learned = [template for template in left if template.name not in held]
    stopping = set(_drawn([template.name for template in learned], 0.1, seed, "stopping"))
    taught = [template for template in learned if template.name not in stopping]
    training = examples(taught, each, seed)
    seen = {example.text for example in training}
    return Split(
        training,
        examples([template for template in learned if template.name in stopping], _TESTED, seed + 1),
        [example for example in examples(taught, 1, seed + 2) if example.text not in seen],
        examples([template for template in left if template.name in held], _TESTED, seed + 3),
        examples([template for template in known if template.system in away], _TESTED, seed + 4),
    )


def _drawn(names: Sequence[str], share: float, seed: int, purpose: str) -> list[str]:
    """The share of the names that comes first when they are sorted by a hash: adding a template moves few of the others."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest())
    return ranked[: round(len(ranked) * share)]


def digest(found: Sequence[Example]) -> str:
    """SHA-256 over lines and labels in their order: what a model card names its training data by."""
    total = hashlib.sha256()
    for example in found:
        total.update(f"{example.label}\t{example.text}\n".encode())
    return total.hexdigest()
