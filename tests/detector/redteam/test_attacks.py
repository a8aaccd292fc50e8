"""Attacks change texts and add events; what was done stays done."""

import random
from typing import Any

import pytest

from detector.redteam.attacks import attacked
from detector.redteam.payloads import FAMILIES, FLOODS
from detector.redteam.scenes import Scene, Stage
from detector.subjects import category_of_url, ending_of, host_of_url
from stream.kinds import Kind, frame_schema

ARGUING = [family for family in FAMILIES if family not in FLOODS]


def rows_of(day: Any) -> dict[tuple[str, str], dict[str, Any]]:
    return {(kind.value, row["id"]): row for kind, frame in day.items() for row in frame.to_dicts()}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_deed_is_still_there_at_its_time_and_place(small: Stage, family: str) -> None:
    for scene in small.malicious[:6]:
        before = rows_of(scene.day)
        after = rows_of(attacked(scene.day, scene.key, family, "normal", random.Random(1)).day)
        assert before.keys() <= after.keys()
        for at, row in before.items():
            assert {name: after[at][name] for name in ("user", "ts", "pc")} == {name: row[name] for name in ("user", "ts", "pc")}
            if at[0] == Kind.HTTP.value:
                assert host_of_url(after[at]["url"]) == host_of_url(row["url"])
                assert category_of_url(after[at]["url"]) >= category_of_url(row["url"])
            if at[0] == Kind.FILE.value:
                assert ending_of(after[at]["filename"]) == ending_of(row["filename"])
            if at[0] == Kind.EMAIL.value:
                assert len(after[at]["to"].split(";")) == len(row["to"].split(";"))
                assert after[at]["attachments"] == row["attachments"]


@pytest.mark.parametrize("family", ARGUING)
def test_the_texts_of_deeds_carry_an_attack(small: Stage, family: str) -> None:
    changed = 0
    for scene in small.malicious[:6]:
        attack = attacked(scene.day, scene.key, family, "normal", random.Random(2))
        before, after = rows_of(scene.day), rows_of(attack.day)
        dressed = [at for at in scene.key if at[0] in ("http", "file", "email")]
        assert all(after[at] != before[at] for at in dressed)
        changed += len(dressed)
        assert attack.canaries
    assert changed


@pytest.mark.parametrize("family", ["flood_events", "flood_crowd"])
def test_a_flood_adds_many_events_within_the_day(small: Stage, family: str) -> None:
    scene = small.malicious[0]
    before, after = (rows_of(day) for day in (scene.day, attacked(scene.day, scene.key, family, "normal", random.Random(3)).day))
    times = [row["ts"] for row in before.values()]
    assert len(after) >= len(before) + 60
    assert all(min(times) <= row["ts"] <= max(times) for row in after.values())


@pytest.mark.parametrize("family", ARGUING)
def test_to_frame_somebody_nothing_is_added(small: Stage, family: str) -> None:
    for scene in small.innocent:
        before, after = (rows_of(day) for day in (scene.day, attacked(scene.day, scene.key, family, "malicious", random.Random(4)).day))
        assert before.keys() == after.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_an_attacked_day_is_a_window_of_the_engine(small: Stage, family: str) -> None:
    scene = small.malicious[1]
    attack = attacked(scene.day, scene.key, family, "normal", random.Random(5))
    assert all(frame.schema == frame_schema(kind) for kind, frame in attack.day.items())
    window = scene.described(attack.day)
    assert (window.id, window.user, window.start) == (scene.window.id, scene.window.user, scene.window.start)
    assert sum(window.counts.values()) == sum(frame.height for frame in attack.day.values())
    assert len(window.events) <= scene.place.settings.cap


def test_the_same_chance_gives_the_same_attack(small: Stage) -> None:
    scene: Scene = small.malicious[2]
    one, other = (attacked(scene.day, scene.key, "instruction", "normal", random.Random(6)) for _ in range(2))
    assert rows_of(one.day) == rows_of(other.day)
    assert one.canaries == other.canaries


def test_texts_alone_move_no_feature_that_counts_deeds(small: Stage) -> None:
    deeds = ("files", "risky_files", "connects", "off_hours", "leak_any", "job_any", "mail_to_own_address")
    for scene in small.innocent:
        window = scene.described(attacked(scene.day, scene.key, "instruction", "malicious", random.Random(7)).day)
        for name in deeds:
            assert window.features.get(name) == scene.window.features.get(name)
