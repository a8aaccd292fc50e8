import json
from typing import Any

import pytest

from sinks.incidents.show import BadIncident, Incidents, change_text, incident_text, story_text
from sinks.incidents.stories import Stories
from sinks.incidents.story import Merging
from tests.sinks.incidents.telling import DAY, TOPICS, Detector
from tests.sinks.test_show import shown


def records(**changes: Any) -> list[bytes]:
    detector = Detector()
    detector.window("ana", 0, 0.6, techniques=("T1567", "T1078"), **changes)
    detector.window("ana", 8, 0.9, techniques=("T1005",), **changes)
    detector.mark(60)
    out = Stories(0, {}, TOPICS, Merging(gap_ms=4 * DAY), "insider risk").take([*detector.verdicts, *detector.alerts]).out
    return [each.value for each in out if each.value is not None]


def test_a_story_tells_who_when_how_risky_and_each_alert_with_its_events_ids() -> None:
    incidents = Incidents()
    for record in records():
        incidents.take(record)
    [incident] = incidents.by_uid.values()
    text = shown(incident_text(incident))
    head, what, _, attack, *alerts = text.splitlines()
    assert head.split() == ["94", "CRITICAL", "ana", "Tue", "6", "Jul", "2010", "00:00", "–", "Thu", "8", "Jul", "00:00", "closed"]
    assert what.strip() == "2 alerts within 2 days, resting on 16 events: Initial Access, then Collection, then Exfiltration"
    assert attack.strip() == (
        "Initial Access: T1078 Valid Accounts → Collection: T1005 Data from Local System → "
        "Exfiltration: T1567 Exfiltration Over Web Service"
    )
    for number in range(4):
        assert f"file {{ana-{number}-file}}" in text
        assert f"http {{ana-{8 + number}-http}}" in text
    for record in json.loads(records()[-1])["finding_info_list"]:
        assert f"alert {record['uid']}" in text
    assert text.rstrip().endswith("revision 3, opened Tue  6 Jul 00:00, closed Mon 12 Jul 00:00: no alert has followed")
    assert alerts[0].startswith("    Tue  6 Jul 00:00  Suspicious user behaviour")
    assert incident.uid in shown(story_text(incident))


def test_a_record_that_comes_twice_is_shown_once_and_an_older_one_takes_nothing_back() -> None:
    incidents, found = Incidents(), records()
    assert [incidents.take(record).repeated for record in (*found, *found)] == [False, False, False, True, True, True]
    [incident] = incidents.by_uid.values()
    assert (incident.revision, incident.closed) == (3, True)


def test_growth_shows_what_is_new_and_a_closing_why() -> None:
    incidents = Incidents()
    opened, grown, closed = (incidents.take(record) for record in records())
    assert opened.before is None
    text = shown(change_text(grown))
    assert "update: 1 alert new or grown" in text
    assert "{ana-8-file}" in text
    assert "{ana-0-file}" not in text
    assert "update: closed, no alert has followed" in shown(change_text(closed))


def test_nothing_that_strangers_wrote_breaks_a_line_or_is_markup() -> None:
    incidents = Incidents()
    for record in records(reason="see [bold]this[/bold]\x1b[2J\u202e now\nand here"):
        incidents.take(record)
    [incident] = incidents.by_uid.values()
    text = shown(incident_text(incident), colour=True)
    assert "see [bold]this[/bold][2J now and here" in text
    assert "\u202e" not in text
    assert "\x1b[2J" not in text


def test_times_are_those_of_the_organisation() -> None:
    incidents = Incidents()
    incidents.take(records()[0])
    [incident] = incidents.by_uid.values()
    assert "Mon 5 Jul 2010 19:00" in shown(incident_text(incident, "America/Chicago"))


@pytest.mark.parametrize("junk", [b"{}", b"[]", b"no json", b'{"class_uid": 2005}', b'{"class_uid": 2004, "unmapped": {}}'])
def test_what_is_no_incident_is_refused(junk: bytes) -> None:
    with pytest.raises(BadIncident, match="no OCSF Incident Finding"):
        Incidents().take(junk)
