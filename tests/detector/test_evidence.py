import numpy as np

from detector.evidence import COLUMNS, OF_WINDOW, Chooser, best_threshold, event_rows, events_of
from detector.subjects import Subject
from detector.verdict import EventRef
from stream.kinds import Kind
from tests.detector.windows import A_THEFT, event, window
from windowing.features import FREE


def columns(name: str, contributions: np.ndarray | None = None) -> list[float]:
    shares = np.zeros(len(Subject)) if contributions is None else contributions
    rows = event_rows(window(A_THEFT), shares, np.zeros(len(OF_WINDOW)))
    return [float(value) for value in rows[:, COLUMNS.index(name)]]


def test_what_stands_beside_an_event_is_free_of_the_shortcut() -> None:
    assert set(OF_WINDOW) <= set(FREE)


def test_a_drive_is_in_from_its_connect_up_to_its_disconnect() -> None:
    assert columns("drive_in") == [0, 1, 1, 1, 0, 0]


def test_an_event_bears_the_contribution_of_its_subject() -> None:
    shares = np.arange(len(Subject), dtype=float)
    found = columns("contribution", shares)
    about = [Subject.LOGONS, Subject.DRIVE, Subject.FILES, Subject.LEAK, Subject.DRIVE, Subject.PAGES]
    assert found == [float(subject) for subject in about]


def test_without_trees_the_subjects_that_contributed_are_cited() -> None:
    shares = np.zeros((1, len(Subject)))
    shares[0, Subject.DRIVE] = 2.0
    shares[0, Subject.FILES] = 1.0
    (cited,) = Chooser(None, 0.6).choose([window(A_THEFT)], shares)
    assert cited == (EventRef(Kind.DEVICE, "{device-1}"), EventRef(Kind.FILE, "{file-1}"), EventRef(Kind.DEVICE, "{device-2}"))


def test_something_is_always_cited_if_something_is_shown() -> None:
    shares = np.zeros((2, len(Subject)))
    assert [len(cited) for cited in Chooser(None, 0.99).choose([window(A_THEFT), window(user="BOB")], shares)] == [1, 0]


def test_events_with_missing_fields_have_columns_too() -> None:
    bare = [event(kind, 1) for kind in ("logon", "device", "file", "email", "http")]
    rows, sizes = events_of([window(bare), window()], np.zeros((2, len(Subject))))
    assert rows.shape == (5, len(COLUMNS))
    assert sizes == [5, 0]
    assert np.isfinite(rows).all()


def test_the_threshold_counts_key_events_that_nobody_can_cite() -> None:
    chance = np.array([0.9, 0.8, 0.3, 0.2])
    truth = np.array([True, True, False, True])
    assert best_threshold(chance, truth, missing=0) == 0.2
    assert best_threshold(np.array([0.9, 0.5, 0.4]), np.array([True, False, False]), missing=5) == 0.9
