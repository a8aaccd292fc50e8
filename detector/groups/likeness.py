"""From texts to the groups they are like, whoever scores them. Names that stand in a text are found by looking, not by a model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from detector.groups.corpus import clean
from detector.groups.lexical import MOST_CHARACTERS, Floats, GroupsModel, log_softmax


class Scorer(Protocol):
    """Whatever tells how probable each group is by a text; `groups` are ids, in the order of its columns."""

    @property
    def name(self) -> str:
        """What it is called in records."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """Ids, in the order of its columns."""
        ...

    @property
    def masked(self) -> bool:
        """Whether it was trained on texts without names, and has to be asked so."""
        ...

    def log_probabilities(self, texts: Sequence[str]) -> Floats:
        """Natural logarithms of probabilities among the groups, shape (n, groups).

        Raises:
            ConfigurationError: the model gives no numbers.
        """
        ...


@dataclass(frozen=True, slots=True)
class WordScorer:
    """The model that comes with Daywatch as a scorer."""

    model: GroupsModel
    name: str = "words"
    masked: bool = True

    @property
    def groups(self) -> tuple[str, ...]:
        """Ids, in the order of its columns."""
        return self.model.lexical.groups

    def log_probabilities(self, texts: Sequence[str]) -> Floats:
        """Natural logarithms of probabilities among the groups, shape (n, groups)."""
        return self.model.lexical.log_probabilities(texts)


@dataclass(frozen=True, slots=True)
class Like:
    """A group that a text is like: a probability among the groups known, and whether the text calls it by name."""

    group: str
    name: str
    score: float
    named: bool

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {"id": self.group, "name": self.name, "score": self.score, "named": self.named}


def likenesses(reports: Sequence[Sequence[str]], scorer: Scorer, model: GroupsModel, most: int) -> list[list[Like]]:
    """For each report (texts about one group), the likeliest groups; those that it names come first.

    `model` knows names and aliases; a report's texts are taken for independent, so that their logarithms add up.
    """
    texts = [text[:MOST_CHARACTERS] for report in reports for text in report]
    read = [model.mask(text) if scorer.masked else clean(text) for text in texts]
    scores = scorer.log_probabilities(read)
    known = _groups_by_name(model.aliases)
    found, start = [], 0
    for report in reports:
        end = start + len(report)
        summed = log_softmax(np.sum(scores[start:end], axis=0, keepdims=True))[0] if report else np.zeros(0, np.float32)
        named = {group for text in texts[start:end] for name in model.mask.names_in(text) if (group := known.get(name.lower()))}
        likes = [
            Like(group, model.names.get(group, group), round(math.exp(float(score)), 4), group in named)
            for group, score in zip(scorer.groups, summed, strict=False)
        ]
        # too few texts for a score of its own, but called by name
        unscored = [Like(group, model.names.get(group, group), 0.0, named=True) for group in named - set(scorer.groups)]
        found.append(sorted((*likes, *unscored), key=lambda one: (not one.named, -one.score, one.group))[:most])
        start = end
    return found


def _groups_by_name(aliases: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Group by name in lower case; a name that several groups bear belongs to none."""
    found: dict[str, str] = {}
    for group, names in aliases.items():
        for name in names:
            key = name.lower()
            found[key] = group if found.get(key, group) == group else ""
    return found
