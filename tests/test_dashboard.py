"""The dashboard and the alert rules ask only for metrics that exist, with labels that they have."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from stream.metrics import LABELS, METRICS, Gauge, Histogram

ROOT = Path(__file__).parent.parent
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboards/daywatch.json").read_text(encoding="utf-8"))
RULES_FILE = ROOT / "deploy/prometheus/rules/daywatch.yml"
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

# what Prometheus adds to every series, and what comes from prometheus-client
TARGET = {"job", "instance"}
FOREIGN = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}

SERIES: dict[str, set[str]] = {name: set() for name in FOREIGN}
for metric in METRICS:
    if isinstance(metric, Histogram):
        SERIES |= {metric.name + "_bucket": {*metric.labels, "le"}, metric.name + "_sum": {*metric.labels}}
        SERIES |= {metric.name + "_count": {*metric.labels}}
    else:
        SERIES[metric.name] = {*metric.labels}


def as_asked(query: str) -> str:
    """A panel's query as Grafana sends it."""
    return query.replace("$__rate_interval", "5m").replace("$job", "daywatch")


def below(node: Any) -> Iterator[Any]:
    """The node and everything in it."""
    yield node
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        if (inner := getattr(node, name, None)) is not None:
            yield from below(inner)
    for inner in getattr(node, "args", None) or ():
        yield from below(inner)


def faults(query: str) -> list[str]:
    """What is wrong with a query."""
    try:
        nodes = list(below(promql_parser.parse(query)))
    except ValueError as error:
        return [f"no PromQL: {error}"]
    found: list[str] = []
    known: set[str] = set(TARGET)
    for node in nodes:
        if not isinstance(node, promql_parser.VectorSelector):
            continue
        if node.name not in SERIES:
            found.append(f"there is no {node.name}")
            continue
        known |= SERIES[node.name]
        found += [fault for matcher in node.matchers.matchers for fault in _matcher_faults(node.name, matcher)]
    for node in nodes:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            found += [f"nothing here has the label {label}" for label in node.modifier.labels if label not in known]
    return found + list(_misused(nodes))


def _matcher_faults(series: str, matcher: Any) -> Iterator[str]:
    if matcher.name not in SERIES[series] | TARGET:
        yield f"{series} has no label {matcher.name}"
    rule = LABELS.get(matcher.name)
    if isinstance(rule, frozenset):
        yield from (f"{matcher.name} is never {value}" for value in matcher.value.split("|") if value not in rule)


def _misused(nodes: list[Any]) -> Iterator[str]:
    """A rate of a gauge says nothing, and neither does a counter by itself."""
    gauges = {metric.name for metric in METRICS if isinstance(metric, Gauge)}
    within: set[str] = set()
    for node in nodes:
        if isinstance(node, promql_parser.Call) and node.func.name in ("rate", "increase", "irate", "absent"):
            names = {each.name for each in below(node) if isinstance(each, promql_parser.VectorSelector)}
            within |= names
            if node.func.name != "absent":
                yield from (f"{node.func.name} of the gauge {name}" for name in names & gauges)
    for node in nodes:
        counts = isinstance(node, promql_parser.VectorSelector) and re.search("_(total|bucket|sum|count)$", node.name or "")
        if counts and node.name not in within:
            yield f"the counter {node.name} without a rate"


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("sum(rate(daywatch_event_total[5m]))", "there is no daywatch_event_total"),
        ("sum by (user) (rate(daywatch_events_total[5m]))", "nothing here has the label user"),
        ('rate(daywatch_events_total{topic="x"}[5m])', "daywatch_events_total has no label topic"),
        ('increase(daywatch_transactions_total{outcome=~"failed|fencd"}[5m])', "outcome is never fencd"),
        ("rate(daywatch_windows_open[5m])", "rate of the gauge daywatch_windows_open"),
        ("daywatch_events_total > 5", "the counter daywatch_events_total without a rate"),
        ("rate(daywatch_step_duration_seconds[5m])", "there is no daywatch_step_duration_seconds"),
        ("sum(rate(daywatch_events_total[5m])", "no PromQL"),
    ],
)
def test_a_query_that_would_show_nothing_is_found(query: str, fault: str) -> None:
    assert any(fault in each for each in faults(query)), faults(query)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_asks_for_what_there_is(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        assert faults(as_asked(target["expr"])) == []
        assert 'job=~"$job"' in target["expr"]
        by = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        asked = {label for labels in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in labels.replace(" ", "").split(",")}
        assert by <= asked | {"instance"}, "the legend names a label that the query drops"


def test_the_dashboard_can_be_imported() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert DASHBOARD["uid"] == "daywatch"
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "job"}
    for panel in PANELS:
        assert panel["description"].endswith(".")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for one in DASHBOARD["panels"]:
        for other in DASHBOARD["panels"]:
            assert one is other or not _overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
        assert one["gridPos"]["x"] + one["gridPos"]["w"] <= 24


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_every_metric_of_a_long_running_worker_is_on_the_dashboard_or_in_a_rule() -> None:
    queries = " ".join([target["expr"] for panel in PANELS for target in panel["targets"]] + [rule["expr"] for rule in RULES])
    unseen = {metric.name for metric in METRICS if metric.name not in queries}
    # offsets are what the lag is made of; the time and marks of a replay are for whoever watches one
    assert unseen == {
        "daywatch_consumer_offset",
        "daywatch_log_end_offset",
        "daywatch_replay_marks_total",
        "daywatch_replay_timestamp_seconds",
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_rule_can_fire_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert faults(rule["expr"]) == []
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Daywatch[A-Za-z]+", rule["alert"])
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description"}
    kept = {label for labels in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in labels.replace(" ", "").split(",")}
    kept |= set() if kept else TARGET | {label for name, labels in SERIES.items() if name in rule["expr"] for label in labels}
    named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert named <= kept, "an annotation names a label that the rule drops"


def test_rules_have_names_of_their_own() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) > 10
    assert len({group["name"] for group in GROUPS}) == len(GROUPS)


def test_promtool_finds_nothing_to_complain_of() -> None:
    beside = os.environ.get("DAYWATCH_TEST_PROMETHEUS", "")
    promtool = shutil.which("promtool") or (shutil.which("promtool", path=str(Path(beside).parent)) if beside else None)
    if promtool is None:
        pytest.skip("no promtool on the PATH or beside DAYWATCH_TEST_PROMETHEUS; the parser has checked the rules")
    done = subprocess.run([promtool, "check", "rules", str(RULES_FILE)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
