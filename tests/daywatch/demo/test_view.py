import io

from rich.console import Console

from daywatch.demo.view import Seen, View
from stream.kinds import Kind

NOON_MS = 1_262_606_400_000  # 2010-01-04 12:00 UTC


def shown(*states: Seen, terminal: bool = False, zone: str = "UTC") -> str:
    out = io.StringIO()
    with View(Console(file=out, force_terminal=terminal, width=120), "daywatch demo", zone) as view:
        for state in states:
            view.show(state)
        view.say("an alert")
    return out.getvalue()


def state(elapsed_ms: int) -> Seen:
    return Seen(
        "streaming",
        elapsed_ms,
        2_000,
        NOON_MS - 3 * 86_400_000,
        10,
        {Kind.HTTP: 900, Kind.LOGON: 100},
        2_000,
        NOON_MS,
        40,
        30,
        {"malicious": 1},
        2,
        1,
    )


def test_elsewhere_than_on_a_terminal_a_line_every_five_seconds_says_it_all() -> None:
    later = state(5_000)
    later.windows = 41
    lines = shown(state(0), state(4_999), later).splitlines()
    assert len(lines) == 3
    assert "1,000 of 2,000 events" in lines[0]
    assert "clock Mon 2010-01-04 12:00, 41 windows, 30 judged, 2 alerts" in lines[1]
    assert lines[2] == "an alert"


def test_while_nothing_changes_a_line_now_and_then_says_that_it_is_still_alive() -> None:
    lines = shown(*(state(at_ms) for at_ms in range(0, 65_000, 5_000))).splitlines()
    assert [line.split()[0] for line in lines] == ["0", "30", "60", "an"]


def test_the_clock_is_the_organisations() -> None:
    assert "clock Mon 2010-01-04 17:30" in shown(state(0), zone="Asia/Kolkata")


def test_on_a_terminal_a_panel_shows_events_clock_windows_and_alerts() -> None:
    console = Console(file=io.StringIO(), width=120, record=True)
    view = View(console, "daywatch demo", "UTC")
    view.say(view.panel(state(2_000)))
    text = console.export_text()
    for words in ("http 900", "500 a second", "Mon 2010-01-04 12:00", "40 closed, 30 judged", "malicious 1", "1 updates", "day 3 of 10"):
        assert words in text


def test_what_is_said_stays_on_the_terminal_when_the_panel_has_gone() -> None:
    assert "an alert" in shown(state(2_000), terminal=True)


def test_before_anything_has_come_there_is_nothing_to_divide_by() -> None:
    assert "clock –" in shown(Seen())
    assert "–" in shown(Seen(), terminal=True)


def test_how_much_a_language_model_has_read_is_shown_when_there_is_one() -> None:
    with_a_model = state(0)
    with_a_model.read = 3
    assert "30 judged (3 by the model), 2 alerts" in shown(with_a_model)
    assert "by the model" not in shown(state(0))
    console = Console(file=io.StringIO(), width=120, record=True)
    view = View(console, "daywatch demo", "UTC")
    view.say(view.panel(with_a_model))
    assert "3 windows read, 10.0 %" in console.export_text()
