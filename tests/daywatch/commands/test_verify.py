import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

import daywatch.backends as backends
from daywatch.backends import Choice, made, with_model
from detector.baseline import Baseline
from detector.narrative.seam import FixedModel
from stream.kafka_transactions import producer_config
from stream.partitioner import partition_of
from tests.daywatch.commands.conftest import Daywatch, Worked
from tests.detector.model_fixtures import write_qwen2
from tests.servers import EmbeddedBroker, create_topics
from tests.sinks.test_detect_worker import TOPICS
from windowing.record import parse_window


@pytest.fixture
def files(worked: Worked, tmp_path: Path) -> list[dict[str, Any]]:
    """Alerts of the baseline in a file, its windows in another."""
    alerts = worked.alerts(Baseline.load())
    write(tmp_path, alerts, worked.windows)
    return [json.loads(alert) for alert in alerts]


def write(place: Path, alerts: list[bytes], windows: list[bytes]) -> None:
    (place / "alerts.jsonl").write_bytes(b"\n".join(alerts) + b"\n")
    (place / "windows.jsonl").write_bytes(b"\n".join(windows) + b"\n")


FILES = ("--alerts", "alerts.jsonl", "--windows", "windows.jsonl")


def test_an_alert_that_is_judged_again_is_the_same(daywatch: Daywatch, files: list[dict[str, Any]]) -> None:
    assert files
    for alert in files[:3]:
        code, out, err = daywatch("verify", alert["metadata"]["uid"], *FILES)
        assert (code, out.count("the same")) == (0, 1), out + err


def test_a_finding_is_verified_record_by_record(daywatch: Daywatch, files: list[dict[str, Any]]) -> None:
    uids = [alert["finding_info"]["uid"] for alert in files]
    most = max(uids, key=uids.count)
    code, out, _ = daywatch("verify", most, *FILES)
    assert (code, out.count("the same")) == (0, uids.count(most))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": "normal"}, "label: was 'normal'"),
        ({"score": 0.5}, "score: was 0.500000"),
        ({"cited": []}, "evidence: cites besides"),
        ({"provenance": {"model_sha256": "f" * 64}}, "model_sha256: was 'ffff"),
        ({"message": "another reason"}, "reason: was 'another reason'"),
        ({"window": {"digest": "0" * 64}}, "window digest: was '0000"),
        ({"window": {"start": "2010-01-01T00:00:00+00:00"}}, "window's start: was '2010-01-01"),
        ({"learning": True}, "learning: was 'true', is 'false'"),
        ({"actor": {"user": {"name": "XYZ0001"}}}, "user: was 'XYZ0001'"),
    ],
)
def test_what_differs_is_said(change: dict[str, Any], said: str, daywatch: Daywatch, files: list[dict[str, Any]], tmp_path: Path) -> None:
    alert = files[0]
    for name, value in change.items():
        place = alert if name in alert else alert["unmapped"]
        place[name] = place[name] | value if isinstance(value, dict) else value
    (tmp_path / "alerts.jsonl").write_text(json.dumps(alert))
    code, out, _ = daywatch("verify", alert["metadata"]["uid"], *FILES)
    assert (code, ": differs" in out, said in out) == (1, True, True), out


def test_an_event_that_the_alert_repeats_otherwise_than_its_window_is_named(
    daywatch: Daywatch, files: list[dict[str, Any]], tmp_path: Path
) -> None:
    alert = files[0]
    first = alert["evidences"][0]
    foreign = first | {"uid": "{of-another-day}"}
    first["data"] = first["data"] | {"pc": "PC-0000"}
    alert["evidences"].append(foreign)
    (tmp_path / "alerts.jsonl").write_text(json.dumps(alert))
    code, out, _ = daywatch("verify", alert["metadata"]["uid"], *FILES)
    assert (code, f"shows {first['name']} {first['uid']} otherwise than its window does" in out) == (1, True), out
    assert f"shows {first['name']} {{of-another-day}}, which its window does not" in out


