from pathlib import Path

import numpy as np
import pytest

from detector.groups.corpus import Corpus, read_corpus
from detector.groups.fit import (
    Recipe,
    centroid_out_of_fold,
    fit_groups_model,
    groups_of,
    lexical_out_of_fold,
    sharpness,
    truth_of,
    weights_of,
)
from detector.groups.lexical import log_softmax
from detector.groups.splits import Fold, folds
from tests.detector.groups.bundle import write_bundle


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return read_corpus(write_bundle(tmp_path_factory.mktemp("bundle") / "a.json"))


def nothing(what: str, done: int, of: int) -> None:
    pass


def test_groups_stand_in_the_order_of_their_ids(corpus: Corpus) -> None:
    lessons = corpus.lessons()
    assert groups_of(lessons[::-1]) == tuple(f"G000{number}" for number in range(1, 9))
    assert set(truth_of(lessons, groups_of(lessons)).tolist()) == set(range(8))


def test_words_of_ones_own_are_found_out_of_fold_by_both_baselines(corpus: Corpus) -> None:
    lessons, extras = corpus.lessons(), corpus.extras(corpus.names)
    truth = truth_of(lessons, groups_of(lessons))
    dealt = folds(lessons, extras)
    for scores in (
        centroid_out_of_fold(lessons, dealt, lambda one: one.masked),
        lexical_out_of_fold(lessons, extras, dealt, Recipe(), lambda one: one.masked, nothing),
    ):
        assert float(np.mean(scores.argmax(axis=1) == truth)) > 0.8


def test_a_group_that_a_fold_does_not_teach_scores_below_all_others(corpus: Corpus) -> None:
    lessons = corpus.lessons()
    truth = truth_of(lessons, groups_of(lessons))
    taught = Fold(np.flatnonzero(truth != 3), np.flatnonzero(truth == 3), np.zeros(0, np.int64))
    scores = lexical_out_of_fold(lessons, (), [taught], Recipe(extra_weight=0), lambda one: one.masked, nothing)
    assert set(scores[taught.test].argmax(axis=1).tolist()) <= set(range(8)) - {3}


def test_a_text_about_a_campaign_counts_twice_one_about_software_and_never_more_than_a_groups(corpus: Corpus) -> None:
    extras = corpus.extras(corpus.names)
    assert weights_of(2, extras, 0.3).tolist() == pytest.approx([1, 1, 0.6, 0.3])
    assert weights_of(0, extras, 0.8).tolist() == pytest.approx([1, 0.8])


def test_sharpness_is_that_of_the_likeliest_probabilities() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=(4000, 5)).astype(np.float32)
    chances = np.exp(log_softmax(scores * np.float32(3)))
    truth = np.array([random.choice(5, p=row / row.sum()) for row in chances.astype(np.float64)])
    assert sharpness(scores, truth) == pytest.approx(3, rel=0.15)


def test_the_model_knows_what_each_group_is_credited_with_and_only_such_techniques(corpus: Corpus, tmp_path: Path) -> None:
    model = fit_groups_model(corpus, Recipe(), 2.0, {})
    assert model.used["G0004"] == tuple(sorted({one.technique for one in corpus.procedures if one.groups == ("G0004",)}))
    assert set(model.techniques) == {technique for used in model.used.values() for technique in used}
    assert model.lexical.sharpness == 2.0
    # the same texts give the same model
    assert np.array_equal(fit_groups_model(corpus, Recipe(), 2.0, {}).lexical.weights, model.lexical.weights)
