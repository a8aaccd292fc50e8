import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.verdict import EventRef
from sinks.alert_memory import (
    UPDATES_FOR_MS,
    Activity,
    Alerting,
    BadMemoryError,
    CitedEvent,
    Finding,
    decide,
    decode_findings,
    encode_findings,
    finding_uid,
)
from stream.kinds import Kind

HOUR = 3_600_000


def alerting(end_h: int, cited: str, risk: int = 70, user: str = "ana") -> Alerting:
    events = tuple(CitedEvent(EventRef(Kind.HTTP, name), ord(name)) for name in cited)
    return Alerting(user, f"w{end_h}", end_h * HOUR, risk, events)


def told(windows: list[Alerting]) -> list[tuple[str, str]]:
    """For each window, what was done and the first window of the finding that it belongs to."""
    findings: tuple[Finding, ...] = ()
    uids = {finding_uid(w.user, w.window_id): w.window_id for w in windows}
    done = []
    for window in windows:
        decision, findings = decide(findings, window)
        done.append((decision.activity.name if decision.activity else "-", uids[decision.finding.uid]))
    return done


def test_the_first_window_creates_an_alert() -> None:
    assert told([alerting(24, "a")]) == [("CREATE", "w24")]


def test_a_window_without_shared_events_is_another_alert() -> None:
    assert told([alerting(24, "a"), alerting(30, "b")]) == [("CREATE", "w24"), ("CREATE", "w30")]


def test_a_later_window_updates_only_when_it_cites_new_events_or_the_risk_rises() -> None:
    windows = [alerting(24, "ab"), alerting(30, "b"), alerting(36, "bc"), alerting(42, "c", risk=71), alerting(48, "c", risk=71)]
    assert told(windows) == [("CREATE", "w24"), ("-", "w24"), ("UPDATE", "w24"), ("UPDATE", "w24"), ("-", "w24")]


def test_a_lower_risk_with_new_events_updates_and_keeps_the_higher_risk() -> None:
    first, findings = decide((), alerting(24, "a", risk=90))
    second, _ = decide(findings, alerting(30, "ab", risk=60))
    assert (second.activity, second.finding.risk, second.finding.uid) == (Activity.UPDATE, 90, first.finding.uid)
    assert [event.ref.id for event in second.finding.cited] == ["a", "b"]


def test_a_window_that_shares_events_with_several_updates_the_oldest() -> None:
    windows = [alerting(24, "a"), alerting(30, "b"), alerting(36, "abc"), alerting(42, "c"), alerting(48, "bd")]
    assert told(windows) == [("CREATE", "w24"), ("CREATE", "w30"), ("UPDATE", "w24"), ("-", "w24"), ("UPDATE", "w24")]


def test_the_same_id_of_another_kind_is_another_event() -> None:
    _, findings = decide((), alerting(24, "a"))
    other = Alerting("ana", "w30", 30 * HOUR, 70, (CitedEvent(EventRef(Kind.FILE, "a"), 1),))
    assert decide(findings, other)[0].activity is Activity.CREATE


@pytest.mark.parametrize(("after_ms", "activity"), [(UPDATES_FOR_MS, "UPDATE"), (UPDATES_FOR_MS + 1, "CREATE")])
def test_an_alert_is_updated_for_three_days_from_its_first_window_and_no_longer(after_ms: int, activity: str) -> None:
    _, findings = decide((), alerting(24, "a"))
    # an update in between does not make it live longer
    _, findings = decide(findings, alerting(48, "ab"))
    late = Alerting(
        "ana", "late", 24 * HOUR + after_ms, 70, (CitedEvent(EventRef(Kind.HTTP, "a"), 1), CitedEvent(EventRef(Kind.HTTP, "z"), 2))
    )
    decision, remembered = decide(findings, late)
    assert decision.activity is not None
    assert decision.activity.name == activity
    assert len(remembered) == 1


def test_the_identity_is_a_digest_of_user_and_first_window() -> None:
    assert len({finding_uid("ana", "w1"), finding_uid("ana", "w2"), finding_uid("bob", "w1")}) == 3
    assert "ana" not in finding_uid("ana", "w1")


def test_an_alert_without_citations_stands_alone() -> None:
    assert told([alerting(24, ""), alerting(30, "")]) == [("CREATE", "w24"), ("CREATE", "w30")]


@given(st.lists(st.tuples(st.integers(1, 30), st.text("abcdefgh", max_size=4), st.integers(50, 100)), max_size=25))
def test_whatever_comes_every_event_reaches_one_alert_once_and_memory_stays_small(steps: list[tuple[int, str, int]]) -> None:
    findings: tuple[Finding, ...] = ()
    now = 0
    said: dict[str, set[EventRef]] = {}
    for hours, cited, risk in steps:
        now += hours
        window = alerting(now, cited, risk)
        decision, findings = decide(findings, window)
        findings = decode_findings(encode_findings(findings))  # as after a restart
        refs = {event.ref for event in window.cited}
        if decision.activity is Activity.CREATE:
            assert decision.finding.uid not in said
        if decision.activity is not None:
            said[decision.finding.uid] = set(decision.finding.refs)
        # nothing cited is ever left out of what was said
        assert refs <= said[decision.finding.uid]
        assert all(window.end_ms - finding.created_ms <= UPDATES_FOR_MS for finding in findings)
        assert [event.ts for event in decision.finding.cited] == sorted(event.ts for event in decision.finding.cited)


def test_memory_comes_back_as_it_was_written() -> None:
    _, findings = decide((), alerting(24, "ab"))
    assert decode_findings(encode_findings(findings)) == findings


@pytest.mark.parametrize(
    "record", [b"", b"{}", b'{"v":2,"findings":[]}', b'{"v":1,"findings":[["u"]]}', b'{"v":1,"findings":[["u",1,2,[["tea","x",1]]]]}']
)
def test_memory_that_is_not_ours_is_refused_with_a_cure(record: bytes) -> None:
    with pytest.raises(BadMemoryError, match="use a new namespace"):
        decode_findings(record)
