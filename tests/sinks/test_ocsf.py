import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from detector.verdict import EventRef
from sinks.alert_memory import Activity, decide
from sinks.ocsf import MOST_TEXT, Origin, alerting, detection_finding, encode, kind_of, type_uid
from sinks.ocsf_schema import alert_json_schema
from sinks.records import verdict_json_schema, verdict_record
from stream.kinds import KINDS, Kind
from tests.sinks.ocsf_rules import SCHEMA, problems
from tests.sinks.windows import EVENTS, FIRST, FixedBackend, day_of, event, window_record
from windowing.record import parse_window

ORIGIN = Origin("daywatch.windows", 3, 17)


def alert(record: bytes | None = None, earlier: bytes | None = None, **changes: Any) -> dict[str, Any]:
    """The alert of a window, after that of an earlier one if there was one."""
    findings = ()
    for each in (earlier, record or day_of("ana", 0, 0.9)):
        if each is None:
            continue
        window = parse_window(each)
        [verdict] = FixedBackend().judge([window])
        verdict = replace(verdict, **changes)
        decision, findings = decide(findings, alerting(verdict, window))
    assert decision.activity is not None
    return detection_finding(verdict, window, decision.finding, decision.activity, ORIGIN)


def test_an_alert_keeps_every_rule_of_ocsf() -> None:
    assert problems(alert()) == []
    assert problems(json.loads(encode(alert()))) == []


def test_an_update_keeps_every_rule_of_ocsf() -> None:
    update = alert(day_of("ana", 1, 0.95), earlier=day_of("ana", 0, 0.9))
    assert update["activity_id"] == 2
    assert problems(update) == []


@pytest.mark.parametrize("kind", KINDS)
def test_events_of_every_kind_keep_the_rules_as_evidence(kind: Kind) -> None:
    window = window_record("ana", 0, [event(kind, "{e1}", FIRST)], 0.9)
    record = alert(window, cited=(EventRef(kind, "{e1}"),))
    assert problems(record) == []
    assert record["finding_info"]["related_events"][0]["uid"] == "{e1}"
    assert record["evidences"][0]["data"] == event(kind, "{e1}", FIRST)


def test_alerts_fit_the_json_schema_that_is_published_for_them() -> None:
    schema = alert_json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    update = alert(day_of("ana", 1, 0.95), earlier=day_of("ana", 0, 0.9))
    for record in (alert(), update):
        assert [error.message for error in validator.iter_errors(json.loads(encode(record)))] == []
    for problem, breaks in BREAKS.items():
        record = alert()
        breaks(record)
        # that two members agree with each other is more than this JSON Schema says
        assert list(validator.iter_errors(record)) or "says" in problem or "type_uid" in problem, problem


def test_verdicts_fit_the_json_schema_that_is_published_for_them() -> None:
    schema = verdict_json_schema()
    Draft202012Validator.check_schema(schema)
    for risk, uid in ((0.1, None), (0.9, "0" * 32)):
        [verdict] = FixedBackend().judge([parse_window(day_of("ana", 0, risk))])
        assert list(Draft202012Validator(schema).iter_errors(json.loads(verdict_record(verdict, uid)))) == []


# what breaks a rule must be seen: otherwise the tests above say nothing
BREAKS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "detection_finding.time is required": lambda r: r.pop("time"),
    "detection_finding.finding_info.uid is required": lambda r: r["finding_info"].pop("uid"),
    "detection_finding.metadata.product: at_least_one of": lambda r: (
        r["metadata"]["product"].pop("name"),
        r["metadata"]["product"].pop("uid", None),
    ),
    "detection_finding.severity_id: 7 is not among": lambda r: r.update(severity_id=7),
    "detection_finding.severity is 'Low', but severity_id says": lambda r: r.update(severity="Low"),
    "detection_finding.insider is unknown": lambda r: r.update(insider=True),
    "detection_finding.time is no long_t": lambda r: r.update(time="2010-01-01"),
    "detection_finding.evidences is no array": lambda r: r.update(evidences={}),
    "detection_finding.evidences[0].email.from is no email_t": lambda r: r["evidences"][0].update(email={"from": "nobody"}),
    "detection_finding.is_alert is no boolean_t": lambda r: r.update(is_alert=1),
    "detection_finding.risk_score is no integer_t": lambda r: r.update(risk_score=True),
    "type_uid is not class_uid * 100 + activity_id": lambda r: r.update(type_uid=200402),
    "detection_finding.attacks[0]: at_least_one of": lambda r: [
        r["attacks"][0].pop(k, 0) for k in ("tactic", "technique", "sub_technique")
    ],
}


