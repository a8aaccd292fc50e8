import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.logline.lines import MOST_LINE, MOST_TEXT, NoLine, event_line, masked, record_line
from stream.kinds import FIELDS, KINDS, Kind


def test_an_events_line_leaves_out_who_where_and_when() -> None:
    one = {"kind": "http", "id": "{a}", "user": "ana", "ts": "2010-01-04T08:00:00Z", "pc": "PC-1", "url": "http://x.com/a", "content": "w"}
    other = one | {"id": "{b}", "user": "bob", "ts": "2010-02-04T23:00:00Z", "pc": "PC-2"}
    assert event_line(one) == event_line(other) == "http url=http://x.com/a content=w"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_has_a_line_even_without_its_fields(kind: Kind) -> None:
    assert event_line({"kind": kind.value, "id": "{a}"})
    full = {"kind": kind.value, "id": "{a}"} | {name: 3 if name in ("size", "attachments") else f"<{name}>" for name in FIELDS[kind]}
    line = event_line(full)
    assert all(f"<{name}>" in line for name in FIELDS[kind] if name not in ("size", "attachments"))


def test_an_events_line_stays_one_line_and_short() -> None:
    line = event_line({"kind": "file", "filename": "a\nb", "content": "x " * 10_000})
    assert "\n" not in line
    assert len(line) < 3 * MOST_TEXT


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({"message": "disk full"}, "disk full"),
        ({"level": "error", "msg": "disk full"}, "error: disk full"),
        ({"log": "a\n", "stream": "stdout"}, "a"),
        ({"event": {"original": "raw text"}, "host": "h"}, "raw text"),
        ({"event.original": "raw text"}, "raw text"),
        ({"MESSAGE": "journal", "_PID": "1"}, "journal"),
        ({"kind": "logon", "id": "{e}", "user": "ana", "activity": "Logoff"}, "logon activity=Logoff"),
    ],
)
def test_a_json_records_line_is_where_loggers_put_it(record: dict[str, object], line: str) -> None:
    assert record_line(json.dumps(record).encode()) == line


@pytest.mark.parametrize("value", [b"\xff\xfe", b"", b" \n", b'{"a": 1}', b'{"message": ""}', b'{"message": 3}'])
def test_a_record_without_a_line_is_poison(value: bytes) -> None:
    with pytest.raises(NoLine):
        record_line(value)


def test_what_only_looks_like_json_is_a_line_of_text() -> None:
    assert record_line(b"{started} pool of {8}") == "{started} pool of {8}"


def test_a_line_is_cut_where_no_model_reads_on() -> None:
    assert len(record_line(b"x" * 100_000)) == MOST_LINE


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("2025-01-04T08:12:33.123+01:00 web01 nginx[7]: up", "web01 nginx: up"),
        ("<34>Oct 11 22:14:15 web01 su[230]: failed", "web01 su: failed"),
        ("[04/Jan/2025:08:12:33 +0000] GET", "GET"),
        ("2025-01-04 08:12:33,123 ERROR boom", "ERROR boom"),
        ("01/04/2025 08:12:33 PM EventID=4625 from 203.0.113.9", "EventID=4625 from outside"),
        ("SRC=10.2.3.4 DST=192.168.0.1", "SRC=inside DST=inside"),
        ("commit 3f9a0c1b7e2d by d1f0a6b2-0a1b-4c3d-8e9f-001122334455", "commit hex by uuid"),
        ("deadbeef cafe decade", "deadbeef cafe decade"),
        ("error 500 on port 443", "error 500 on port 443"),
        ("2025-01-04 08:12:33", "2025-01-04 08:12:33"),
    ],
)
def test_masking_takes_times_and_long_numbers_and_leaves_what_means_something(line: str, kept: str) -> None:
    assert masked(line) == kept


@given(st.text(min_size=1, max_size=200))
def test_masking_never_leaves_nothing_of_something(line: str) -> None:
    assert bool(masked(line)) == bool(line.strip())
