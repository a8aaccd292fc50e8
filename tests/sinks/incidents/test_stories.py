import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.incidents.memory import is_place_key
from sinks.incidents.stories import Received, Stories, StoryWork
from sinks.incidents.story import Merging
from stream.log import Out
from stream.marks import parse_mark
from tests.sinks.incidents.telling import DAY, TOPICS, Detector, brief, end_of, told

MERGING = Merging(gap_ms=2 * DAY, half_life_ms=DAY)


def stories(memory: Mapping[bytes, bytes] | None = None, merging: Merging = MERGING) -> Stories:
    return Stories(0, memory or {}, TOPICS, merging, "insider risk")


def said(work: StoryWork) -> list[tuple[str, str, int]]:
    return brief(told(work.out))


def marks(out: Sequence[Out]) -> list[tuple[int, bool]]:
    found = [parse_mark(each.key, each.headers) for each in out if each.at.topic == TOPICS.incidents and each.value is None]
    return [(mark.at_ms, mark.last) for mark in found]


def two_stories() -> Detector:
    """Ana has one story of two alerts, and another five days later; Bob has none; a mark after each."""
    detector = Detector()
    for number in range(41):
        detector.window("ana", number, {0: 0.6, 4: 0.9, 24: 0.8}.get(number, 0.1))
        detector.window("bob", number, 0.1)
        if number % 4 == 0:
            detector.mark(number, last=number == 40)
    return detector


ALL = [("ana", "Create", 1), ("ana", "Update", 2), ("ana", "Close", 3), ("ana", "Create", 1), ("ana", "Close", 2)]


def test_stories_open_grow_and_close_though_no_alert_follows() -> None:
    detector = two_stories()
    work = stories().take([*detector.verdicts, *detector.alerts])
    assert said(work) == ALL
    records = told(work.out)
    assert records[2]["time"] == end_of(4) + 2 * DAY
    assert (records[2]["status"], records[2]["status_detail"]) == ("Closed", "no alert has followed")
    assert records[4]["time"] == end_of(24) + 2 * DAY


@pytest.mark.parametrize("alerts_first", [True, False])
def test_it_does_not_matter_which_topic_is_read_first(alerts_first: bool) -> None:
    detector = two_stories()
    one, other = (detector.alerts, detector.verdicts) if alerts_first else (detector.verdicts, detector.alerts)
    desk = stories()
    out = [*desk.take(one).out, *desk.take(other).out]
    expected = stories().take(sorted([*detector.verdicts, *detector.alerts], key=lambda record: record.offset)).out
    assert sorted(each.value for each in out if each.value) == sorted(each.value for each in expected if each.value)


def test_marks_are_passed_on_when_every_alert_before_them_has_been_read() -> None:
    detector = two_stories()
    desk = stories()
    assert marks(desk.take(detector.verdicts).out) == []
    assert marks(desk.take(detector.alerts[:-1]).out) == []
    assert not desk.place.done
    work = desk.take(detector.alerts[-1:])
    assert marks(work.out) == [(end_of(40), True)]
    assert said(work)[-1] == ("ana", "Close", 2)
    assert desk.place.done


def test_a_last_mark_at_the_time_of_the_one_before_it_is_passed_on_too() -> None:
    detector = Detector()
    detector.mark(3)
    desk = stories()
    assert marks(desk.take(detector.verdicts).out) == [(end_of(3), False)]
    detector.mark(3, last=True)
    assert marks(desk.take(detector.verdicts[1:]).out) == [(end_of(3), True)]
    assert marks(desk.take(detector.verdicts).out) == []


def test_a_user_is_not_closed_by_verdicts_on_others_with_the_same_end() -> None:
    detector = Detector()
    detector.window("bob", 0, 0.9)
    detector.window("ana", 8, 0.1)
    desk = stories()
    assert said(desk.take([*detector.alerts, *detector.verdicts])) == [("bob", "Create", 1)]
    # bob's own window with that end may still come: it does, and joins
    detector.window("bob", 8, 0.9)
    assert said(desk.take([*detector.verdicts[2:], *detector.alerts[1:]])) == [("bob", "Update", 2)]


