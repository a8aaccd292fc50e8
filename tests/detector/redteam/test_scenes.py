"""Scenes: days that can be described again as the engine would."""

from detector.redteam.scenes import SEEDS, Stage, stage
from tests.detector.redteam.conftest import SMALL


def test_a_day_described_again_without_a_change_is_the_same_window(small: Stage) -> None:
    for scene in (*small.malicious[:8], *small.innocent[:4]):
        assert scene.described(scene.day) == scene.window


def test_days_of_insiders_hold_key_events_and_the_others_none(small: Stage) -> None:
    assert len(small.malicious) == 24
    assert len(small.innocent) == 8
    for scene in small.malicious:
        held = {(kind.value, row["id"]) for kind, frame in scene.day.items() for row in frame.to_dicts()}
        assert scene.key
        assert scene.key <= held
        assert not scene.window.learning
    assert not any(scene.key for scene in small.innocent)


def test_the_seeds_are_none_that_anything_was_trained_on() -> None:
    assert not set(SEEDS) & {*range(9001, 9041), *range(7001, 7061)}


def test_a_day_belongs_to_one_user(small: Stage) -> None:
    for scene in small.malicious:
        assert {user for frame in scene.day.values() for user in frame["user"].to_list()} == {scene.window.user}


def test_the_same_seed_stages_the_same_scenes(small: Stage) -> None:
    again = stage(24, 8, size=SMALL)
    assert [scene.window for scene in again.malicious] == [scene.window for scene in small.malicious]
