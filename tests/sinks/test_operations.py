"""Operational findings: proper OCSF, the same bytes each time, folded from their records."""

import json

import pytest

from sinks.operations import BadOperation, Operations, encode_operation, operation_text, operational_finding
from stream.log import TopicPartition
from stream.operations import About, Operation
from tests.sinks.ocsf_rules import problems

AT = TopicPartition("acme.http", 3)
SILENT = Operation(About.SILENCE, AT, 1_000, closed=False, time_ms=7_200_000, facts={"habit_ms": 720_000})
HEARD = Operation(About.SILENCE, AT, 1_000, closed=True, time_ms=18_000_000)
SHARE = {"offset": 1_300, "refused": {"late": 3, "not_json": 90}, "share": 0.1, "records": 500}
REFUSED = Operation(About.DEAD_LETTERS, AT, 1_000, closed=False, time_ms=5_000, facts=SHARE)
TAKEN = Operation(About.DEAD_LETTERS, AT, 1_000, closed=True, time_ms=9_000, facts=SHARE)


@pytest.mark.parametrize("operation", [SILENT, HEARD, REFUSED, TAKEN])
def test_every_finding_keeps_the_rules_of_ocsf(operation: Operation) -> None:
    assert problems(operational_finding(operation)) == []


def test_the_same_finding_is_told_in_the_same_bytes_and_opening_and_closing_share_a_uid() -> None:
    assert encode_operation(SILENT) == encode_operation(SILENT)
    opened, closed = operational_finding(SILENT), operational_finding(HEARD)
    assert opened["finding_info"]["uid"] == closed["finding_info"]["uid"]
    assert opened["metadata"]["uid"] != closed["metadata"]["uid"]
    assert (opened["activity_id"], closed["activity_id"]) == (1, 3)
    assert "is_alert" not in closed


def test_the_next_silence_is_another_finding() -> None:
    later = Operation(About.SILENCE, AT, 2_000, closed=False, time_ms=9_000_000, facts={"habit_ms": 720_000})
    assert operational_finding(later)["finding_info"]["uid"] != operational_finding(SILENT)["finding_info"]["uid"]


def test_a_finding_says_what_where_and_against_what() -> None:
    assert "acme.http, partition 3: silent since 1970-01-01T00:00:01.000Z" in operational_finding(SILENT)["message"]
    assert "at most 12 min" in operational_finding(SILENT)["message"]
    assert "more than 10% are refused (90 not_json, 3 late)" in operational_finding(REFUSED)["message"]


def test_findings_are_open_until_they_are_closed_and_told_twice_is_told_once() -> None:
    seen = Operations()
    for operation in (SILENT, REFUSED, SILENT, HEARD, SILENT):
        seen.take(encode_operation(operation)[0])
    assert [one.about for one in seen.open] == ["dead_letters"]
    assert len(seen.by_uid) == 2
    text = operation_text(next(one for one in seen.by_uid.values() if one.about == "silence"), "UTC").plain
    assert text.startswith("closed")
    assert "speaks again" in text


@pytest.mark.parametrize("record", [b"junk", b"{}", json.dumps({"finding_info": {"uid": 1}}).encode()])
def test_what_is_no_finding_is_refused(record: bytes) -> None:
    with pytest.raises(BadOperation):
        Operations().take(record)
