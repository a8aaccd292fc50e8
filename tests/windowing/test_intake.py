"""What comes of batches: each row is an event, a mark or refused, and is named by its place in its own topic-partition's batch."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.kinds import KINDS, Kind
from stream.log import Headers, Records, TopicPartition
from stream.marks import encode_mark
from stream.partitioner import partition_of
from windowing.intake import Intake, Taken, Topics

PARTITIONS = 2
TOPICS = Topics({kind: f"x.{kind}" for kind in KINDS}, "x.windows", "x.dead-letters", PARTITIONS)
USERS = [[user for user in "abcdefghij" if partition_of(user.encode(), PARTITIONS) == number] for number in range(PARTITIONS)]
TS = 1_262_592_753_000


class Row(NamedTuple):
    key: bytes | None
    value: bytes | None
    had: Headers | None = None

    def offset(self) -> int:
        return 0

    def headers(self) -> Headers | None:
        return self.had


def event(user: str, name: str = "e") -> Row:
    record = {"id": name, "kind": "logon", "ts": "2010-01-04T08:12:33Z", "user": user, "pc": "PC-1", "activity": "Logon"}
    return Row(user.encode(), json.dumps(record, separators=(",", ":")).encode())


def records(rows: Sequence[Row], partition: int) -> Records:
    at = TopicPartition(TOPICS.events[Kind.LOGON], partition)
    return Records(at, [row.value for row in rows], [row.key for row in rows], [TS + n for n in range(len(rows))], rows, len(rows))


def what_became_of(taken: Taken) -> list[str]:
    """Each row's fate, by its place."""
    fates = dict.fromkeys(taken.arrivals.frame["row"].to_list(), "event")
    fates |= {mark.row: f"mark {mark.at_ms}" for mark in taken.arrivals.marks}
    for refused in taken.refused:
        assert refused.row not in fates, "named twice"
        fates[refused.row] = refused.reason
    return [fates[row] for row in range(len(taken.records.values))]


def rows_of(partition: int) -> st.SearchStrategy[tuple[Row, str]]:
    own, foreign = USERS[partition][0], USERS[1 - partition][0]
    return st.sampled_from(
        [
            (event(own), "event"),
            (event(USERS[partition][1], "ö"), "event"),
            (event(foreign), "misrouted"),
            (Row(None, event(own).value), "misrouted"),
            (Row(own.encode(), b""), "not_json"),
            (Row(own.encode(), b"junk"), "not_json"),
            (Row(None, None, encode_mark(TS)), f"mark {TS}"),
            (Row(None, None), "bad_mark"),
            (Row(own.encode(), None, encode_mark(TS)), "bad_mark"),
            (Row(None, None, encode_mark(2**60)), "bad_mark"),
        ]
    )


@given(data=st.data())
def test_every_row_of_every_partition_has_the_fate_that_is_its_due(data: st.DataObject) -> None:
    parts = [data.draw(st.lists(rows_of(number), max_size=12)) for number in range(PARTITIONS)]
    taken = Intake(TOPICS, "UTC").take(Kind.LOGON, [records([row for row, _ in part], number) for number, part in enumerate(parts)])
    assert [what_became_of(each) for each in taken] == [[fate for _, fate in part] for part in parts]
    for each in taken:
        assert each.arrivals.stamps.tolist() == [TS + n for n in range(len(each.records.values))]
        assert each.arrivals.frame["user"].to_list() == [
            str(each.records.keys[row], "utf-8") for row in each.arrivals.frame["row"].to_list()
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_comes_of_nothing(kind: Kind) -> None:
    assert Intake(TOPICS, "UTC").take(kind, []) == []
