"""Promises of `windowing.observe`: few rows and many, full tables and sparse ones are read alike."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windowing import observe
from windowing.observe import Pairs, Texts
from windowing.profiles import Dimension

TEXTS = st.lists(st.none() | st.text(max_size=4), max_size=30)


@given(texts=TEXTS)
def test_few_texts_and_many_are_numbered_alike(texts: list[str | None]) -> None:
    column = pl.Series(texts, dtype=pl.String)
    few = Texts.of(column, Dimension.PC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observe, "_FEW_ROWS", 0)
        many = Texts.of(column, Dimension.PC) if len(column) else few
    assert few.values == many.values == sorted({text or "" for text in texts})
    assert few.codes.tolist() == many.codes.tolist()
    assert [few.values[code] for code in few.codes] == [text or "" for text in texts]


@given(rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=40))
def test_pairs_from_a_table_are_those_from_sorting(rows: list[tuple[int, int]]) -> None:
    users = np.array([user for user, _ in rows], np.int64)
    texts = Texts(np.array([code for _, code in rows], np.int64), ["a", "b", "c", "d"], np.arange(10, 14).astype(np.uint64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observe, "_SPARSE", 10**6)
        table = Pairs.of(users, texts)
        patch.setattr(observe, "_SPARSE", 0)
        sorting = Pairs.of(users, texts)
    for pairs in (table, sorting):
        found = list(zip(pairs.owner.tolist(), pairs.code.tolist(), strict=True))
        assert found == sorted(set(rows))
        assert [found[pair] for pair in pairs.of_row.tolist()] == rows
        assert pairs.often.tolist() == [rows.count(pair) for pair in found]
        assert pairs.keys.tolist() == [10 + code for code in pairs.code.tolist()]


PAGES = st.sampled_from(
    [None, "", "http://Example.org/a", "http://example.org:80/b", "http://dropbox.com/upload/x", "http://dropbox.com/read", "example.org",
     "http://wikileaks.org/submit", "http://example.org/jobs/1", "http://keylogger.com/", "http://www.example.org/a"]
)  # fmt: skip


@given(urls=st.lists(PAGES, min_size=1, max_size=40))
def test_pages_that_are_seen_again_are_read_like_those_seen_once(urls: list[str | None]) -> None:
    frame = pl.DataFrame({"url": urls}, schema={"url": pl.String})
    host, category, flagged, upload = observe._pages(frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observe, "_FEW_ROWS", 0)
        again, *others = observe._pages(pl.concat([frame] * 3))
    n, times = len(urls), np.arange(3)[:, None]
    assert again.values == host.values
    assert again.keys.tolist() == host.keys.tolist()
    assert again.codes.tolist() == host.codes.tolist() * 3
    assert others[0].tolist() == category.tolist() * 3
    assert others[1].tolist() == (flagged + n * times).ravel().tolist()
    assert others[2].tolist() == upload.tolist() * 3
