"""The JSON Schema of events and the decoder say the same."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stream.decode import BrokenRecordError, DecodeLimits, decode_strictly
from stream.kinds import FIELDS, KINDS, Kind
from stream.schemas import event_schema

VALIDATORS = {kind: Draft202012Validator(event_schema(kind)) for kind in KINDS}
# what only the decoder can know
BEYOND_A_SCHEMA = {"bad_time", "impossible_time", "misrouted", "overlong"}

words = st.sampled_from(["a", "", "{E1}", "2010-01-04T08:12:33Z", "2010-01-04 08:12:33.5+01", "yesterday", "x" * 300, "a\tb", "é\x85"])
values = st.one_of(words, st.integers(-1, 2**54), st.booleans(), st.none(), st.floats(0, 5), st.just([1]), st.just({"a": 1}))
names = st.sampled_from(["id", "user", "ts", "pc", "kind", "activity", "url", "size", "to", "content", "x"])


def good(kind: Kind) -> dict[str, Any]:
    own = {name: "text" if str(dtype) == "String" else 5 for name, dtype in FIELDS[kind].items()}
    return {"id": "{E1}", "kind": kind.value, "ts": "2010-01-04T08:12:33Z", "user": "ana", "pc": "PC-1", **own}


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_is_a_schema_and_knows_every_field(kind: Kind) -> None:
    schema = event_schema(kind)
    Draft202012Validator.check_schema(schema)
    assert {*schema["properties"]} == {*good(kind)}
    assert VALIDATORS[kind].is_valid(good(kind))


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(KINDS), changes=st.dictionaries(names, values, max_size=2), missing=st.sets(names, max_size=1))
def test_what_the_schema_allows_is_decoded_and_what_it_refuses_is_not(kind: Kind, changes: dict[str, Any], missing: set[str]) -> None:
    record = {name: field for name, field in (good(kind) | changes).items() if name not in missing}
    try:
        decode_strictly(kind, orjson.dumps(record), str(record.get("user")).encode(), "UTC", DecodeLimits())
        reason = None
    except BrokenRecordError as error:
        reason = error.reason
    if reason not in BEYOND_A_SCHEMA:
        assert VALIDATORS[kind].is_valid(record) == (reason is None), (record, reason)
