from collections.abc import Sequence

import numpy as np

from detector.groups.corpus import Origin, Procedure
from detector.groups.splits import clusters, folds


def told(group: str, text: str, technique: str = "T1", origin: Origin = Origin.GROUP) -> Procedure:
    return Procedure((group,), technique, text, text, origin)


def lessons(count: int = 10) -> list[Procedure]:
    animals = ("fox", "owl", "lynx", "heron", "wolf", "ibis", "otter", "shark", "crane", "mole")
    return [
        told(f"G{group}", f"{animals[number]} {animals[(number * 3 + group) % 10]} {group}{number}zz quickly", f"T{number}")
        for group in range(4)
        for number in range(count)
    ]


def fold_of(tested: Sequence[np.ndarray], place: int) -> int:
    return next(number for number, test in enumerate(tested) if place in test)


def test_equal_and_paraphrased_texts_share_a_cluster_and_others_do_not() -> None:
    texts = [
        "the group has used scheduled tasks to run its loader every day",
        "the group has used scheduled tasks to run its loader every day",
        "the group used scheduled tasks to run its loader every day",
        "mailboxes of diplomats were exported through a web shell",
    ]
    found = clusters(texts)
    assert found[0] == found[1] == found[2] != found[3]
    strict = clusters(texts, alike=1.0)
    assert strict[0] == strict[1]
    assert strict[0] != strict[2]


def test_every_lesson_is_tested_once_and_never_trained_on_beside_its_paraphrase() -> None:
    all_lessons = [
        *lessons(),
        told("G0", "one long shared sentence about nothing at all"),
        told("G3", "one long shared sentence about nothing at all"),
    ]
    made = folds(all_lessons, count=4)
    assert sorted(np.concatenate([fold.test for fold in made]).tolist()) == list(range(len(all_lessons)))
    for fold in made:
        assert not set(fold.train) & set(fold.test)
    assert fold_of([fold.test for fold in made], 40) == fold_of([fold.test for fold in made], 41)


def test_an_extra_text_is_left_out_where_its_like_is_tested() -> None:
    own = lessons()
    extra = told("G1", own[12].masked, "T99", Origin.SOFTWARE)
    made = folds(own, [extra, told("G1", "something else entirely altogether", "T98", Origin.SOFTWARE)], count=4)
    for fold in made:
        assert (0 in fold.extras) == (12 not in fold.test)
        assert 1 in fold.extras


def test_a_campaigns_text_is_left_out_where_the_same_deed_is_tested() -> None:
    own = lessons()
    extra = told("G2", "in other words altogether", "T5.001", Origin.CAMPAIGN)
    for fold in folds(own, [extra], count=4):
        assert (0 in fold.extras) == (25 not in fold.test)


def test_the_same_seed_deals_the_same_folds() -> None:
    first, again, other = (folds(lessons(), count=4, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one.test, two.test) for one, two in zip(first, again, strict=True))
    assert not all(np.array_equal(one.test, two.test) for one, two in zip(first, other, strict=True))
