"""The checker finds nothing wrong with what is right, and each thing that is wrong."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from daywatch.backends import backend_of
from daywatch.settings import load
from stream.kinds import KINDS
from stream.marks import encode_mark
from stream.partitioner import partition_of
from tests.faults import batch
from tests.faults.batch import Record
from tests.faults.checker import History, complaints
from tests.faults.feed import feed
from tests.faults.schedule import PARTITIONS, schedule
from windowing.describe import DescribeSettings

CALENDAR = batch.calendar()
SENT_MS = 1_795_000_000_000


@dataclass
class Seen:
    """What a reader sees; lists, so that a test can spoil them."""

    windows: dict[int, list[Record]]
    verdicts: dict[int, list[Record]]
    alerts: dict[int, list[Record]]
    dead_letters: dict[int, list[Record]]


@pytest.fixture(scope="module")
def right() -> tuple[History, batch.Truth]:
    """What an undisturbed run leaves, made from the batch computation itself."""
    records = feed(schedule(3)).records
    events = {kind: {number: list[Record]() for number in range(PARTITIONS)} for kind in KINDS}
    for sent in records:
        log = events[sent.kind][sent.partition]
        log.append(Record(len(log), SENT_MS + int(sent.at_s * 1000), sent.key, sent.value, sent.headers))
    truth = batch.truth(events, CALENDAR, DescribeSettings(learning_days=2))
    logs: dict[int, list[Record]] = {number: [] for number in range(PARTITIONS)}
    for (user, _), value in sorted(truth.values.items(), key=lambda each: (each[0][1], each[0][0])):
        log = logs[partition_of(user.encode(), PARTITIONS)]
        log.append(Record(len(log), SENT_MS + 10**6, user.encode(), value))
    end_ms = CALENDAR.window_end(max(window for _, window in truth.values))
    for log in logs.values():
        log += [Record(len(log) + n, SENT_MS, None, None, tuple(encode_mark(end_ms, last=n > 0))) for n in range(2)]
    backend = backend_of(load(flags={"detect.budget": "400"}, alone=True))
    judged = batch.judged(logs, "x", backend)
    marks = {number: [record for record in log if record.value is None] for number, log in logs.items()}

    def spoken(role: str, number: int) -> list[Record]:
        waiting = iter(marks[number])
        return [
            Record(n, SENT_MS, None, value, next(waiting).headers if value is None else ()) for n, value in enumerate(judged[role][number])
        ]

    letters = [
        Record(n, SENT_MS, None, b"", tuple((f"daywatch-{name}", str(each).encode()) for name, each in where.items()))
        for n, (kind, number, offset) in enumerate(truth.dead)
        for where in [{"topic": f"x.{kind}", "partition": number, "offset": offset}]
    ]
    names = frozenset(sent.name for sent in records) - {""}
    verdicts, alerts = ({number: spoken(role, number) for number in logs} for role in ("verdicts", "alerts"))
    return History(events, logs, verdicts, alerts, {0: letters}, names), truth


def said(history: History, truth: batch.Truth) -> list[str]:
    judged = {
        role: {number: [record.value for record in log] for number, log in logs.items()}
        for role, logs in (("verdicts", history.verdicts), ("alerts", history.alerts))
    }
    return complaints(history, truth, judged, CALENDAR)


def test_nothing_is_wrong_with_what_the_batch_computation_gives(right: tuple[History, batch.Truth]) -> None:
    history, truth = right
    assert said(history, truth) == []
    assert len(truth.values) >= 300
    assert truth.late
    assert truth.duplicates
    assert truth.dead
    assert sum(len(log) for log in history.alerts.values()) > 0


def _recount(record: Record) -> Record:
    value = json.loads(record.value or b"")
    value["counts"]["http"] += 1
    return replace(record, value=json.dumps(value).encode())


def _respell(record: Record) -> Record:
    return replace(record, value=(record.value or b"") + b" ")


SPOILED: dict[str, Callable[[Seen], object]] = {
    "windows are missing": lambda seen: seen.windows[0].pop(5),
    "windows went out more than once": lambda seen: seen.windows[0].insert(6, seen.windows[0][5]),
    "goes back in the order of closing": lambda seen: seen.windows[1].insert(40, seen.windows[1].pop(20)),
    "windows count other events": lambda seen: seen.windows[1].__setitem__(7, _recount(seen.windows[1][7])),
    "bytes differ from the batch": lambda seen: seen.windows[1].__setitem__(7, _respell(seen.windows[1][7])),
    "closed before their time": lambda seen: seen.windows[2].__setitem__(3, replace(seen.windows[2][3], stamp=SENT_MS - 1)),
    "closes a window behind the mark": lambda seen: seen.windows[2].insert(0, seen.windows[2][-2]),
    "last marks, should be one": lambda seen: seen.windows[2].pop(),
    "dead letters are missing": lambda seen: seen.dead_letters[0].pop(),
    "dead letters went out more than once": lambda seen: seen.dead_letters[0].append(seen.dead_letters[0][0]),
    "have more than one verdict": lambda seen: seen.verdicts[0].insert(1, seen.verdicts[0][0]),
    "windows have no verdict": lambda seen: seen.verdicts[0].pop(0),
}  # fmt: skip


@pytest.mark.parametrize("complaint", SPOILED)
def test_each_thing_that_can_be_wrong_is_found(right: tuple[History, batch.Truth], complaint: str) -> None:
    history, truth = right
    seen = Seen(
        *(
            {number: list(log) for number, log in logs.items()}
            for logs in (history.windows, history.verdicts, history.alerts, history.dead_letters)
        )
    )
    SPOILED[complaint](seen)
    spoiled = replace(history, windows=seen.windows, verdicts=seen.verdicts, alerts=seen.alerts, dead_letters=seen.dead_letters)
    found = said(spoiled, truth)
    assert any(complaint in each for each in found), found


def test_what_the_detector_says_otherwise_than_in_memory_is_found_and_what_went_away_again(right: tuple[History, batch.Truth]) -> None:
    history, truth = right
    number = next(number for number, log in history.alerts.items() if log)
    judged = {
        role: {at: [record.value for record in log] for at, log in logs.items()}
        for role, logs in (("verdicts", history.verdicts), ("alerts", history.alerts))
    }
    fewer = replace(history, alerts={**history.alerts, number: history.alerts[number][1:]})
    assert any(each.startswith(f"alerts {number}") for each in complaints(fewer, truth, judged, CALENDAR))
    along = replace(history, live={("windows", 0): [record.offset for record in history.windows[0]] + [10**6]})
    assert any("read along" in each for each in complaints(along, truth, judged, CALENDAR))


def test_an_event_that_never_came_to_the_broker_is_the_harness_own_fault_and_is_said(right: tuple[History, batch.Truth]) -> None:
    history, truth = right
    assert any("never came" in each for each in said(replace(history, names=history.names | {"nobody"}), truth))
