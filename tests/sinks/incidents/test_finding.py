import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sinks.incidents.finding import TACTICS, techniques
from sinks.incidents.stories import Stories
from sinks.incidents.story import Alerted, Merging
from sinks.ocsf_schema import incident_json_schema
from tests.sinks.incidents.telling import DAY, TOPICS, Detector, told
from tests.sinks.ocsf_rules import problems


def findings(*alerts: tuple[int, float], merging: Merging | None = None, **changes: Any) -> list[dict[str, Any]]:
    detector = Detector()
    for number, risk in alerts:
        detector.window("ana", number, risk, **changes)
    detector.mark(200)
    desk = Stories(0, {}, TOPICS, merging or Merging(gap_ms=4 * DAY), "insider risk")
    return told(desk.take([*detector.verdicts, *detector.alerts]).out)


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = incident_json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def faults(record: dict[str, Any], validator: Draft202012Validator) -> list[str]:
    return [*problems(record, "incident_finding"), *(error.message for error in validator.iter_errors(record))]


def test_every_revision_keeps_the_rules_of_ocsf_and_the_schema(validator: Draft202012Validator) -> None:
    full = Merging(gap_ms=4 * DAY, most_alerts=1)
    for record in [
        *findings((0, 0.6), (8, 0.9)),
        *findings((0, 0.6), (8, 0.9), merging=full),
        *findings((0, 0.6), techniques=(), traits=()),
    ]:
        assert faults(record, validator) == []


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0, 1)), max_size=8, unique_by=lambda each: each[0]))
def test_whatever_the_story_its_records_are_valid(validator: Draft202012Validator, alerts: list[tuple[int, float]]) -> None:
    for record in findings(*sorted((number, round(risk, 2)) for number, risk in alerts)):
        assert faults(record, validator) == []


@pytest.mark.parametrize(
    "path", [["assignee_group"], ["finding_info_list"], ["status_id"], ["metadata", "product"], ["unmapped", "incident", "revision"]]
)
def test_the_schema_misses_what_is_missing(validator: Draft202012Validator, path: list[str]) -> None:
    broken = copy.deepcopy(findings((0, 0.9))[0])
    place = broken
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    assert faults(broken, validator)


def test_opening_growth_and_closing_are_told_in_ocsfs_words() -> None:
    records = findings((0, 0.6), (8, 0.9))
    assert [(r["activity_id"], r["type_uid"], r["status"], r.get("is_alert")) for r in records] == [
        (1, 200501, "New", True),
        (2, 200502, "In Progress", None),
        (3, 200503, "Closed", None),
    ]
    assert {record["metadata"]["correlation_uid"] for record in records} == {records[0]["unmapped"]["incident"]["uid"]}
    assert len({record["metadata"]["uid"] for record in records}) == 3
    assert [record["risk_score"] < record["unmapped"]["incident"]["peak_risk"] for record in records] == [False, False, True]
    assert records[2]["severity"] == records[1]["severity"] == "Critical"


def test_every_alerts_and_events_id_is_kept() -> None:
    opened, grown, closed = findings((0, 0.6), (8, 0.9))
    events = [
        {event["uid"] for info in record["finding_info_list"] for event in info["related_events"]} for record in (opened, grown, closed)
    ]
    assert events[0] < events[1] == events[2] == {f"{{ana-{n}-{kind}}}" for n in (*range(4), *range(8, 12)) for kind in ("file", "http")}
    assert [info["related_events_count"] for info in closed["finding_info_list"]] == [8, 8]
    assert {event["type_uid"] for info in closed["finding_info_list"] for event in info["related_events"]} == {100101, 400200}


def test_techniques_stand_in_the_order_of_the_attack_not_of_their_ids_or_times() -> None:
    late, early = ("T1567", "T1052.001", "T1091"), ("T1005", "T1078", "T9999")
    alerts = [
        Alerted("ana", str(place), 0, when, 50, "", "", "", (), tuple(names), ())
        for place, (when, names) in enumerate([(0, late), (5, early)])
    ]
    assert techniques(alerts) == ["T1078", "T1091", "T1005", "T1052.001", "T1567", "T9999"]
    shown = [attack.get("tactic", {}).get("uid") for attack in findings((0, 0.9), techniques=late + early)[0]["attacks"]]
    assert shown[:-1] == sorted(shown[:-1], key=TACTICS.index)


def test_no_name_gets_into_an_identity_or_a_headline() -> None:
    for record in findings((0, 0.6), (8, 0.9)):
        about = json.dumps([record["metadata"], record["unmapped"], record["message"], record["desc"]])
        assert "ana" not in about.replace("analytic", "")
