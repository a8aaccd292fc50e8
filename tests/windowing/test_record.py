"""Promises of `windowing.record`: only whole window records are read, and identities hold no names."""

import orjson
import pytest

from stream.kinds import KINDS
from windowing.record import BadWindow, is_intact, parse_window, window_id

EVENT = {"kind": "logon", "id": "a", "ts": "2010-01-04T08:00:00+00:00", "pc": "PC-1", "activity": "Logon"}
GOOD = {
    "schema": "daywatch.window/1",
    "id": "0" * 32,
    "user": "ana",
    "start": "2010-01-04T00:00:00+00:00",
    "end": "2010-01-05T00:00:00+00:00",
    "learning": True,
    "counts": dict.fromkeys(map(str, KINDS), 0) | {"logon": 2},
    "features": {"n_logon": 2.0},
    "events": [EVENT],
    "omitted": dict.fromkeys(map(str, KINDS), 0) | {"logon": 1},
}


def test_a_whole_record_is_read_and_what_is_not_there_is_empty() -> None:
    window = parse_window(orjson.dumps(GOOD))
    assert (window.user, window.learning, window.counts["logon"], window.omitted["logon"]) == ("ana", True, 2, 1)
    assert window.new == window.omitted_domains == window.context == {}


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "daywatch.window/2"},
        {"events": []},
        {"events": [{"kind": "logon", "id": 7, "ts": "", "pc": ""}]},
        {"events": [{"kind": "phone", "id": "a", "ts": "", "pc": ""}]},
        {"counts": None},
        {"user": ""},
        {"features": []},
        {"features": {"n_logon": "nan"}},
        {"features": {"n_logon": True}},
        {"counts": GOOD["counts"] | {"logon": "2"}},  # type: ignore[operator]
        {"counts": GOOD["counts"] | {"http": -1}, "omitted": GOOD["omitted"] | {"http": -1}},  # type: ignore[operator]
        {"start": "2010-01-04"},
        {"start": "2010-01-04T00:00:00"},
        {"start": "2010-13-04T00:00:00+00:00"},
        {"end": GOOD["start"]},
        {"end": 1262649600000},
        {"events": [EVENT | {"ts": "in the morning"}]},
        {"events": [EVENT | {"id": ""}]},
        {"events": [EVENT | {"activity": 3}]},
        {"events": [EVENT | {"kind": "email", "attachments": "many"}], "counts": GOOD["counts"] | {"logon": 1, "email": 1}},  # type: ignore[operator]
        {"events": ["logon"]},
        {"new": {"domain": "a.com"}},
        {"new": {"domain": [1]}},
        {"context": {"role": 1}},
        {"digest": 5},
    ],
)
def test_a_record_with_a_wrong_part_is_poison(change: dict[str, object]) -> None:
    with pytest.raises(BadWindow):
        parse_window(orjson.dumps(GOOD | change))


@pytest.mark.parametrize("value", [b"", b"[]", b"{", b"\xff"])
def test_what_is_no_record_is_poison(value: bytes) -> None:
    with pytest.raises(BadWindow):
        parse_window(value)


def test_errors_name_no_user() -> None:
    with pytest.raises(BadWindow) as found:
        parse_window(orjson.dumps(GOOD | {"user": "ana", "events": []}))
    assert "ana" not in str(found.value)


def test_the_identity_of_a_window_depends_on_user_and_span_and_shows_neither() -> None:
    one = window_id("ana", "a", "b")
    assert one == window_id("ana", "a", "b")
    assert len({one, window_id("bob", "a", "b"), window_id("ana", "c", "b"), window_id("ana", "a", "c")}) == 4
    assert set(one) <= set("0123456789abcdef")


def test_a_record_without_a_digest_is_not_intact() -> None:
    assert not is_intact(orjson.dumps(GOOD))
