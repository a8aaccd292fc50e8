"""How findings look: for people on a terminal, and in a file."""

from io import StringIO

from rich.console import Console

from daywatch.doctor.checks import CHECKS
from daywatch.doctor.facts import Greeting, Missing
from daywatch.doctor.findings import Finding, State, examine
from daywatch.doctor.show import document, show, summary
from tests.daywatch.doctor.healthy import healthy, server, store


def shown(findings: list[Finding], width: int = 160, *, terminal: bool = False) -> str:
    out = StringIO()
    show(Console(file=out, width=width, force_terminal=terminal, color_system="standard" if terminal else None, highlight=False), findings)
    return out.getvalue()


def test_a_problem_stands_out_with_its_cure_beneath_it() -> None:
    findings = examine(healthy(store=store(server({"maxmemory-policy": "allkeys-lru"}))), CHECKS)
    text = shown(findings)
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if "PROBLEM" in line)
    assert lines[at].split()[:2] == ["PROBLEM", "eviction"]
    assert lines[at + 1].strip().startswith("→ Set it to noeviction")
    assert lines[-1].startswith("something must be mended: 1 problem, ")
    assert "\x1b" not in text


def test_states_are_coloured_on_a_terminal() -> None:
    text = shown(examine(healthy(store=Missing("no store answers", "start it")), CHECKS), terminal=True)
    assert "\x1b[1;31mPROBLEM" in text
    assert "\x1b[32mok" in text
    assert "\x1b[36munknown" in text


def test_what_could_not_be_asked_for_one_reason_is_one_line() -> None:
    gone = Missing("no broker answers", "start it")
    greetings = (Greeting("a:9092", "nothing listens there", "start it"),)
    text = shown(examine(healthy(greetings=greetings, broker=gone, topics=gone, logs=gone, groups=gone, waiting=gone), CHECKS))
    (line,) = [line for line in text.splitlines() if "6 checks" in line]
    assert "exist, partitions, cleanup, retention, replication, health: no broker answers" in line


def test_nothing_is_cut_off_on_a_narrow_terminal() -> None:
    findings = [Finding("topics.exist", "topics", State.PROBLEM, "acme", "a" * 90, "b" * 90)]
    text = "".join(shown(findings, width=50).split())
    assert "a" * 90 in text
    assert "b" * 90 in text


def test_the_document_has_every_finding_and_the_worst_state() -> None:
    findings = examine(healthy(store=Missing("no store answers", "start it")), CHECKS)
    told = document("acme", findings)
    assert told["state"] == "problem"
    assert len(told["findings"]) == len(findings) == sum(told["counts"].values())
    assert list(told["findings"][0]) == ["id", "group", "state", "about", "told", "cure"]


def test_a_summary_without_problems_says_that_nothing_is_to_be_mended() -> None:
    findings = [Finding("a.b", "a", State.WARNING, "", "", ""), Finding("a.c", "a", State.WARNING, "", "", "")]
    assert summary(findings) == "nothing to mend: 2 warnings"
