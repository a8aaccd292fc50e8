"""What a narrative model learns from: windows of CERT directories with the answer that the key gives. Knows no torch.

    users -> learned from | held out -> lessons to learn, lessons to check on, weighted windows to calibrate on

Half of the lessons are malicious, as in the published adapter's set, or they come at natural rates. Of the innocent ones a part are
look-alikes, those that the baseline finds most suspect: a model that only ever saw quiet days would call every busy one malicious.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from detector.backend import Backend
from detector.evaluation.truth import read_answers
from detector.from_directory import KeyByTime
from detector.narrative.answer import Answer
from detector.narrative.facts import NOTHING, facts_of, reason_from
from detector.narrative.prompt import Composer, Prompt
from stream.cert import ReadCount
from stream.errors import ConfigurationError
from windowing.calendar import DAY_MS, WindowSpec
from windowing.describe import DescribeSettings
from windowing.directory import Directory
from windowing.offline import windows_of
from windowing.record import Window, parse_window

Rates = Literal["balanced", "natural"]
SHARES: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Shares of windows for which a triage threshold is noted."""
_CALIBRATED: Final = 0.05
_USER_DAYS: Final = WindowSpec(size_ms=DAY_MS, hop_ms=DAY_MS)


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt and the answer to it. `user` is unique over all directories; `weight` is how many windows it stands for."""

    prompt: Prompt
    answer: Answer
    user: str
    triage: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which windows become lessons.

    Args:
        most: lessons to learn from, over all directories; None for all malicious windows and as many innocent ones.
        rates: `balanced` takes an innocent window for each malicious one, `natural` takes windows as they come.
        lookalikes: share of the innocent ones that are taken from those the baseline finds most suspect (balanced only).
        held_out: share of the users that nothing is learned from.
        checked: lessons of held-out users that training is checked on, at most.
        others: innocent windows of held-out users, of those that triage would not send to the model, to calibrate on; per directory.
        seed: of every draw.
    """

    most: int | None = None
    rates: Rates = "balanced"
    lookalikes: float = 0.2
    held_out: float = 0.2
    checked: int = 120
    others: int = 60
    seed: int = 0


@dataclass(slots=True)
class Curriculum:
    """All that an adapter is made from.

    Args:
        learn, check: lessons in a drawn order, of different users.
        calibrate: windows of the held-out users with how many each stands for: all that triage would send to a model, all malicious ones,
            and some others.
        reach: triage score from which on a share of the held-out users' windows lies, by share.
        windows: of the held-out users in all.
    """

    learn: list[Lesson] = field(default_factory=list)
    check: list[Lesson] = field(default_factory=list)
    calibrate: list[Lesson] = field(default_factory=list)
    reach: Mapping[str, float] = field(default_factory=dict)
    windows: int = 0


@dataclass(frozen=True, slots=True)
class _Judged:
    window: Window
    key: frozenset[tuple[str, str]]
    triage: float
    user: str


