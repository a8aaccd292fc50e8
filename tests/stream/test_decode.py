"""Decoding: the columnar reading and the strict one agree, and each kind of broken record is refused for its own reason."""

import json
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import decode as module
from stream.decode import BrokenRecordError, Decoded, DecodeLimits, decode, decode_strictly
from stream.encode import encode
from stream.kinds import FIELDS, KINDS, Kind, frame_schema

LIMITS = DecodeLimits()
GOOD: dict[str, Any] = {"id": "{E1}", "kind": "http", "ts": "2010-01-04T08:12:33Z", "user": "ana", "pc": "PC-1", "url": "http://x/y"}
TS = 1262592753000


def one(value: bytes, key: bytes | None = b"ana", kind: Kind = Kind.HTTP, zone: str = "UTC", limits: DecodeLimits = LIMITS) -> Decoded:
    return decode(kind, [value], [key], zone, limits)


def with_fields(**changes: Any) -> bytes:
    return orjson.dumps({name: field for name, field in (GOOD | changes).items() if field is not ...})


def reason(value: bytes, key: bytes | None = b"ana", kind: Kind = Kind.HTTP, limits: DecodeLimits = LIMITS) -> str:
    """The reason for the refusal, in company of good records before and behind."""
    good = with_fields(kind=kind.value)
    decoded = decode(kind, [good, value, good], [b"ana", key, b"ana"], "UTC", limits)
    assert decoded.frame["row"].to_list() == [0, 2], "the rest of the batch goes on"
    (rejected,) = decoded.rejected
    assert rejected.row == 1
    assert "ana" not in rejected.message
    return rejected.reason


def strictly(
    kind: Kind, values: list[bytes], keys: list[bytes | None], zone: str = "UTC"
) -> tuple[list[tuple[Any, ...]], list[tuple[int, str]]]:
    accepted, rejected = [], []
    for row, (value, key) in enumerate(zip(values, keys, strict=True)):
        try:
            accepted.append((row, *decode_strictly(kind, value, key, zone, LIMITS)))
        except BrokenRecordError as error:
            rejected.append((row, error.reason))
    return accepted, rejected


def test_a_good_record_becomes_a_row_of_the_event_frame() -> None:
    decoded = one(with_fields(content="words"))
    assert decoded.rejected == []
    assert decoded.frame.schema == {"row": pl.UInt32(), **frame_schema(Kind.HTTP)}
    assert decoded.frame.rows() == [(0, "ana", TS, "{E1}", "PC-1", "http://x/y", "words")]


def test_missing_optional_fields_are_null_and_a_missing_pc_is_empty() -> None:
    assert one(with_fields(url=..., pc=...)).frame.rows() == [(0, "ana", TS, "{E1}", "", None, None)]


def test_unknown_flat_fields_are_ignored() -> None:
    assert one(with_fields(activity="WWW Visit", n=5, b=True, x=1.5, nothing=None)).frame.rows() == one(with_fields()).frame.rows()


