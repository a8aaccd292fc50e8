"""A topic-partition's clock: what raises it, what it refuses, and that batches do not matter."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from windowing.clocks import LONG_AGO, ClockSpec, Mark, TopicClock, read_clock

SPEC = ClockSpec(out_of_orderness_ms=10, max_jump_ms=1_000, future_tolerance_ms=100)
NOW = 1_000_000


def read(clock: TopicClock, events: list[tuple[int, str]], marks: list[Mark] | None = None, stamp: int = NOW, spec: ClockSpec = SPEC):  # type: ignore[no-untyped-def]
    marks = marks or []
    taken = {mark.row for mark in marks}
    rows = [row for row in range(len(events) + len(marks)) if row not in taken]
    n = len(events)
    return read_clock(
        clock,
        np.array(rows, np.int64),
        np.array([t for t, _ in events], np.int64),
        np.full(n, stamp, np.int64),
        [u for _, u in events],
        marks,
        spec,
    )


def test_the_clock_is_the_newest_event_less_the_out_of_orderness() -> None:
    reading = read(TopicClock(), [(100, "a"), (150, "b"), (120, "a"), (155, "a")])
    assert reading.before.tolist() == [LONG_AGO, 90, 140, 140]
    assert reading.after.at_ms == 145


def test_a_mark_raises_as_it_stands_and_never_lowers() -> None:
    reading = read(TopicClock(), [(100, "a"), (110, "a"), (120, "a")], [Mark(1, 500), Mark(3, 200)])
    assert reading.before.tolist() == [LONG_AGO, 500, 500]
    assert reading.after.at_ms == 500
    assert reading.after.marked


def test_an_event_later_than_its_own_record_is_refused_and_raises_nothing() -> None:
    reading = read(TopicClock(), [(100, "a"), (NOW + 101, "b"), (NOW + 100, "a")], spec=ClockSpec(10, 10**9, 100))
    assert reading.future.tolist() == [False, True, False]
    assert reading.before.tolist() == [LONG_AGO, 90, 90]


def test_one_user_cannot_make_the_clock_leap() -> None:
    reading = read(TopicClock(), [(100, "a"), (50_000, "x"), (60_000, "x"), (110, "b")])
    assert reading.after.at_ms == 100
    assert (reading.after.pending_ms, reading.after.pending_user) == (60_000, "x")


def test_a_second_user_confirms_a_leap_as_far_as_both_have_come() -> None:
    reading = read(TopicClock(), [(100, "a"), (50_000, "x"), (40_000, "b"), (40_010, "a")])
    assert reading.before.tolist() == [LONG_AGO, 90, 90, 39_990]
    assert reading.after.at_ms == 40_000
    assert reading.after.pending_ms == 50_000


def test_a_leap_is_remembered_between_batches() -> None:
    first = read(TopicClock(), [(100, "a"), (50_000, "x")])
    second = read(first.after, [(50_005, "b")])
    assert second.after.at_ms == 49_990


def test_a_mark_confirms_a_leap() -> None:
    reading = read(TopicClock(), [(100, "a"), (50_000, "x"), (50_500, "x")], [Mark(2, 50_000)])
    assert reading.after.at_ms == 50_490


def test_the_last_mark_is_remembered_until_events_follow() -> None:
    ended = read(TopicClock(), [(100, "a")], [Mark(1, 500, last=True)])
    assert ended.after.last_ms == 500
    assert read(ended.after, []).after.last_ms == 500
    assert read(ended.after, [], [Mark(0, 600, idle=True)]).after.last_ms == 500
    assert read(ended.after, [(700, "a")]).after.last_ms == LONG_AGO


def test_a_worker_s_own_mark_does_not_say_that_a_replay_is_under_way() -> None:
    assert not read(TopicClock(), [], [Mark(0, 600, idle=True)]).after.marked


logs = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.integers(0, 5_000), st.sampled_from("abc")),
        st.tuples(st.just("mark"), st.integers(0, 5_000), st.booleans()),
    ),
    max_size=40,
)


def by_rule(log: list[tuple[str, int, object]]) -> tuple[list[int], int]:
    """The rule, record by record."""
    at, pending, user, before = LONG_AGO, LONG_AGO, "", []
    for what, when, who in log:
        if what == "mark":
            at = max(at, when)
            continue
        before.append(at)
        if at == LONG_AGO or when <= at + SPEC.max_jump_ms:
            at = max(at, when - SPEC.out_of_orderness_ms)
        elif pending == LONG_AGO or user == who:
            pending, user = max(pending, when), str(who)
        else:
            at = max(at, min(when, pending) - SPEC.out_of_orderness_ms)
            if when > pending:
                pending, user = when, str(who)
    return before, at


@given(log=logs, cuts=st.lists(st.integers(0, 40), max_size=5))
def test_how_a_log_is_cut_into_batches_does_not_matter(log: list[tuple[str, int, object]], cuts: list[int]) -> None:
    clock, before = TopicClock(), []
    edges = [0, *sorted(min(cut, len(log)) for cut in cuts), len(log)]
    for low, high in pairwise(edges):
        part = log[low:high]
        events = [(when, str(who)) for what, when, who in part if what == "event"]
        marks = [Mark(row, when) for row, (what, when, _) in enumerate(part) if what == "mark"]
        reading = read(clock, events, marks)
        before += reading.before.tolist()
        clock = reading.after
    assert (before, clock.at_ms) == by_rule(log)
