"""How long a log is used to being silent, and when a silence goes beyond that."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from windowing.habits import HOUR_MS, Habits

MINUTE = 60_000
DAY = 24 * HOUR_MS
WEEK = 7 * DAY
# a Monday, 00:00 UTC
MONDAY = 4 * DAY + 2_000 * WEEK


def working_weeks(weeks: int, every_ms: int = 5 * MINUTE, skipped: frozenset[int] = frozenset()) -> np.ndarray:
    """Records every few minutes, Monday to Friday from 8 to 18; `skipped` are days of all, on which nobody comes."""
    times = [
        MONDAY + week * WEEK + day * DAY + at
        for week in range(weeks) for day in range(5) if week * 7 + day not in skipped
        for at in range(8 * HOUR_MS, 18 * HOUR_MS, every_ms)
    ]  # fmt: skip
    return np.array(times, np.int64)


def learned(weeks: int, **how: object) -> Habits:
    habits = Habits()
    habits.hear(working_weeks(weeks, **how), HOUR_MS)  # type: ignore[arg-type]
    return habits


def test_nights_and_weekends_are_no_finding() -> None:
    habits = Habits()
    assert habits.hear(working_weeks(10), HOUR_MS) == []


def test_a_morning_on_which_nobody_comes_is_one_by_the_next_hours() -> None:
    habits = learned(6)
    due = habits.due_ms(HOUR_MS)
    assert due is not None
    # last heard on Friday at 17:55; on Monday people come at 8
    assert MONDAY + 6 * WEEK + 9 * HOUR_MS < due <= MONDAY + 6 * WEEK + 11 * HOUR_MS


def test_a_silence_in_the_midst_of_the_day_is_one_after_the_least_time() -> None:
    habits = learned(6)
    tuesday = MONDAY + 6 * WEEK + DAY
    habits.hear(np.arange(tuesday - DAY + 8 * HOUR_MS, tuesday - DAY + 18 * HOUR_MS, 5 * MINUTE, dtype=np.int64), HOUR_MS)
    habits.hear(np.arange(tuesday + 8 * HOUR_MS, tuesday + 11 * HOUR_MS + 1, 5 * MINUTE, dtype=np.int64), HOUR_MS)
    assert habits.due_ms(HOUR_MS) == tuesday + 12 * HOUR_MS
    assert habits.due_ms(2 * HOUR_MS) == tuesday + 13 * HOUR_MS


def test_a_silence_goes_beyond_habit_when_it_has_lasted_one_and_a_half_times_as_long() -> None:
    habits = Habits()
    habits.hear(np.arange(MONDAY, MONDAY + 3 * WEEK, 2 * HOUR_MS, dtype=np.int64), HOUR_MS)
    assert habits.due_ms(HOUR_MS) == habits.last_ms + 3 * HOUR_MS


def test_one_holiday_does_not_blind_it_for_the_weeks_after() -> None:
    without = learned(8)
    with_one = learned(8, skipped=frozenset({4 * 7}))  # the fifth Monday
    assert with_one.due_ms(HOUR_MS) == without.due_ms(HOUR_MS)


def test_a_silence_that_ended_is_told_with_when_it_was_too_long() -> None:
    habits = learned(6)
    back = MONDAY + 6 * WEEK + 14 * HOUR_MS
    due = habits.due_ms(HOUR_MS)
    [broken] = habits.hear(np.array([back, back + MINUTE], np.int64), HOUR_MS)
    assert (broken.due_ms, broken.end_ms, broken.place) == (due, back, 0)
    assert broken.since_ms == MONDAY + 5 * WEEK + 4 * DAY + 17 * HOUR_MS + 55 * MINUTE


def test_nothing_is_said_before_two_weeks_have_been_heard() -> None:
    habits = learned(1)
    assert habits.due_ms(HOUR_MS) is None
    assert habits.hear(np.array([MONDAY + 3 * WEEK], np.int64), HOUR_MS) == []


def test_a_log_that_was_never_heard_is_never_silent() -> None:
    assert Habits().due_ms(HOUR_MS) is None


def test_habits_change_when_people_do() -> None:
    habits = learned(8)
    late = MONDAY + 8 * WEEK
    # from now on work begins at ten: two weeks later that is what it is used to
    for day in range(21):
        if day % 7 < 5:
            start = late + day * DAY + 10 * HOUR_MS
            found = habits.hear(np.arange(start, start + 8 * HOUR_MS, 5 * MINUTE, dtype=np.int64), HOUR_MS)
            assert not found or day < 14
    assert habits.hear(np.array([late + 21 * DAY + 10 * HOUR_MS], np.int64), HOUR_MS) == []


@given(st.lists(st.integers(0, 9 * WEEK), min_size=2, max_size=60), st.data())
def test_what_is_learned_does_not_depend_on_the_batches(ats: list[int], data: st.DataObject) -> None:
    stamps = MONDAY + np.array(ats, np.int64)
    whole = Habits()
    told = whole.hear(stamps, HOUR_MS)
    cut = data.draw(st.integers(1, len(ats) - 1))
    parts = Habits()
    first = parts.hear(stamps[:cut], HOUR_MS)
    parts = Habits.decode(parts.encode(), parts.last_ms)
    second = parts.hear(stamps[cut:], HOUR_MS)
    assert (parts.gaps == whole.gaps).all()
    assert parts.weeks == whole.weeks
    assert [one.end_ms for one in told] == [one.end_ms for one in (*first, *second)]
