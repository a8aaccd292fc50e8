"""Broken records through the real commands, on a real broker and store: each ends where it should, and takes nothing along."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Message

from daywatch.embedded import EmbeddedStore
from stream.kinds import KINDS, Kind
from stream.marks import encode_mark
from stream.partitioner import partition_of
from tests.bad_input.case import is_decent
from tests.bad_input.events import BROKEN, BROKER_TAKES, ODD, Broken, Odd, event
from tests.bad_input.site import Said, Site, headers_of
from tests.bad_input.windows import BROKEN_RESULTS, BROKEN_WINDOWS, BrokenResult, BrokenWindow
from tests.servers import ApacheKafka

pytestmark = pytest.mark.timeout(300)
PARTITIONS = 2
T0, DAY_MS = 1_262_563_200_000, 86_400_000  # 2010-01-04
AROUND = 2 * len(BROKEN)
"""Good records: one before and one behind each broken one."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run of `daywatch window` over all broken records left behind."""

    site: Site
    window: Said
    letters: dict[str, list[Message]]
    """Dead letters by the case that they belong to."""


@pytest.fixture(scope="module")
def ran(apache_kafka: ApacheKafka, redis_server: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """All broken records, a good one before and behind each, in one run."""
    # whether so many dead letters stop a replay is not the question here
    more = {"DAYWATCH_DEAD_LETTERS__SHARE": "1"}
    site = Site(tmp_path_factory.mktemp("site"), apache_kafka.bootstrap_servers, redis_server.url, more=more)
    # an operator who lets large records in has raised this for the event topics, and for no other
    site.create_topics(PARTITIONS, [kind.value for kind in KINDS if kind is not Kind.HTTP])
    site.create_topics(PARTITIONS, ["http"], max_message_bytes="4000000")
    site.create_topics(PARTITIONS, ["windows", "verdicts", "alerts", "dead-letters", "operations"], max_message_bytes=str(BROKER_TAKES))
    producer = site.producer()
    sent: list[tuple[tuple[str, int, int], str]] = []
    for kind in KINDS:
        for partition in range(PARTITIONS):
            producer.produce(site.topic(kind), partition=partition, headers=encode_mark(T0 - DAY_MS))
    for number, broken in enumerate(BROKEN):
        home = partition_of(b"ana", PARTITIONS)
        _good(site, producer, broken.kind, 2 * number, home)
        producer.produce(
            site.topic(broken.kind),
            value=broken.value,
            key=broken.key,
            partition=1 - home if broken.elsewhere else home,
            headers=list(broken.headers),
            on_delivery=_placed(sent, broken.case.slug),
        )
        _good(site, producer, broken.kind, 2 * number + 1, home)
    for odd in ODD:
        value = json.dumps(event(odd.kind) | {"id": "odd", "ts": "2010-01-04T12:00:00Z", "user": odd.user, **odd.fields})
        key = odd.user.encode()
        producer.produce(site.topic(odd.kind), value=value, key=key, partition=partition_of(key, PARTITIONS))
    for kind in KINDS:
        for partition in range(PARTITIONS):
            producer.produce(site.topic(kind), partition=partition, headers=encode_mark(T0 + 2 * DAY_MS, last=True))
    assert producer.flush(60) == 0
    said = site.run("window", "--until-done", "--hop", "24h")
    slugs = dict(sent)
    letters: dict[str, list[Message]] = {}
    for letter in site.read("dead-letters"):
        headers = headers_of(letter)
        place = (headers["daywatch-topic"].decode(), int(headers["daywatch-partition"]), int(headers["daywatch-offset"]))
        letters.setdefault(slugs[place], []).append(letter)
    return Ran(site, said, letters)


def _placed(sent: list[tuple[tuple[str, int, int], str]], slug: str) -> Callable[[object, Message], None]:
    """Notes where a record has come to lie, under its case."""
    return lambda _error, at: sent.append(((at.topic() or "", at.partition() or 0, at.offset() or 0), slug))


def _good(site: Site, producer: Any, kind: Kind, number: int, partition: int) -> None:
    minute = f"{number // 60 + 1:02}:{number % 60:02}"
    value = json.dumps(event(kind, id=f"good-{number}", ts=f"2010-01-04T{minute}:00Z"))
    producer.produce(site.topic(kind), value=value, key=b"ana", partition=partition)


def test_a_run_over_all_of_them_ends_well(ran: Ran) -> None:
    assert is_decent(ran.window.err), ran.window.err
    assert ran.window.code == 0, ran.window.err


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.case.slug)
def test_a_broken_event_becomes_one_dead_letter_untouched_with_the_reason(ran: Ran, broken: Broken) -> None:
    [letter] = ran.letters[broken.case.slug]
    headers = headers_of(letter)
    said = f"{headers['daywatch-reason'].decode()}: {headers['daywatch-message'].decode()}"
    assert broken.case.is_said_in(said), said
    assert broken.case.ends.startswith(f"dead letter `{headers['daywatch-reason'].decode()}`")
    if "cut" in broken.case.ends:
        assert int(headers["daywatch-cut"]) == len(broken.value or b"")
        assert (broken.value or b"").startswith(letter.value() or b"")
    else:
        assert "daywatch-cut" not in headers
        assert (letter.key(), letter.value()) == (broken.key, broken.value)
    assert broken.headers == () or "cut" in broken.case.ends or set(broken.headers) <= set(letter.headers() or [])
    assert headers["daywatch-topic"].decode() == ran.site.topic(broken.kind)


