import re
from pathlib import Path

from daywatch import watched
from stream.metrics import METRICS

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(daywatch_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", re.MULTILINE)


def test_the_page_lists_every_metric_as_the_table_has_it() -> None:
    listed = [(name, kind, re.findall(r"`(\w+)`", labels), text) for name, kind, labels, text in ROW.findall(PAGE)]
    assert listed == [(one.name, type(one).__name__.lower(), list(one.labels), one.help) for one in METRICS]


def test_the_page_names_no_metric_that_there_is_not() -> None:
    names = {one.name for one in METRICS}
    assert set(re.findall(r"\bdaywatch_[a-z_]+", PAGE)) <= names


def test_the_page_names_every_kind_of_log_line() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \| (?:info|warning|notice|error) \|", PAGE, re.MULTILINE)) | {"message", "warning"}
    written: set[str] = set()
    root = Path(watched.__file__).parents[1]
    for package in ("stream", "windowing", "detector", "sinks", "daywatch"):
        for path in (root / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            written |= set(re.findall(r"\bnote\(\s*[\w.]+,\s*(?:logging\.\w+|NOTICE|level),\s*\"(\w+)\"", text))
            written |= set(re.findall(r"\"event\": \"(\w+)\"", text))
    assert {"assigned", "recovery", "progress", "summary", "failed"} <= written
    assert written <= listed
