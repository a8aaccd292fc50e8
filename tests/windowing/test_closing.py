"""Partitions that close together send what each would have sent alone: nobody's window shows who else was in the call."""

import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.kinds import KINDS, Kind
from tests.windowing.test_partition import DAY_MS, HOUR, T0, organisation, read, rules
from windowing import partition as partition_module
from windowing.closing import Closer, close_together
from windowing.partition import Closed, Closing, Partition
from windowing.profiles import Profiles


def partitions(seeds: list[int], hop: int, shared: bool) -> list[Partition]:
    """One partition for each seed, with users of its own, read to its end."""
    own = rules(hop=hop)
    profiles = Profiles(own.calendar)
    found = []
    for number, seed in enumerate(seeds):
        partition = Partition(own, profiles if shared else None)
        for kind, rows in organisation(seed).items():
            # the second partition goes on for longer, and the third begins later, so that not all stand at the same window
            shift = DAY_MS if number == 2 else 0
            read(partition, kind, [(ts + shift, f"{user}{number}", name) for ts, user, name in rows], [T0 + (4 + number % 2) * DAY_MS])
        found.append(partition)
    return found


def alone(partition: Partition, limit: int = 1_000) -> list[str]:
    out: list[str] = []
    while partition.due():
        out += [value for _, closing in close_together([partition], limit) for value in closing.windows["value"]]
    return out


def together(found: list[Partition], rnd: random.Random) -> tuple[list[list[str]], int]:
    out: list[list[str]] = [[] for _ in found]
    steps = 0
    while step := close_together(found, rnd.randint(1, 9)):
        steps += 1
        for partition, closing in step:
            out[found.index(partition)] += closing.windows["value"].to_list()
    return out, steps


@pytest.mark.parametrize("hop", [6 * HOUR, 24 * HOUR])
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seeds=st.lists(st.integers(0, 10**6), min_size=3, max_size=3), order=st.integers(0, 10**6))
def test_partitions_that_close_together_send_what_each_sends_alone(hop: int, seeds: list[int], order: int) -> None:
    expected = [alone(partition) for partition in partitions(seeds, hop, shared=False)]
    found = partitions(seeds, hop, shared=True)
    sent, steps = together(found, random.Random(order))
    assert sent == expected
    assert not any(partition.due() for partition in found)
    assert steps > 3
    users = sorted({user for partition in partitions(seeds, hop, shared=False) for user in _users(partition)})
    apart = Profiles(found[0].rules.calendar)
    for partition in partitions(seeds, hop, shared=False):
        alone(partition)
        apart.load(partition.profiles.dump(users))
    assert found[0].profiles.dump(users) == apart.dump(users)
    assert apart.dump(users)


def _users(partition: Partition) -> list[str]:
    return sorted({user for pane in partition.panes.values() for user in pane.users()})


def test_one_call_serves_all_that_stand_at_the_same_window(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    from windowing import closing as module

    describe = module.describe

    def counting(*given: object) -> object:
        calls.append(1)
        return describe(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "describe", counting)
    found = partitions([1, 1, 1], 24 * HOUR, shared=True)
    first = close_together(found, 1_000)
    assert [partition for partition, _ in first] == found[:2], "the third begins a day later"
    assert len(calls) == 1
    assert all(closing.windows["user"].str.ends_with(str(number)).all() for number, (_, closing) in enumerate(first))


def test_a_step_closes_no_more_users_than_it_may_and_the_rest_follow_in_order() -> None:
    (partition,) = partitions([7], 24 * HOUR, shared=True)
    everybody = len(alone(partitions([7], 24 * HOUR, shared=True)[0]))
    seen: list[Closing] = []
    while partition.due():
        ((_, closing),) = close_together([partition], 2)
        assert closing.windows.height <= 2
        seen.append(closing)
    assert sum(closing.windows.height for closing in seen) == everybody
    assert [closing.closed for closing in seen] == sorted(closing.closed for closing in seen)
    assert [len(closing.folded) for closing in seen if closing.closed.stage == 0] == [2] * sum(c.closed.stage == 0 for c in seen)


def test_the_memory_of_a_step_is_bounded_by_its_events_however_few_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_module, "MOST_ROWS", 10)
    partition = Partition(rules(hop=24 * HOUR))
    rows = [(T0 + n, f"user{n % 4}", f"e{n}") for n in range(40)]
    read(partition, Kind.HTTP, rows)
    for kind in KINDS:
        read(partition, kind, [], [T0 + 3 * DAY_MS])
    heights = []
    while partition.due():
        heights += [closing.windows.height for _, closing in close_together([partition], 1_000)]
    assert heights[:4] == [1, 1, 1, 1]