def test_what_cannot_be_read_is_dead_lettered_and_the_rest_goes_on() -> None:
    detector = two_stories()
    verdict, alert = detector.verdicts[0], detector.alerts[0]
    wrong = [
        replace_value(verdict, b"junk"),
        replace_value(alert, b'{"class_uid": 2004}'),
        verdict._replace(key=b"bob"),
        alert._replace(key=None),
        Received(TOPICS.verdicts, 7, None, None, []),
        replace_value(verdict, b'{"user": "ana", "end": "2010-07-06", "alerted": true}'),
    ]
    work = stories().take([*wrong, *detector.verdicts, *detector.alerts])
    assert said(work) == ALL
    letters = [each for each in work.out if each.at.topic == TOPICS.dead_letters]
    reasons = [dict(letter.headers)["daywatch-reason"].decode() for letter in letters]
    assert reasons == ["bad_verdict", "bad_alert", "misrouted", "misrouted", "bad_mark", "bad_verdict"]
    assert [letter.value for letter in letters] == [record.value for record in wrong]
    assert work.totals.refused == {"bad_verdict": 2, "bad_alert": 1, "misrouted": 2, "bad_mark": 1}


def replace_value(record: Received, value: bytes) -> Received:
    return record._replace(value=value)


def test_an_alert_that_never_comes_is_waited_for_until_a_later_one_of_the_partition_has_come() -> None:
    detector = Detector()
    detector.window("ana", 0, 0.9)
    detector.window("bob", 20, 0.9)
    detector.mark(30)
    desk = stories()
    lost, later = detector.alerts
    first = desk.take([*detector.verdicts])
    assert (said(first), marks(first.out)) == ([], [])
    work = desk.take([later])
    assert (said(work), marks(work.out)) == ([("bob", "Create", 1), ("bob", "Close", 2)], [(end_of(30), False)])
    del lost


def test_an_alert_that_is_not_there_when_the_log_has_been_worked_off_is_waited_for_no_longer() -> None:
    detector = Detector()
    detector.window("ana", 0, 0.9)
    detector.mark(30, last=True)
    desk = stories()
    desk.take(detector.verdicts)
    work = desk.worked_off((7, 3))
    assert marks(work.out) == [(end_of(30), True)]
    assert desk.place.done
    assert stories(work.memory).place.ends == (7, 3)
    assert desk.worked_off((7, 3)).memory == {}


def test_alerts_of_single_log_lines_are_passed_over() -> None:
    from detector.logline.labels import LineLabel
    from sinks.line_alert import line_alert
    from sinks.ocsf import encode
    from stream.log import TopicPartition

    line = line_alert(LineLabel("Malicious", 0.9), "rm -rf", None, 0, TopicPartition("lines", 0), 3, {})
    work = stories().take([Received(TOPICS.alerts, 0, None, encode(line), [])])
    assert (work.out, work.totals.refused) == ([], {})


def test_headers_are_those_of_cloud_events_and_a_trace_goes_on_but_not_into_what_anything_may_close() -> None:
    detector = two_stories()
    out = [each for each in stories().take([*detector.verdicts, *detector.alerts]).out if each.value is not None]
    for each, record in zip(out, told(out), strict=True):
        headers = dict(each.headers)
        assert (headers["ce_type"], headers["ce_source"]) == (b"daywatch.incident", b"daywatch/correlate")
        assert headers["ce_id"].decode() == record["metadata"]["uid"]
        assert ("traceparent" in headers) == (record["activity_id"] != 3)


def test_a_partition_takes_up_its_own_users_only() -> None:
    topics = replace(TOPICS, partitions=2)
    detector = Detector()
    for user in ("ana", "bob", "cyd"):
        detector.window(user, 0, 0.9)
    memory: dict[bytes, bytes] = {}
    for number in (0, 1):
        desk = Stories(number, {}, topics, MERGING, "x")
        memory |= desk.take([*detector.alerts, *detector.verdicts]).memory
    users = [
        {key for key in memory if not is_place_key(key) and Stories(n, {key: memory[key]}, topics, MERGING, "x")._users} for n in (0, 1)
    ]
    assert users[0] | users[1] == {b"ana", b"bob", b"cyd"}
    assert not users[0] & users[1]


# anything may die -----------------------------------------------------------------------------------------------------


