import pytest

from detector.backend import Backend, FixedAnswer, FixedBackend, everything_shown
from detector.verdict import EventRef, UnknownEvidence, checked
from stream.errors import PoisonError
from stream.kinds import Kind
from tests.detector.windows import A_THEFT, window


def test_a_fixed_backend_answers_as_it_was_told_and_normal_otherwise() -> None:
    told, other = window(A_THEFT, user="ANA"), window(user="BOB")
    answer = FixedAnswer("malicious", 0.9, everything_shown(told), "because", alert=True)
    backend: Backend = FixedBackend({told.id: answer})
    first, second = backend.judge([told, other])
    assert (first.label, first.score, first.alert, first.reason) == ("malicious", 0.9, True, "because")
    assert len(first.cited) == len(A_THEFT)
    assert (second.label, second.alert, second.cited) == ("normal", False, ())
    assert (first.window_id, first.user, first.start, first.end) == (told.id, told.user, told.start, told.end)


def test_a_fixed_backend_may_answer_by_a_function() -> None:
    backend = FixedBackend(lambda one: FixedAnswer("suspicious", one.features["files"] / 10))
    assert [verdict.score for verdict in backend.judge([window(files=1.0), window(files=5.0)])] == [0.1, 0.5]


def test_a_citation_that_is_not_in_the_window_is_poison() -> None:
    one = window(A_THEFT)
    backend = FixedBackend({one.id: FixedAnswer("malicious", 0.9, (EventRef(Kind.FILE, "{file-9}"),))})
    with pytest.raises(UnknownEvidence, match=r"file event \{file-9\} is not in window w-ANA0001"):
        backend.judge([one])
    assert issubclass(UnknownEvidence, PoisonError)
    assert UnknownEvidence.code == "unknown_evidence"


def test_an_id_of_another_kind_is_another_event() -> None:
    one = window(A_THEFT)
    backend = FixedBackend({one.id: FixedAnswer("malicious", 0.9, (EventRef(Kind.FILE, "{device-1}"),))})
    with pytest.raises(UnknownEvidence):
        backend.judge([one])


def test_a_verdict_on_another_window_is_poison() -> None:
    (verdict,) = FixedBackend({}).judge([window(user="ANA")])
    with pytest.raises(UnknownEvidence, match="came back for window w-BOB"):
        checked(verdict, window(user="BOB"))
