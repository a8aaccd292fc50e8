"""A request to forget somebody, met in the log by the workers behind the windows."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from sinks.cycle import MemoryPast
from sinks.incidents.stories import Received, Stories
from sinks.incidents.story import Merging
from stream.forget_request import forget_request, is_forget_request
from stream.kinds import Kind
from stream.log import MemoryLog, TopicPartition
from stream.partitioner import partition_of
from tests.sinks.incidents.telling import DAY, TOPICS, Detector, brief, told
from tests.sinks.test_detect_worker import TOPICS as DETECT_TOPICS
from tests.sinks.test_detect_worker import broker, put, results, run
from tests.sinks.windows import day_of

KINDS = [Kind.FILE, Kind.HTTP]


def ask(log: MemoryLog, user: str, partition: int | None = None) -> None:
    key = user.encode()
    at = TopicPartition("windows", partition_of(key, DETECT_TOPICS.partitions) if partition is None else partition)
    log.append(at, key, None, forget_request())


def asked_in_the_middle() -> MemoryLog:
    """Overlapping windows of two users that are alerted on, with a request to forget Ana between the second and the third."""
    log = broker()
    for number in range(4):
        if number == 2:
            ask(log, "ana")
        for user in ("ana", "bob"):
            put(log, user, day_of(user, number, 0.9, KINDS))
    return log


def told_of(log: MemoryLog, user: str) -> list[tuple[int, str]]:
    alerts = [json.loads(value) for value in log.values("alerts")]
    return [(each["activity_id"], each["finding_info"]["uid"]) for each in alerts if each["actor"]["user"]["name"] == user]


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_what_was_alerted_of_somebody_is_forgotten_there_and_of_nobody_else(batch: int) -> None:
    log = asked_in_the_middle()
    run(log, batch_windows=batch)
    ana, bob = told_of(log, "ana"), told_of(log, "bob")
    assert [activity for activity, _ in ana] == [1, 2, 1, 2], "what overlaps a forgotten alert is a new one"
    assert len({uid for _, uid in ana}) == 2
    assert [activity for activity, _ in bob] == [1, 2, 2, 2]
    assert log.values("dead-letters") == []


def test_the_alert_memory_gets_a_tombstone_and_a_new_worker_knows_nothing() -> None:
    log = broker()
    put(log, "ana", day_of("ana", 0, 0.9, KINDS))
    run(log)
    at = TopicPartition("alert-memory", partition_of(b"ana", DETECT_TOPICS.partitions))
    assert b"ana" in MemoryPast(log).latest([at])[at]
    ask(log, "ana")
    run(log)
    assert [(kept.key, kept.value) for kept in log.logs[at]][-1] == (b"ana", None)
    assert MemoryPast(log).latest([at])[at] == {}
    put(log, "ana", day_of("ana", 1, 0.9, KINDS))
    run(log)
    assert [activity for activity, _ in told_of(log, "ana")] == [1, 1]


def test_the_request_is_passed_on_once_among_verdicts_and_alerts() -> None:
    log = asked_in_the_middle()
    run(log)
    for topic in ("verdicts", "alerts"):
        kept = [each for each in log.records(topic) if is_forget_request(each.key, each.value, each.headers())]
        assert [each.key for each in kept] == [b"ana"]
    at = TopicPartition("verdicts", partition_of(b"ana", DETECT_TOPICS.partitions))
    shape = [each.value is None for each in log.logs[at] if each.key == b"ana"]
    assert shape == [False, False, True, False, False]


def test_a_request_about_somebody_of_another_partition_is_a_dead_letter() -> None:
    log = broker()
    ask(log, "ana", partition=1 - partition_of(b"ana", DETECT_TOPICS.partitions))
    log.append(TopicPartition("windows", 0), b"ana", None)
    run(log)
    reasons = [dict(each.headers() or [])["daywatch-reason"] for each in log.records("dead-letters")]
    assert reasons == [b"bad_mark", b"bad_mark"]
    assert all(not kept for kept in (log.records("verdicts"), log.records("alerts"), log.records("alert-memory")))


def test_a_request_changes_nothing_for_the_others() -> None:
    with_request, without = asked_in_the_middle(), broker()
    for number in range(4):
        for user in ("ana", "bob"):
            put(without, user, day_of(user, number, 0.9, KINDS))
    run(with_request)
    run(without)

    def of_bob(log: MemoryLog) -> list[Any]:
        return [row[:2] for rows in results(log).values() for row in rows if row[0] == b"bob"]

    # an alert names the offset of its window, which the request has moved
    def offsetless(rows: list[Any]) -> list[Any]:
        parsed = [json.loads(value) for _, value in rows if value]
        for each in parsed:
            each.get("unmapped", {}).get("window", {}).pop("offset", None)
        return parsed

    assert offsetless(of_bob(with_request)) == offsetless(of_bob(without))


# incidents ----------------------------------------------------------------------------------------------------------------

MERGING = Merging(gap_ms=2 * DAY, half_life_ms=DAY)


def desk(memory: dict[bytes, bytes] | None = None) -> Stories:
    return Stories(0, memory or {}, TOPICS, MERGING, "insider risk")


def request(topic: str, offset: int, user: str = "ana") -> Received:
    return Received(topic, offset, user.encode(), None, forget_request())


def story_of_two() -> tuple[list[Received], list[Received]]:
    """Verdicts and alerts: Ana and Bob are alerted on, Ana is forgotten, and both are alerted on again."""
    detector = Detector()
    detector.window("ana", 0, 0.9)
    detector.window("bob", 0, 0.9)
    before = len(detector.verdicts), len(detector.alerts)
    detector._findings.pop("ana")
    detector.window("ana", 3, 0.9)
    detector.window("bob", 3, 0.9)
    verdicts = [*detector.verdicts[: before[0]], request(TOPICS.verdicts, 999), *detector.verdicts[before[0] :]]
    alerts = [*detector.alerts[: before[1]], request(TOPICS.alerts, 999), *detector.alerts[before[1] :]]
    return verdicts, alerts


@pytest.mark.parametrize("order", ["verdicts first", "alerts first", "in turns"])
def test_a_story_is_forgotten_and_the_next_alert_opens_a_new_one(order: str) -> None:
    verdicts, alerts = story_of_two()
    turns = [each for pair in zip(verdicts, alerts, strict=True) for each in pair]
    records: Sequence[Received] = {"verdicts first": [*verdicts, *alerts], "alerts first": [*alerts, *verdicts], "in turns": turns}[order]
    stories, out = desk(), []
    for record in records:
        out += stories.take([record]).out
    said = brief(told(out))
    assert [row for row in said if row[0] == "ana"] == [("ana", "Create", 1), ("ana", "Create", 1)]
    assert [row for row in said if row[0] == "bob"] == [("bob", "Create", 1), ("bob", "Update", 2)]
    uids = {record["unmapped"]["incident"]["uid"] for record in told(out) if record["actor"]["user"]["name"] == "ana"}
    assert len(uids) == 2
    assert told(out, TOPICS.dead_letters) == []


def test_nothing_of_somebody_forgotten_is_kept_and_their_story_is_never_told_again() -> None:
    detector = Detector()
    detector.window("ana", 0, 0.9)
    detector.window("bob", 0, 0.9)
    stories = desk()
    kept = dict(stories.take([*detector.verdicts, *detector.alerts]).memory)
    work = stories.take([request(TOPICS.verdicts, 90), request(TOPICS.alerts, 90)])
    assert work.memory[b"ana"] is None
    kept |= work.memory
    detector.mark(100)
    said = brief(told(stories.take(detector.verdicts[-1:]).out))
    assert said == [("bob", "Close", 2)]
    assert brief(told(desk({key: value for key, value in kept.items() if value is not None}).take(detector.verdicts[-1:]).out)) == said