def test_a_window_that_was_changed_is_noticed(daywatch: Daywatch, files: list[dict[str, Any]], tmp_path: Path, worked: Worked) -> None:
    alert = files[0]
    window = alert["unmapped"]["window"]["id"]
    changed = [one.replace(b'"learning":false', b'"learning":true') if window.encode() in one else one for one in worked.windows]
    (tmp_path / "windows.jsonl").write_bytes(b"\n".join(changed))
    _, _, err = daywatch("verify", alert["metadata"]["uid"], *FILES)
    assert "its digest does not fit its content" in err


def test_an_alert_or_a_window_that_is_not_there_is_said_in_a_line(daywatch: Daywatch, files: list[dict[str, Any]], tmp_path: Path) -> None:
    code, _, err = daywatch("verify", "nobody", *FILES)
    assert (code, "there is no alert 'nobody' in alerts.jsonl" in err) == (1, True)
    (tmp_path / "windows.jsonl").write_text("\n")
    code, _, err = daywatch("verify", files[0]["metadata"]["uid"], *FILES)
    assert (code, "is not in windows.jsonl: it has expired, or was never there" in err) == (1, True)


@pytest.mark.parametrize("budget", ["many", "nan", "inf", "-3", "0"])
def test_numbers_that_are_none_are_said_before_a_model_is_loaded(
    budget: str, daywatch: Daywatch, files: list[dict[str, Any]], tmp_path: Path
) -> None:
    alert = files[0]
    alert["unmapped"]["provenance"]["budget"] = budget
    (tmp_path / "alerts.jsonl").write_text(json.dumps(alert))
    code, _, err = daywatch("verify", alert["metadata"]["uid"], *FILES)
    assert (code, "the alert's provenance holds no usable numbers" in err) == (1, True), err


def test_a_record_that_says_too_little_to_be_judged_again_is_told_from_one_that_is_not_there(
    daywatch: Daywatch, files: list[dict[str, Any]], tmp_path: Path
) -> None:
    alert = files[0]
    del alert["unmapped"]["cited"]
    (tmp_path / "alerts.jsonl").write_text(json.dumps(alert))
    code, _, err = daywatch("verify", alert["metadata"]["uid"], *FILES)
    assert (code, "cannot be judged again" in err, "there is no alert" in err) == (1, True, False), err


