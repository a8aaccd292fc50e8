"""Fitting the words: TF-IDF with a linear support vector machine, as the model that comes with Daywatch and as the baseline of every table.

scikit-learn is needed here and only here; what is fitted needs NumPy alone.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from detector.groups.corpus import Corpus, Origin, Procedure
from detector.groups.lexical import Floats, GroupsModel, Lexical, log_softmax
from detector.groups.splits import Fold

Ints: TypeAlias = npt.NDArray[np.int64]
Step: TypeAlias = Callable[[str, int, int], None]
EXTRA_WEIGHT: Final = 0.3
"""What a text about a group's software counts beside one about the group; a campaign's counts twice that."""
PRECISION: Final = 127
SHARPNESS: Final = 4.0
"""Where no folds were trained to fit one."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How words become a model. `least` is the number of texts that a word must stand in."""

    penalty: float = 1.0
    least: int = 1
    extra_weight: float = EXTRA_WEIGHT


def groups_of(lessons: Sequence[Procedure]) -> tuple[str, ...]:
    """Group ids in ascending order: the order of the published model's labels."""
    return tuple(sorted({one.groups[0] for one in lessons}))


def truth_of(lessons: Sequence[Procedure], groups: Sequence[str]) -> Ints:
    """The place of each lesson's group; shape (n,)."""
    places = {group: place for place, group in enumerate(groups)}
    return np.array([places[one.groups[0]] for one in lessons], np.int64)


def fit_lexical(
    texts: Sequence[str], truth: Ints, groups: Sequence[str], weights: Floats | None = None, recipe: Recipe | None = None
) -> Lexical:
    """Fit a linear score for each group; `weights` (n,) says what each text counts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    recipe = recipe or Recipe()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=recipe.least, dtype=np.float32)
    vectors = vectorizer.fit_transform(texts)
    machine = LinearSVC(C=recipe.penalty, random_state=0).fit(vectors, truth, sample_weight=weights)
    return _lexical(vectorizer, machine, groups)


def _lexical(vectorizer: Any, machine: Any, groups: Sequence[str]) -> Lexical:
    words = {str(word): int(place) for word, place in vectorizer.vocabulary_.items()}
    slopes = np.zeros((len(groups), len(words)), np.float32)
    offsets = np.full(len(groups), -1.0, np.float32)
    # groups without a text in this fold keep a score below all others
    slopes[machine.classes_] = machine.coef_ if len(machine.classes_) > 2 else np.vstack([-machine.coef_, machine.coef_])
    offsets[machine.classes_] = machine.intercept_ if len(machine.classes_) > 2 else [-machine.intercept_[0], machine.intercept_[0]]
    scale = np.maximum(np.abs(slopes).max(axis=1), 1e-12) / PRECISION
    whole = np.rint(slopes / scale[:, None]).astype(np.int8)
    return Lexical(tuple(groups), words, np.asarray(vectorizer.idf_, np.float32), np.ascontiguousarray(whole.T), scale, offsets)


def weights_of(lessons: int, extras: Sequence[Procedure], extra_weight: float) -> Floats:
    """What lessons and extra texts count, in that order."""
    more = [min(1.0, extra_weight * (2 if one.origin is Origin.CAMPAIGN else 1)) for one in extras]
    return np.concatenate([np.ones(lessons), np.asarray(more)]).astype(np.float32)


def lexical_out_of_fold(
    lessons: Sequence[Procedure],
    extras: Sequence[Procedure],
    folds: Sequence[Fold],
    recipe: Recipe,
    read: Callable[[Procedure], str],
    step: Step,
) -> Floats:
    """Scores (n, groups) of lessons by models that were not trained on them."""
    groups = groups_of(lessons)
    truth, other = truth_of(lessons, groups), truth_of(extras, groups)
    scores = np.zeros((len(lessons), len(groups)), np.float32)
    for number, fold in enumerate(folds):
        step("words", number, len(folds))
        more = [extras[place] for place in fold.extras] if recipe.extra_weight > 0 else []
        texts = [read(lessons[place]) for place in fold.train] + [read(one) for one in more]
        labels = np.concatenate([truth[fold.train], other[fold.extras] if more else np.zeros(0, np.int64)])
        model = fit_lexical(texts, labels, groups, weights_of(len(fold.train), more, recipe.extra_weight), recipe)
        scores[fold.test] = model.scores([read(lessons[place]) for place in fold.test])
    return scores


def centroid_out_of_fold(lessons: Sequence[Procedure], folds: Sequence[Fold], read: Callable[[Procedure], str]) -> Floats:
    """Scores (n, groups) by the cosine to each group's mean TF-IDF vector."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    groups = groups_of(lessons)
    truth = truth_of(lessons, groups)
    scores = np.zeros((len(lessons), len(groups)), np.float32)
    for fold in folds:
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)
        train = vectorizer.fit_transform([read(lessons[place]) for place in fold.train])
        test = vectorizer.transform([read(lessons[place]) for place in fold.test])
        scores[fold.test] = test @ centroids(train, truth[fold.train], len(groups)).T
    return scores


def centroids(vectors: Any, truth: Ints, groups: int) -> Floats:
    """Mean vectors of the groups, of length 1; shape (groups, columns)."""
    member = np.zeros((groups, len(truth)), np.float32)
    member[truth, np.arange(len(truth))] = 1
    means = np.asarray(member @ vectors, np.float32)
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9), np.float32)


def sharpness(scores: Floats, truth: Ints) -> float:
    """The factor under which scores that were given out of fold make the likeliest probabilities."""
    factors = np.geomspace(0.25, 64, 65)
    losses = [-float(np.mean(log_softmax(scores * np.float32(factor))[np.arange(len(truth)), truth])) for factor in factors]
    return float(factors[int(np.argmin(losses))])


def fit_groups_model(corpus: Corpus, recipe: Recipe, sharp: float, made: dict[str, Any]) -> GroupsModel:
    """The model that ships: all texts, names masked."""
    lessons = corpus.lessons()
    groups = groups_of(lessons)
    extras = corpus.extras(groups) if recipe.extra_weight > 0 else ()
    truth = np.concatenate([truth_of(lessons, groups), truth_of(extras, groups)])
    texts = [one.masked for one in (*lessons, *extras)]
    fitted = fit_lexical(texts, truth, groups, weights_of(len(lessons), extras, recipe.extra_weight), recipe)
    lexical = Lexical(groups, fitted.vocabulary, fitted.rarity, fitted.weights, fitted.scale, fitted.bias, sharp)
    used: dict[str, set[str]] = defaultdict(set)
    for one in corpus.procedures:
        if one.origin is Origin.GROUP:
            used[one.groups[0]].add(one.technique)
    techniques = {key for ids in used.values() for key in ids}
    return GroupsModel(
        attack_version=corpus.version,
        names=corpus.names,
        aliases=corpus.aliases,
        used={group: tuple(sorted(used[group])) for group in sorted(used)},
        techniques={key: name for key, name in corpus.techniques.items() if key in techniques},
        mask=corpus.mask,
        lexical=lexical,
        made=made,
    )