def curriculum_of(
    directories: Sequence[Path],
    composer: Composer,
    triage: Backend,
    selection: Selection,
    *,
    zone: str = "UTC",
    describe: DescribeSettings | None = None,
    progress: Callable[[Path, ReadCount], None] = lambda _directory, _count: None,
) -> Curriculum:
    """Lessons from CERT directories with answers.

    Raises:
        ConfigurationError: a directory cannot be used, or none holds anything malicious that could be learned from.
    """
    found = Curriculum()
    share = None if selection.most is None else -(-selection.most // len(directories))
    held: list[list[_Judged]] = []
    for number, directory in enumerate(directories):
        judged = _judged(directory, triage, zone, describe or DescribeSettings(), f"{number} ", progress)
        chance = random.Random(f"{selection.seed} {number}")
        kept_out = _held_out(judged, selection.held_out, chance)
        held.append([one for one in judged if one.user in kept_out])
        chosen = _chosen([one for one in judged if one.user not in kept_out], selection, share, chance)
        found.learn += [lesson(one.window, one.key, composer, one.triage, one.user) for one in chosen]
        found.check += [lesson(one.window, one.key, composer, one.triage, one.user) for one in _chosen(held[-1], selection, None, chance)]
    if not any(one.answer.risk == "malicious" for one in found.learn):
        raise ConfigurationError("there is nothing to learn from: no window shows an event of the answer key")
    every = [one for part in held for one in part]
    found.reach, found.windows = _reach(every), len(every)
    chance = random.Random(selection.seed)
    for part in held:
        found.calibrate += [
            lesson(one.window, one.key, composer, one.triage, one.user, weight)
            for one, weight in _weighted(part, found.reach[f"{_CALIBRATED:g}"], selection.others, chance)
        ]
    chance.shuffle(found.learn)
    chance.shuffle(found.check)
    if selection.most is not None:
        del found.learn[selection.most :]
    del found.check[selection.checked :]
    return found


def lesson(window: Window, key: Iterable[tuple[str, str]], composer: Composer, triage: float, user: str, weight: float = 1.0) -> Lesson:
    """The lesson of one window: malicious with the key's events as evidence and its most telling facts as reason, or normal."""
    prompt = composer(window)
    held = frozenset(key)
    evidence = tuple(place for place, ref in enumerate(prompt.aliases) if (ref.kind.value, ref.id) in held)
    if not held:
        return Lesson(prompt, Answer("normal", (), NOTHING), user, triage, weight)
    return Lesson(prompt, Answer("malicious", evidence, reason_from(facts_of(window, composer.track))), user, triage, weight)


def _judged(
    directory: Path, triage: Backend, zone: str, describe: DescribeSettings, prefix: str, progress: Callable[[Path, ReadCount], None]
) -> list[_Judged]:
    key_of = KeyByTime.of(read_answers(directory, zone))
    people = Directory.read(directory, zone) if (directory / "LDAP").is_dir() else None
    found = []
    made = windows_of(directory, _USER_DAYS, zone, people=people, settings=describe, progress=lambda count: progress(directory, count))
    for batch in made:
        windows = [parse_window(value.encode()) for value in batch.windows["value"]]
        verdicts = triage.judge(windows)
        found += [
            _Judged(window, key_of(window), verdict.triage_score, prefix + window.user)
            for window, verdict in zip(windows, verdicts, strict=True)
        ]
    return found


def _held_out(judged: Sequence[_Judged], share: float, chance: random.Random) -> frozenset[str]:
    """Users that nothing is learned from, as large a share of the insiders as of the others."""
    bad = sorted({one.user for one in judged if one.key})
    others = sorted({one.user for one in judged} - set(bad))
    return frozenset(user for group in (bad, others) for user in chance.sample(group, round(len(group) * share)))


def _chosen(judged: Sequence[_Judged], selection: Selection, share: int | None, chance: random.Random) -> list[_Judged]:
    if selection.rates == "natural":
        whole = [one for one in judged if not one.key or _shows(one)]
        return whole if share is None else chance.sample(whole, min(share, len(whole)))
    malicious = [one for one in judged if _shows(one)]
    innocent = sorted((one for one in judged if not one.key), key=lambda one: (-one.triage, one.window.id))
    if share is not None and len(malicious) > share // 2:
        malicious = chance.sample(malicious, share // 2)
    wanted = min(len(malicious), len(innocent))
    suspect = innocent[: round(wanted * selection.lookalikes)]
    return malicious + suspect + chance.sample(innocent[len(suspect) :], wanted - len(suspect))


def _shows(one: _Judged) -> bool:
    """Whether a window shows an event of the key: where none is, nothing could be cited."""
    return any((event["kind"], event["id"]) in one.key for event in one.window.events)


def _reach(judged: Sequence[_Judged]) -> dict[str, float]:
    ranked = sorted((one.triage for one in judged), reverse=True)
    return {f"{share:g}": ranked[min(int(share * len(ranked)), len(ranked) - 1)] for share in SHARES} if ranked else {}


def _weighted(judged: Sequence[_Judged], reach: float, others: int, chance: random.Random) -> list[tuple[_Judged, float]]:
    """Windows with how many each stands for."""
    whole = [one for one in judged if one.triage >= reach or one.key]
    rest = [one for one in judged if one.triage < reach and not one.key]
    drawn = chance.sample(rest, min(others, len(rest)))
    return [(one, 1.0) for one in whole] + [(one, len(rest) / len(drawn)) for one in drawn]
