"""Silence is counted in time in which polls were answered, and made visible by marks."""

from stream.kinds import KINDS, Kind
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.clocks import LONG_AGO
from windowing.silence import Silence

T0 = 1_262_563_200_000
MINUTE = 60_000
CALENDAR = Calendar(WindowSpec(hop_ms=DAY_MS))


def silent(kinds: tuple[Kind, ...] = KINDS, for_ms: int = 2 * MINUTE) -> Silence:
    silence = Silence()
    silence.listen(0, spoke=(), ended=kinds, unheard=())
    silence.listen(for_ms, spoke=(), ended=(), unheard=())
    return silence


def marks(silence: Silence, clocks: dict[Kind, int], now_ms: int = T0, paused: tuple[Kind, ...] = ()) -> dict[Kind, int]:
    return silence.marks(clocks, paused, MINUTE, now_ms, 2 * DAY_MS, CALENDAR)


def test_only_a_log_at_its_end_is_silent_and_an_event_ends_the_silence() -> None:
    silence = silent((Kind.LOGON,))
    assert silence.for_ms(Kind.LOGON) == 2 * MINUTE
    assert silence.for_ms(Kind.HTTP) == 0
    silence.listen(1, spoke={Kind.LOGON}, ended=(), unheard=())
    assert silence.for_ms(Kind.LOGON) == 0


def test_time_in_which_nothing_could_be_heard_is_no_silence() -> None:
    silence = silent((Kind.LOGON,))
    silence.listen(MINUTE, spoke=(), ended=(), unheard=KINDS)
    assert silence.for_ms(Kind.LOGON) == 0
    silence.listen(MINUTE, spoke=(), ended=(), unheard=())
    assert silence.for_ms(Kind.LOGON) == MINUTE


def test_a_silent_log_follows_the_newest_clock_and_a_paused_one_does_not() -> None:
    clocks = dict.fromkeys(KINDS, T0 + 5 * DAY_MS) | {Kind.LOGON: T0, Kind.FILE: LONG_AGO}
    assert marks(silent((Kind.LOGON, Kind.FILE)), clocks) == {Kind.LOGON: T0 + 5 * DAY_MS, Kind.FILE: T0 + 5 * DAY_MS}
    assert marks(silent((Kind.LOGON, Kind.FILE)), clocks, paused=(Kind.LOGON,)) == {Kind.FILE: T0 + 5 * DAY_MS}


def test_when_all_are_silent_at_the_present_time_their_clocks_go_on() -> None:
    clocks = dict.fromkeys(KINDS, T0)
    assert marks(silent(for_ms=3 * MINUTE), clocks, now_ms=T0 + MINUTE) == dict.fromkeys(KINDS, T0 + 3 * MINUTE)
    assert marks(silent(for_ms=3 * MINUTE), clocks, now_ms=T0 + 9 * DAY_MS) == {}


def test_marks_are_seldom_except_where_a_window_ends() -> None:
    silence = silent(for_ms=2 * MINUTE)
    end = T0 + DAY_MS
    clocks = dict.fromkeys(KINDS, end - 125_000)
    assert marks(silence, clocks, now_ms=end) == dict.fromkeys(KINDS, end - 5_000)
    clocks = dict.fromkeys(KINDS, end - 5_000)
    silence.listen(1_000, spoke=(), ended=(), unheard=())
    assert marks(silence, clocks, now_ms=end) == {}
    silence.listen(4_000, spoke=(), ended=(), unheard=())
    assert marks(silence, clocks, now_ms=end) == dict.fromkeys(KINDS, end)


def test_before_any_event_there_is_nothing_to_follow() -> None:
    assert marks(silent(), dict.fromkeys(KINDS, LONG_AGO)) == {}