def test_the_language_model_that_the_alert_names_judges_again(
    daywatch: Daywatch, worked: Worked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = Choice("narrative", base="some/base", share=0.3, budget=7.0, prompt_tokens=500, shots=2)
    alerts = worked.alerts(with_model(FixedModel((0.05, 0.05, 0.9)), choice, Baseline.load(budget=7.0), None))
    write(tmp_path, alerts, worked.windows)
    asked: list[Choice] = []
    says = {"again": (0.05, 0.05, 0.9)}

    def fixed(wanted: Choice) -> object:
        asked.append(wanted)
        return FixedModel(says["again"]), None, {}

    monkeypatch.setattr(backends, "_here", fixed)
    alert = next(one for one in map(json.loads, alerts) if one["unmapped"]["provenance"]["judged_by"] == "model")
    code, out, _ = daywatch("verify", alert["metadata"]["uid"], *FILES)
    assert (code, "the same" in out) == (0, True), out
    assert (asked[0].base, asked[0].share, asked[0].budget, asked[0].prompt_tokens, asked[0].shots) == ("fixed", 0.3, 7.0, 500, 2)
    says["again"] = (0.5, 0.1, 0.4)
    code, out, _ = daywatch("verify", alert["metadata"]["uid"], *FILES)
    assert (code, "score: was" in out) == (1, True)


def test_a_model_from_a_directory_is_asked_again_where_settings_or_options_say_that_it_lies(
    daywatch: Daywatch, worked: Worked, tmp_path: Path, tiny_qwen2: Path
) -> None:
    few = Worked(worked.windows[:3])
    alerts = few.alerts(made(Choice("narrative", base=str(tiny_qwen2), adapter="none", precision="fp32", prompt_tokens=300)))
    write(tmp_path, alerts, few.windows)
    uid = json.loads(alerts[0])["metadata"]["uid"]
    # the alert does not tell where things lie on the machine that raised it
    assert str(tiny_qwen2.parent) not in alerts[0].decode()
    code, _, err = daywatch("verify", uid, *FILES)
    assert (code, f"{tiny_qwen2.name}: there is no such directory" in err) == (1, True), err
    for where in (("--base", tiny_qwen2), ("--set", f"detect.base={tiny_qwen2}")):
        code, out, err = daywatch("verify", uid, *FILES, *where)
        assert (code, out.count("the same")) == (0, 1), out + err
    other = write_qwen2(tmp_path / "other" / tiny_qwen2.name, seed=1)
    code, out, _ = daywatch("verify", uid, *FILES, "--base", other)
    assert (code, "base_sha256: was" in out) == (1, True), out


@pytest.mark.usefixtures("smollm2")
def test_the_language_model_that_ships_says_the_same_again_of_all_but_what_was_retouched(
    daywatch: Daywatch, worked: Worked, tmp_path: Path
) -> None:
    # judged in company, verified alone; of the gravest, two with little to read
    few = Worked(sorted(worked.windows[:20], key=len)[:2])
    alerts = few.alerts(made(Choice("narrative")))
    told = json.loads(alerts[0])
    assert told["unmapped"]["provenance"]["judged_by"] == "model"
    was = told["unmapped"]["label"]
    told["unmapped"]["label"] = "normal"
    told["unmapped"]["provenance"] |= {"alert_threshold": "0.990000", "adapter_sha256": "f" * 64}
    write(tmp_path, [json.dumps(told).encode()], few.windows)
    code, out, err = daywatch("verify", told["finding_info"]["uid"], *FILES)
    assert (code, ": differs" in out) == (1, True), out + err
    label, *others = [line.strip() for line in out.splitlines()[1:]]
    assert label == f"label: was 'normal', is {was!r}"
    assert [line.partition(":")[0] for line in others] == ["adapter_sha256", "alert_threshold"], out


def test_alert_and_window_are_found_on_their_topics(
    daywatch: Daywatch, worked: Worked, embedded_broker: EmbeddedBroker, namespace: str
) -> None:
    broker, alerts = embedded_broker.bootstrap_servers, worked.alerts(Baseline.load())
    create_topics(broker, [f"{namespace}.windows", f"{namespace}.alerts"], partitions=TOPICS.partitions)
    producer = Producer(producer_config({"bootstrap.servers": broker}))
    for record in worked.windows:
        key = parse_window(record).user.encode()
        producer.produce(f"{namespace}.windows", record, key=key, partition=partition_of(key, TOPICS.partitions))
    for alert in alerts:
        producer.produce(f"{namespace}.alerts", alert.replace(b'"topic":"windows"', f'"topic":"{namespace}.windows"'.encode()), partition=0)
    assert producer.flush(30) == 0
    where = ("--namespace", namespace, "--bootstrap-servers", broker, "--set", "kafka.embedded=true")
    told = json.loads(alerts[-1])
    code, out, err = daywatch("verify", told["metadata"]["uid"], *where)
    assert (code, "the same" in out) == (0, True), out + err
    told["unmapped"]["window"] |= {"partition": 9, "topic": f"{namespace}.windows"}
    told["metadata"]["uid"] = "of-a-window-that-is-gone"
    producer.produce(f"{namespace}.alerts", json.dumps(told).encode(), partition=1)
    assert producer.flush(30) == 0
    code, _, err = daywatch("verify", "of-a-window-that-is-gone", *where)
    assert (code, "partition 9, offset" in err and "it has expired, or was never there" in err) == (1, True), err
