"""What a reset decides from facts, before it touches anything."""

import dataclasses

import pytest

from daywatch.resetting import Names, Told, WindowFacts, all_plan, correlate_plan, detect_plan, window_plan
from stream.errors import RefusedError
from stream.groups import Group
from stream.kinds import KINDS
from stream.log import Commit, TopicPartition
from stream.marks import ClockMark
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.clocks import TopicClock
from windowing.ledger import Place, decode_note, encode_layout, encode_note, encode_state, is_fresh
from windowing.partition import Closed
from windowing.upkeep import Held

CALENDAR = Calendar(WindowSpec(hop_ms=DAY_MS // 4))
LAYOUT = encode_layout(CALENDAR, 1)
TOPICS = {kind: f"x.{kind}" for kind in KINDS}
LOGS = [TopicPartition(TOPICS[kind], 0) for kind in KINDS]
SENT = Closed(40, 0, "bo")
READ = Held(0, 3, LAYOUT, Place((50, 60, 70, 80, 90), SENT).encode(), encode_state({kind: TopicClock() for kind in KINDS}))
NAMES = Names(
    {role: f"x.{role}" for role in ("window", "detect", "correlate")},
    {
        role: f"x.{role}"
        for role in ("windows", "verdicts", "alerts", "alert_memory", "incidents", "incident_memory", "dead_letters", "operations")
    },
)


def window(number: int, user: str = "bo") -> Told:
    return Told(user, CALENDAR.window_start(number), CALENDAR.window_end(number))


def facts(**changes: object) -> WindowFacts:
    commits = {at: Commit(55, encode_note(SENT)) for at in LOGS}
    bounds = dict.fromkeys(LOGS, (10, 100))
    made = WindowFacts(Group("x.window", "empty", (), commits), TOPICS, 1, CALENDAR, LAYOUT, {0: READ}, bounds, {0: window(40)})
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


NOBODY = Group("x.window", "dead")


def test_the_state_is_put_back_to_the_logs_beginning_and_commits_stay_as_they_are() -> None:
    [rebuilt] = window_plan(facts(), "x.windows").rebuilt
    assert Place.decode(rebuilt.at) == Place((10,) * 5, Closed())
    assert not is_fresh(rebuilt.state)
    assert rebuilt.commits == {}
    assert rebuilt.records == 5 * 90


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({"group": NOBODY, "told": {0: window(41, "al")}}, Closed(41, 0, "al")),
        ({"group": NOBODY, "told": {0: window(39)}}, SENT),  # the store knows of more than the topic holds
        ({"group": NOBODY, "told": {}}, SENT),
        ({"group": NOBODY, "held": {}, "told": {0: window(40, "cy")}}, Closed(40, 0, "cy")),
        ({"group": NOBODY, "held": {}, "told": {0: Told(mark=ClockMark(CALENDAR.window_end(44)))}}, Closed(44, 1)),
        ({"group": NOBODY, "held": {}, "told": {0: Told(mark=ClockMark(CALENDAR.window_end(44), last=True))}}, Closed(44, 2)),
    ],
)
def test_lost_commits_are_made_anew_from_whoever_knows_most(changes: dict[str, object], sent: Closed) -> None:
    [rebuilt] = window_plan(facts(**changes), "x.windows").rebuilt
    assert {decode_note(commit.note) for commit in rebuilt.commits.values()} == {sent}
    assert set(rebuilt.commits) == set(LOGS)


def test_positions_made_anew_lie_behind_every_dead_letter_that_is_out() -> None:
    found = facts(group=NOBODY, lettered={LOGS[0]: 77, LOGS[1]: 12})
    [rebuilt] = window_plan(found, "x.windows").rebuilt
    assert [rebuilt.commits[at].offset for at in LOGS] == [77, 60, 70, 80, 90]
    [rebuilt] = window_plan(dataclasses.replace(found, held={}), "x.windows").rebuilt
    assert [rebuilt.commits[at].offset for at in LOGS] == [77, 12, 10, 10, 10]


def test_a_partition_of_which_nothing_is_out_begins_by_itself() -> None:
    [rebuilt] = window_plan(facts(group=NOBODY, held={}, told={}), "x.windows").rebuilt
    assert (rebuilt.at, rebuilt.state, rebuilt.commits) == ("", "", {})


def test_a_damaged_state_is_no_hindrance_to_resetting_it() -> None:
    damaged = dataclasses.replace(READ, at="junk", state="junk")
    assert window_plan(facts(held={0: damaged}), "x.windows").rebuilt[0].at


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bounds": dict.fromkeys(LOGS, (0, 20))}, "the topic was made anew"),
        ({"layout": encode_layout(Calendar(WindowSpec(hop_ms=DAY_MS)), 1)}, "hop_ms"),
        ({"held": {}, "calendar": Calendar(WindowSpec(size_ms=2 * DAY_MS, hop_ms=DAY_MS))}, "another size, hop or zone"),
        ({"held": {0: READ, 7: dataclasses.replace(READ, number=7)}}, "partition 7"),
        ({"group": NOBODY, "pseudonymous": True}, "names no users"),
    ],
)
def test_what_would_lose_or_double_something_is_refused_with_the_cure(changes: dict[str, object], why: str) -> None:
    with pytest.raises(RefusedError, match=why) as refused:
        window_plan(facts(**changes), "x.windows")
    assert "namespace" in str(refused.value)


def test_under_pseudonyms_a_clock_mark_says_how_far_windows_are_out() -> None:
    found = facts(group=NOBODY, held={}, pseudonymous=True, told={0: Told(mark=ClockMark(CALENDAR.window_end(44)))})
    assert window_plan(found, "x.windows").rebuilt[0].commits


def test_verdicts_go_last_since_they_keep_a_detect_worker_from_starting() -> None:
    plan = detect_plan(NAMES)
    assert plan.delete_records[-1] == "x.verdicts"
    assert plan.delete_groups == ("x.detect",)
    assert not plan.empty
    assert not plan.rebuilt


def test_resetting_all_touches_neither_events_nor_dead_letters() -> None:
    plan = all_plan(NAMES, [1, 0])
    touched = {*plan.delete_records, *plan.tombstones}
    assert touched == {f"x.{role}" for role in ("windows", "verdicts", "alerts", "alert_memory", "incidents", "incident_memory")}
    assert set(plan.delete_groups) == {"x.window", "x.detect", "x.correlate"}
    assert plan.empty == (0, 1)
    assert correlate_plan(NAMES).delete_records == ("x.incidents",)