def test_an_empty_batch_gives_an_empty_frame() -> None:
    for kind in KINDS:
        decoded = decode(kind, [], [], "UTC", LIMITS)
        assert decoded.frame.height == 0
        assert decoded.frame.schema == {"row": pl.UInt32(), **frame_schema(kind)}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", "not_json"),
        (b"junk", "not_json"),
        (b"\x00", "not_json"),
        (orjson.dumps(GOOD)[:-9], "not_json"),
        (orjson.dumps(GOOD) + orjson.dumps(GOOD), "not_json"),
        (orjson.dumps(GOOD)[:-1] + b',"x":NaN}', "not_json"),
        (orjson.dumps(GOOD)[:-1] + b",}", "not_json"),
        (orjson.dumps(GOOD).replace(b"ana", b"a\nna"), "not_json"),
        (b"\xef\xbb\xbf" + orjson.dumps(GOOD), "not_json"),
        (with_fields(url="\x00").replace(b"\\u0000", b"\\ud800"), "not_json"),
        (orjson.dumps(GOOD).replace(b"http://x", b"\xff\xfe"), "encoding"),
        (json.dumps(GOOD).encode("utf-16"), "encoding"),
        (json.dumps(GOOD | {"url": "höhe"}, ensure_ascii=False).encode("latin-1"), "encoding"),
        (b"[]", "not_object"),
        (b"null", "not_object"),
        (b'"text"', "not_object"),
        (b"5", "not_object"),
        (with_fields(x=[]), "nested"),
        (with_fields(x={}), "nested"),
        (with_fields(url={"a": 1}), "nested"),
        (with_fields(user=["ana"]), "nested"),
        (b'{"id":' + b"[" * 900 + b"]" * 900 + b"}", "nested"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not_json"),
        (orjson.dumps(GOOD)[:-1] + b',"url":"http://z"}', "duplicate_key"),
        (orjson.dumps(GOOD)[:-1] + b',"user":"ana"}', "duplicate_key"),
        (orjson.dumps(GOOD)[:-1] + b',"\\u0075ser":"ana"}', "duplicate_key"),
        (orjson.dumps(GOOD)[:-1] + b',"x":1,"x":1}', "duplicate_key"),
        (with_fields(url=None), "null_field"),
        (with_fields(id=None), "null_field"),
        (with_fields(ts=None), "null_field"),
        (with_fields(user=None), "null_field"),
        (with_fields(kind=None), "null_field"),
        (with_fields(content=None), "null_field"),
        (with_fields(kind=...), "unknown_kind"),
        (with_fields(kind="printer"), "unknown_kind"),
        (with_fields(kind="HTTP"), "unknown_kind"),
        (with_fields(kind=5), "unknown_kind"),
        (with_fields(kind="logon"), "misrouted"),
        (with_fields(id=...), "missing_id"),
        (with_fields(id=""), "missing_id"),
        (with_fields(user=...), "missing_user"),
        (with_fields(user=""), "missing_user"),
        (with_fields(ts=...), "missing_time"),
        (with_fields(ts=""), "missing_time"),
        (with_fields(ts="yesterday"), "bad_time"),
        (with_fields(ts="01/04/2010 08:12:33"), "bad_time"),
        (with_fields(ts="2010-02-29T08:12:33Z"), "bad_time"),
        (with_fields(ts="2010-13-01T08:12:33Z"), "bad_time"),
        (with_fields(ts="2010-01-04T24:00:00Z"), "bad_time"),
        (with_fields(ts="2010-01-04T08:12:60Z"), "bad_time"),
        (with_fields(ts="2010-01-04T08:12:33+24:00"), "bad_time"),
        (with_fields(ts="2010-01-04T08:12:33+01:60"), "bad_time"),
        (with_fields(ts="２010-01-04T08:12:33Z"), "bad_time"),
        (with_fields(ts="2010-01-04"), "bad_time"),
        (with_fields(ts="1262592753000"), "bad_time"),
        (with_fields(ts=1262592753000), "bad_type"),
        (with_fields(ts="1989-12-31T23:59:59Z"), "impossible_time"),
        (with_fields(ts="2200-01-01T00:00:00Z"), "impossible_time"),
        (with_fields(ts="0001-01-01T00:00:00+23:59"), "impossible_time"),
        (with_fields(ts="9999-12-31T23:59:59"), "impossible_time"),
        (with_fields(id=5), "bad_type"),
        (with_fields(user=True), "bad_type"),
        (with_fields(pc=1.5), "bad_type"),
        (with_fields(url=5), "bad_type"),
        (with_fields(content=False), "bad_type"),
        (with_fields(id="a\tb"), "control_character"),
        (with_fields(id="a\x7fb"), "control_character"),
        (with_fields(pc="a\u0085b"), "control_character"),
        (with_fields(id="x" * 257), "overlong"),
        (with_fields(id="ö" * 129), "overlong"),
        (with_fields(pc="x" * 257), "overlong"),
        (with_fields(user="x" * 257), "overlong"),
        (with_fields(content="x" * 1_000_000), "too_large"),
        (with_fields(user="bob"), "misrouted"),
    ],
)
def test_a_broken_record_is_refused_with_its_code_and_the_rest_goes_on(value: bytes, code: str) -> None:
    assert reason(value) == code


@pytest.mark.parametrize("key", [None, b"", b"bob", b"anna", b"\xff"])
def test_a_record_whose_key_is_not_its_user_is_misrouted(key: bytes | None) -> None:
    assert reason(with_fields(), key) == "misrouted"


