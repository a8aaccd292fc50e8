import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from detector.evaluation.metrics import curve
from sinks.charts import Day, Line, recall_precision, timeline, unit_chart
from sinks.report import clean, write_report
from sinks.scorecard import scorecard
from tests.sinks.made_up import MadeUp


@pytest.fixture
def page(tmp_path: Path) -> str:
    run = MadeUp()
    run.write_answers(tmp_path)
    write_report(scorecard(tmp_path, run.windows, run.verdicts, run.alerts, replicates=0), tmp_path / "report.html")
    return (tmp_path / "report.html").read_text()


class _Balanced(HTMLParser):
    VOID = frozenset({"meta", "line", "rect", "path", "circle", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    assert not re.search(r"\b(?:src|href)=|@import|url\(", page)
    assert "default-src 'none'" in page


def test_every_tag_that_opens_closes(page: str) -> None:
    parser = _Balanced()
    parser.feed(page)
    assert parser.open == []
    assert {"svg", "table", "details"} <= parser.seen


def test_event_text_is_shown_and_never_becomes_markup(page: str) -> None:
    assert "&lt;b&gt;" in page
    assert "<b>3</b>" not in page
    assert "<script" not in page


def test_there_is_a_timeline_for_each_insider(page: str) -> None:
    for scenario in (1, 2, 3):
        assert f"USR{scenario - 1:04} · scenario {scenario}" in page
    assert page.count('class="timeline"') == 3


def test_light_and_dark_readers_are_both_served(page: str) -> None:
    assert "prefers-color-scheme:dark" in page


def test_text_loses_what_could_mislead_the_eye_and_is_cut() -> None:
    assert clean("a\u202eb\u2066c\x00d\u200be") == "abcde"
    assert clean("x" * 500, most=10) == "x" * 9 + "…"


def test_the_curve_starts_at_no_recall_ends_at_all_of_it_and_skips_what_the_eye_cannot_part() -> None:
    truth, score = np.arange(5000) % 2 == 0, np.linspace(1, 0, 5000)
    points = recall_precision(curve(truth, score))
    assert points[0] == (0.0, 1.0)
    assert points[-1][0] == pytest.approx(1.0, abs=0.003)
    assert len(points) < 1200
    assert recall_precision(curve(np.zeros(3, bool), np.arange(3.0))) == []


def test_names_in_drawings_are_escaped() -> None:
    drawn = unit_chart([Line("<i>", "a", [(0, 0), (1, 1)], [(0.5, 0.5, "<u>")])], "x", "y", "<t>")
    drawn += timeline([Day("<day>", "<tick>", 0.5, True, 1, 1, 1)], "<t>")
    assert not re.search(r"<(?:i|u|t|day|tick)>", drawn.replace('<i class="swatch a"></i>', ""))
