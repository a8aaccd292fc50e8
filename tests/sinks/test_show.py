import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from detector.verdict import EventRef
from sinks.alert_memory import decide
from sinks.ocsf import Origin, alerting, detection_finding, encode
from sinks.show import BadAlert, Findings, alert_text, plain, update_text, what
from stream.kinds import Kind
from tests.sinks.windows import FIRST, FixedBackend, day_of, event, window_record
from windowing.record import parse_window


def records(*windows: bytes, **changes: Any) -> list[bytes]:
    """The alert records that these windows of one user lead to."""
    found, findings = [], ()
    for each in windows:
        window = parse_window(each)
        [verdict] = FixedBackend().judge([window])
        verdict = replace(verdict, **changes)
        decision, findings = decide(findings, alerting(verdict, window))
        if decision.activity is not None:
            found.append(encode(detection_finding(verdict, window, decision.finding, decision.activity, Origin("w", 0, 0))))
    return found


def shown(renderable: Any, width: int = 200, colour: bool = False) -> str:
    console = Console(width=width, force_terminal=colour, color_system="standard" if colour else None, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_an_alert_tells_who_when_why_and_the_cited_events_in_order() -> None:
    [record] = records(day_of("ana", 0, 0.9))
    text = shown(alert_text(record))
    head, reason, signs, *rest = text.splitlines()
    assert head.split() == ["90", "CRITICAL", "ana", "Mon", "5", "Jul", "2010", "01:02–19:04", "malicious"]
    assert reason.strip() == "Copies onto a drive at night, never before; a leak site"
    assert signs.split(" · ")[:3] == ["    after hours", "removable media", "T1052.001 Exfiltration over USB"]
    rows = [line.split() for line in rest[:8]]
    assert [row[3] for row in rows] == sorted(row[3] for row in rows)
    assert rows[0][4:] == ["file", "PC-1", "R:\\plans\\X7Q.doc", "{ana-0-file}"]
    uid = json.loads(record)["finding_info"]["uid"]
    assert f"alert {uid}, created Tue  6 Jul 00:00" in text


def test_what_an_alert_resembles_is_shown_as_no_attribution() -> None:
    groups = [{"uid": "G0001", "name": "Amber [bold]Fox\x1b[2J", "score": 0.7}, {"uid": "G0002", "name": "Brass Owl", "score": 0.25}]
    [record] = records(day_of("ana", 0, 0.9), extras={"resembles": {"note": "", "groups": groups}})
    text = shown(alert_text(record))
    assert "resembles, without being attributed to: Amber [bold]Fox" in text
    assert "0.70, Brass Owl 0.25" in text
    assert "\x1b" not in text
    assert "resembles" not in shown(alert_text(records(day_of("ana", 0, 0.9))[0]))


def test_times_are_those_of_the_organisation() -> None:
    [record] = records(day_of("ana", 0, 0.9))
    assert "06:32" in shown(alert_text(record, "Asia/Kolkata"))


def test_updates_are_folded_into_their_alert_and_events_keep_their_details() -> None:
    findings = Findings()
    for record in records(day_of("ana", 0, 0.6), day_of("ana", 1, 0.9), day_of("ana", 2, 0.7)):
        findings.take(record)
    [alert] = findings.by_uid.values()
    assert (alert.updates, alert.risk, len(alert.events)) == (2, 90, 12)
    text = shown(alert_text(alert))
    assert text.count("R:\\plans\\X7Q.doc") == 6  # those of the first window too, which the last record does not hold in full
    assert "updated 2 times" in text


def test_an_update_tells_only_what_is_new() -> None:
    findings = Findings()
    first, second = records(day_of("ana", 0, 0.6), day_of("ana", 1, 0.9))
    findings.take(first)
    text = shown(update_text(findings.take(second)))
    assert "update: risk 60 → 90, 2 more events" in text
    assert text.count("R:\\plans\\X7Q.doc") == 1


def test_risk_has_a_colour_and_a_pipe_has_none() -> None:
    [record] = records(day_of("ana", 0, 0.9))
    assert "\x1b[1;31m 90 CRITICAL" in shown(alert_text(record), colour=True)
    assert "\x1b" not in shown(alert_text(record))


EVIL = "http://[red]x[/red]\x1b[2J\u202egnp.exe\u2066\n\rFAKE 99 CRITICAL\u2028\x00\x9b31m"


def test_what_strangers_wrote_neither_steers_the_terminal_nor_counts_as_markup_nor_breaks_the_line() -> None:
    events = [event(Kind.HTTP, "{x}", FIRST, url=EVIL, pc=EVIL), event(Kind.FILE, "{f}", FIRST, filename=EVIL, content=EVIL)]
    [record] = records(window_record(EVIL, 0, events, 0.9), reason=EVIL, cited=(EventRef(Kind.HTTP, "{x}"), EventRef(Kind.FILE, "{f}")))
    text = shown(alert_text(record), width=600)
    assert not {"\x1b", "\u202e", "\u2066", "\u2028", "\r", "\x00", "\x9b"} & set(text)
    assert "[red]x[/red]" in text
    assert len(text.splitlines()) == 7


@given(st.text())
def test_plain_text_is_printable_and_on_one_line(text: str) -> None:
    kept = plain(text)
    assert kept.isprintable()
    assert len(kept.splitlines()) <= 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_ids_stay_whole_in_a_narrow_terminal(width: int) -> None:
    events = [event(Kind.HTTP, "{C9K9-J9QF52AH-1857JGIT}", FIRST, url="http://example.com/" + "a" * 300)]
    [record] = records(window_record("ana", 0, events, 0.9))
    text = shown(alert_text(record), width=width)
    assert "{C9K9-J9QF52AH-1857JGIT}" in text
    assert max(map(len, text.splitlines())) <= width


def test_mails_show_who_got_them() -> None:
    mail = {"from": "a@x.com", "to": "b@y.com", "cc": "", "bcc": "c@z.com", "attachments": 1}
    assert what(Kind.EMAIL, mail) == "a@x.com → b@y.com, c@z.com, 1 attachment"


@pytest.mark.parametrize(
    "record", [b"junk", b"[]", b"{}", b'{"finding_info":{}}', b"null", b'{"finding_info":{"uid":1},"time":"x","actor":{"user":{"name":2}}}']
)
def test_what_is_no_alert_is_said_to_be_none(record: bytes) -> None:
    with pytest.raises(BadAlert):
        Findings().take(record)