def test_late_events_that_reach_a_sorted_pane_are_in_the_next_window_and_duplicates_stay_out() -> None:
    """The first step sorts the pane by user; what comes after it must neither be lost nor counted twice."""
    partition = Partition(rules(disorder=0))
    ends = [(T0 + 30 * HOUR, "zoe", f"end{kind}") for kind in KINDS]
    read(partition, Kind.LOGON, [(T0 + 23 * HOUR + n, user, f"{user}{n}") for n in range(3) for user in ("cy", "bo", "ana")])
    for kind, end in zip(KINDS, ends, strict=True):
        read(partition, kind, [end])
    while partition.due():
        close_together([partition], 1)
    late = [(T0 + 23 * HOUR + 9, "bo", "late"), (T0 + 23 * HOUR, "ana", "ana0")]
    assert read(partition, Kind.LOGON, late).late == []
    for kind in KINDS:
        read(partition, kind, [], [T0 + 36 * HOUR])
    values: list[str] = []
    while partition.due():
        values += [value for _, closing in close_together([partition], 1) for value in closing.windows["value"]]
    whole = Partition(rules(disorder=0))
    read(whole, Kind.LOGON, [(T0 + 23 * HOUR + n, user, f"{user}{n}") for n in range(3) for user in ("cy", "bo", "ana")] + [late[0]])
    assert len(values) == 4
    assert '"bo"' in values[1]
    assert '"id":"late"' in values[1]
    assert values[0].count('"id":"ana0"') == 1


def test_what_went_out_in_an_earlier_life_is_folded_and_left_out_beside_partitions_that_have_sent_nothing() -> None:
    found = partitions([3, 4], 24 * HOUR, shared=True)
    first_window = found[0].next_window()
    assert first_window is not None
    found[0].sent = Closed(first_window, 1)
    expected = [alone(partition) for partition in partitions([3, 4], 24 * HOUR, shared=False)]
    sent, _ = together(found, random.Random(5))
    assert sent[1] == expected[1]
    assert 0 < len(sent[0]) < len(expected[0])
    assert sent[0] == expected[0][len(expected[0]) - len(sent[0]) :]


@dataclass
class Standing:
    """A partition, as far as it matters for when to close."""

    windows_due: int

    def due(self) -> bool:
        return self.windows_due > 0

    def is_overdue(self) -> bool:
        return self.windows_due > 1


@pytest.mark.parametrize(
    ("behind", "windows_due", "expected"),
    [
        (False, [0, 0], False),
        (False, [1, 0], True),
        (True, [0, 0], False),
        (True, [1, 0], False),
        (True, [1, 1], True),
        (True, [2, 0], True),
    ],
)
def test_in_a_backlog_partitions_wait_for_each_other_but_for_no_more_than_a_window(
    behind: bool, windows_due: list[int], expected: bool
) -> None:
    held = {number: SimpleNamespace(partition=Standing(due)) for number, due in enumerate(windows_due)}
    cycle: Any = SimpleNamespace(held=held)
    listener: Any = SimpleNamespace(behind=behind)
    assert Closer(cycle, listener, None)._is_time() is expected  # type: ignore[arg-type]


def test_a_partition_is_overdue_when_more_than_one_window_number_is_due() -> None:
    (partition,) = partitions([3], 24 * HOUR, shared=False)
    assert partition.is_overdue()
    left = 0
    while partition.is_overdue():
        left += 1
        close_together([partition], 1_000)
    assert left > 1
    assert partition.due()
    while partition.due():
        close_together([partition], 1_000)
    assert not partition.is_overdue()
