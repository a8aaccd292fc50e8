"""The JSON Schema of alerts says what OCSF's own rules say."""

import copy
import json

import pytest
from jsonschema import Draft202012Validator

from sinks.ocsf_schema import alert_json_schema
from tests.sinks.ocsf_rules import problems
from tests.sinks.test_ocsf import alert


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = alert_json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_an_alert_is_valid(validator: Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(json.loads(json.dumps(alert())))] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["class_uid"], 2005),
        (["severity_id"], "high"),
        (["severity_id"], 42),
        (["time"], 1.5),
        (["metadata", "product"], {}),
        (["metadata", "product"], None),
        (["finding_info", "uid"], None),
        (["finding_info", "uid"], 5),
        (["nonsense"], 1),
        (["evidences"], [{}]),
        (["evidences"], {}),
    ],
)
def test_what_ocsf_refuses_the_schema_refuses(validator: Draft202012Validator, path: list[str], value: object) -> None:
    broken = copy.deepcopy(json.loads(json.dumps(alert())))
    place = broken
    for part in path[:-1]:
        place = place[part]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    assert problems(broken)
    assert list(validator.iter_errors(broken))
