"""Panes in memory and as blobs: nothing is lost on the way, and of two records of one event the first counts."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.kinds import KINDS, Kind, frame_schema
from windowing.panes import Between, Pane, UnreadableStateError, decode_blobs, encode_blob, inside, users_of

texts = st.one_of(st.none(), st.text(max_size=20))


def logons(*rows: tuple[str, int, str, int]) -> pl.DataFrame:
    """Rows of user, ts, id and first window."""
    schema = frame_schema(Kind.LOGON) | {"first": pl.Int64()}
    return pl.DataFrame([(user, ts, name, "PC-1", "Logon", first) for user, ts, name, first in rows], schema=schema, orient="row")


@given(
    rows=st.lists(st.tuples(st.text(min_size=1), st.integers(0, 2**45), st.text(min_size=1), texts), max_size=5),
    copies=st.sampled_from([1, 100]),
)
def test_a_blob_gives_back_what_went_in(rows: list[tuple[str, int, str, str | None]], copies: int) -> None:
    schema = frame_schema(Kind.HTTP) | {"first": pl.Int64()}
    frame = pl.DataFrame([(user, ts, name, "PC", text, text, -5) for user, ts, name, text in rows * copies], schema=schema, orient="row")
    back = decode_blobs([encode_blob({Kind.HTTP: frame})])
    assert back.get(Kind.HTTP, frame.clear()).equals(frame)


def test_blobs_come_back_in_the_order_of_writing_whatever_their_size() -> None:
    sizes = [3, 400, 2, 1, 500, 7]
    parts = [logons(*[("u", i, f"{n}-{i}", 0) for i in range(size)]) for n, size in enumerate(sizes)]
    back = decode_blobs(encode_blob({Kind.LOGON: part}) for part in parts)
    assert back[Kind.LOGON].equals(pl.concat(parts))


def test_a_blob_of_another_version_is_refused() -> None:
    with pytest.raises(UnreadableStateError, match="later version"):
        decode_blobs([b"\x09" + encode_blob({Kind.LOGON: logons(("u", 1, "a", 0))})[1:]])


def test_of_two_records_of_one_event_the_lower_offset_counts() -> None:
    pane = Pane()
    pane.append(Kind.LOGON, logons(("u", 5, "a", 0), ("u", 6, "b", 0)))
    pane.append(Kind.LOGON, logons(("u", 9, "a", 0), ("v", 7, "a", 0)))
    assert pane.settled(Kind.LOGON).select("user", "ts", "id").rows() == [("u", 5, "a"), ("u", 6, "b"), ("v", 7, "a")]
    assert pane.duplicates[Kind.LOGON] == 1


def test_a_window_holds_only_what_came_in_time_for_it() -> None:
    early, late = Pane(), Pane()
    early.append(Kind.LOGON, logons(("u", 1, "a", 0), ("u", 2, "b", 1)))
    late.append(Kind.LOGON, logons(("v", 3, "c", 1)))
    assert [frame["id"].to_list() for frame in inside([early, late], 0, None).values()] == [["a"]]
    assert inside([early, late], 1, None)[Kind.LOGON]["id"].to_list() == ["a", "b", "c"]
    assert inside([early, late], 1, Between("v", "w"))[Kind.LOGON]["id"].to_list() == ["c"]
    assert inside([early, late], 1, Between("u", "u"))[Kind.LOGON]["id"].to_list() == ["a", "b"]
    assert users_of([early, late]) == ["u", "v"]


def test_a_pane_without_events_has_the_right_columns() -> None:
    for kind in KINDS:
        assert Pane().settled(kind).columns == [*frame_schema(kind), "first"]
    assert users_of([]) == []
