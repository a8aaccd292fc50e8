import json
from dataclasses import replace

import numpy as np
import pytest

from detector.backend import FixedAnswer, FixedBackend, judged
from detector.groups.corpus import Mask
from detector.groups.fit import fit_lexical
from detector.groups.lexical import GroupsModel
from detector.groups.match import MOST, Resembling, likely_groups, with_resemblance
from detector.verdict import Verdict

MODEL = GroupsModel(
    attack_version="18.1",
    names={"G0001": "Amber Fox", "G0002": "Brass Owl", "G0003": "Coral Lynx"},
    aliases={"G0001": ("Amber Fox", "FoxCrew"), "G0002": ("Brass Owl",), "G0003": ("Coral Lynx",)},
    used={"G0001": ("T1052.001", "T1078"), "G0002": ("T1005", "T1078"), "G0003": ("T1078",)},
    techniques={"T1052.001": "Exfiltration over USB", "T1078": "Valid Accounts", "T1005": "Data from Local System"},
    mask=Mask.of_spellings({"Amber Fox": "the group", "FoxCrew": "the group", "Brass Owl": "the group", "Coral Lynx": "the group"}),
    lexical=fit_lexical(
        ["rclone mega usb drive", "usb mega", "cash atm swift", "atm swift sends"], np.array([0, 0, 1, 1]), ("G0001", "G0002")
    ),
    made={},
    sha256="ab" * 32,
)


def verdict(**given: object) -> Verdict:
    plain = Verdict(
        "w", "u", "s", "e", "malicious", 0.9, 0.9, (), "copies to a usb drive", (), ("T1052.001", "T1078"), True, False, "all", "x"
    )
    return replace(plain, **given)  # type: ignore[arg-type]


def test_groups_that_share_more_and_rarer_techniques_come_first() -> None:
    found = likely_groups(("T1052.001", "T1078"), "", MODEL)
    assert found[0].group == "G0001"
    assert (found[0].score, found[0].shared) == (1.0, ("T1052.001", "T1078"))
    # the rare technique weighs log(1 + 3/1), the common one log(1 + 3/3)
    assert found[1].score == pytest.approx(np.log(2) / (np.log(4) + np.log(2)), abs=1e-4)


def test_words_decide_between_groups_that_share_as_much() -> None:
    assert likely_groups(("T1078",), "swift atm cash", MODEL)[0].group == "G0002"
    assert likely_groups(("T1078",), "usb mega rclone", MODEL)[0].group == "G0001"


def test_a_parent_or_a_sub_technique_counts_half() -> None:
    (found,) = likely_groups(("T1052",), "", MODEL)
    assert (found.group, found.score, found.shared) == ("G0001", 0.5, ("T1052",))
    (below,) = likely_groups(("T1005.003",), "", MODEL)
    assert (below.group, below.score) == ("G0002", 0.5)


def test_words_alone_are_no_ground_for_a_resemblance() -> None:
    assert likely_groups((), "swift atm cash", MODEL) == ()
    assert likely_groups(("T9999",), "swift atm cash", MODEL) == ()
    assert len(likely_groups(("T1078",), "", MODEL, most=2)) == 2
    assert MOST == 3


def test_an_alert_carries_what_it_resembles_marked_as_no_attribution() -> None:
    said = with_resemblance(verdict(extras={"cost": 1}), MODEL).extras
    assert said["cost"] == 1
    assert "no attribution" in said["resembles"]["note"]
    assert said["resembles"]["attack_version"] == "18.1"
    assert said["resembles"]["groups"][0]["name"] == "Amber Fox"
    assert json.loads(json.dumps(said)) == said


def test_nothing_but_the_extras_of_alerts_changes() -> None:
    alert, quiet = verdict(), verdict(alert=False)
    assert replace(with_resemblance(alert, MODEL), extras={}) == alert
    assert with_resemblance(quiet, MODEL) == quiet
    assert with_resemblance(verdict(techniques=()), MODEL) == verdict(techniques=())


def test_a_backend_that_resembles_judges_as_the_one_within() -> None:
    from tests.detector.windows import window as window_of

    window = window_of()
    inner = FixedBackend({window.id: FixedAnswer("malicious", 0.9, alert=True)})
    outer = Resembling(inner, MODEL)
    assert outer.name == inner.name
    assert judged(outer, [window]) == judged(inner, [window])


def test_an_alert_with_what_it_resembles_keeps_every_rule_of_ocsf() -> None:
    from jsonschema import Draft202012Validator

    from sinks.ocsf import encode
    from sinks.ocsf_schema import alert_json_schema
    from tests.sinks.ocsf_rules import problems
    from tests.sinks.test_ocsf import alert

    said = with_resemblance(verdict(), MODEL).extras
    record = json.loads(encode(alert(extras=said)))
    assert record["unmapped"]["resembles"]["groups"][0]["uid"] == "G0001"
    assert problems(record) == []
    assert list(Draft202012Validator(alert_json_schema()).iter_errors(record)) == []