@pytest.mark.parametrize("size", [-1, 2**53 + 1, 2**63, 2**70, 1.0, "5", True])
def test_an_email_size_is_a_whole_number(size: Any) -> None:
    assert reason(with_fields(kind="email", size=size) if not isinstance(size, int) or size < 2**64 else
                  json.dumps(GOOD | {"kind": "email", "size": size}).encode(), kind=Kind.EMAIL) == "bad_type"  # fmt: skip


@pytest.mark.parametrize(
    ("written", "ts"),
    [
        ("2010-01-04T08:12:33Z", TS),
        ("2010-01-04T08:12:33", TS - 3_600_000),
        ("2010-01-04T08:12:33.5Z", TS + 500),
        ("2010-01-04T08:12:33.123Z", TS + 123),
        ("2010-01-04T08:12:33.123", TS + 123 - 3_600_000),
        ("2010-01-04T08:12:33.123999Z", TS + 123),
        ("2010-01-04T08:12:33,123Z", TS + 123),
        ("2010-01-04 08:12:33Z", TS),
        ("2010-01-04t08:12:33z", TS),
        ("2010-01-04T08:12:33+05:30", TS - 19_800_000),
        ("2010-01-04T08:12:33.250-05:30", TS + 19_800_250),
        ("2010-01-04T08:12:33+0530", TS - 19_800_000),
        ("2010-01-04T08:12:33-05", TS + 18_000_000),
        ("2012-02-29T00:00:00Z", 1330473600000),
        ("2010-03-28T02:30:00", 1269738000000),
        ("2010-10-31T02:30:00", 1288485000000),
    ],
)
def test_times_are_read_in_every_iso_layout_and_naive_ones_in_the_zone(written: str, ts: int) -> None:
    decoded = one(with_fields(ts=written), zone="Europe/Berlin")
    assert decoded.rejected == []
    assert decoded.frame["ts"].to_list() == [ts]


def test_the_ends_of_possible_time_are_half_open() -> None:
    assert one(with_fields(ts="1990-01-01T00:00:00Z")).rejected == []
    assert one(with_fields(ts="2199-12-31T23:59:59.999Z")).rejected == []


def test_every_row_is_named_once_and_in_order() -> None:
    values = [with_fields(), b"junk", with_fields(url='a\\b"c'), b"{}", with_fields(x=1), with_fields(ts="2010-01-04T08:12:33.1Z")]
    decoded = decode(Kind.HTTP, values, [b"ana"] * 6, "UTC", LIMITS)
    assert decoded.frame["row"].to_list() == [0, 2, 4, 5]
    assert [rejected.row for rejected in decoded.rejected] == [1, 3]


def test_batches_longer_than_a_slice_keep_their_rows() -> None:
    n = module._SLICE * 2 + 7
    values = [with_fields(id=f"{{{i}}}") for i in range(n)]
    for broken in (0, module._SLICE - 1, module._SLICE, n - 1):
        values[broken] = b"junk"
    decoded = decode(Kind.HTTP, values, [b"ana"] * n, "UTC", LIMITS)
    assert [rejected.row for rejected in decoded.rejected] == [0, module._SLICE - 1, module._SLICE, n - 1]
    assert decoded.frame["id"].to_list() == [f"{{{row}}}" for row in decoded.frame["row"].to_list()]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_records_are_read_as_columns_without_the_strict_reading(
    kind: Kind, separators: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {name: 'C:\\Temp\\a "b", ü' if dtype == pl.String() else 1204 for name, dtype in FIELDS[kind].items()}
    record = {"id": "{E1}", "kind": kind.value, "ts": "2010-01-04T08:12:33Z", "user": "ana", "pc": "PC-1", **fields, "extra": "x"}
    value = json.dumps(record, separators=separators, ensure_ascii=False).encode()
    monkeypatch.setattr(module, "decode_strictly", None)
    decoded = decode(kind, [value] * 3, [b"ana"] * 3, "UTC", LIMITS)
    assert decoded.frame.rows() == [(row, "ana", TS, "{E1}", "PC-1", *fields.values()) for row in range(3)]


def test_what_was_encoded_is_decoded_again() -> None:
    frame = pl.DataFrame(
        {
            "user": ["ana", "böb", 'c"d\\'], "ts": [TS, TS + 1, TS + 2], "id": ["1", "2", "3"], "pc": ["p", "", "q"],
            "to": ["x", "", "y;z"], "cc": [None, "", "c"], "bcc": ["", "", ""], "from": ["f", "f", "f"], "size": [0, 5, 2**53],
            "attachments": [None, 0, 3], "content": ["a\tb\n", "\x00", "😀 \u2028"],
        },
        schema=frame_schema(Kind.EMAIL),
    )  # fmt: skip
    decoded = decode(Kind.EMAIL, encode(Kind.EMAIL, frame), frame["user"].cast(pl.Binary).to_list(), "UTC", LIMITS)
    assert decoded.rejected == []
    assert decoded.frame.drop("row").equals(frame)


# ------------------------------------------------------------------------------------------------ the two readings agree

words = st.text(alphabet=st.sampled_from('ab0:,{}[]"\\/ \té😀\u0085\x7f'), max_size=6)
scalars = st.one_of(words, st.integers(-2, 10**20), st.floats(allow_nan=False), st.booleans(), st.none(), st.just("1e3"))
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2), max_leaves=3)
times = st.sampled_from(
    ["2010-01-04T08:12:33Z", "2010-01-04T08:12:33", "2010-02-30T00:00:00Z", "2010-01-04T08:12:33.120Z", "2010-01-04T08:12:33+01:00",
     "2010-01-04T08:12:33-99:00", "1980-01-01T00:00:00Z", "2010-03-28T02:30:00", "2010-01-04T08:12:3aZ", "2010/01/04T08:12:33Z", ""]
)  # fmt: skip
known = st.sampled_from(["id", "kind", "ts", "user", "pc", "url", "content", "size", "attachments", "to", "x", "activity"])


