import json
import logging
from collections.abc import Iterator

import pytest

from daywatch import logs
from daywatch.settings import LogSettings
from stream.notes import logger_of, note


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    log = logging.getLogger("daywatch")
    handlers, level = list(log.handlers), log.level
    yield
    log.handlers[:] = handlers
    log.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.splitlines()


def test_as_text_a_line_is_what_every_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(LogSettings())
    note(logger_of("window"), logging.INFO, "assigned", "holds 4 of 4 partitions", partitions=[0, 1])
    note(logger_of("detect"), logging.WARNING, "recovery", "recovering: no answer", failures=1)
    note(logger_of("detect"), logging.DEBUG, "detail", "not to be seen")
    assert lines(capsys) == ["daywatch window: holds 4 of 4 partitions", "daywatch detect: warning: recovering: no answer"]


def test_as_json_a_line_is_one_object_with_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(LogSettings(format="json", level="debug"))
    note(logger_of("window"), logging.INFO, "assigned", "holds 1 of 4 partitions", partitions=[2], of=4)
    note(logger_of("window"), logging.DEBUG, "detail", "two\nlines")
    note(logger_of("replay"), logs.NOTICE, "summary", "  done")
    first, second, third = (json.loads(line) for line in lines(capsys))
    when = first.pop("time")
    assert when.endswith("Z")
    assert when[10] == "T"
    assert first == {
        "level": "info", "role": "window", "event": "assigned", "message": "holds 1 of 4 partitions", "facts": {"partitions": [2], "of": 4},
    }  # fmt: skip
    assert (second["message"], second["level"]) == ("two lines", "debug")
    assert (third["message"], third["level"], third["role"]) == ("done", "notice", "replay")


def test_when_it_is_to_be_quiet_only_the_end_and_what_is_wrong_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(LogSettings(level="debug"), quiet=True)
    for level in (logging.DEBUG, logging.INFO, logs.NOTICE, logging.WARNING):
        note(logger_of("window"), level, "x", f"level {level}")
    assert lines(capsys) == ["daywatch window: level 25", "daywatch window: warning: level 30"]


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_nothing_below_the_level_is_written(level: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(LogSettings(level=level))  # type: ignore[arg-type]
    for each in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        note(logger_of("window"), each, "x", "y")
    assert len(lines(capsys)) == count


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exceptions_words_are_never_written(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(LogSettings(format=form))  # type: ignore[arg-type]
    try:
        raise KeyError("ANA0001 opened plan.docx")
    except KeyError:
        logger_of("window").exception("unforeseen")
    [line] = lines(capsys)
    assert "unforeseen (KeyError)" in line
    assert "ANA0001" not in line


def test_last_words_are_json_where_the_other_lines_are(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(LogSettings())
    assert not logs.last_words("gone")
    logs.begin(LogSettings(format="json", level="error"))
    assert logs.last_words("the store is away")
    [line] = lines(capsys)
    found = json.loads(line)
    assert (found["level"], found["event"], found["message"]) == ("error", "failed", "the store is away")


def test_beginning_again_does_not_write_twice(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin(LogSettings())
    logs.begin(LogSettings())
    note(logger_of("window"), logging.INFO, "x", "once")
    assert lines(capsys) == ["daywatch window: once"]