@pytest.mark.parametrize("problem", BREAKS)
def test_a_broken_rule_is_seen(problem: str) -> None:
    record = alert()
    BREAKS[problem](record)
    found = problems(record)
    assert any(problem in each for each in found), found


def test_cited_events_are_related_events_by_id_and_kind() -> None:
    info = alert()["finding_info"]
    assert info["related_events_count"] == len(info["related_events"]) == 8
    assert {(kind_of(each["type_uid"]), each["uid"]) for each in info["related_events"]} == {
        (kind, f"{{ana-{pane}-{kind}}}") for kind in (Kind.FILE, Kind.HTTP) for pane in range(4)
    }
    assert [each["first_seen_time"] for each in info["related_events"]] == sorted(
        each["first_seen_time"] for each in info["related_events"]
    )


@pytest.mark.parametrize(
    ("kind", "fields", "uid"),
    [
        (Kind.LOGON, {"activity": "Logon"}, 300201),
        (Kind.LOGON, {"activity": "Logoff"}, 300202),
        (Kind.DEVICE, {"activity": "Insert"}, 101001),
        (Kind.DEVICE, {"activity": "Disconnect"}, 101002),
        (Kind.FILE, {}, 100101),
        (Kind.EMAIL, {}, 400901),
        (Kind.HTTP, {}, 400200),
    ],
)
def test_types_of_events_are_activities_that_ocsf_knows(kind: Kind, fields: dict[str, str], uid: int) -> None:
    assert type_uid({"kind": kind, **EVENTS[kind], **fields}) == uid
    classes = {each["uid"]: each["enum"] for each in SCHEMA["activities"].values()}
    assert str(uid % 100) in classes[uid // 100]
    assert kind_of(uid) is kind


def test_only_the_first_record_of_a_finding_is_an_alert() -> None:
    first, update = alert(), alert(day_of("ana", 1, 0.95), earlier=day_of("ana", 0, 0.9))
    assert first["is_alert"] is True
    assert "is_alert" not in update
    assert first["finding_info"]["uid"] == update["finding_info"]["uid"]
    assert first["metadata"]["uid"] != update["metadata"]["uid"]


def test_an_update_tells_the_whole_finding() -> None:
    update = alert(day_of("ana", 1, 0.6), earlier=day_of("ana", 0, 0.9))
    assert update["risk_score"] == 90  # a risk is not lowered
    related = update["finding_info"]["related_events"]
    assert update["finding_info"]["related_events_count"] == len(related) == 10  # five panes with two cited events each
    assert {(each["type"], each["type_uid"]) for each in related} == {("file", 100101), ("http", 400200)}
    assert len(update["evidences"]) == 8  # in full only what the newer window holds


def test_the_time_is_the_windows_end_and_nothing_depends_on_when_it_was_made() -> None:
    record = alert()
    assert record["time"] == round((FIRST + timedelta(days=1)).timestamp() * 1000)
    assert encode(record) == encode(alert())


def test_where_it_came_from_is_kept() -> None:
    unmapped = alert()["unmapped"]
    assert unmapped["window"]["topic"] == "daywatch.windows"
    assert (unmapped["window"]["partition"], unmapped["window"]["offset"]) == (3, 17)
    assert unmapped["provenance"]["model"] == "fixed"


def test_techniques_carry_names_tactics_and_the_attack_version() -> None:
    first = alert(techniques=("T1052.001", "T1567", "T9999.001"))["attacks"]
    assert first[0] == {
        "version": "18.1",
        "tactic": {"uid": "TA0010", "name": "Exfiltration"},
        "technique": {"uid": "T1052", "name": "Exfiltration Over Physical Medium"},
        "sub_technique": {"uid": "T1052.001", "name": "Exfiltration over USB"},
    }
    assert "sub_technique" not in first[1]
    assert first[2] == {"version": "18.1", "technique": {"uid": "T9999"}, "sub_technique": {"uid": "T9999.001"}}  # ids we have no name for
    assert problems(alert(techniques=("T9999.001",))) == []


def test_observables_are_linked_to_their_event() -> None:
    record = alert()
    found = {(each["type_id"], each["value"]): each for each in record["observables"]}
    assert found[4, "ana"]["name"] == "actor.user.name"
    url = found[6, EVENTS[Kind.HTTP]["url"]]
    place = int(url["name"].removeprefix("evidences[").partition("]")[0])
    assert record["evidences"][place]["uid"] == url["event_uid"]


def test_a_users_learning_days_lower_the_confidence_and_not_the_risk() -> None:
    usual, learning = alert(), alert(learning=True)
    assert (usual["confidence_score"], learning["confidence_score"]) == (90, 45)
    assert usual["risk_score"] == learning["risk_score"] == 90
    assert problems(learning) == []


def test_long_texts_are_cut_and_addresses_that_are_none_stay_out_of_the_address_fields() -> None:
    events = [
        event(Kind.HTTP, "{h}", FIRST, content="x" * 10_000),
        event(Kind.EMAIL, "{m}", FIRST, **{"from": "not an address", "to": "also\u202enot;ok@dtaa.com"}),
        event(Kind.EMAIL, "{n}", FIRST, **{"from": "", "to": "nobody"}),
    ]
    record = alert(
        window_record("ana", 0, events, 0.9), cited=(EventRef(Kind.HTTP, "{h}"), EventRef(Kind.EMAIL, "{m}"), EventRef(Kind.EMAIL, "{n}"))
    )
    assert problems(record) == []
    by_id = {each["uid"]: each for each in record["evidences"]}
    assert len(by_id["{h}"]["data"]["content"]) == MOST_TEXT + 1
    assert by_id["{m}"]["email"] == {"to": ["ok@dtaa.com"], "cc": [], "size": 4000} or by_id["{m}"]["email"] == {
        "to": ["ok@dtaa.com"],
        "size": 4000,
    }
    assert "email" not in by_id["{n}"]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
users = texts.filter(bool)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(KINDS), texts, texts, st.none() | texts), min_size=1, max_size=8), st.floats(0.51, 1), users)
def test_whatever_events_say_the_rules_are_kept(rows: list[tuple[Kind, str, str, str | None]], risk: float, user: str) -> None:
    events = []
    for place, (kind, event_id, text, other) in enumerate(rows):
        said = other if place % 2 else text
        # what a log did not say stands in no window
        fields = {name: said for name, value in EVENTS[kind].items() if isinstance(value, str) and said is not None}
        events.append(event(kind, f"{place}{event_id}", FIRST + timedelta(minutes=place), pc=text, **fields))
    cited = tuple(EventRef(Kind(e["kind"]), e["id"]) for e in events)
    record = alert(window_record(user, 0, events, risk), cited=cited)
    assert problems(record) == []
    assert json.loads(encode(record)) == copy.deepcopy(record)


def test_activity_numbers_are_ocsfs() -> None:
    enum = SCHEMA["classes"]["detection_finding"]["attributes"]["activity_id"]["enum"]
    assert (enum[str(int(Activity.CREATE))], enum[str(int(Activity.UPDATE))]) == ("Create", "Update")


def test_an_event_that_the_log_line_classifier_was_asked_about_carries_label_and_score() -> None:
    window = window_record("ana", 0, [event(Kind.HTTP, "{e1}", FIRST), event(Kind.FILE, "{e1}", FIRST)], 0.9)
    cited = (EventRef(Kind.HTTP, "{e1}"), EventRef(Kind.FILE, "{e1}"))
    record = alert(window, cited=cited, line_labels={cited[0]: ("Malicious", 0.97)})
    assert problems(record) == []
    data = {each["name"]: each["data"] for each in record["evidences"]}
    assert (data["http"]["line_label"], data["http"]["line_score"]) == ("Malicious", 0.97)
    assert "line_label" not in data["file"]