@st.composite
def members(draw: st.DrawFn, kind: Kind) -> list[tuple[str, Any]]:
    """The members of a record that is mostly right."""
    found: list[tuple[str, Any]] = [
        ("id", draw(st.sampled_from(["{E1}", "a", ""]))),
        ("kind", draw(st.sampled_from([kind.value] * 5 + ["logon", "no"]))),
        ("ts", draw(times)),
        ("user", draw(st.sampled_from(["ana", "ana", "böb"]))),
        ("pc", draw(words)),
    ]
    for name, dtype in FIELDS[kind].items():
        if draw(st.booleans()):
            found.append((name, draw(words if dtype == pl.String() else st.integers(0, 99999))))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        found[draw(st.integers(0, len(found) - 1))] = (draw(known), draw(anything))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        found.insert(draw(st.integers(0, len(found))), (draw(known), draw(anything)))
    return found


@st.composite
def records(draw: st.DrawFn, kind: Kind) -> bytes:
    """JSON in several styles, now and then with a byte changed."""
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :"), (",\n", ":")]))
    ascii_only = draw(st.booleans())
    pairs = [f"{json.dumps(name)}{colon}{json.dumps(field, ensure_ascii=ascii_only)}" for name, field in draw(members(kind))]
    value = ("{" + comma.join(pairs) + "}").encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(value)))
        patch = draw(
            st.sampled_from([b"", b'"', b"\\", b",", b"}", b"{", b"\n", b"\xff", b" ", b"0", b"\x00", b"e5", b"\\ud800", b"\\u0022"])
        )
        value = value[:at] + patch + value[at + draw(st.integers(0, 1)) :]
    return value


@st.composite
def batches(draw: st.DrawFn) -> tuple[Kind, list[bytes], list[bytes | None]]:
    kind = draw(st.sampled_from([Kind.HTTP, Kind.EMAIL, Kind.LOGON]))
    values = draw(st.lists(records(kind), min_size=1, max_size=8))
    keys: list[bytes | None] = [draw(st.sampled_from([b"ana", b"ana", "böb".encode(), None])) for _ in values]
    return kind, values, keys


@settings(max_examples=400, deadline=None)
@given(batch=batches(), zone=st.sampled_from(["UTC", "Europe/Berlin"]))
def test_the_columnar_and_the_strict_reading_agree_on_every_record(batch: tuple[Kind, list[bytes], list[bytes | None]], zone: str) -> None:
    kind, values, keys = batch
    decoded = decode(kind, values, keys, zone, LIMITS)
    accepted, rejected = strictly(kind, values, keys, zone)
    assert decoded.frame.rows() == accepted
    assert [(found.row, found.reason) for found in decoded.rejected] == rejected


