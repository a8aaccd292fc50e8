import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sklearn.metrics import average_precision_score

from sinks.scorecard import json_lines, scorecard
from stream.errors import ConfigurationError
from tests.sinks.made_up import CLASS, MadeUp

DAY_0 = datetime(2010, 7, 1, tzinfo=UTC)


def _window(user: str, start: datetime, hours: int = 24, events: tuple[tuple[str, str, int], ...] = ()) -> dict:
    """A window record; each event is (kind, id, hours after the start of day 0)."""
    held = [{"kind": kind, "id": name, "ts": (DAY_0 + timedelta(hours=at)).isoformat(), "pc": "PC"} for kind, name, at in events]
    end = start + timedelta(hours=hours)
    return {"id": f"{user}/{start:%d%H}", "user": user, "start": start.isoformat(), "end": end.isoformat(), "events": held}


def _verdict(window: dict, score: float, cited: tuple[tuple[str, str], ...] = (), alert: str | None = None) -> dict:
    span = {name: window[name] for name in ("user", "start", "end")}
    events = [{"kind": kind, "id": name} for kind, name in cited]
    label = "malicious" if alert else "normal"
    return {"window_id": window["id"], **span, "score": score, "triage_score": score, "label": label, "cited": events, "alert_uid": alert}


def _alert(uid: str, end: str, cited: tuple[tuple[str, str], ...], activity: int = 1) -> dict:
    related = [{"uid": name, "type_uid": CLASS[kind] * 100} for kind, name in cited]
    time = round(datetime.fromisoformat(end).timestamp() * 1000)
    return {
        "activity_id": activity,
        "time": time,
        "actor": {"user": {"name": "ana"}},
        "finding_info": {"uid": uid, "related_events": related},
    }


@pytest.fixture
def ana(tmp_path: Path) -> Path:
    """Ana does something at noon of day 0 (http h1) and at 02:00 of day 1 (device h1: the same id, another kind)."""
    folder = tmp_path / "answers" / "r4.2-1"
    folder.mkdir(parents=True)
    (folder / "ana.csv").write_text("http,h1,07/01/2010 12:00:00,ana,PC,http://x\ndevice,h1,07/02/2010 02:00:00,ana,PC,Connect\n")
    (tmp_path / "answers" / "insiders.csv").write_text("dataset,scenario,details,user,start,end\n4.2,1,ana.csv,ana,,\n")
    return tmp_path


def test_a_user_day_is_scored_by_the_window_equal_to_the_day_whatever_overlaps_it(ana: Path) -> None:
    whole = [_window("ana", DAY_0), _window("ana", DAY_0 + timedelta(days=1)), _window("bob", DAY_0)]
    shifted = [_window("ana", DAY_0 + timedelta(hours=6)), _window("bob", DAY_0 + timedelta(hours=6))]
    verdicts = [_verdict(window, score) for window, score in zip([*whole, *shifted], (0.9, 0.8, 0.1, 0.0, 1.0), strict=True)]
    card = scorecard(ana, [*whole, *shifted], verdicts, [], replicates=0)
    assert card.figures["user_days"] == 3
    assert card.figures["pr_auc"] == 1.0


def test_an_alert_counts_on_the_days_of_the_events_it_cites(ana: Path) -> None:
    across = _window("ana", DAY_0 + timedelta(hours=6), events=(("http", "h1", 12), ("device", "h1", 26)))
    days = [_window("ana", DAY_0, events=(("http", "h1", 12),)), _window("ana", DAY_0 + timedelta(days=1), events=(("device", "h1", 26),))]
    verdicts = [_verdict(days[0], 0.4), _verdict(days[1], 0.4), _verdict(across, 0.9, (("device", "h1"),), "f1")]
    card = scorecard(ana, [*days, across], verdicts, [_alert("f1", across["end"], (("device", "h1"),))], replicates=0)
    assert card.judged.alert_days.select("user", "day").rows() == [("ana", 14792)]
    assert card.figures["alerts"]["hits"] == 1
    assert (card.figures["evidence"]["f1"], card.figures["evidence"]["end_to_end"]["f1"]) == (1.0, pytest.approx(2 / 3))


def test_an_update_adds_its_events_to_the_same_alert_and_the_first_time_counts(ana: Path) -> None:
    day = _window("ana", DAY_0, events=(("http", "h1", 12), ("http", "h2", 13)))
    verdicts = [_verdict(day, 0.9, (("http", "h1"), ("http", "h2")), "f1")]
    first = _alert("f1", (DAY_0 + timedelta(hours=18)).isoformat(), (("http", "h1"),))
    later = _alert("f1", day["end"], (("http", "h1"), ("http", "h2")), activity=2)
    found = scorecard(ana, [day], verdicts, [first, later], replicates=0).figures
    assert (found["alerts"]["findings"], found["alerts"]["updates"], found["evidence"]["cited"]) == (1, 1, 2)
    assert found["insiders"]["delay_h"]["median"] == 6.0


