"""Metrics and health over HTTP, asked as Prometheus and Kubernetes ask."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daywatch.metrics_server import Limits, serving
from stream.errors import UsageError
from stream.metrics import BUILD_INFO, EVENTS, LAG, METRICS, TRANSACTION_SECONDS
from stream.telemetry import Beat, MemoryTelemetry


class Timer:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def heard(timer: Timer) -> MemoryTelemetry:
    return MemoryTelemetry(timer=timer)


@pytest.fixture
def address(heard: MemoryTelemetry) -> Iterator[str]:
    limits = Limits(stalled_s=60, unanswered_s=10, needs=frozenset({Beat.GROUP, Beat.BROKER, Beat.STORE}))
    with serving(heard, "127.0.0.1", 0, limits) as port:
        yield f"http://127.0.0.1:{port}"


def ask(address: str, path: str, method: str = "GET") -> tuple[int, str, str]:
    request = urllib.request.Request(address + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def samples(address: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    status, kind, text = ask(address, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain; version=")
    families = list(text_string_to_metric_families(text))
    assert text.endswith("\n")
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def test_what_has_been_told_is_shown_in_prometheus_format(address: str, heard: MemoryTelemetry) -> None:
    heard.levels(BUILD_INFO, {("1.0", "window", "3.11.7"): 1})
    heard.count(EVENTS, 12, kind="logon")
    heard.levels(LAG, {("x.logon", "3"): 7})
    for seconds in (0.0005, 0.02, 99.0):
        heard.observe(TRANSACTION_SECONDS, seconds)
    found = samples(address)
    assert found["daywatch_build_info", frozenset({("version", "1.0"), ("role", "window"), ("python", "3.11.7")})] == 1
    assert found["daywatch_events_total", frozenset({("kind", "logon")})] == 12
    assert found["daywatch_consumer_lag_records", frozenset({("topic", "x.logon"), ("partition", "3")})] == 7
    buckets = {
        dict(labels)["le"]: value for (name, labels), value in found.items() if name == "daywatch_transaction_duration_seconds_bucket"
    }
    assert (buckets["0.001"], buckets["0.01"], buckets["0.025"], buckets["10.0"], buckets["+Inf"]) == (1, 1, 2, 2, 3)
    assert found["daywatch_transaction_duration_seconds_count", frozenset()] == 3
    assert found["daywatch_transaction_duration_seconds_sum", frozenset()] == pytest.approx(99.0205)
    assert found["process_resident_memory_bytes", frozenset()] > 1_000_000


def test_every_metric_is_described_even_before_it_has_values(address: str) -> None:
    _, _, text = ask(address, "/metrics")
    for metric in METRICS:
        kind = type(metric).__name__.lower()
        assert f"# HELP {metric.name} {metric.help}\n" in text
        assert f"# TYPE {metric.name} {kind}\n" in text
    assert "_created" not in text


def test_a_partition_that_has_moved_away_is_shown_no_more(address: str, heard: MemoryTelemetry) -> None:
    heard.levels(LAG, {("x.logon", "3"): 7, ("x.logon", "4"): 1})
    assert len([name for name, _ in samples(address) if name.startswith("daywatch_consumer_lag")]) == 2
    heard.levels(LAG, {})
    assert not [name for name, _ in samples(address) if name.startswith("daywatch_consumer_lag")]


def test_health_fails_when_the_loop_has_not_turned_for_too_long(address: str, heard: MemoryTelemetry, timer: Timer) -> None:
    timer.now += 59
    assert ask(address, "/healthz")[0] == 200, "a worker that starts has its time"
    heard.beat(Beat.LOOP)
    timer.now += 59
    status, kind, text = ask(address, "/healthz")
    assert (status, kind) == (200, "application/json")
    assert json.loads(text) == {"ok": True, "seconds_since_turn": 59.0}
    timer.now += 2
    status, _, text = ask(address, "/healthz")
    assert status == 503
    assert json.loads(text) == {"ok": False, "seconds_since_turn": 61.0}
    heard.beat(Beat.LOOP)
    assert ask(address, "/healthz")[0] == 200


def test_health_fails_when_a_worker_never_begins(address: str, timer: Timer) -> None:
    timer.now += 61
    assert ask(address, "/healthz")[0] == 503


def test_it_is_ready_when_group_broker_and_store_have_spoken_lately(address: str, heard: MemoryTelemetry, timer: Timer) -> None:
    def missing() -> list[str]:
        status, _, text = ask(address, "/readyz")
        body = json.loads(text)
        assert (status == 200) == body["ok"] == (not body["waiting_for"])
        waiting: list[str] = body["waiting_for"]
        return waiting

    assert missing() == ["broker", "group", "store", "loop"]
    for beat in (Beat.LOOP, Beat.GROUP, Beat.STORE):
        heard.beat(beat)
    assert missing() == ["broker"]
    heard.beat(Beat.BROKER)
    assert missing() == []
    timer.now += 11
    assert missing() == ["broker", "store"], "what the group has said counts as of the loop's last turn"
    heard.beat(Beat.BROKER)
    heard.beat(Beat.STORE)
    assert missing() == [], "a model may take its time over a batch"
    heard.beat(Beat.LOOP)
    assert missing() == ["group"], "the loop turns, but the group says nothing any more"


def test_other_paths_are_not_there_and_nothing_is_ever_changed(address: str) -> None:
    assert ask(address, "/")[0] == 404
    assert ask(address, "/metrics/secret")[0] == 404
    assert ask(address, "/metrics", "POST")[0] == 501
    status, _, text = ask(address, "/metrics", "HEAD")
    assert (status, text) == (200, "")
    assert ask(address, "/healthz?verbose=1")[0] == 200


def test_a_second_worker_on_the_same_port_is_told_what_to_do(address: str, heard: MemoryTelemetry) -> None:
    port = int(address.rsplit(":", 1)[1])
    with (
        pytest.raises(UsageError, match=rf"metrics.port: {port} on 127.0.0.1 is in use; give each worker") as told,
        serving(heard, "127.0.0.1", port, Limits()),
    ):
        pass
    assert "0 for any" in str(told.value)
    assert ask(address, "/healthz")[0] == 200, "the first one goes on"


def test_two_workers_without_a_fixed_port_do_not_meet(heard: MemoryTelemetry) -> None:
    with serving(heard, "127.0.0.1", 0, Limits()) as one, serving(heard, "127.0.0.1", 0, Limits()) as two:
        assert one != two


def test_an_address_that_is_not_of_this_machine_is_refused(heard: MemoryTelemetry) -> None:
    with pytest.raises(UsageError, match=r"metrics.host: cannot listen on 192.0.2.1"), serving(heard, "192.0.2.1", 0, Limits()):
        pass


def test_the_port_is_free_again_as_soon_as_the_worker_has_ended(heard: MemoryTelemetry) -> None:
    with serving(heard, "127.0.0.1", 0, Limits()) as port:
        ask(f"http://127.0.0.1:{port}", "/metrics")
    with serving(heard, "127.0.0.1", port, Limits()) as again:
        assert again == port


def test_somebody_who_connects_and_says_nothing_keeps_nobody_waiting(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30):
        assert ask(address, "/healthz")[0] == 200
