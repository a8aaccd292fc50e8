import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from detector.logline.labels import LineLabel
from sinks.cycle import MemoryPast
from sinks.line_alert import is_line_alert
from sinks.scorecard import _read_alerts
from sinks.show import Findings
from sinks.triage_worker import TriageSettings, TriageTopics, TriageWorker
from stream.clock import ManualClock
from stream.errors import FencedError, RefusedError
from stream.log import Commit, MemoryLog, MemoryOutlet, MemorySource, TopicPartition
from stream.marks import encode_mark
from tests.sinks.ocsf_rules import problems
from tests.sinks.rough import Flaky, kept_in, never

TOPICS = TriageTopics("lines", "labels", "alerts", "dead-letters", 2, 2)
NAMES = ("lines", "labels", "alerts", "dead-letters")


class ByFirstWord:
    """Labels a line by its first word."""

    provenance: Mapping[str, str] = {"model": "first-word", "model_sha256": "0" * 64}

    def labels(self, lines: Sequence[str]) -> list[LineLabel]:
        return [LineLabel(line.split()[0], 0.9) for line in lines]


def filled(lines: int = 40, seed: int = 1) -> MemoryLog:
    chance, log = random.Random(seed), MemoryLog(NAMES, TOPICS.partitions)
    for number in range(lines):
        label = chance.choice(("Normal", "Error", "Malicious", "Informational"))
        value = b"\xff\xfe" if number % 11 == 5 else f"{label} line {number}".encode()
        log.append(TopicPartition("lines", number % 2), b"host%d" % (number % 3), value, [("h", b"1")], stamp=1_262_592_753_000 + number)
    return log


def worker(log: MemoryLog, outlet: Any = None, source: Any = None, labels: Any = None, **settings: Any) -> TriageWorker:
    chosen = TriageSettings(**{"alert_on": frozenset({"Malicious", "Error"}), "batch_lines": 7, "until_done": True, **settings})
    source = source or MemorySource(log, ["lines"])
    return TriageWorker(
        source, outlet or MemoryOutlet(log), MemoryPast(log), labels or ByFirstWord(), TOPICS, chosen, ManualClock(), wait=lambda _s: None
    )


def run(log: MemoryLog, **more: Any) -> TriageWorker:
    made = worker(log, **more)
    made.run(never)
    return made


def results(log: MemoryLog) -> dict[TopicPartition, list[tuple[Any, Any, Any]]]:
    return kept_in(log, NAMES[1:])


def test_every_line_leaves_one_label_under_its_own_key_and_in_its_own_partition() -> None:
    log = filled()
    made = run(log)
    for partition in range(2):
        labelled = [json.loads(kept.value or b"") for kept in log.logs[TopicPartition("labels", partition)]]
        lines = [kept for kept in log.logs[TopicPartition("lines", partition)] if kept.value != b"\xff\xfe"]
        assert [record["source"]["offset"] for record in labelled] == [kept.offset() for kept in lines]
        assert [kept.key for kept in log.logs[TopicPartition("labels", partition)]] == [kept.key for kept in lines]
        assert all(record["line"].startswith(record["label"]) for record in labelled)
        assert all(record["source"]["partition"] == partition for record in labelled)
    assert made.totals.lines == len(log.values("labels")) == sum(made.totals.by_label.values())


def test_only_the_labels_that_are_asked_for_raise_an_alert_and_it_keeps_every_rule_of_ocsf() -> None:
    log = filled()
    made = run(log, alert_on=frozenset({"Malicious"}))
    alerts = [json.loads(value) for value in log.values("alerts")]
    assert len(alerts) == made.totals.alerts == made.totals.by_label["Malicious"] > 0
    assert all(problems(alert) == [] for alert in alerts)
    assert {alert["evidences"][0]["data"]["line_label"] for alert in alerts} == {"Malicious"}
    assert len({alert["finding_info"]["uid"] for alert in alerts}) == len(alerts)
    quiet = filled()
    run(quiet, alert_on=frozenset())
    assert quiet.values("alerts") == []


