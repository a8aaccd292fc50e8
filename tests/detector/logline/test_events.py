from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from detector.logline.events import EventLabels, WithLines
from detector.logline.labels import LineLabel
from detector.verdict import EventRef
from stream.kinds import Kind
from tests.sinks.windows import FIRST, FixedBackend, day_of, event, window_record
from windowing.record import parse_window


class Counting:
    """Labels pages Suspicious and the rest Normal, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def labels(self, lines: Sequence[str]) -> list[LineLabel]:
        self.asked += lines
        return [LineLabel("Suspicious" if line.startswith("http") else "Normal", 0.75) for line in lines]


def test_every_event_that_a_window_shows_has_a_label() -> None:
    window = parse_window(day_of("ana", 0, 0.9))
    found = EventLabels(Counting())(window)
    assert set(found) == {EventRef(Kind(e["kind"]), e["id"]) for e in window.events}
    assert all(found[ref] == ("Suspicious" if ref.kind is Kind.HTTP else "Normal", 0.75) for ref in found)


def test_events_of_many_windows_that_say_the_same_are_asked_about_once() -> None:
    labeller = Counting()
    windows = [parse_window(day_of(user, number, 0.9)) for user in ("ana", "bob") for number in range(3)]
    found = EventLabels(labeller).of(windows)
    assert len(found) == 6
    assert len(labeller.asked) == len(set(labeller.asked)) == 5


def test_ids_are_told_apart_by_kind() -> None:
    events = [event(Kind.HTTP, "{same}", FIRST), event(Kind.DEVICE, "{same}", FIRST + timedelta(minutes=1))]
    found = EventLabels(Counting())(parse_window(window_record("ana", 0, events)))
    assert found[EventRef(Kind.HTTP, "{same}")].label == "Suspicious"
    assert found[EventRef(Kind.DEVICE, "{same}")].label == "Normal"


def test_a_window_without_events_has_no_labels() -> None:
    assert EventLabels(Counting())(parse_window(window_record("ana", 0, []))) == {}


def test_a_prompt_is_told_only_what_is_not_merely_in_order_with_its_score() -> None:
    window = parse_window(day_of("ana", 0, 0.9))
    told = EventLabels(Counting()).telling(window)
    assert set(told.values()) == {"Suspicious 0.75"}
    assert {ref.kind for ref in told} == {Kind.HTTP}


def test_alerts_carry_the_labels_and_the_verdict_stays_as_it_is() -> None:
    windows = [parse_window(day_of("ana", number, risk)) for number, risk in enumerate((0.9, 0.1))]
    plain = FixedBackend().judge(windows)
    backend = WithLines(FixedBackend(), EventLabels(Counting()), {"model_sha256": "abc"})
    alerting, quiet = backend.judge(windows)
    assert backend.name == "fixed"
    assert set(alerting.line_labels) >= set(alerting.cited)
    assert quiet.line_labels == {}
    assert alerting.provenance == {**plain[0].provenance, "lines": "abc"}
    assert replace(alerting, line_labels={}, provenance=plain[0].provenance) == plain[0]
