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
