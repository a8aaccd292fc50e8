import pytest

from detector.reasons import MOST_CLAUSES, reason_of
from detector.subjects import Subject

HISTORY = {"profile_days": 60.0}


def said(features: dict[str, float], *subjects: Subject, peers: dict[str, float] | None = None, known_role: bool = True) -> str:
    shares = [0.0] * len(Subject)
    for place, subject in enumerate(subjects):
        shares[subject] = float(len(subjects) - place)
    return reason_of(HISTORY | features, shares, frozenset(), peers or {}, known_role=known_role)


def test_a_reason_says_what_is_unusual_and_against_what() -> None:
    features = {"files": 37.0, "files_habit": 0.1, "files_above_top": 37 / 6}
    assert said(features, Subject.FILES) == (
        "37 files copied to a removable drive (on a usual day none, on 10 % of earlier days some, 5 at most)."
    )


def test_what_never_happened_before_is_said_so() -> None:
    assert said({"leak_any": 1.0, "leak_first": 1.0, "leak_after_hours": 1.0}, Subject.LEAK) == (
        "Visits to leak and paste sites after hours (never before)."
    )


def test_nothing_is_claimed_of_a_past_that_is_not_known() -> None:
    assert "too few days" in said({"profile_days": 3.0, "files": 2.0, "files_first": 1.0}, Subject.FILES)


def test_peers_are_named_when_it_is_rare_among_them() -> None:
    features = {"connects": 1.0, "connects_first": 1.0}
    rare = said(features, Subject.DRIVE, peers={"peers_connects": 7.0})
    assert rare.endswith("among people in the same role, so many drives connected on at most 1 day in 128.")
    assert "among" not in said(features, Subject.DRIVE, peers={"peers_connects": 2.0})
    assert "among all people" in said(features, Subject.DRIVE, peers={"peers_connects": 7.0}, known_role=False)


def test_the_weightiest_comes_first_and_what_speaks_against_is_left_out() -> None:
    features = {"files": 3.0, "files_first": 1.0, "connects": 1.0, "connects_first": 1.0, "job_any": 1.0, "job_first": 1.0}
    text = said(features, Subject.DRIVE, Subject.FILES)
    assert text.index("drive connected") < text.index("copied")
    assert "job" not in text


def test_a_reason_stays_short() -> None:
    names = ["off_hours", "new_machines", "connects", "files", "risky_files", "job_any", "leak_any", "spyware_any", "most_recipients"]
    features = dict.fromkeys(names, 12.0)
    assert said(features, *Subject).count(";") == MOST_CLAUSES - 1


def test_subjects_that_contributed_but_are_not_in_the_window_are_not_claimed() -> None:
    text = said({}, *Subject)
    assert text.startswith("No single thing stands out")


@pytest.mark.parametrize("count", [1.0, 2.0])
def test_one_is_one_and_two_are_several(count: float) -> None:
    assert ("1 file copied" if count == 1 else "2 files copied") in said({"files": count, "files_habit": 1.0}, Subject.FILES)
