"""What a narrative model learns from: windows of CERT directories with the answer that the key gives. Knows no torch.

Half of the lessons are malicious, as in the published adapter's set, or as many as there are. Of the innocent ones a part are look-alikes,
those that the baseline finds most suspect: a model that only ever saw quiet days would call every busy one malicious.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
        most: lessons in all, over all directories; None for all malicious windows and what belongs to them.
        rates: `balanced` takes an innocent window for each malicious one, `natural` takes windows as they come.
        lookalikes: share of the innocent ones that are taken from those the baseline finds most suspect (balanced only).
        seed: of the draw.
    """

    most: int | None = None
    rates: Rates = "balanced"
    lookalikes: float = 0.2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Judged:
    window: Window
    key: frozenset[tuple[str, str]]
    triage: float


def lessons_of_directories(
    directories: Sequence[Path],
    composer: Composer,
    triage: Backend,
    selection: Selection,
    *,
    zone: str = "UTC",
    describe: DescribeSettings | None = None,
    progress: Callable[[ReadCount], None] | None = None,
) -> list[Lesson]:
    """Lessons from CERT directories with answers, in a drawn order.

    Raises:
        ConfigurationError: a directory cannot be used, or none holds anything malicious.
    """
    share = None if selection.most is None else -(-selection.most // len(directories))
    found = []
    for number, directory in enumerate(directories):
        judged = _judged(directory, triage, zone, describe or DescribeSettings(), progress)
        chosen = _chosen(judged, selection, share, random.Random(f"{selection.seed} {number}"))
        found += [lesson(one.window, one.key, composer, one.triage, f"{number} {one.window.user}", weight) for one, weight in chosen]
    if not any(one.answer.risk == "malicious" for one in found):
        raise ConfigurationError("there is nothing to learn from: no window holds an event of the answer key")
    random.Random(selection.seed).shuffle(found)
    return found[: selection.most]


def lesson(window: Window, key: Iterable[tuple[str, str]], composer: Composer, triage: float, user: str, weight: float = 1.0) -> Lesson:
    """The lesson of one window: malicious with the key's events as evidence and its most telling facts as reason, or normal."""
    prompt = composer(window)
    held = frozenset(key)
    evidence = tuple(place for place, ref in enumerate(prompt.aliases) if (ref.kind.value, ref.id) in held)
    if not held:
        return Lesson(prompt, Answer("normal", (), NOTHING), user, triage, weight)
    return Lesson(prompt, Answer("malicious", evidence, reason_from(facts_of(window, composer.track))), user, triage, weight)


def _judged(
    directory: Path, triage: Backend, zone: str, describe: DescribeSettings, progress: Callable[[ReadCount], None] | None
) -> list[_Judged]:
    key_of = KeyByTime.of(read_answers(directory, zone))
    people = Directory.read(directory, zone) if (directory / "LDAP").is_dir() else None
    found = []
    for batch in windows_of(directory, _USER_DAYS, zone, people=people, settings=describe, progress=progress):
        windows = [parse_window(value.encode()) for value in batch.windows["value"]]
        verdicts = triage.judge(windows)
        found += [_Judged(window, key_of(window), verdict.triage_score) for window, verdict in zip(windows, verdicts, strict=True)]
    return found


def _chosen(judged: Sequence[_Judged], selection: Selection, share: int | None, chance: random.Random) -> list[tuple[_Judged, float]]:
    """Windows with how many each stands for."""
    if selection.rates == "natural":
        whole = [one for one in judged if not one.key or _shows(one)]
        taken = whole if share is None else chance.sample(whole, min(share, len(whole)))
        return [(one, 1.0) for one in taken]
    malicious = [one for one in judged if _shows(one)]
    innocent = sorted((one for one in judged if not one.key), key=lambda one: (-one.triage, one.window.id))
    if share is not None and len(malicious) > share // 2:
        malicious = chance.sample(malicious, share // 2)
    wanted = min(len(malicious), len(innocent))
    suspect = innocent[: round(wanted * selection.lookalikes)]
    others = innocent[len(suspect) :]
    drawn = chance.sample(others, wanted - len(suspect))
    of_others = len(others) / len(drawn) if drawn else 1.0
    return [(one, 1.0) for one in malicious + suspect] + [(one, of_others) for one in drawn]


def _shows(one: _Judged) -> bool:
    """Whether a window shows an event of the key: where none is, nothing could be cited."""
    return any((event["kind"], event["id"]) in one.key for event in one.window.events)
