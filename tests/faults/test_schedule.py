"""What a seed means is the same every time, and what a set of seeds shows is known beforehand."""

from collections import Counter
from itertools import pairwise

import pytest

from tests.faults.feed import feed
from tests.faults.report import report
from tests.faults.schedule import FEWEST_FAULTS, PARTITIONS, SESSION_S, Fault, schedule


def test_a_seed_means_the_same_schedule_and_the_same_events_every_time() -> None:
    assert schedule(5) == schedule(5)
    assert feed(schedule(5)) == feed(schedule(5))
    assert schedule(5) != schedule(6)


def test_two_hundred_seeds_have_five_faults_and_two_windowing_workers_each_and_show_each_kind_twenty_times() -> None:
    faults: Counter[Fault] = Counter()
    for seed in range(1, 201):
        one = schedule(seed)
        assert len(one.steps) >= FEWEST_FAULTS
        assert len(one.windows) >= 2
        faults.update(step.fault for step in one.steps)
    assert set(faults) == set(Fault)
    assert min(faults.values()) >= 20


@pytest.mark.parametrize("seed", range(1, 30))
def test_one_thing_at_a_time_goes_wrong_with_each_part_and_a_pause_outlasts_the_session(seed: int) -> None:
    steps = schedule(seed).steps
    for target in {step.target for step in steps}:
        own = sorted((step for step in steps if step.target == target), key=lambda step: step.at_s)
        assert all(first.at_s + first.for_s <= second.at_s for first, second in pairwise(own))
    assert all(step.for_s > SESSION_S for step in steps if step.fault in (Fault.PAUSE_WINDOW, Fault.PAUSE_DETECT))


def test_a_kind_of_fault_that_cannot_be_had_is_not_drawn() -> None:
    without = [fault for fault in Fault if fault is not Fault.FULL_DISK]
    assert all(step.fault is not Fault.FULL_DISK for seed in range(50) for step in schedule(seed, without).steps)


def test_what_is_sent_holds_late_double_and_broken_records_and_ends_with_the_last_marks() -> None:
    plan = feed(schedule(9))
    names = Counter(sent.name for sent in plan.records if sent.name)
    assert sum(n > 1 for n in names.values()) > 20
    assert sum(sent.value is not None and not sent.name for sent in plan.records) > 2
    lasts = [sent for sent in plan.records if ("daywatch-last", b"1") in sent.headers]
    assert plan.records[-len(lasts) :] == lasts
    assert {(sent.kind, sent.partition) for sent in lasts} == {(sent.kind, sent.partition) for sent in plan.records}
    assert len(lasts) == 5 * PARTITIONS
    at_s = [sent.at_s for sent in plan.records]
    assert at_s == sorted(at_s)


def test_a_report_counts_schedules_and_each_kind_of_fault_and_names_what_failed() -> None:
    line = {
        "seed": 1, "commit": "abc", "changed": False, "complaints": [], "faults": {"join": 1, "kill-store": 2}, "gave_up": {},
        "windows": 300,
        "verdicts": 300, "alerts": 2, "dead_letters": 1, "duplicates": 3, "starts": 4, "seconds": 20.0,
        "aimed": 1, "unsynced_lost": 10, "repaired": 0,
    }  # fmt: skip
    text = report([line, line | {"seed": 2, "complaints": ["3 windows are missing"]}])
    assert "2 schedules, 2 seeds, 1 failed, 6 faults" in text
    assert "| kill-store | 4 | 1 |" in text
    assert "seed 2 (abc): 3 windows are missing" in text
