from collections import defaultdict

import numpy as np
import pytest

from detector.evaluation.truth import read_answers
from detector.from_directory import KeyByTime, lessons_of_directory
from detector.training import FOLDS, _folds, fit_model, joined, lessons_of
from stream.errors import ConfigurationError
from tests.detector.conftest import Taught
from windowing.calendar import DAY_MS, WindowSpec


def test_the_same_lessons_give_the_same_model_bit_for_bit(taught: Taught) -> None:
    again = lessons_of_directory(taught.directory)
    assert again.digest == taught.lessons.digest
    assert fit_model(again, ("shortcut-free",)).tracks["shortcut-free"].trees.plain() == taught.model.tracks["shortcut-free"].trees.plain()


def test_another_seed_gives_another_model(taught: Taught) -> None:
    assert fit_model(taught.lessons, ("all",), seed=5).sha256 != fit_model(taught.lessons, ("all",), seed=6).sha256


def test_no_user_is_in_two_folds_and_every_fold_has_insiders(taught: Taught) -> None:
    fold = _folds(taught.lessons.users, taught.lessons.truth, 3)
    of_user = defaultdict(set)
    for user, number in zip(taught.lessons.users, fold.tolist(), strict=True):
        of_user[user].add(number)
    assert all(len(numbers) == 1 for numbers in of_user.values())
    assert set(fold[taught.lessons.truth].tolist()) == set(range(FOLDS))


def test_lessons_without_anything_malicious_are_refused(taught: Taught) -> None:
    with pytest.raises(ConfigurationError, match="nothing to learn from"):
        lessons_of(taught.windows[:50], lambda _window: frozenset())


def test_people_of_two_organisations_are_different_people(taught: Taught) -> None:
    both = joined([taught.lessons, taught.lessons])
    assert len(set(both.users)) == 2 * len(set(taught.lessons.users))
    assert len(both.truth) == 2 * len(taught.lessons.truth)
    assert both.rows.values.shape[0] == len(both.rows.role) == len(both.users)


def test_a_window_is_malicious_when_it_holds_an_event_of_the_key_whatever_its_hop(taught: Taught) -> None:
    days = lessons_of_directory(taught.directory)
    halves = lessons_of_directory(taught.directory, spec=WindowSpec(size_ms=DAY_MS, hop_ms=DAY_MS // 2))
    assert days.truth.sum() == taught.lessons.truth.sum()
    assert halves.truth.sum() > days.truth.sum()
    assert days.user_days == len(days.users)
    assert halves.user_days < len(halves.users)
    key = read_answers(taught.directory)
    assert len({event for keys in days.keys for event in keys}) == key.events.height


def test_an_account_without_key_events_has_none(taught: Taught) -> None:
    key_of = KeyByTime.of(read_answers(taught.directory))
    innocent = [one for one, key in zip(taught.windows, taught.keys, strict=True) if not key]
    assert not any(key_of(one) for one in innocent)


def test_the_threshold_was_found_on_scores_of_models_that_never_saw_the_user(taught: Taught) -> None:
    track = taught.model.tracks["all"]
    rows = taught.lessons.rows.matrix("all", taught.model.peers)
    seen = track.calibration.probability(track.trees.score(rows))
    # a threshold from the fitted trees' own scores would lie higher: they know their training windows by heart
    own = np.sort(seen[taught.lessons.truth])[0]
    assert track.thresholds.malicious < own or track.thresholds.malicious < 0.9
