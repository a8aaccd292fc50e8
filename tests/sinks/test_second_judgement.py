import json
from dataclasses import replace

import pytest

from detector.verdict import EventRef
from sinks.second_judgement import NoAlert, Told, allowance, differences, retouched
from stream.kinds import Kind
from tests.sinks.test_detect_worker import broker, put, run
from tests.sinks.windows import FixedBackend, day_of
from windowing.record import parse_window

WINDOW = day_of("ana", 0, 0.9)


def alert() -> bytes:
    log = broker()
    put(log, "ana", WINDOW)
    run(log)
    return log.values("alerts")[0]


def again() -> list[str]:
    (verdict,) = FixedBackend().judge([parse_window(WINDOW)])
    return differences(
        Told.read(alert()), replace(verdict, provenance=dict(verdict.provenance) | {"window_digest": parse_window(WINDOW).digest})
    )


def test_the_same_judgement_differs_in_nothing_but_what_was_never_said() -> None:
    assert [line for line in again() if not line.startswith("window digest")] == []


def test_a_record_goes_by_its_own_uid_and_by_its_findings() -> None:
    told = Told.read(alert())
    assert told.is_called(told.uid)
    assert told.is_called(told.finding)
    assert not told.is_called(told.window_id)


def test_evidence_that_was_added_or_lost_is_named() -> None:
    told = Told.read(alert())
    (verdict,) = FixedBackend().judge([parse_window(WINDOW)])
    other = replace(verdict, cited=(*verdict.cited[1:], EventRef(Kind.LOGON, "{new}")))
    (line,) = [line for line in differences(told, other) if line.startswith("evidence")]
    assert "cites besides logon {new}" in line
    assert f"no longer cites {verdict.cited[0].kind.value} {verdict.cited[0].id}" in line


@pytest.mark.parametrize(
    ("precision", "by", "same"),
    [(None, 1e-5, False), ("fp32", 0.004, True), ("fp32", 0.01, False), ("bf16", 0.05, True), ("nf4", 0.07, False)],
)
def test_scores_may_differ_by_what_the_precision_allows_and_no_more(precision: str | None, by: float, same: bool) -> None:
    (verdict,) = FixedBackend().judge([parse_window(WINDOW)])
    named = {"precision": precision} if precision is not None else {}
    told = replace(Told.read(alert()), provenance=dict(verdict.provenance) | named)
    moved = replace(verdict, score=verdict.score - by, provenance=dict(verdict.provenance) | named)
    assert (by <= allowance(told)) == same
    assert any(line.startswith("score") for line in differences(told, moved)) != same


def test_everything_the_provenance_names_is_compared() -> None:
    told = Told.read(alert())
    (verdict,) = FixedBackend().judge([parse_window(WINDOW)])
    other = replace(verdict, provenance=dict(verdict.provenance) | {"adapter_sha256": "abc"})
    assert "adapter_sha256: was 'nothing', is 'abc'" in differences(told, other)


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b'{"class_uid": 1}', b"\xff"])
def test_what_is_no_alert_is_refused(record: bytes) -> None:
    with pytest.raises(NoAlert):
        Told.read(record)
    old = json.loads(alert())
    del old["unmapped"]["cited"]
    with pytest.raises(NoAlert):
        Told.read(json.dumps(old).encode())


def test_whose_window_it_is_and_when_it_was_are_compared() -> None:
    told = Told.read(alert())
    (verdict,) = FixedBackend().judge([parse_window(WINDOW)])
    other = replace(verdict, user="bob", end="2011-01-01T00:00:00+00:00", learning=not verdict.learning)
    found = [line.partition(":")[0] for line in differences(told, other)]
    assert found[:3] == ["user", "window's end", "learning"]


def test_the_events_that_a_record_repeats_are_held_against_its_window() -> None:
    told, window = Told.read(alert()), parse_window(WINDOW)
    (verdict,) = FixedBackend().judge([window])
    assert told.shown
    assert retouched(told, verdict, window) == []
    labelled = {**told.shown[0], "data": {**told.shown[0]["data"], "line_label": "Normal", "line_score": 0.9}}
    assert retouched(replace(told, shown=(labelled,)), verdict, window) == []
    elsewhere = {**told.shown[0], "data": {**told.shown[0]["data"], "pc": "PC-9"}}
    (line,) = retouched(replace(told, shown=(elsewhere,)), verdict, window)
    assert line.endswith("otherwise than its window does")
