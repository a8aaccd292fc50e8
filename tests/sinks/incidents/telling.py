"""Made-up verdicts and alerts of a partition, as the detector would write them, for the tests of incidents."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sinks.alert_memory import Finding, decide
from sinks.incidents.stories import Received, StoryTopics
from sinks.ocsf import Origin, alerting, detection_finding, encode
from sinks.records import cloud_headers, verdict_record
from stream.marks import encode_mark
from tests.sinks.windows import FIRST, FixedBackend, day_of
from windowing.record import parse_window

HOUR = 3_600_000
DAY = 24 * HOUR
FIRST_MS = round(FIRST.timestamp() * 1000)
TOPICS = StoryTopics("ns.verdicts", "ns.alerts", "ns.incidents", "ns.incident-memory", "ns.dead-letters", 1)


class Detector:
    """What a detect worker writes about windows of some users, in its order. `topics` names the logs."""

    def __init__(self, topics: StoryTopics = TOPICS) -> None:
        self._topics = topics
        self._findings: dict[str, tuple[Finding, ...]] = {}
        self.verdicts: list[Received] = []
        self.alerts: list[Received] = []

    def window(self, user: str, number: int, risk: float, **changes: Any) -> None:
        """Judge the user's window that starts `number` hops of six hours after the first."""
        window = parse_window(day_of(user, number, risk))
        [verdict] = FixedBackend().judge([window])
        verdict = replace(verdict, **changes)
        uid, alerted = None, False
        if verdict.alert:
            decision, self._findings[user] = decide(self._findings.get(user, ()), alerting(verdict, window))
            uid, alerted = decision.finding.uid, decision.activity is not None
            if decision.activity is not None:
                record = detection_finding(verdict, window, decision.finding, decision.activity, Origin("ns.windows", 0, number))
                headers = cloud_headers("alert", record["metadata"]["uid"], verdict.end, [("traceparent", b"00-%d" % number)])
                self.alerts.append(Received(self._topics.alerts, 2 * len(self.alerts), user.encode(), encode(record), headers))
        value = verdict_record(verdict, uid, alerted=alerted)
        self._verdict(user.encode(), value, cloud_headers("verdict", verdict.window_id, verdict.end, None))

    def mark(self, number: float, *, last: bool = False) -> None:
        """A clock mark at the end of window `number`."""
        self._verdict(None, None, encode_mark(end_of(number), last=last))

    def _verdict(self, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        self.verdicts.append(Received(self._topics.verdicts, 2 * len(self.verdicts), key, value, headers))


def end_of(number: float) -> int:
    """When window `number` ends, UTC ms."""
    return FIRST_MS + DAY + round(number * 6 * HOUR)


def told(out: Sequence[Any], topic: str = TOPICS.incidents) -> list[dict[str, Any]]:
    """The incidents among what was sent, in order."""
    return [json.loads(each.value) for each in out if each.at.topic == topic and each.value is not None]


def brief(records: Sequence[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """Who, what, which revision."""
    return [(r["actor"]["user"]["name"], r["activity_name"], r["unmapped"]["incident"]["revision"]) for r in records]