def test_the_good_events_around_them_are_all_in_their_window(ran: Ran) -> None:
    by_kind = Counter(broken.kind for broken in BROKEN)
    assert _windows(ran)["ana"]["counts"] == {kind.value: 2 * by_kind[kind] for kind in KINDS}


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.name)
def test_what_is_odd_but_good_is_in_its_user_s_window(ran: Ran, odd: Odd) -> None:
    window = _windows(ran)[odd.user]
    assert window["counts"] == {kind.value: int(kind is odd.kind) for kind in KINDS}
    assert [(shown["kind"], shown["id"]) for shown in window["events"]] == [(odd.kind.value, "odd")]


def _windows(ran: Ran) -> dict[str, dict[str, Any]]:
    """The run's own windows by user: one each."""
    found = [json.loads(value) for message in ran.site.read("windows") if (value := message.value()) and headers_of(message).get("ce_type")]
    assert len(found) == len({window["user"] for window in found}) == len(ODD) + 1
    return {window["user"]: window for window in found}


def test_what_was_read_is_in_panes_or_a_duplicate_or_a_dead_letter(ran: Ran) -> None:
    line = re.compile(r"(\w+) +([\d,]+) read +([\d,]+) in panes +([\d,]+) duplicates +([\d,]+) refused")
    found = {kind: [int(n.replace(",", "")) for n in numbers] for kind, *numbers in line.findall(ran.window.err)}
    assert set(found) == set(KINDS)
    assert sum(read for read, *_ in found.values()) == AROUND + len(BROKEN) + len(ODD)
    for read, in_panes, duplicates, refused in found.values():
        assert read == in_panes + duplicates + refused
    assert sum(refused for *_, refused in found.values()) == len(BROKEN) == sum(map(len, ran.letters.values()))
    assert sum(in_panes for _, in_panes, *_ in found.values()) == AROUND + len(ODD)


# windows -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judged:
    """What `daywatch detect` left behind over the run's windows and the broken ones among them."""

    detect: Said
    letters: dict[str, list[Message]]
    sent: dict[str, tuple[bytes | None, bytes | None]]
    """Key and value of each broken window."""


