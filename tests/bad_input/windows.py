"""Broken window records, each made from a good one, beside the reason under which it must be found among the dead letters."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.bad_input.case import Case

Record: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BrokenWindow:
    """What becomes of a good window record, and of its key and partition."""

    case: Case
    made: Callable[[Record], bytes | None]
    key: bytes | None = b""
    """Empty: the window's user."""
    headers: tuple[tuple[str, bytes], ...] = ()
    elsewhere: bool = False


def _with(**parts: Any) -> Callable[[Record], bytes]:
    return lambda record: json.dumps(record | parts).encode()


def _without(part: str) -> Callable[[Record], bytes]:
    return lambda record: json.dumps({name: value for name, value in record.items() if name != part}).encode()


def _event(**fields: Any) -> Callable[[Record], bytes]:
    """The first event changed, in a window that is alarming enough to be looked at closely."""
    return lambda record: json.dumps(record | {"events": [record["events"][0] | fields, *record["events"][1:]]}).encode()


def _less_one_feature(record: Mapping[str, Any]) -> bytes:
    features = dict(record["features"])
    features.pop(next(iter(features)))
    return json.dumps({**record, "features": features}).encode()


def _case(name: str, reason: str, message: str) -> Case:
    return Case(name, "detect", f"{reason}: {message}", 0, f"dead letter `{reason}`")


_SHAPE = "window … lacks a part or has one of the wrong shape"

BROKEN_WINDOWS: tuple[BrokenWindow, ...] = (
    BrokenWindow(_case("a window that is no JSON", "bad_window", "a window record is not JSON"), lambda _: b"\x00\xff"),
    BrokenWindow(_case("an empty window record", "bad_window", "a window record is not JSON"), lambda _: b""),
    BrokenWindow(
        _case("a window of another schema", "bad_window", "a window record is not of schema daywatch.window/1"),
        _with(schema="daywatch.window/2"),
    ),
    BrokenWindow(
        _case("an event among the windows", "bad_window", "a window record is not of schema daywatch.window/1"),
        lambda record: json.dumps(record["events"][0]).encode(),
    ),
    BrokenWindow(_case("a window without events", "bad_window", _SHAPE), _without("events")),
    BrokenWindow(_case("a window whose counts do not add up", "bad_window", _SHAPE), _with(omitted={})),
    BrokenWindow(
        _case("a window whose features are texts", "bad_window", _SHAPE), lambda r: _with(features=dict.fromkeys(r["features"], "nan"))(r)
    ),
    BrokenWindow(_case("a window that starts yesterday", "bad_window", _SHAPE), _with(start="yesterday")),
    BrokenWindow(_case("a window that ends before it begins", "bad_window", _SHAPE), lambda r: _with(start=r["end"], end=r["start"])(r)),
    BrokenWindow(_case("an event in a window at no time", "bad_window", _SHAPE), _event(ts="in the morning")),
    BrokenWindow(_case("an event in a window without id", "bad_window", _SHAPE), _event(id="")),
    BrokenWindow(_case("an event in a window of an unknown kind", "bad_window", _SHAPE), _event(kind="phone")),
    BrokenWindow(_case("an event in a window with a list for the pc", "bad_window", _SHAPE), _event(pc=["PC-1"])),
    BrokenWindow(
        _case("a window that lacks a feature", "foreign_window", "window … lacks feature … another version made it"), _less_one_feature
    ),
    BrokenWindow(_case("a window under another user's key", "misrouted", "key, user and partition of a window"), _with(), key=b"bo"),
    BrokenWindow(_case("a window without a key", "misrouted", "key, user and partition of a window"), _with(), key=None),
    BrokenWindow(
        _case("a window in another user's partition", "misrouted", "key, user and partition of a window"), _with(), elsewhere=True
    ),
    BrokenWindow(_case("a null among the windows", "bad_mark", "a null value without the header daywatch-clock"), lambda _: None, key=None),
)


# verdicts and alerts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BrokenResult:
    """A record on the topic of verdicts or of alerts."""

    case: Case
    role: str
    value: bytes | None
    key: bytes | None = b"ana"


def _result(name: str, role: str, value: bytes | None, reason: str, message: str, key: bytes | None = b"ana") -> BrokenResult:
    return BrokenResult(Case(name, "correlate", f"{reason}: {message}", 0, f"dead letter `{reason}`"), role, value, key)


def _alert(**parts: Any) -> bytes:
    """An alert of ana that would pass but for these parts."""
    info = {"uid": "a1", "created_time": 1_262_649_600_000, "title": "", "related_events": []}
    whole = {
        "class_uid": 2004, "time": 1_262_649_600_000, "risk_score": 50, "actor": {"user": {"name": "ana"}}, "finding_info": info
    }  # fmt: skip
    return json.dumps(whole | parts).encode()


def _verdict(**parts: Any) -> bytes:
    return json.dumps({"user": "ana", "end": "2010-01-05T00:00:00+00:00"} | parts).encode()


BROKEN_RESULTS: tuple[BrokenResult, ...] = (
    _result("a verdict that is no JSON", "verdicts", b"{broken", "bad_verdict", "no verdict: JSONDecodeError"),
    _result("a verdict without user", "verdicts", b'{"end": "2010-01-05T00:00:00+00:00"}', "bad_verdict", "no verdict: KeyError"),
    _result(
        "a verdict without offset in its time", "verdicts", _verdict(end="2010-01-05T00:00:00"), "bad_verdict", "no verdict: ValueError"
    ),
    _result("a verdict of the year 9999", "verdicts", _verdict(end="9999-12-31T00:00:00+00:00"), "bad_verdict", "no verdict: ValueError"),
    _result("a verdict under another user's key", "verdicts", _verdict(), "misrouted", "…", b"bo"),
    _result("a tombstone among the verdicts", "verdicts", None, "bad_mark", "a null value without the header daywatch-clock"),
    _result("an alert that is no JSON, for its story", "alerts", b"\xff\xfe", "bad_alert", "no alert: JSONDecodeError"),
    _result("an alert of another class", "alerts", _alert(class_uid=2001), "bad_alert", "no alert: ValueError"),
    _result("an alert of nobody, for its story", "alerts", _alert(actor={}), "bad_alert", "no alert: KeyError"),
    _result("an alert of the year 300,000, for its story", "alerts", _alert(time=10**16), "bad_alert", "no alert: ValueError"),
    _result(
        "an alert that cites what is no event",
        "alerts",
        _alert(finding_info={"uid": "a", "created_time": 1, "related_events": ["x"]}),
        "bad_alert",
        "no alert: …",
    ),
    _result("an alert without a key", "alerts", _alert(), "misrouted", "…", None),
)
