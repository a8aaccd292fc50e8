import pytest

from detector.narrative.answer import parsed
from detector.narrative.shots import MOST, shots_of
from stream.errors import ConfigurationError
from windowing.features import NAMES


def test_examples_are_the_same_in_every_run_and_the_first_few_of_all() -> None:
    assert shots_of(MOST, "all") == shots_of(MOST, "all")
    assert shots_of(3, "all") == shots_of(MOST, "all")[:3]
    assert shots_of(0, "all") == ()


def test_an_example_answers_in_the_form_that_is_asked_for_and_cites_what_it_shows() -> None:
    for shot in shots_of(MOST, "all"):
        n_aliases = max(int(word[1:].rstrip(":")) for word in shot.user.split() if word[:1] == "E" and word[1:].rstrip(":").isdigit())
        answer = parsed(shot.answer, n_aliases)
        assert (answer.risk == "normal") == (not answer.evidence)


def test_both_what_is_grave_and_what_is_not_is_among_the_first_two() -> None:
    assert {parsed(shot.answer, 9).risk for shot in shots_of(2, "all")} == {"malicious", "normal"}


def test_examples_are_told_by_facts_that_exist() -> None:
    from detector.narrative.shots import _DAYS

    assert {name for _, _, features, _, _ in _DAYS for name in features} <= set(NAMES)
    for shot in shots_of(1, "all"):
        assert "Facts: none" not in shot.user


def test_more_examples_than_there_are_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"detect\.shots"):
        shots_of(MOST + 1, "all")
