"""One record, read strictly: the definition of a good event record. Bytes in, columns or a reason out. Knows no broker and no clock."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from stream.errors import PoisonError
from stream.kinds import FIELDS, KINDS, Kind, Millis
from stream.times import DAY_MS, MAX_TS, MIN_TS
from stream.zones import wall_to_utc

MAX_INTEGER: Final = 2**53
COMMON: Final = ("id", "kind", "ts", "user", "pc")
CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")

_FLAT: Final = frozenset({str, int, float, bool, type(None)})
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - wall times are naive
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What is too much. Sizes in bytes of UTF-8; instants in UTC ms, `[min_ts, max_ts)`."""

    max_record_bytes: int = 1_000_000
    max_id_bytes: int = 256
    max_user_bytes: int = 256
    max_pc_bytes: int = 256
    min_ts: Millis = MIN_TS
    max_ts: Millis = MAX_TS


class BrokenRecordError(PoisonError):
    """One record is no event; `reason` is the code for the dead letter's header."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def decode_strictly(kind: Kind, value: bytes, key: bytes | None, zone: str, limits: DecodeLimits) -> tuple[Any, ...]:
    """Read one record; the columns of an event frame as a tuple. This is the definition of a good record.

    Raises:
        BrokenRecordError: with the reason's code.
    """
    record = _flat_object(kind, value, limits)
    _check_kind(kind, record.get("kind"))
    for name, most in (("id", limits.max_id_bytes), ("user", limits.max_user_bytes), ("pc", limits.max_pc_bytes)):
        _check_name(name, record, most)
    for name, dtype in FIELDS[kind].items():
        _check_type(name, record, dtype)
    ts = _read_time(record.get("ts"), zone, limits)
    if key is None or key != record["user"].encode():
        raise BrokenRecordError("misrouted", "the record's key is not its user" if key is not None else "the record has no key")
    return (record["user"], ts, record["id"], record.get("pc", ""), *(record.get(name) for name in FIELDS[kind]))


def _flat_object(kind: Kind, value: bytes, limits: DecodeLimits) -> dict[str, Any]:
    if len(value) > limits.max_record_bytes:
        raise BrokenRecordError("too_large", f"{len(value)} bytes are more than {limits.max_record_bytes}")
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        try:
            value.decode()
        except UnicodeDecodeError as undecodable:
            raise BrokenRecordError("encoding", f"byte {undecodable.start} is not UTF-8") from error
        raise BrokenRecordError("not_json", f"no JSON at character {error.pos}") from error
    if not isinstance(record, dict):
        raise BrokenRecordError("not_object", f"a JSON {type(record).__name__} instead of an object")
    if not _FLAT.issuperset(map(type, record.values())):
        raise BrokenRecordError("nested", "a field holds a list or an object")
    _check_duplicates(value, record)
    if None in record.values():
        for name in (*COMMON, *FIELDS[kind]):
            if name in record and record[name] is None:
                raise BrokenRecordError("null_field", f"field {name} is null")
    return record


def _check_duplicates(value: bytes, record: Mapping[str, Any]) -> None:
    """Of two equal keys, orjson keeps the last without a word."""
    strings = len(record) + list(map(type, record.values())).count(str)
    if b"\\" not in value and value.count(b'"') == 2 * strings:
        return  # every quotation mark is explained by a field that is left
    try:
        pairs = json.loads(value, object_pairs_hook=list)
    except (RecursionError, ValueError) as error:
        raise BrokenRecordError("nested", "the record is nested too deeply") from error
    if len(pairs) != len(record):
        raise BrokenRecordError("duplicate_key", "a key occurs twice")


def _check_kind(kind: Kind, found: object) -> None:
    if found == kind.value:
        return
    if isinstance(found, str) and found in KINDS:
        raise BrokenRecordError("misrouted", f"a {found} record on the {kind} topic")
    raise BrokenRecordError("unknown_kind", "field kind is missing" if found is None else "field kind names no known kind")


def _check_name(name: str, record: Mapping[str, Any], most: int) -> None:
    found = record.get(name)
    if found is not None and not isinstance(found, str):
        raise BrokenRecordError("bad_type", f"field {name} is no string")
    if not found:
        if name == "pc":
            return
        raise BrokenRecordError(f"missing_{name}", f"field {name} is missing or empty")
    if len(found.encode()) > most:
        raise BrokenRecordError("overlong", f"field {name} is longer than {most} bytes")
    if CONTROL.search(found):
        raise BrokenRecordError("control_character", f"field {name} holds a control character")


def _check_type(name: str, record: Mapping[str, Any], dtype: pl.DataType) -> None:
    if name not in record:
        return
    found = record[name]
    if dtype == pl.String():
        if not isinstance(found, str):
            raise BrokenRecordError("bad_type", f"field {name} is no string")
    elif type(found) is not int or not 0 <= found <= MAX_INTEGER:
        raise BrokenRecordError("bad_type", f"field {name} is no whole number from 0 to 2^53")


def _read_time(found: object, zone: str, limits: DecodeLimits) -> Millis:
    if found is None or found == "":
        raise BrokenRecordError("missing_time", "field ts is missing or empty")
    if not isinstance(found, str):
        raise BrokenRecordError("bad_type", "field ts is no string")
    match = _TIME.fullmatch(found)
    if match is None:
        raise BrokenRecordError("bad_time", "field ts is no ISO 8601 date and time")
    date, time_of_day, fraction, utc, sign, hours, minutes = match.groups()
    try:
        wall = datetime.fromisoformat(f"{date}T{time_of_day}")
    except ValueError as error:
        raise BrokenRecordError("bad_time", "field ts is no date and time of the calendar") from error
    ts = (wall - _EPOCH) // timedelta(milliseconds=1) + int((fraction or "0")[:3].ljust(3, "0"))
    if sign:
        if int(hours) > 23 or int(minutes or 0) > 59:
            raise BrokenRecordError("bad_time", "field ts has an impossible offset")
        ts -= (int(hours) * 60 + int(minutes or 0)) * (60_000 if sign == "+" else -60_000)
    elif not utc and limits.min_ts - DAY_MS <= ts < limits.max_ts + DAY_MS:
        ts = int(wall_to_utc(np.array([ts], np.int64), zone)[0])
    if not limits.min_ts <= ts < limits.max_ts:
        raise BrokenRecordError("impossible_time", "field ts lies outside of the years that events can have")
    return ts
