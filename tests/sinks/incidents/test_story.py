from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.verdict import EventRef
from sinks.alert_memory import CitedEvent
from sinks.incidents.story import (
    Alerted,
    Merging,
    Step,
    Story,
    Told,
    UserState,
    announce,
    close_if_quiet,
    incident_uid,
    merge,
)
from stream.kinds import Kind

HOUR = 3_600_000
GAP = 10 * HOUR
MERGING = Merging(gap_ms=GAP, half_life_ms=5 * HOUR)


def alert(uid: str, hour: int, risk: int = 60, created: int | None = None, events: tuple[str, ...] = ("e",), **more: object) -> Alerted:
    cited = tuple(CitedEvent(EventRef(Kind.FILE, f"{uid}-{event}"), hour * HOUR - 1, 100101) for event in events)
    made = Alerted(
        "ana", uid, hour * HOUR, (hour if created is None else created) * HOUR, risk, "suspicious", "t", "r", cited, ("T1005",), ()
    )
    return replace(made, **more)  # type: ignore[arg-type]


def run(*alerts: Alerted, merging: Merging = MERGING) -> tuple[UserState, list[Told]]:
    state, told = UserState(), []
    for each in alerts:
        state, more = merge(state, each, merging)
        told += more
    return state, told


def steps(told: list[Told]) -> list[tuple[str, int, int]]:
    return [(each.step.name, each.story.revision, each.at_ms // HOUR) for each in told]


def test_alerts_within_the_gap_are_one_story_and_the_first_beyond_it_begins_another() -> None:
    state, told = run(alert("a", 0), alert("b", 10), alert("c", 21))
    assert steps(told) == [("OPEN", 1, 0), ("GROW", 2, 10), ("CLOSE", 3, 20), ("OPEN", 1, 21)]
    assert [each.story.uid for each in told] == [incident_uid("ana", "a")] * 3 + [incident_uid("ana", "c")]
    assert state.story is not None
    assert state.story.uid == incident_uid("ana", "c")


def test_the_gap_counts_from_the_newest_alert_not_from_the_first() -> None:
    _, told = run(*(alert(f"a{hour}", hour) for hour in range(0, 90, 9)))
    assert {each.step for each in told[1:]} == {Step.GROW}
    assert len(told[-1].story.alerts) == 10


def test_an_update_changes_its_alert_and_keeps_every_event_and_technique() -> None:
    grown = alert("a", 3, risk=80, created=0, events=("f",), techniques=("T1567",), traits=("after_hours",))
    state, told = run(alert("a", 0, events=("e",)), alert("b", 1), grown)
    assert state.story is not None
    assert [known.uid for known in state.story.alerts] == ["a", "b"]
    first = state.story.alerts[0]
    assert ([event.ref.id for event in first.events], first.risk, first.techniques) == (["a-e", "a-f"], 80, ("T1005", "T1567"))
    assert (first.created_ms, first.time_ms, first.traits) == (0, 3 * HOUR, ("after_hours",))
    assert [event.ref.id for event in state.story.events] == ["a-e", "b-e", "a-f"]
    assert steps(told)[-1] == ("GROW", 3, 3)


def test_an_alert_record_that_was_merged_before_changes_nothing() -> None:
    records = [alert("a", 0), alert("b", 5), alert("c", 30)]
    state, _ = run(*records)
    for record in records:
        assert merge(state, record, MERGING) == (state, ())


def test_a_story_is_closed_when_the_clock_has_come_to_the_end_of_its_gap_and_not_before() -> None:
    state, _ = run(alert("a", 0), alert("b", 5))
    assert close_if_quiet(state, 15 * HOUR - 1, MERGING) == (state, ())
    closed, told = close_if_quiet(state, 15 * HOUR, MERGING)
    assert steps(list(told)) == [("CLOSE", 3, 15)]
    assert closed.story is None
    assert close_if_quiet(closed, 99 * HOUR, MERGING) == (closed, ())


def test_a_story_waits_for_an_alert_that_a_verdict_has_spoken_of() -> None:
    state = announce(announce(run(alert("a", 0))[0], 0), 9 * HOUR)
    assert close_if_quiet(state, 50 * HOUR, MERGING) == (state, ())
    state, told = merge(state, alert("b", 9), MERGING)
    assert steps(list(told)) == [("GROW", 2, 9)]
    assert steps(list(close_if_quiet(state, 50 * HOUR, MERGING)[1])) == [("CLOSE", 3, 19)]


def test_whether_the_clock_closes_a_story_or_the_next_alert_does_its_last_revision_is_the_same() -> None:
    state, _ = run(alert("a", 0))
    by_clock = close_if_quiet(state, 10**15, MERGING)[1][0]
    by_alert = merge(state, alert("b", 1_000), MERGING)[1][0]
    assert by_clock == by_alert


def test_risk_is_that_of_each_moment_and_the_peak_is_kept() -> None:
    _, told = run(alert("a", 0, risk=80), alert("b", 5, risk=0), alert("c", 90))
    assert [each.story.risk for each in told] == [80, 40, 10, 60]
    assert told[2].story.risks == ((0, 80), (5 * HOUR, 40), (15 * HOUR, 10))
    assert told[2].story.peak == 80


def test_a_story_that_is_full_is_closed_and_names_itself_in_the_one_that_goes_on() -> None:
    few = replace(MERGING, most_alerts=2)
    _, told = run(alert("a", 0), alert("b", 1), alert("b", 2, created=1), alert("c", 3), merging=few)
    assert steps(told) == [("OPEN", 1, 0), ("GROW", 2, 1), ("GROW", 3, 2), ("CLOSE", 4, 3), ("OPEN", 1, 3)]
    assert (told[3].continued, told[4].story.continues) == (True, told[0].story.uid)
    events = replace(MERGING, most_events=3)
    _, told = run(alert("a", 0, events=("1", "2")), alert("b", 1, events=("1", "2")), merging=events)
    assert steps(told) == [("OPEN", 1, 0), ("CLOSE", 2, 1), ("OPEN", 1, 1)]


def test_an_alert_that_begins_two_stories_does_not_give_them_one_name() -> None:
    _, told = run(alert("a", 0), alert("a", 20, created=0), alert("a", 40, created=0))
    opened = [each.story.uid for each in told if each.step is Step.OPEN]
    assert len(set(opened)) == len(opened) == 3


def test_two_users_never_share_a_story() -> None:
    assert incident_uid("ana", "a") != incident_uid("bob", "a")
    assert "ana" not in incident_uid("ana", "a")


@st.composite
def alerts_of_a_user(draw: st.DrawFn) -> list[Alerted]:
    """New alerts and updates of the last few, in ascending order of time."""
    made: list[Alerted] = []
    hour = 0
    for number in range(draw(st.integers(0, 12))):
        hour += draw(st.integers(1, 14))
        older = draw(st.sampled_from([None, *made[-3:]]))
        uid, created = (f"a{number}", hour) if older is None else (older.uid, older.created_ms // HOUR)
        made.append(alert(uid, hour, risk=draw(st.integers(0, 100)), created=created, events=(str(number),)))
    return made


@given(alerts_of_a_user(), st.integers(2, 5))
def test_every_alert_and_event_is_in_exactly_the_story_that_it_belongs_to(found: list[Alerted], most: int) -> None:
    merging = replace(MERGING, most_alerts=most)
    _, told = run(*found, merging=merging)
    newest: dict[str, Story] = {}
    for each in told:
        known = newest.get(each.story.uid)
        # revisions have no gap, and nothing that a story held is ever missing from a later revision
        assert each.story.revision == (known.revision + 1 if known else 1)
        assert each.step is (Step.OPEN if known is None else each.step)
        if known is not None:
            assert {event.ref for event in known.events} <= {event.ref for event in each.story.events}
            assert {one.uid for one in known.alerts} <= {one.uid for one in each.story.alerts}
        newest[each.story.uid] = each.story
    placed = [event.ref for story in newest.values() for event in story.events]
    assert sorted(ref.id for ref in placed) == sorted(event.ref.id for one in found for event in one.events)
    for story in newest.values():
        times = sorted({one for one, _ in story.risks})
        assert all(later - earlier <= GAP for earlier, later in pairwise(times))
        assert len(story.alerts) <= most


@given(alerts_of_a_user(), st.data())
def test_alerts_read_again_from_anywhere_change_nothing_more(found: list[Alerted], data: st.DataObject) -> None:
    whole_state, whole = run(*found)
    state, told = UserState(), []
    for place, each in enumerate(found):
        again = data.draw(st.integers(0, place), label="read again from")
        for record in [*found[again:place], each]:
            state, more = merge(state, record, MERGING)
            told += more
    assert (state, told) == (whole_state, whole)


@given(alerts_of_a_user(), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 200)), max_size=6))
def test_a_clock_that_is_told_anytime_makes_no_difference_to_what_is_said(found: list[Alerted], clocks: list[tuple[int, int]]) -> None:
    """As long as verdicts speak of their alerts: each is announced before the clock passes its time."""
    horizon = 10**15
    state, expected = run(*found)
    expected += close_if_quiet(state, horizon, MERGING)[1]
    state, told = UserState(), []
    for each in found:
        state = announce(state, each.time_ms)
    for place, each in enumerate(found):
        for _ in [1 for at, _ in clocks if at == place]:
            state, more = close_if_quiet(state, horizon, MERGING)
            told += more
        state, more = merge(state, each, MERGING)
        told += more
    state, more = close_if_quiet(state, horizon, MERGING)
    assert told + list(more) == expected


@pytest.mark.parametrize("wrong", [None, 5])
def test_announcing_never_goes_back(wrong: int | None) -> None:
    state = UserState(announced_ms=wrong)
    assert announce(state, 3).announced_ms == (3 if wrong is None else 5)
