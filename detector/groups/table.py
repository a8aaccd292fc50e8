"""The table that every training prints: baselines and models on the same folds, names masked and not. Knows no way of showing it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from detector.groups.corpus import Corpus, Procedure
from detector.groups.exam import Figures, figures
from detector.groups.finetune import Tuning, tuned_out_of_fold
from detector.groups.fit import Ints, Recipe, centroid_out_of_fold, groups_of, lexical_out_of_fold, sharpness, truth_of
from detector.groups.lexical import Floats, log_softmax
from detector.groups.splits import ALIKE, Fold, folds

Step: TypeAlias = Callable[[str, int, int], None]
PLAIN: Final = Recipe(extra_weight=0.0)
SHARED: Final = 1.0
"""Likeness of texts that are equal: the split that keeps only shared texts together."""
SPLITS: Final[Mapping[str, float]] = {"paraphrases together": ALIKE, "equal texts together": SHARED}


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one split; `text` says what it read."""

    split: str
    text: str
    model: str
    figures: Figures

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {"split": self.split, "text": self.text, "model": self.model, **self.figures.plain()}


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be compared: folds, seed, and, if MPNet is to be in it, its weights, how it is tuned and on how many of the folds."""

    count: int = 5
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    splits: Sequence[str] = tuple(SPLITS)
    base: Path | None = None
    tuning: Tuning = field(default_factory=Tuning)
    tuned_folds: int = 5
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows, and the sharpness of the words' scores on the first split: masked, with extra texts."""

    rows: tuple[Row, ...]
    sharpness: float


def masked(one: Procedure) -> str:
    """Names replaced."""
    return one.masked


def unmasked(one: Procedure) -> str:
    """As a reader sees it."""
    return one.text


def compare(corpus: Corpus, question: Question, step: Step) -> Answer:
    """All rows. Whatever is compared on a split stands on the same folds, and reads the same kind of text as its baselines."""
    lessons = corpus.lessons()
    groups = groups_of(lessons)
    truth = truth_of(lessons, groups)
    extras = corpus.extras(groups)

    def with_technique(one: Procedure) -> str:
        return f"{corpus.techniques.get(one.technique, one.technique)}. {one.masked}"

    rows: list[Row] = []
    sharp = 1.0
    for split in question.splits:
        dealt = folds(lessons, extras, count=question.count, seed=question.seed, alike=SPLITS[split])
        first = split == question.splits[0]
        for text, read in (("masked", masked), ("masked, technique named", with_technique), ("unmasked", unmasked)):
            if not first and read is with_technique:
                continue
            found = dict(_words(lessons, extras, dealt, question.recipe, read, step, more=read is masked))
            if first and read is masked:
                sharp = sharpness(found[WORDS], truth)
            if read is not with_technique and first and question.base is not None:
                found |= _tuned(question, lessons, truth, groups, dealt, read, found, step)
            rows += [Row(split, text, name, figures(scores, truth, _judged(name, dealt, question))) for name, scores in found.items()]
    return Answer(tuple(rows), sharp)


CENTROID: Final = "nearest centroid"
SVM: Final = "TF-IDF + linear SVM"
WORDS: Final = "words: TF-IDF + linear SVM, with texts about software and campaigns"
MPNET: Final = "MPNet, fine-tuned"
BOTH: Final = "words and MPNet together"


def _words(
    lessons: Sequence[Procedure],
    extras: Sequence[Procedure],
    dealt: Sequence[Fold],
    recipe: Recipe,
    read: Callable[[Procedure], str],
    step: Step,
    *,
    more: bool,
) -> Iterable[tuple[str, Floats]]:
    yield CENTROID, centroid_out_of_fold(lessons, dealt, read)
    yield SVM, lexical_out_of_fold(lessons, extras, dealt, PLAIN, read, step)
    if more:
        yield WORDS, lexical_out_of_fold(lessons, extras, dealt, recipe, read, step)


def _tuned(
    question: Question,
    lessons: Sequence[Procedure],
    truth: Ints,
    groups: Sequence[str],
    dealt: Sequence[Fold],
    read: Callable[[Procedure], str],
    found: Mapping[str, Floats],
    step: Step,
) -> dict[str, Floats]:
    if question.base is None:
        return {}
    texts = [read(one) for one in lessons]
    scores = tuned_out_of_fold(question.base, texts, truth, groups, dealt[: question.tuned_folds], question.tuning, step, question.device)
    words = found.get(WORDS, found[SVM])
    return {MPNET: scores, BOTH: scores + log_softmax(words * sharpness(words, truth))}


def _judged(name: str, dealt: Sequence[Fold], question: Question) -> Sequence[Fold]:
    return dealt[: question.tuned_folds] if name in (MPNET, BOTH) else dealt
