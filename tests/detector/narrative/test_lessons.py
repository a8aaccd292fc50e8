"""Lessons: whose windows, which answers, and how many windows each stands for."""

import random
from pathlib import Path

import pytest

from detector.baseline import Baseline
from detector.narrative.lessons import Curriculum, Selection, curriculum_of
from detector.narrative.prompt import Composer
from stream.errors import ConfigurationError
from tests.detector.conftest import Taught

COMPOSER = Composer("shortcut-free", 640, lambda text: len(text.split()))


@pytest.fixture(scope="module")
def triage(taught: Taught) -> Baseline:
    return Baseline(taught.model, "0" * 64, "shortcut-free")


@pytest.fixture(scope="module")
def made(taught: Taught, triage: Baseline) -> Curriculum:
    return curriculum_of([taught.directory], COMPOSER, triage, Selection(held_out=0.5, others=20))


def test_nobody_is_learned_from_and_checked_on(made: Curriculum) -> None:
    learned = {one.user for one in made.learn}
    assert learned
    assert learned.isdisjoint({one.user for one in made.check} | {one.user for one in made.calibrate})


def test_half_of_the_lessons_are_malicious_and_cite_the_keys_events(made: Curriculum, taught: Taught) -> None:
    bad = [one for one in made.learn if one.answer.risk == "malicious"]
    assert len(bad) * 2 == len(made.learn)
    every = {event for key in taught.keys for event in key}
    for one in bad:
        cited = [one.prompt.aliases[place] for place in one.answer.evidence]
        assert cited
        assert all((ref.kind.value, ref.id) in every for ref in cited)
        rest = [ref for place, ref in enumerate(one.prompt.aliases) if place not in one.answer.evidence]
        assert not any((ref.kind.value, ref.id) in every for ref in rest)
    assert all(one.answer.evidence == () for one in made.learn if one.answer.risk == "normal")


def test_a_reason_is_made_of_the_prompts_own_facts(made: Curriculum) -> None:
    for one in made.learn:
        if one.answer.risk == "malicious" and "Facts: none" not in one.prompt.user:
            assert all(f"- {part}\n" in one.prompt.user for part in one.answer.reason.split("; "))


def test_weights_add_up_to_the_held_out_users_windows(made: Curriculum, taught: Taught) -> None:
    assert sum(one.weight for one in made.calibrate) == pytest.approx(made.windows)
    learned = {one.user.partition(" ")[2] for one in made.learn}
    assert 0 < made.windows < sum(window.user not in learned for window in taught.windows) + 1


def test_reach_falls_as_the_share_grows(made: Curriculum) -> None:
    scores = [score for _, score in sorted((float(share), score) for share, score in made.reach.items())]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]


def test_lookalikes_are_the_most_suspect_innocents(taught: Taught, triage: Baseline) -> None:
    none = curriculum_of([taught.directory], COMPOSER, triage, Selection(lookalikes=0.0))
    all_of_them = curriculum_of([taught.directory], COMPOSER, triage, Selection(lookalikes=1.0))

    def suspect(curriculum: Curriculum) -> float:
        return sum(one.triage for one in curriculum.learn if one.answer.risk == "normal")

    assert suspect(all_of_them) > 2 * suspect(none)


def test_the_same_seed_gives_the_same_lessons(taught: Taught, triage: Baseline) -> None:
    first, again = (curriculum_of([taught.directory], COMPOSER, triage, Selection(most=20, seed=3)) for _ in range(2))
    assert first == again
    assert len(first.learn) == 20
    other = curriculum_of([taught.directory], COMPOSER, triage, Selection(most=20, seed=4))
    assert other.learn != first.learn


def test_natural_rates_keep_malice_as_rare_as_it_is(taught: Taught, triage: Baseline) -> None:
    natural = curriculum_of([taught.directory], COMPOSER, triage, Selection(most=400, rates="natural"))
    share = sum(one.answer.risk == "malicious" for one in natural.learn) / len(natural.learn)
    whole = sum(bool(key) for key in taught.keys) / len(taught.keys)
    assert share == pytest.approx(whole, abs=0.05)
    assert share < 0.2


def test_a_directory_without_malice_teaches_nothing(taught: Taught, triage: Baseline, tmp_path: Path) -> None:
    from stream.synth import write_organisation

    write_organisation(tmp_path / "quiet", 12, 6, random.Random(1).randrange(1000), 0)
    with pytest.raises(ConfigurationError, match="answer"):
        curriculum_of([tmp_path / "quiet"], COMPOSER, triage, Selection())
