"""Who is tested by a model that never saw them. Names in, groups out; knows no features or scores.

Splits are by user. People of one story (an insider and the accounts used) stay together, else a model would be trained on one
half of an attack and tested on the other. Insiders of each scenario, and everybody else, are dealt evenly over the folds.
"""

from collections.abc import Sequence
from itertools import count

import numpy as np
import polars as pl

from detector.evaluation.truth import AnswerKey
from stream.errors import ConfigurationError


def folds_of(users: Sequence[str], key: AnswerKey, folds: int, seed: int) -> dict[str, int]:
    """Deal users over `folds` (0 .. folds - 1), stratified by scenario, stories kept whole; the same for the same seed.

    Raises:
        ConfigurationError: there are fewer than two folds, or fewer users than folds.
    """
    known = sorted(set(users))
    if folds < 2:
        raise ConfigurationError(f"--folds {folds}: at least 2 are needed, else nobody is left to train on")
    if len(known) < folds:
        raise ConfigurationError(f"--folds {folds}: the directory has only {len(known)} users")
    story = _stories(known, key)
    scenario: dict[str, int] = dict(key.events.select("insider", "scenario").unique().sort("scenario").iter_rows())
    strata: dict[int, list[list[str]]] = {}
    for members in story:
        stratum = min((scenario[user] for user in members if user in scenario), default=0)
        strata.setdefault(stratum, []).append(members)
    chance = np.random.default_rng(seed)
    place = count(int(chance.integers(folds)))  # dealing goes on where the last stratum ended, so that folds stay equally large
    dealt: dict[str, int] = {}
    for stratum in sorted(strata, reverse=True):
        for at in chance.permutation(len(strata[stratum])):
            fold = next(place) % folds
            dealt |= dict.fromkeys(strata[stratum][int(at)], fold)
    return dealt


def _stories(users: Sequence[str], key: AnswerKey) -> list[list[str]]:
    """Groups of users that share an insider, each sorted; everyone else alone. Sorted by first member."""
    parent = {user: user for user in users}

    def root(user: str) -> str:
        while parent[user] != user:
            user = parent[user]
        return user

    for insider, account in key.events.select("insider", "user").unique(maintain_order=True).iter_rows():
        if insider in parent and account in parent:
            one, other = sorted((root(insider), root(account)))
            parent[other] = one
    groups: dict[str, list[str]] = {}
    for user in users:
        groups.setdefault(root(user), []).append(user)
    return [sorted(members) for _, members in sorted(groups.items())]


def cut_day(positive_days: pl.DataFrame) -> int:
    """The local day number by which half of the positive user/days have passed: where a chronological split is cut.

    Train on days before it, test on days from it on.

    Raises:
        ConfigurationError: there are fewer than two positive days to divide.
    """
    days = positive_days["day"].sort()
    if len(days) < 2:
        raise ConfigurationError("a chronological split needs at least two positive user/days")
    return int(days[len(days) // 2])