@st.composite
def organisations(draw: st.DrawFn) -> Detector:
    """A few users, alerts at random, a last mark long after."""
    detector, chance = Detector(), random.Random(draw(st.integers(0, 10**6)))
    risky = draw(st.sampled_from([0.15, 0.4]))
    numbers = draw(st.integers(4, 24))
    for number in range(numbers):
        for user in ("ana", "bob", "cyd"):
            detector.window(user, number, round(chance.uniform(0.55, 1.0), 2) if chance.random() < risky else 0.1)
        if chance.random() < 0.3:
            detector.mark(number)
    detector.mark(numbers + 20, last=True)
    return detector


@dataclass
class Broker:
    """What is durable: records sent, the memory's log, and the group's positions, in the order that the worker keeps."""

    detector: Detector
    chance: random.Random
    sent: list[Out] = field(default_factory=list)
    memory: list[tuple[bytes, bytes]] = field(default_factory=list)
    committed: dict[str, int] = field(default_factory=lambda: {"verdicts": 0, "alerts": 0})

    def run(self, batches: int | None) -> bool:
        """Work some batches, and die in the midst of one; or, with None, to the end. Says whether everything was dealt with."""
        # the newest record of each key, as a table is read back
        desk, at = stories(dict(self.memory)), dict(self.committed)
        logs = {"verdicts": self.detector.verdicts, "alerts": self.detector.alerts}
        while any(at[name] < len(logs[name]) for name in logs):
            batch: list[Received] = []
            for _ in range(self.chance.randint(1, 12)):
                left = [name for name in logs if at[name] < len(logs[name])]
                if left:
                    name = self.chance.choice(left)
                    batch.append(logs[name][at[name]])
                    at[name] += 1
            work = desk.take(batch)
            dies = batches is not None and batches <= 0
            outs = self.chance.randint(0, len(work.out)) if dies else len(work.out)
            self.sent += work.out[:outs]
            if outs < len(work.out):
                return False
            entries = list(work.memory.items())
            kept = self.chance.randint(0, len(entries)) if dies else len(entries)
            self.memory += entries[:kept]
            if dies:
                return False
            if self.chance.random() < 0.5:  # positions are committed now and then
                self.committed = dict(at)
            batches = None if batches is None else batches - 1
        return True


@settings(max_examples=60)
@given(organisations(), st.integers(0, 10**6), st.lists(st.integers(0, 12), max_size=6))
def test_whatever_dies_and_in_whatever_turns_topics_are_read_each_revision_is_said_and_always_in_the_same_bytes(
    detector: Detector, seed: int, lives: list[int]
) -> None:
    calm = Broker(detector, random.Random(0))
    assert calm.run(None)
    broker = Broker(detector, random.Random(seed))
    for life in lives:
        broker.run(life)
    assert broker.run(None)
    expected, found = revisions(calm.sent), revisions(broker.sent)
    assert found == expected
    assert marks(broker.sent)[-1] == marks(calm.sent)[-1] == (max(at for at, _ in marks(calm.sent)), True)


def revisions(sent: Sequence[Out]) -> dict[tuple[str, int], tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]:
    """Every record by incident and revision; the same twice must be the same bytes."""
    found: dict[tuple[str, int], tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]] = {}
    for each in sent:
        for record in told([each]):
            about = record["unmapped"]["incident"]
            content = (each.key, each.value, tuple(each.headers))
            assert found.setdefault((about["uid"], about["revision"]), content) == content
    return found


@given(organisations())
@settings(max_examples=30)
def test_every_alert_and_event_of_the_log_is_in_a_story_of_its_user(detector: Detector) -> None:
    desk = stories()
    records = told(desk.take([*detector.verdicts, *detector.alerts]).out)
    held = {
        (record["actor"]["user"]["name"], info["uid"], event["uid"])
        for record in records
        for info in record["finding_info_list"]
        for event in info["related_events"]
    }
    import json

    said_by_alerts = {
        (alert["actor"]["user"]["name"], alert["finding_info"]["uid"], event["uid"])
        for alert in (json.loads(received.value or b"") for received in detector.alerts)
        for event in alert["finding_info"]["related_events"]
    }
    assert held == said_by_alerts
    assert {record["actor"]["user"]["name"] for record in records if record["activity_id"] == 1} == {user for user, _, _ in said_by_alerts}
    assert not desk._waiting
