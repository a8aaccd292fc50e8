import math

import numpy as np
import pytest

from detector.groups.corpus import Mask
from detector.groups.fit import fit_lexical
from detector.groups.lexical import GroupsModel
from detector.groups.likeness import WordScorer, likenesses
from tests.detector.groups.test_match import MODEL

TEXT = "sends cash from atm"


def test_the_likeliest_group_comes_first_with_its_name_and_probability() -> None:
    (found,) = likenesses([[TEXT]], WordScorer(MODEL), MODEL, 5)
    assert found[0].group == "G0002"
    assert found[0].name == "Brass Owl"
    assert sum(one.score for one in found) == pytest.approx(1, abs=1e-3)
    assert found == sorted(found, key=lambda one: -one.score)
    assert not found[0].named


def test_a_group_that_is_named_comes_before_likelier_ones_and_says_so() -> None:
    (found,) = likenesses([[f"[Amber Fox](https://attack.mitre.org/groups/G0001) {TEXT}"]], WordScorer(MODEL), MODEL, 2)
    assert [(one.group, one.named) for one in found] == [("G0001", True), ("G0002", False)]
    assert found[0].score < found[1].score


def test_aliases_count_and_names_do_not_move_the_scores() -> None:
    plain, called = likenesses([[f"the group {TEXT}"], [f"FOXCREW {TEXT}"]], WordScorer(MODEL), MODEL, 5)
    assert called[0].named
    assert {one.group: one.score for one in plain} == {one.group: one.score for one in called}


def test_a_group_without_scores_is_found_by_its_name() -> None:
    (found,) = likenesses([[f"Coral Lynx {TEXT}"]], WordScorer(MODEL), MODEL, 1)
    assert found[0].plain() == {"id": "G0003", "name": "Coral Lynx", "score": 0.0, "named": True}


def test_the_texts_of_a_report_add_up() -> None:
    texts = [TEXT, "rclone", "swift cash"]
    logs = MODEL.lexical.log_probabilities(texts).sum(axis=0)
    whole = sum(math.exp(value) for value in logs)
    (found,) = likenesses([texts], WordScorer(MODEL), MODEL, 5)
    expected = {group: math.exp(value) / whole for group, value in zip(MODEL.lexical.groups, logs, strict=True)}
    assert {one.group: one.score for one in found} == pytest.approx(expected, abs=1e-3)


def test_a_name_of_two_groups_names_neither() -> None:
    lexical = fit_lexical(["a1 b1", "c1 d1", "e1 f1"], np.array([0, 1, 2]), ("G0001", "G0002", "G0003"))
    aliases = {"G0001": ("Twin X1",), "G0002": ("Twin X1",)}
    model = GroupsModel("1", {}, aliases, {}, {}, Mask.of_spellings({"Twin X1": "the group"}), lexical, {})
    (found,) = likenesses([["Twin X1"]], WordScorer(model), model, 3)
    assert not any(one.named for one in found)