def test_a_citation_that_is_not_in_its_window_is_counted_as_invalid(ana: Path) -> None:
    day = _window("ana", DAY_0, events=(("http", "h1", 12),))
    good = scorecard(ana, [day], [_verdict(day, 0.9, (("http", "h1"),))], [], replicates=0).figures["evidence"]
    wrong_kind = scorecard(ana, [day], [_verdict(day, 0.9, (("file", "h1"),))], [], replicates=0).figures["evidence"]
    no_window = scorecard(ana, [], [_verdict(day, 0.9, (("http", "h1"),))], [], replicates=0).figures["evidence"]
    assert (good["cited_in_all"], good["invalid"], wrong_kind["invalid"], no_window["invalid"]) == (1, 0, 1, 1)


def test_an_alert_that_cites_what_no_window_of_its_user_holds_is_invalid(ana: Path) -> None:
    day, other = _window("ana", DAY_0, events=(("http", "h1", 12),)), _window("bob", DAY_0, events=(("http", "h9", 12),))
    verdicts = [_verdict(day, 0.9, (("http", "h1"),), "f1"), _verdict(other, 0.1)]
    alerts = [_alert("f1", day["end"], (("http", "h1"), ("http", "h9")))]
    assert scorecard(ana, [day, other], verdicts, alerts, replicates=0).figures["evidence"]["invalid"] == 1


def test_a_malicious_day_without_a_verdict_is_a_miss(ana: Path) -> None:
    day, other = _window("ana", DAY_0), _window("bob", DAY_0)
    found = scorecard(ana, [day, other], [_verdict(day, 0.9), _verdict(other, 0.3)], [], replicates=0).figures
    assert (found["missed_days"], found["positive_days"], found["user_days"]) == (1, 2, 3)
    assert found["pr_auc"] == pytest.approx(average_precision_score([1, 0, 1], [0.9, 0.3, 0.0]))


def test_survival_counts_key_events_that_are_in_the_window_equal_to_their_day(ana: Path) -> None:
    day = _window("ana", DAY_0, events=(("http", "h1", 12),))
    assert scorecard(ana, [day], [_verdict(day, 0.9)], [], replicates=0).figures["evidence"]["survival"]["all"] == 0.5


def test_days_are_those_of_the_zone_and_a_wrong_zone_is_told(ana: Path) -> None:
    day = _window("ana", DAY_0)
    with pytest.raises(ConfigurationError, match="zone Europe/Berlin"):
        scorecard(ana, [day], [_verdict(day, 0.9)], [], "Europe/Berlin", replicates=0)
    local = _window("ana", DAY_0 - timedelta(hours=2))
    assert scorecard(ana, [local], [_verdict(local, 0.9)], [], "Europe/Berlin", replicates=0).figures["user_days"] == 2


@pytest.mark.parametrize("record", [b"{", b"[]", b'{"user": "ana"}', b'{"user":"ana","start":"2010-07-01T00:00:00"}'])
def test_a_record_that_is_none_is_told_by_its_number_and_without_its_contents(ana: Path, record: bytes) -> None:
    day = _window("ana", DAY_0)
    with pytest.raises(ConfigurationError, match="verdict 2 is no verdict record") as caught:
        scorecard(ana, [day], [_verdict(day, 0.9), record], [], replicates=0)
    assert "ana" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="window 1 is no window record"):
        scorecard(ana, [record], [_verdict(day, 0.9)], [], replicates=0)
    with pytest.raises(ConfigurationError, match="alert 1 is no OCSF"):
        scorecard(ana, [day], [_verdict(day, 0.9)], [record], replicates=0)


def test_json_lines_and_records_give_the_same_card_and_the_card_is_json(tmp_path: Path) -> None:
    run = MadeUp()
    run.write_answers(tmp_path)
    for name in ("windows", "verdicts", "alerts"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in getattr(run, name)))
    read = scorecard(tmp_path, *(json_lines(tmp_path / f"{name}.jsonl") for name in ("windows", "verdicts", "alerts")), replicates=50)
    direct = scorecard(tmp_path, run.windows, run.verdicts, run.alerts, replicates=50)
    assert json.dumps(read.as_dict(), allow_nan=False) == json.dumps(direct.as_dict(), allow_nan=False)
    assert read.as_dict()["schema"] == "daywatch.scorecard/1"
    assert read.figures["evidence"]["invalid"] == 0
    assert 0 < read.figures["evidence"]["f1"] <= 1


def test_a_missing_file_is_told() -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        list(json_lines(Path("/nowhere/windows.jsonl")))
