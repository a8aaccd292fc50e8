import json
from pathlib import Path

import pytest

import daywatch.backends as backends
from daywatch.backends import Choice
from detector.baseline import Baseline
from detector.narrative.seam import FixedModel
from tests.daywatch.commands.conftest import Daywatch, Worked
from windowing.record import parse_window


def test_every_window_of_a_file_gets_a_verdict_in_its_order(daywatch: Daywatch, worked: Worked, tmp_path: Path) -> None:
    (tmp_path / "windows.jsonl").write_bytes(b"\n".join(worked.windows) + b"\n")
    code, out, err = daywatch("judge", "windows.jsonl")
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [verdict["window_id"] for verdict in verdicts] == [parse_window(one).id for one in worked.windows]
    expected = Baseline.load().judge([parse_window(one) for one in worked.windows])
    assert [verdict["score"] for verdict in verdicts] == [one.score for one in expected]
    assert f"{len(worked.windows)} windows judged, {sum(one.alert for one in expected)} alerts" in err


def test_standard_input_is_a_file_too_and_batches_change_nothing(daywatch: Daywatch, worked: Worked) -> None:
    given = b"\n\n".join(worked.windows[:10])
    whole = daywatch("judge", "-", "--quiet", stdin=given)
    assert whole == daywatch("judge", "-", "--quiet", "--set", "detect.batch=3", stdin=given)
    assert (whole[0], len(whole[1].splitlines()), whole[2]) == (0, 10, "")


def test_a_bad_line_is_named_by_its_number_and_the_others_are_judged(daywatch: Daywatch, worked: Worked) -> None:
    first, second = worked.windows[:2]
    lacking = json.dumps(json.loads(second) | {"features": {}}).encode()
    code, out, err = daywatch("judge", "-", stdin=b"\n".join([first, b"{bad", lacking, b"", second]))
    assert (code, len(out.splitlines())) == (1, 2)
    assert "line 2: a window record is not JSON" in err
    assert "line 3: " in err
    assert "2 of 4 lines could not be judged" in err


def test_any_backend_judges(daywatch: Daywatch, worked: Worked, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Choice] = []

    def fixed(choice: Choice) -> object:
        asked.append(choice)
        return FixedModel((0.1, 0.1, 0.8)), None, {}

    monkeypatch.setattr(backends, "_here", fixed)
    code, out, err = daywatch(
        "judge", "-", "--backend", "narrative", "--base", "some/base", "--share", "0.5", "--set", "detect.groups=false",
        stdin=b"\n".join(worked.windows[:5]),
    )  # fmt: skip
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert code == 0, err
    assert {verdict["by"] for verdict in verdicts} == {"narrative"}
    assert {verdict["provenance"]["judged_by"] for verdict in verdicts} == {"model"}
    assert verdicts[0]["extras"]["cost"]["share"] == 0.5
    assert "the model has read 5 of 5 windows" in err
    assert (asked[0].base, asked[0].share) == ("some/base", 0.5)


def test_what_cannot_be_read_or_does_not_exist_is_said_in_a_line(daywatch: Daywatch) -> None:
    assert daywatch("judge", "missing.jsonl")[::2] == (1, "daywatch: error: missing.jsonl: No such file or directory\n")
    code, _, err = daywatch("judge", "-", "--backend", "oracle")
    assert (code, "there is no backend 'oracle'; use baseline, narrative, remote" in err) == (1, True)
    code, _, err = daywatch("judge", "-", "--backend", "remote")
    assert (code, "remote.url" in err) == (1, True)