def test_an_alert_of_a_line_can_be_shown_and_is_nothing_that_a_scorecard_counts() -> None:
    log = filled()
    run(log)
    values = log.values("alerts")
    assert all(is_line_alert(json.loads(value)) for value in values)
    shown = Findings().take(values[0]).alert
    assert "line" in shown.reason
    assert shown.user.startswith("lines/")
    assert _read_alerts(values) == {}


def test_what_holds_no_line_is_dead_lettered_untouched_and_the_rest_goes_on() -> None:
    log = MemoryLog(NAMES, 2)
    at = TopicPartition("lines", 0)
    for value in (b"\xff\xfe", b"  ", b'{"level": "info"}', b"[1, 2]", None, b'{"message": "Normal start"}'):
        log.append(at, b"k", value, [("own", b"x")])
    log.append(at, None, None, encode_mark(5))
    made = run(log)
    assert made.totals.refused == {"no_line": 4}
    assert made.totals.lines == 2
    [first, *_] = log.records("dead-letters")
    headers = dict(first.headers() or [])
    assert (first.value, headers["own"], headers["daywatch-topic"], headers["daywatch-offset"]) == (b"\xff\xfe", b"x", b"lines", b"0")


@pytest.mark.parametrize("batch", [1, 5, 1000])
def test_results_do_not_depend_on_how_lines_are_batched(batch: int) -> None:
    whole, parts = filled(), filled()
    run(whole)
    run(parts, batch_lines=batch)
    assert sorted(map(str, results(whole).items())) == sorted(map(str, results(parts).items()))


@pytest.mark.parametrize("seed", range(10))
def test_after_any_failed_or_uncertain_transaction_the_results_are_those_of_an_undisturbed_run(seed: int) -> None:
    calm, rough = filled(seed=seed), filled(seed=seed)
    run(calm, batch_lines=3)
    made = run(rough, outlet=Flaky(rough, random.Random(seed)), batch_lines=3)
    assert results(rough) == results(calm)
    assert made.totals.recoveries > 0


def test_a_worker_that_dies_between_batches_is_carried_on_by_the_next() -> None:
    calm, rough, chance = filled(), filled(), random.Random(3)
    run(calm, batch_lines=3)
    while len(rough.values("labels")) < len(calm.values("labels")):
        made = worker(rough, batch_lines=3)
        for _ in range(chance.randint(1, 3)):
            made.step()
    assert results(rough) == results(calm)


def test_a_zombie_writes_nothing() -> None:
    log = filled()

    class Slow(ByFirstWord):
        def labels(self, lines: Sequence[str]) -> list[LineLabel]:
            MemorySource(log, ["lines"])  # a newer member takes over meanwhile
            return super().labels(lines)

    with pytest.raises(FencedError):
        worker(log, labels=Slow()).step()
    assert not any(results(log).values())


def test_it_refuses_to_start_when_there_are_labels_but_no_commit() -> None:
    log = filled()
    run(log)
    log.committed.clear()
    with pytest.raises(RefusedError, match="no committed position"):
        run(log)


def test_it_refuses_a_position_beyond_the_logs_end() -> None:
    log = filled()
    log.committed[TopicPartition("lines", 0)] = Commit(10_000)
    with pytest.raises(RefusedError, match="outside its log"):
        run(log)


def test_until_done_ends_at_what_was_there_and_a_later_run_takes_what_has_come_since() -> None:
    log = filled()
    run(log)
    before = len(log.values("labels"))
    log.append(TopicPartition("lines", 1), b"host1", b"Normal late")
    assert run(log).totals.lines == 1
    assert len(log.values("labels")) == before + 1
    assert run(log).totals.lines == 0


def test_it_stops_after_the_batch_in_hand() -> None:
    log = filled()
    steps: list[TriageWorker] = []
    worker(log, batch_lines=5).run(lambda: len(steps) == 1, steps.append)
    assert 0 < len(log.values("labels")) <= 5