@pytest.fixture(scope="module")
def judged(ran: Ran) -> Judged:
    site, producer = ran.site, ran.site.producer()
    good = _windows(ran)["ana"]
    home = partition_of(b"ana", PARTITIONS)
    sent = {}
    for broken in BROKEN_WINDOWS:
        value, key = broken.made(dict(good)), broken.key if broken.key != b"" else b"ana"
        sent[broken.case.slug] = (key, value)
        headers = [("case", broken.case.slug.encode()), *broken.headers]
        producer.produce(site.topic("windows"), value=value, key=key, partition=1 - home if broken.elsewhere else home, headers=headers)
    assert producer.flush(60) == 0
    said = site.run("detect", "--until-done")
    letters: dict[str, list[Message]] = {}
    for letter in site.read("dead-letters"):
        if (slug := headers_of(letter).get("case")) is not None:
            letters.setdefault(slug.decode(), []).append(letter)
    return Judged(said, letters, sent)


@pytest.mark.parametrize("broken", BROKEN_WINDOWS, ids=lambda broken: broken.case.slug)
def test_a_broken_window_becomes_one_dead_letter_untouched_with_the_reason(judged: Judged, broken: BrokenWindow) -> None:
    [letter] = judged.letters[broken.case.slug]
    headers = headers_of(letter)
    said = f"{headers['daywatch-reason'].decode()}: {headers['daywatch-message'].decode()}"
    assert broken.case.is_said_in(said), said
    assert broken.case.ends == f"dead letter `{headers['daywatch-reason'].decode()}`"
    assert (letter.key(), letter.value()) == judged.sent[broken.case.slug]


def test_every_good_window_has_its_verdict_and_the_detector_ends_well(ran: Ran, judged: Judged) -> None:
    assert is_decent(judged.detect.err), judged.detect.err
    assert judged.detect.code == 0, judged.detect.err
    assert f"{len(BROKEN_WINDOWS)} refused" in judged.detect.err
    verdicts = [json.loads(value)["user"] for message in ran.site.read("verdicts") if (value := message.value())]
    assert sorted(verdicts) == sorted(_windows(ran))


# verdicts and alerts ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def correlated(ran: Ran, judged: Judged) -> tuple[Said, dict[str, list[Message]]]:
    """`daywatch correlate` over the run's verdicts with broken ones behind them, and its dead letters by case."""
    site, producer = ran.site, ran.site.producer()
    assert judged.detect.code == 0
    site.create_topics(PARTITIONS, ["incidents"])
    site.create_topics(PARTITIONS, ["incident-memory"], cleanup_policy="compact")
    for broken in BROKEN_RESULTS:
        place = partition_of(b"ana", PARTITIONS)
        headers = [("case", broken.case.slug.encode())]
        producer.produce(site.topic(broken.role), value=broken.value, key=broken.key, partition=place, headers=headers)
    assert producer.flush(60) == 0
    said = site.run("correlate", "--until-done")
    letters: dict[str, list[Message]] = {}
    for letter in site.read("dead-letters"):
        if (slug := headers_of(letter).get("case")) is not None:
            letters.setdefault(slug.decode(), []).append(letter)
    return said, letters


@pytest.mark.parametrize("broken", BROKEN_RESULTS, ids=lambda broken: broken.case.slug)
def test_a_broken_verdict_or_alert_becomes_one_dead_letter(correlated: tuple[Said, dict[str, list[Message]]], broken: BrokenResult) -> None:
    said, letters = correlated
    assert is_decent(said.err), said.err
    assert said.code == 0, said.err
    [letter] = letters[broken.case.slug]
    headers = headers_of(letter)
    text = f"{headers['daywatch-reason'].decode()}: {headers['daywatch-message'].decode()}"
    assert broken.case.is_said_in(text), text
    assert (letter.key(), letter.value()) == (broken.key, broken.value)


def test_all_good_verdicts_are_worked_off(ran: Ran, correlated: tuple[Said, dict[str, list[Message]]]) -> None:
    refused = sum(len(letters) for slug, letters in correlated[1].items() if slug in {broken.case.slug for broken in BROKEN_RESULTS})
    assert refused == len(BROKEN_RESULTS)
    assert f"{len(_windows(ran)):,} verdicts" in correlated[0].err, correlated[0].err
