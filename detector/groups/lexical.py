"""A text's likeness to threat groups by its words: TF-IDF over words and word pairs, and one linear score for each. Knows no training.

Needs NumPy alone. A model is one .npz file without pickles; names that stand in a text are replaced before it is read, since a model
that reads names learns nothing else. Scores are probabilities among the groups that the model knows: whether it is any of them is
not known here.
"""

import hashlib
import io
import json
import math
import re
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from detector.groups.corpus import Mask
from stream.errors import ConfigurationError

Floats: TypeAlias = npt.NDArray[np.float32]
SCHEMA: Final = "daywatch.groups/1"
MOST_CHARACTERS: Final = 20_000
"""Of a text, no more is read."""
MOST_BYTES: Final = 64 * 1024 * 1024
_WORD: Final = re.compile(r"\b\w\w+\b")


class BadGroupsModel(ConfigurationError):
    """This file holds no model of threat groups that this version can use."""


@dataclass(frozen=True, slots=True)
class Lexical:
    """Words and what they say for each group.

    `weights` has shape (words, groups), whole numbers that are worth `scale` (groups,) each; `rarity` (words,) is the inverse document
    frequency; `bias` (groups,). `sharpness` turns scores into probabilities, as fitted on texts that were not trained on.
    """

    groups: tuple[str, ...]
    vocabulary: Mapping[str, int]
    rarity: Floats
    weights: npt.NDArray[np.int8]
    scale: Floats
    bias: Floats
    sharpness: float = 1.0

    def scores(self, texts: Sequence[str]) -> Floats:
        """Linear scores of masked texts, shape (n, groups)."""
        return np.stack([self._score(text) for text in texts]) if texts else np.zeros((0, len(self.groups)), np.float32)

    def log_probabilities(self, texts: Sequence[str]) -> Floats:
        """Natural logarithms of probabilities among the groups, shape (n, groups)."""
        return log_softmax(self.scores(texts) * np.float32(self.sharpness))

    def _score(self, text: str) -> Floats:
        counts = Counter(grams(text[:MOST_CHARACTERS]))
        found = [(place, 1 + math.log(count)) for gram, count in counts.items() if (place := self.vocabulary.get(gram)) is not None]
        if not found:
            return self.bias
        places = np.array([place for place, _ in found])
        values = np.array([value for _, value in found], np.float32) * self.rarity[places]
        values /= np.sqrt(np.sum(values**2))
        return np.asarray(values @ self.weights[places].astype(np.float32) * self.scale + self.bias, np.float32)


def grams(text: str) -> list[str]:
    """Words of two or more characters, and pairs of them, in lower case."""
    words = _WORD.findall(text.lower())
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def log_softmax(scores: npt.NDArray[Any]) -> Floats:
    """Natural logarithms of what sums to 1 in each row."""
    moved = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)), np.float32)


@dataclass(frozen=True, slots=True)
class GroupsModel:
    """What comes with Daywatch: groups and their names, what they are known to do, names to be masked, and the words.

    `used` has for each group the ids of the techniques that ATT&CK credits it with; `mask` replaces the names that it knows.
    """

    attack_version: str
    names: Mapping[str, str]
    aliases: Mapping[str, tuple[str, ...]]
    used: Mapping[str, tuple[str, ...]]
    techniques: Mapping[str, str]
    mask: Mask
    lexical: Lexical
    made: Mapping[str, Any]
    sha256: str = ""


def write_groups_model(model: GroupsModel, path: Path) -> str:
    """Write a model; its SHA-256. The same model gives the same bytes.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    content = _packed(model)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
    return hashlib.sha256(content).hexdigest()


def read_groups_model(path: Path) -> GroupsModel:
    """Read what `write_groups_model` wrote.

    Raises:
        BadGroupsModel: it is missing, cut off, or not of this version.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadGroupsModel(f"{path}: too large for a model of threat groups")
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as held:
            plain = json.loads(held["plain"].tobytes())
            if plain["schema"] != SCHEMA:
                raise BadGroupsModel(f"{path}: {str(plain['schema'])[:40]} is not {SCHEMA}")
            lexical = _lexical(plain, held)
            return GroupsModel(
                attack_version=str(plain["attack_version"]),
                names=plain["names"],
                aliases={group: tuple(words) for group, words in plain["aliases"].items()},
                used={group: tuple(ids) for group, ids in plain["used"].items()},
                techniques=plain["techniques"],
                mask=Mask.of_spellings(plain["spellings"]),
                lexical=lexical,
                made=plain["made"],
                sha256=hashlib.sha256(content).hexdigest(),
            )
    except FileNotFoundError as error:
        raise BadGroupsModel(f"{path}: there is no such file") from error
    except (OSError, EOFError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadGroupsModel(f"{path}: no model of threat groups; make one with `daywatch train groups BUNDLE --out FILE`") from error


def _lexical(plain: Mapping[str, Any], held: Any) -> Lexical:
    words, groups = plain["words"], tuple(plain["groups"])
    found = Lexical(
        groups,
        {word: place for place, word in enumerate(words)},
        np.asarray(held["rarity"], np.float32),
        np.asarray(held["weights"], np.int8),
        np.asarray(held["scale"], np.float32),
        np.asarray(held["bias"], np.float32),
        float(plain["sharpness"]),
    )
    shapes = (found.rarity.shape, found.weights.shape, found.scale.shape, found.bias.shape)
    if shapes != ((len(words),), (len(words), len(groups)), (len(groups),), (len(groups),)):
        raise ValueError("shapes")
    if not all(np.isfinite(part).all() for part in (found.rarity, found.scale, found.bias)) or not math.isfinite(found.sharpness):
        raise ValueError("not finite")
    return found


def _packed(model: GroupsModel) -> bytes:
    lexical = model.lexical
    plain = {
        "schema": SCHEMA,
        "attack_version": model.attack_version,
        "names": dict(model.names),
        "aliases": {group: list(words) for group, words in model.aliases.items()},
        "used": {group: list(ids) for group, ids in model.used.items()},
        "techniques": dict(model.techniques),
        "spellings": dict(model.mask.spellings),
        "groups": list(lexical.groups),
        "words": sorted(lexical.vocabulary, key=lambda word: lexical.vocabulary[word]),
        "sharpness": lexical.sharpness,
        "made": dict(model.made),
    }
    arrays = {
        "plain": np.frombuffer(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode(), np.uint8),
        "rarity": lexical.rarity,
        "weights": lexical.weights,
        "scale": lexical.scale,
        "bias": lexical.bias,
    }
    # numpy's own savez writes the time of day into the archive
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue())
    return target.getvalue()
