"""The evidence head: what it learns is what the key names, what it cites are whole lines, and nobody else's head is used."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.narrative.evidence_fitting import Seen, fitted_head
from detector.narrative.evidence_head import FILE, EvidenceHead, places_of, read_head, write_head
from detector.narrative.prompt import Prompt
from detector.verdict import EventRef
from stream.errors import ConfigurationError
from stream.kinds import Kind

pytest.importorskip("torch", reason="needs the llm extra")

HIDDEN = 12
TELLING = np.random.default_rng(5).normal(size=HIDDEN)


def prompt_of(*sizes: int) -> Prompt:
    """A prompt whose lines are about so many events each."""
    lines, user, number = [], "Events:", 0
    for size in sizes:
        user += "\n" + " ".join(f"E{number + each + 1}" for each in range(size)) + " 08:00 page"
        number += size
        lines.append((len(user), size))
    return Prompt("S", user, tuple(EventRef(Kind.HTTP, str(place)) for place in range(number)), 0, (), tuple(lines))


def shown(windows: int, seed: int) -> list[Seen]:
    """Windows whose evidence is where the states point into one direction, with much besides."""
    chance, found = np.random.default_rng(seed), []
    for number in range(windows):
        prompt = prompt_of(*chance.integers(1, 4, size=chance.integers(2, 7)).tolist())
        guilty = chance.random(len(prompt.lines)) < 0.4
        guilty[int(chance.integers(len(guilty)))] = True
        states = chance.normal(size=(len(prompt.lines) + 1, HIDDEN))
        states[:-1] += np.where(guilty, 1.0, -1.0)[:, None] * TELLING
        key = np.flatnonzero(np.repeat(guilty, [number for _, number in prompt.lines])).tolist()
        found.append(Seen(prompt, states.astype(np.float32), key, f"u{number % 20}"))
    return found


def f1(head: EvidenceHead, windows: list[Seen]) -> float:
    cited = [set(head.cited(one.prompt, one.states)) for one in windows]
    right = sum(len(places & set(one.key)) for places, one in zip(cited, windows, strict=True))
    return 2 * right / (sum(map(len, cited)) + sum(len(one.key) for one in windows))


@pytest.fixture(scope="module")
def head() -> EvidenceHead:
    return fitted_head(shown(150, 1), shown(40, 2), "1:abc", "f" * 64)[0]


def test_it_finds_in_the_states_of_others_what_the_key_would_name(head: EvidenceHead) -> None:
    others = shown(60, 3)
    assert f1(head, others) > 0.9
    # and it is the states that tell it
    blind = replace(head, first=np.zeros_like(head.first))
    assert f1(blind, others) < 0.75


def test_its_own_figure_is_that_of_the_windows_it_was_checked_on() -> None:
    check = shown(40, 2)
    head, figures = fitted_head(shown(150, 1), check, "1:abc", "f" * 64)
    assert figures["f1"] == pytest.approx(f1(head, check))
    assert figures["threshold"] == head.threshold
    assert (figures["windows"], figures["checked"]) == (150, 40)
    # the same windows give the same head, whatever else drew numbers meanwhile
    np.random.default_rng().normal()
    assert fitted_head(shown(150, 1), check, "1:abc", "f" * 64)[0].sha256 == head.sha256


def test_a_line_is_cited_whole_and_the_likeliest_one_where_none_is_likely() -> None:
    prompt = prompt_of(2, 1, 3)
    assert places_of(prompt, np.array([0.9, 0.1, 0.6]), 0.5) == (0, 1, 3, 4, 5)
    assert places_of(prompt, np.array([0.1, 0.3, 0.2]), 0.5) == (2,)
    assert places_of(prompt_of(), np.zeros(0), 0.5) == ()


def test_a_line_of_which_a_part_is_evidence_counts_as_such() -> None:
    # one line about two events, of which one is named, and one about an event that is not: the first is undecided
    states = np.random.default_rng(1).normal(size=(3, HIDDEN)).astype(np.float32)
    windows = [Seen(prompt_of(2, 1), states, [0], f"u{number}") for number in range(60)]
    chances = fitted_head(windows, windows, "1:abc", "f" * 64)[0].chances(states)
    assert 0.35 < chances[0] < 0.65
    assert chances[1] < 0.3


def test_what_is_all_evidence_or_none_teaches_nothing() -> None:
    states = np.ones((3, HIDDEN), np.float32)
    for key in ([0, 1], []):
        with pytest.raises(ConfigurationError, match="no evidence head"):
            fitted_head([Seen(prompt_of(1, 1), states, key, "ana")], shown(3, 1), "1:abc", "f" * 64)


def test_it_comes_back_from_disk_as_it_was(head: EvidenceHead, tmp_path: Path) -> None:
    assert read_head(tmp_path) is None
    write_head(tmp_path, head)
    again = read_head(tmp_path)
    assert again is not None
    assert again.sha256 == head.sha256
    assert (again.prompt, again.adapter, again.threshold) == (head.prompt, head.adapter, head.threshold)
    states = shown(1, 9)[0].states
    assert np.array_equal(again.chances(states), head.chances(states))
    assert replace(head, threshold=head.threshold + 0.1).sha256 != head.sha256


@pytest.mark.parametrize("what", ["cut", "other", "empty"])
def test_a_broken_file_is_refused_in_one_sentence(head: EvidenceHead, tmp_path: Path, what: str) -> None:
    write_head(tmp_path, head)
    whole = (tmp_path / FILE).read_bytes()
    broken = {"cut": whole[:-7], "other": whole.replace(b"evidence-head/1", b"evidence-head/9"), "empty": b""}[what]
    (tmp_path / FILE).write_bytes(broken)
    with pytest.raises(ConfigurationError, match="not what this version of Daywatch writes"):
        read_head(tmp_path)