@settings(max_examples=300, deadline=None)
@given(data=st.data(), kind=st.sampled_from([Kind.HTTP, Kind.EMAIL]), spaced=st.booleans())
def test_the_readings_agree_on_records_of_one_template_with_damage_here_and_there(data: st.DataObject, kind: Kind, spaced: bool) -> None:
    separators = (", ", ": ") if spaced else (",", ":")
    plain = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8)
    values = []
    for _ in range(data.draw(st.integers(2, 6))):
        fields = {name: data.draw(plain if dtype == pl.String() else st.integers(0, 10**7)) for name, dtype in FIELDS[kind].items()}
        common = {"id": data.draw(plain), "kind": kind.value, "ts": data.draw(times), "user": "ana", "pc": data.draw(plain)}
        values.append(json.dumps(common | fields | {"extra": "x"}, separators=separators).encode())
    if data.draw(st.booleans()):
        row = data.draw(st.integers(0, len(values) - 1))
        at = data.draw(st.integers(0, len(values[row])))
        patch = data.draw(st.sampled_from([b"", b'"', b"\\", b",", b"}", b"\n", b"\xff", b" ", b"0", b'","x":"', b"\x7f"]))
        values[row] = values[row][:at] + patch + values[row][at + data.draw(st.integers(0, 2)) :]
    decoded = decode(kind, values, [b"ana"] * len(values), "UTC", LIMITS)
    accepted, rejected = strictly(kind, values, [b"ana"] * len(values))
    assert decoded.frame.rows() == accepted
    assert [(found.row, found.reason) for found in decoded.rejected] == rejected


# structures that the proof by counting must not take for k plain members
DECEPTIONS = [
    b'"url":1,"z":5',
    b'"url":1e30,"z":5',
    b'"url":true,"url":"a"',
    b'"url":{"a":5}',
    b'"url":["a"]',
    b'"url":"a","":0',
    b'"url":"a","":{}',
    b'"url": "a" , "content":5',
    b'"url":"\\"","content":5',
    b'"url":"a\\u0022","x":"b"',
    b'"url":"a","url":"b"',
    b'"url":"a\\\\","content":"b"',
    b'"url":"a\\\\\\"","content":"b"',
    b'"url":[],"content":"b"',
    b'"url":{},"content":{}',
    b'"content":null,"url":"a"',
    b'"url":"a","x":"\\ud800"',
    b'"url":"a","x":"\\ud83d\\ude00"',
]


@pytest.mark.parametrize("kind", [Kind.HTTP, Kind.EMAIL])
@pytest.mark.parametrize("middle", DECEPTIONS)
@pytest.mark.parametrize("company", [b"", b'"x":"y",'])
def test_no_structure_deceives_the_columnar_reading(kind: Kind, middle: bytes, company: bytes) -> None:
    head = b'{"id":"1","kind":"%s","ts":"2010-01-04T08:12:33Z","user":"ana","pc":"p",' % kind.encode()
    numbers = b'"size":10000,"attachments":0,' if kind is Kind.EMAIL else b""
    value = head + numbers + company + middle + b"}"
    good = head + numbers + company + b'"content":"c"}'
    values: list[bytes] = [good, value, good, value]
    decoded = decode(kind, values, [b"ana"] * 4, "UTC", LIMITS)
    accepted, rejected = strictly(kind, values, [b"ana"] * 4)
    assert decoded.frame.rows() == accepted
    assert [(found.row, found.reason) for found in decoded.rejected] == rejected


def test_a_little_junk_leaves_the_rest_to_the_columnar_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    junk = [b"junk", b"{}", b"\xff\xfe", b'{"id":', with_fields(x=[1]), orjson.dumps(GOOD).replace(b'"user"', b"user")]
    values = [with_fields(id=str(i)) for i in range(1000)]
    for i, broken in enumerate(junk):
        values[100 * i] = broken
    read = []
    monkeypatch.setattr(module, "decode_strictly", lambda kind, value, *rest: read.append(value) or decode_strictly(kind, value, *rest))
    decoded = decode(Kind.HTTP, values, [b"ana"] * 1000, "UTC", LIMITS)
    assert sorted(read) == sorted(junk)
    assert len(decoded.rejected) == len(junk)
    assert np.array_equal(decoded.frame["row"].to_numpy(), np.setdiff1d(np.arange(1000), np.arange(0, 600, 100)))
