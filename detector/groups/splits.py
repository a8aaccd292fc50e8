"""Folds that keep together what says the same: shared texts, and a procedure's paraphrases. Pure; knows no model.

ATT&CK tells one deed under several techniques, for a group and for its campaign, often in almost the same words. Texts whose
word pairs are alike share a cluster (of any length of chain), and a cluster is never cut by a fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from detector.groups.corpus import Origin, Procedure

Ints: TypeAlias = npt.NDArray[np.int64]
ALIKE: Final = 0.6
"""Cosine of TF-IDF over words and word pairs from which two masked texts are paraphrases; 1.0 leaves only equal texts together."""
_EQUAL: Final = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class Fold:
    """Places of lessons to learn from and to be tested on, and of extra texts to learn from."""

    train: Ints
    test: Ints
    extras: Ints


def clusters(texts: Sequence[str], alike: float = ALIKE) -> Ints:
    """A number for each text, the same for texts that are alike or linked by ones that are; shape (n,)."""
    from scipy.sparse.csgraph import connected_components

    found = _alike(_vectors(texts), alike)
    return np.asarray(connected_components(found, directed=False)[1], np.int64)


def folds(
    lessons: Sequence[Procedure], extras: Sequence[Procedure] = (), *, count: int = 5, seed: int = 0, alike: float = ALIKE
) -> list[Fold]:
    """Deal lessons into folds by cluster, each group as evenly as that allows.

    An extra text is left out of a fold's training when it is like one of its test texts, or tells of a campaign and the same
    group's same technique (or its parent) is tested there.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    texts = [one.masked for one in lessons]
    groups = np.array([one.groups[0] for one in lessons])
    together = clusters(texts, alike)
    dealt = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(texts, groups, together)
    vectors = _vectors([*texts, *(one.masked for one in extras)])
    near = _alike(vectors[len(texts) :] @ vectors[: len(texts)].T, alike, multiplied=True) if extras else None
    made = []
    for train, test in dealt:
        told = {(lessons[place].groups[0], _family(lessons[place])) for place in test}
        kept = [
            place
            for place, one in enumerate(extras)
            if not (one.origin is Origin.CAMPAIGN and any((group, _family(one)) in told for group in one.groups))
        ]
        if near is not None and kept:
            like = np.asarray(near[:, test].sum(axis=1)).ravel() > 0
            kept = [place for place in kept if not like[place]]
        made.append(Fold(np.asarray(train, np.int64), np.asarray(test, np.int64), np.asarray(kept, np.int64)))
    return made


def _family(one: Procedure) -> str:
    return one.technique.partition(".")[0]


def _vectors(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(texts)


def _alike(vectors: Any, alike: float, *, multiplied: bool = False) -> Any:
    return (vectors if multiplied else vectors @ vectors.T) >= min(alike, _EQUAL)
