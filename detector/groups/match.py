"""What an alert resembles: groups that ATT&CK credits with the same techniques, and whose deeds are told in like words.

Resemblance, not attribution: most techniques are used by most groups, an insider is no group at all, and nothing of it enters a
label, a score or a severity. Pure; knows no encoding of alerts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from detector.backend import Backend
from detector.groups.lexical import GroupsModel
from detector.verdict import Verdict
from windowing.record import Window

MOST: Final = 3
NOTE: Final = "Likeness to published procedures of these groups. This is no attribution and had no part in the verdict."
_RELATED: Final = 0.5
"""What a technique counts for when a group is credited with its parent or with one of its sub-techniques only."""


@dataclass(frozen=True, slots=True)
class Resemblance:
    """A group that something is like.

    `score` is the share of the alert's techniques that ATT&CK credits the group with, rare ones counting more, 0 to 1; `shared` are
    those of them that count; `words` is the probability among all groups by the words alone.
    """

    group: str
    name: str
    score: float
    shared: tuple[str, ...]
    words: float

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {"uid": self.group, "name": self.name, "score": self.score, "techniques": list(self.shared), "words": self.words}


def likely_groups(techniques: Sequence[str], reason: str, model: GroupsModel, most: int = MOST) -> tuple[Resemblance, ...]:
    """The groups that an alert is most like, the likeliest first; words decide between groups that share as much.

    Empty when no group is credited with any of the techniques: words alone are no ground for a resemblance.
    """
    wanted = tuple(dict.fromkeys(technique for technique in techniques if technique))
    rarity = {technique: _rarity(technique, model) for technique in wanted}
    whole = sum(rarity.values())
    if whole <= 0:
        return ()
    told = " ".join((*(f"{model.techniques[technique]}." for technique in wanted if technique in model.techniques), reason))
    words = _words(told, model)
    found = []
    for group, used in model.used.items():
        shares = {technique: _share(technique, used) for technique in wanted}
        score = sum(share * rarity[technique] for technique, share in shares.items()) / whole
        if score > 0:
            shared = tuple(technique for technique, share in shares.items() if share > 0)
            found.append(Resemblance(group, model.names.get(group, group), round(score, 4), shared, round(words.get(group, 0.0), 4)))
    return tuple(sorted(found, key=lambda one: (-one.score, -one.words, one.group))[:most])


def with_resemblance(verdict: Verdict, model: GroupsModel) -> Verdict:
    """The verdict with what it resembles among its extras, if it raises an alert and names techniques that groups use."""
    groups = likely_groups(verdict.techniques, verdict.reason, model) if verdict.alert else ()
    if not groups:
        return verdict
    said = {"note": NOTE, "attack_version": model.attack_version, "model_sha256": model.sha256, "groups": [one.plain() for one in groups]}
    return replace(verdict, extras={**verdict.extras, "resembles": said})


class Resembling:
    """A backend that judges as another does, and says what its alerts resemble."""

    def __init__(self, backend: Backend, model: GroupsModel) -> None:
        self.name = backend.name
        self.backend = backend
        self._model = model

    def judge(self, windows: Sequence[Window]) -> list[Verdict]:
        """The other's verdicts, in order; only `extras` differs.

        Raises:
            PoisonError: as the other backend.
            TransientError: as the other backend.
        """
        return [with_resemblance(verdict, self._model) for verdict in self.backend.judge(windows)]


def _share(technique: str, used: Sequence[str]) -> float:
    if technique in used:
        return 1.0
    parent, below, _ = technique.partition(".")
    related = parent in used if below else any(one.startswith(f"{technique}.") for one in used)
    return _RELATED if related else 0.0


def _rarity(technique: str, model: GroupsModel) -> float:
    """How telling a technique is: the logarithm of how few groups are credited with it; 0 where none is."""
    users = sum(_share(technique, used) > 0 for used in model.used.values())
    return math.log(1 + len(model.used) / users) if users else 0.0


def _words(text: str, model: GroupsModel) -> Mapping[str, float]:
    chances = model.lexical.log_probabilities([model.mask(text)])[0]
    return {group: math.exp(float(chance)) for group, chance in zip(model.lexical.groups, chances, strict=True)}
