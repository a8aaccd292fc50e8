"""Records of one template: read without a parser, and never taken for one another."""

import json
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.template import Batch, Stretch, Template, same_texts
from stream.texts import cut_texts

TYPES = {"id": pl.String(), "url": pl.String(), "size": pl.Int64()}
words = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"\\'), max_size=20)
numbers = st.integers(0, 10**15 - 1)
names = st.sampled_from(["id", "url", "size", "a", "b:", "c,{", "d" * 9])
shapes = st.lists(
    st.tuples(names, st.booleans()),
    min_size=1,
    max_size=6,
    unique_by=lambda x: x[0],
)
styles = st.sampled_from([(",", ":"), (", ", ": "), (",", ": ")])


def written(fields: dict[str, Any], style: tuple[str, str] = (",", ":")) -> bytes:
    return json.dumps(fields, separators=style).encode()


@settings(max_examples=200, deadline=None)
@given(data=st.data(), shape=shapes, style=styles)
def test_what_is_written_from_a_template_is_read_from_it(
    data: st.DataObject, shape: list[tuple[str, bool]], style: tuple[str, str]
) -> None:
    records = [{name: data.draw(words if text else numbers) for name, text in shape} for _ in range(data.draw(st.integers(1, 4)))]
    values = [written(record, style) for record in records]
    template = Template.of(values[0], {})
    assert template is not None
    batch = Batch(values)
    matched, stretches, found = template.match(batch)
    assert matched.all()
    assert {name: column.tolist() for name, column in found.items()} == {
        name: [r[name] for r in records] for name, text in shape if not text
    }
    assert list(stretches) == [name for name, text in shape if text]
    if stretches:
        assert {each.name: each.to_list() for each in cut_texts(batch.joined, stretches)} == {
            name: [r[name] for r in records] for name in stretches
        }


@settings(max_examples=400, deadline=None)
@given(data=st.data(), shape=shapes, style=styles)
def test_what_matches_is_json_with_just_the_templates_fields(
    data: st.DataObject, shape: list[tuple[str, bool]], style: tuple[str, str]
) -> None:
    sample = written({name: data.draw(words if text else numbers) for name, text in shape}, style)
    template = Template.of(sample, {})
    assert template is not None
    base = written({name: data.draw(words if text else numbers) for name, text in shape}, data.draw(styles))
    at = data.draw(st.integers(0, len(base)))
    patch = data.draw(
        st.sampled_from([b"", b'"', b"\\", b",", b"}", b"{", b"\n", b"\x7f", b"\xff", b" ", b"0", b"-", b"e", b'","', b'":"'])
    )
    value = base[:at] + patch + base[at + data.draw(st.integers(0, 2)) :]
    (matched, other), *_ = template.match(Batch([value, sample]))
    assert other, "whatever its neighbours are"
    if matched:
        record = orjson.loads(value)
        assert list(record) == list(template.names)
        assert [isinstance(field, str) for field in record.values()] == list(template.texts)


@pytest.mark.parametrize(
    "value",
    [b"", b"junk", b"[1]", b"5", b"{}",
     b'{"id":null}', b'{"id":true}', b'{"id":1.5}', b'{"id":-1}', b'{"id":-0}', b'{"id":[]}', b'{"id":5}',
     b'{"id":"\\n"}', '{"id":"ö"}'.encode(), b'{"id":"a","id":"a"}', b'{"id":"a","id":"b"}',
     b'{"id":  "a"}', b'{"id":"a"}\n', b'{"size":"5"}',
     b'{"size":1000000000000000}'],
)  # fmt: skip
def test_what_is_not_so_simple_gives_no_template(value: bytes) -> None:
    assert Template.of(value, TYPES) is None


@pytest.mark.parametrize("number", [b"0", b"7", b"9" * 15, b"00", b"07", b"", b"9" * 16, b"-1", b"1.0", b"1e3", b" 1", b"1 "])
@pytest.mark.parametrize("tail", [b"}", b',"url":"x"}'])
def test_numbers_are_plain_digits(number: bytes, tail: bytes) -> None:
    fits = number in (b"0", b"7", b"9" * 15)
    sample = b'{"id":"a","size":12' + tail
    template = Template.of(sample, TYPES)
    assert template is not None
    matched, _, found = template.match(Batch([b'{"id":"b","size":' + number + tail, sample]))
    assert matched.tolist() == [fits, True]
    assert found["size"].tolist() == ([int(number), 12] if fits else [12])


def test_records_shorter_than_the_pieces_at_the_end_of_a_batch_do_no_harm() -> None:
    sample = written({"id": "a", "url": "b", "a-long-name": "c"})
    template = Template.of(sample, {})
    assert template is not None
    for length in range(len(sample)):
        matched, *_ = template.match(Batch([sample, sample[:length]]))
        assert matched.tolist() == [True, False]


def test_a_batch_knows_which_records_are_plain() -> None:
    values = [b"plain", b"", b"back\\slash", b"line\nbreak", b"\x7f", "ö".encode(), b"\t", b"~ }"]
    assert np.flatnonzero(Batch(values).plain()).tolist() == [0, 1, 7]


def test_a_constant_field_is_part_of_the_template() -> None:
    sample, other = written({"id": "a", "kind": "http", "url": "b"}), written({"id": "a", "kind": "ftp:", "url": "b"})
    template = Template.of(sample, TYPES, {"kind": "http"})
    assert template is not None
    assert template.names == ("id", "url")
    assert template.match(Batch([sample, other])).matched.tolist() == [True, False]
    assert Template.of(other, TYPES, {"kind": "http"}) is None
    assert Template.of(written({"id": "a"}), TYPES, {"kind": "http"}) is None


@given(pairs=st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20), st.booleans()), min_size=1, max_size=6))
def test_the_same_texts_are_told_from_others(pairs: list[tuple[bytes, bytes, bool]]) -> None:
    ours, theirs = [a for a, _, _ in pairs], [a if same else b for a, b, same in pairs]
    one, other = Batch(ours), Batch(theirs)
    same = same_texts(one, Stretch(one.starts, one.ends), other, Stretch(other.starts, other.ends))
    assert same.tolist() == [a == b for a, b in zip(ours, theirs, strict=True)]


@given(values=st.lists(st.binary(max_size=5) | st.sampled_from([b"\n", b"a\n", b""]), max_size=6))
def test_a_batch_knows_where_its_records_lie(values: list[bytes]) -> None:
    batch = Batch(values)
    assert [batch.joined[a:b] for a, b in zip(batch.starts.tolist(), batch.ends.tolist(), strict=True)] == values
    assert batch.sizes.tolist() == [len(value) for value in values]
