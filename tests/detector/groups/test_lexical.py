import dataclasses
from pathlib import Path

import numpy as np
import pytest

from detector.groups.corpus import Corpus, read_corpus
from detector.groups.fit import Recipe, fit_groups_model, fit_lexical, groups_of, truth_of
from detector.groups.lexical import BadGroupsModel, GroupsModel, log_softmax, read_groups_model, write_groups_model
from tests.detector.groups.bundle import write_bundle


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return read_corpus(write_bundle(tmp_path_factory.mktemp("bundle") / "a.json"))


@pytest.fixture(scope="module")
def model(corpus: Corpus) -> GroupsModel:
    return fit_groups_model(corpus, Recipe(), 4.0, {"by": "a test"})


def test_scores_are_those_of_scikit_learn_up_to_their_rounding(corpus: Corpus) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    lessons = corpus.lessons()
    texts, truth = [one.masked for one in lessons], truth_of(lessons, groups_of(lessons))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    machine = LinearSVC(C=1.0, random_state=0).fit(vectorizer.fit_transform(texts), truth)
    asked = ["the group moved to rclone rclone mega", "Exchange mailbox, über-export!", "nothing known here"]
    ours = fit_lexical(texts, truth, groups_of(lessons)).scores(asked)
    assert ours == pytest.approx(machine.decision_function(vectorizer.transform(asked)), abs=0.02)


def test_what_was_written_is_read_and_the_same_model_gives_the_same_bytes(model: GroupsModel, tmp_path: Path) -> None:
    first, again = tmp_path / "a.npz", tmp_path / "b.npz"
    sha256 = write_groups_model(model, first)
    assert write_groups_model(model, again) == sha256
    assert first.read_bytes() == again.read_bytes()
    read = read_groups_model(first)
    assert read.sha256 == sha256
    assert (read.names, read.used, read.attack_version, read.mask) == (model.names, model.used, "99.1", model.mask)
    texts = ["rclone mega", "casino swift"]
    assert np.array_equal(read.lexical.log_probabilities(texts), model.lexical.log_probabilities(texts))


def test_probabilities_sum_to_one_and_a_text_without_known_words_still_has_some(model: GroupsModel) -> None:
    found = np.exp(model.lexical.log_probabilities(["rclone mega ransomware", "", "zzz qqq", "x" * 100_000]))
    assert found.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert model.lexical.groups[int(found[0].argmax())] == "G0001"
    assert np.array_equal(found[1], found[2])
    assert model.lexical.scores([]).shape == (0, 8)


def test_log_softmax_of_large_scores_is_finite() -> None:
    assert log_softmax(np.array([[1e30, 0.0]])).tolist() == [[0.0, pytest.approx(-1e30)]]


@pytest.mark.parametrize("cut", [0, 1, 100, 3000])
def test_a_file_cut_off_is_refused(model: GroupsModel, tmp_path: Path, cut: int) -> None:
    place = tmp_path / "a.npz"
    write_groups_model(model, place)
    place.write_bytes(place.read_bytes()[:cut])
    with pytest.raises(BadGroupsModel, match=r"a\.npz"):
        read_groups_model(place)


def test_a_missing_file_and_one_of_other_shapes_or_without_numbers_are_refused(model: GroupsModel, tmp_path: Path) -> None:
    with pytest.raises(BadGroupsModel, match="no such file"):
        read_groups_model(tmp_path / "none.npz")
    lexical = model.lexical
    wrong = (
        dataclasses.replace(lexical, bias=lexical.bias[:-1]),
        dataclasses.replace(lexical, groups=lexical.groups[:-1]),
        dataclasses.replace(lexical, scale=np.full_like(lexical.scale, np.nan)),
    )
    for broken in wrong:
        write_groups_model(dataclasses.replace(model, lexical=broken), tmp_path / "a.npz")
        with pytest.raises(BadGroupsModel, match="no model of threat groups"):
            read_groups_model(tmp_path / "a.npz")
