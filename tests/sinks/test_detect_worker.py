import json
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from detector.verdict import EventRef, Verdict
from sinks.cycle import MemoryPast, Note
from sinks.detect_worker import DetectSettings, DetectWorker, Topics
from stream.clock import ManualClock
from stream.errors import FencedError, PipelineError, RefusedError, TransientError
from stream.kinds import Kind
from stream.log import Commit, MemoryLog, MemoryOutlet, MemorySource, Out, TopicPartition
from stream.marks import encode_mark, parse_mark
from stream.partitioner import partition_of
from tests.sinks.rough import Flaky, kept_in, never
from tests.sinks.windows import FIRST, FixedBackend, day_of, event, window_record
from windowing.record import Window

TOPICS = Topics("windows", "verdicts", "alerts", "alert-memory", "dead-letters", 2)
NAMES = ("windows", "verdicts", "alerts", "alert-memory", "dead-letters")
HOUR = 3_600_000


def broker() -> MemoryLog:
    return MemoryLog(NAMES, TOPICS.partitions)


def put(log: MemoryLog, user: str, record: bytes, headers: list[tuple[str, bytes]] | None = None) -> None:
    key = user.encode()
    log.append(TopicPartition("windows", partition_of(key, TOPICS.partitions)), key, record, headers)


def mark(log: MemoryLog, at_ms: int, last: bool = False) -> None:
    for partition in range(TOPICS.partitions):
        log.append(TopicPartition("windows", partition), None, None, encode_mark(at_ms, last=last))


def filled(users: Sequence[str] = ("ana", "bob", "cyd", "dan"), windows: int = 8, seed: int = 1) -> MemoryLog:
    """A broker whose windows topic holds overlapping windows of some users, a mark after each hop, and a last one."""
    chance, log = random.Random(seed), broker()
    for number in range(windows):
        for user in users:
            put(log, user, day_of(user, number, chance.random(), [Kind.FILE, Kind.HTTP]))
        mark(log, number * 6 * HOUR)
    mark(log, windows * 6 * HOUR, last=True)
    return log


def worker(log: MemoryLog, backend: Any = None, outlet: Any = None, source: Any = None, **settings: Any) -> DetectWorker:
    source = source or MemorySource(log, ["windows"])
    chosen = DetectSettings(**{"batch_windows": 7, "until_done": True, **settings})
    return DetectWorker(
        source, outlet or MemoryOutlet(log), MemoryPast(log), backend or FixedBackend(), TOPICS, chosen, ManualClock(), wait=lambda _s: None
    )


def run(log: MemoryLog, **more: Any) -> DetectWorker:
    made = worker(log, **more)
    made.run(never)
    return made


def results(log: MemoryLog) -> dict[TopicPartition, list[tuple[Any, Any, Any]]]:
    """Everything that a reader of results sees: verdicts, alerts, dead letters and marks, headers included, in order."""
    return kept_in(log, ("verdicts", "alerts", "dead-letters"))


def test_every_window_leaves_one_verdict_in_the_partition_and_under_the_key_of_its_user() -> None:
    log = filled()
    run(log)
    verdicts = [(at.partition, kept) for at in log.logs if at.topic == "verdicts" for kept in log.logs[at] if kept.value]
    assert len(verdicts) == 4 * 8
    for partition, kept in verdicts:
        user = json.loads(kept.value)["user"]
        assert kept.key == user.encode()
        assert partition == partition_of(kept.key, TOPICS.partitions)


def test_a_verdict_names_the_alert_it_belongs_to() -> None:
    log = broker()
    for number, risk in enumerate([0.2, 0.9, 0.8, 0.95]):
        put(log, "ana", day_of("ana", number, risk))
    run(log)
    verdicts = [json.loads(value) for value in log.values("verdicts")]
    alerts = [json.loads(value) for value in log.values("alerts")]
    uid = alerts[0]["finding_info"]["uid"]
    assert [verdict["alert_uid"] for verdict in verdicts] == [None, uid, uid, uid]
    assert [(alert["activity_id"], alert["finding_info"]["uid"]) for alert in alerts] == [(1, uid), (2, uid), (2, uid)]


def test_the_parts_of_a_verdict_record_are_those_of_the_contract() -> None:
    log = broker()
    put(log, "ana", day_of("ana", 0, 0.9))
    run(log)
    assert set(json.loads(log.values("verdicts")[0])) == {
        "schema", "window_id", "user", "start", "end", "label", "score", "triage_score", "track", "by", "cited", "alert_uid", "alerted",
        "provenance", "learning", "reason",
    }  # fmt: skip


def test_clock_marks_are_passed_on_in_their_place() -> None:
    log = filled(["ana"], windows=3)
    run(log)
    partition = partition_of(b"ana", TOPICS.partitions)
    shape = ["mark" if kept.value is None else "verdict" for kept in log.logs[TopicPartition("verdicts", partition)]]
    assert shape == ["verdict", "mark", "verdict", "mark", "verdict", "mark", "mark"]
    for at in (TopicPartition("verdicts", p) for p in range(TOPICS.partitions)):
        marks = [parse_mark(kept.key, kept.headers()) for kept in log.logs[at] if kept.value is None]
        assert [(each.at_ms, each.last) for each in marks] == [(0, False), (6 * HOUR, False), (12 * HOUR, False), (18 * HOUR, True)]


def test_alerts_carry_cloudevents_headers_and_the_trace_of_their_window() -> None:
    log = broker()
    put(log, "ana", day_of("ana", 0, 0.9), [("traceparent", b"00-abc-def-01"), ("other", b"x")])
    run(log)
    [kept] = log.records("alerts")
    headers = dict(kept.headers() or [])
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_id"].decode() == json.loads(kept.value or b"")["metadata"]["uid"]
    assert headers["traceparent"] == b"00-abc-def-01"
    assert "other" not in headers
    assert dict(log.records("verdicts")[0].headers() or [])["traceparent"] == b"00-abc-def-01"


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_results_do_not_depend_on_how_windows_are_batched(batch: int) -> None:
    whole, parts = filled(), filled()
    run(whole)
    run(parts, batch_windows=batch)
    assert results(parts) == results(whole)


# what cannot be judged ------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_or_judged_is_dead_lettered_untouched_and_the_rest_goes_on() -> None:
    log = broker()
    wrong_partition = TopicPartition("windows", 1 - partition_of(b"ana", TOPICS.partitions))
    put(log, "ana", b"no json", [("h", b"1")])
    put(log, "ana", day_of("bob", 0, 0.1))
    put(log, "ana", day_of("ana", 0, 7.0))
    put(log, "ana", window_record("ana", 3, [event(Kind.HTTP, "{h}", FIRST) | {"ts": "noon"}], 0.9))
    put(log, "ana", day_of("ana", 1, 0.9))
    log.append(wrong_partition, b"ana", day_of("ana", 2, 0.9))
    log.append(TopicPartition("windows", 0), None, None, [("daywatch-clock", b"soon")])
    log.append(TopicPartition("windows", 0), None, day_of("ana", 5, 0.1))
    made = run(log)
    assert len(log.values("verdicts")) == 1
    reasons = sorted(dict(kept.headers() or [])["daywatch-reason"].decode() for kept in log.records("dead-letters"))
    assert reasons == ["bad_mark", "bad_window", "bad_window", "misrouted", "misrouted", "misrouted", "unjudgeable"]
    assert made.totals.refused == {"bad_mark": 1, "bad_window": 2, "misrouted": 3, "unjudgeable": 1}
    first = next(kept for kept in log.records("dead-letters") if kept.value == b"no json")
    headers = dict(first.headers() or [])
    assert (first.key, headers["h"], headers["daywatch-topic"], headers["daywatch-offset"]) == (b"ana", b"1", b"windows", b"0")


def test_one_window_that_cannot_be_judged_does_not_take_its_batch_down() -> None:
    log = broker()
    for number in range(9):
        put(log, "ana", day_of("ana", number, 9.0 if number == 4 else 0.1))
    run(log, batch_windows=100)
    assert len(log.values("verdicts")) == 8


def test_a_verdict_that_cites_an_event_outside_its_window_is_dead_lettered_not_mended() -> None:
    class Inventive(FixedBackend):
        def judge(self, windows: Sequence[Window]) -> list[Verdict]:
            made_up = (EventRef(Kind.FILE, "{made up}"),)
            return [replace(v, cited=made_up) if v.score > 0.8 else v for v in super().judge(windows)]

    log = broker()
    for number, risk in enumerate([0.1, 0.9, 0.2]):
        put(log, "ana", day_of("ana", number, risk))
    made = run(log, backend=Inventive())
    assert made.totals.refused == {"unknown_evidence": 1}
    assert len(log.values("verdicts")) == 2
    assert log.values("alerts") == []


def test_a_backend_that_answers_out_of_order_is_stopped() -> None:
    class Shuffling(FixedBackend):
        def judge(self, windows: Sequence[Window]) -> list[Verdict]:
            return super().judge(windows)[::-1]

    log = filled()
    with pytest.raises(PipelineError, match="window by window"):
        run(log, backend=Shuffling())
    assert log.values("verdicts") == []


# once, whatever happens ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_after_any_failed_or_uncertain_transaction_the_results_are_those_of_an_undisturbed_run(seed: int, prefetch: bool) -> None:
    calm, rough = filled(seed=seed), filled(seed=seed)
    run(calm)
    run(rough, outlet=Flaky(rough, random.Random(seed)), batch_windows=3, prefetch=prefetch)
    assert results(rough) == results(calm)


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_a_worker_that_dies_between_batches_is_carried_on_by_the_next(seed: int, prefetch: bool) -> None:
    calm, rough, chance = filled(seed=seed), filled(seed=seed), random.Random(seed)
    run(calm)
    while True:
        made, steps = worker(rough, batch_windows=3, prefetch=prefetch), chance.randint(1, 4)
        for _ in range(steps):
            made.step()
        if made.done:
            break
    assert results(rough) == results(calm)


def test_a_zombie_writes_nothing() -> None:
    log = filled()

    class Slow(FixedBackend):
        """Judges for so long that a newer member takes over."""

        def judge(self, windows: Sequence[Window]) -> list[Verdict]:
            MemorySource(log, ["windows"])
            return super().judge(windows)

    with pytest.raises(FencedError):
        worker(log, backend=Slow()).step()
    assert not any(results(log).values())


class Changing:
    """A source whose partitions change hands as told."""

    def __init__(self, log: MemoryLog) -> None:
        self._inner, self._held, self._number = MemorySource(log, ["windows"]), frozenset({0, 1}), 1
        self.next: frozenset[int] | None = None

        self.meanwhile: Callable[[], None] = lambda: None

    def poll(self, limit: int, timeout_ms: int) -> Any:
        found = self._inner.poll(limit, timeout_ms)
        if self.next is not None:
            self.meanwhile()
            self._held, self._number, self.next = self.next, self._number + 1, None
        return found

    def assignment(self) -> tuple[int, frozenset[int]]:
        return self._number, self._held

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("prefetch", [False, True])
def test_what_was_polled_for_partitions_that_moved_away_meanwhile_is_left_to_their_new_owner(prefetch: bool) -> None:
    calm, log = filled(), filled()
    run(calm)
    source = Changing(log)
    made = worker(log, source=source, prefetch=prefetch)
    made.step()

    def new_owner() -> None:
        """Somebody else takes over partition 0 and is quick about it."""
        other = worker(log, source=MemorySource(log, ["windows"], [0]))
        other.step()
        log.generation -= 1

    source.next, source.meanwhile = frozenset({1}), new_owner
    made.step()
    source.meanwhile = lambda: None
    made.step()
    assert made.partitions == [1]
    source.next = frozenset()
    made.step()
    made.step()
    assert made.partitions == []
    assert not made.cycle.all_done()  # the topic's windows are not judged, whoever holds them
    source.next = frozenset({0, 1})
    made.run(never)
    assert results(log) == results(calm)


def test_a_batch_in_hand_is_dropped_with_its_partitions_even_if_it_stops_then() -> None:
    log = filled()
    source = Changing(log)
    made = worker(log, source=source, prefetch=True)

    def moves_away(_: DetectWorker) -> None:
        steps.append(None)
        source.next = frozenset()

    steps: list[None] = []
    made.run(lambda: len(steps) == 2, moves_away)
    assert log.committed == {}
    assert not any(results(log).values())


@pytest.mark.parametrize("prefetch", [False, True])
def test_it_stops_after_the_batch_in_hand(prefetch: bool) -> None:
    log = filled()
    made, steps = worker(log, prefetch=prefetch), []
    made.run(lambda: len(steps) == 2, steps.append)
    assert 0 < len(log.values("verdicts")) < 32
    assert made.totals.windows == len(log.values("verdicts"))
    run(log)
    assert len(log.values("verdicts")) == 32


def test_with_prefetch_a_batch_is_judged_while_the_one_before_it_is_committed() -> None:
    log = filled()
    judging, committed = threading.Event(), threading.Event()
    during: list[bool] = []

    class Watched(FixedBackend):
        def judge(self, windows: Sequence[Window]) -> list[Verdict]:
            judging.set()
            if during:  # from the second batch on it is the first one's commit that is waited for
                assert committed.wait(10)
            during.append(True)
            return super().judge(windows)

    class Waiting(MemoryOutlet):
        """Commits only once the next batch is being judged."""

        def transact(self, records: Iterable[Out], commits: Any, group: object) -> None:
            assert judging.wait(10)
            super().transact(list(records), commits, group)
            committed.set()

    made = worker(log, backend=Watched(), outlet=Waiting(log), prefetch=True)
    made.step()
    judging.clear()
    made.step()
    assert 0 < made.totals.windows <= 7
    committed.set()
    made.run(never)
    calm = filled()
    run(calm)
    assert results(log) == results(calm)


def test_with_prefetch_nothing_is_committed_beyond_what_has_been_judged() -> None:
    """A poll may find the log's end while the batch before it is still being judged."""
    log = filled(["ana"], windows=2)
    made = worker(log, prefetch=True, batch_windows=100)
    made.step()
    made.cycle.commit_ends()
    assert log.committed == {}
    made.run(never)
    assert len(log.values("verdicts")) == 2


# beginnings and ends --------------------------------------------------------------------------------------------------


def test_it_refuses_to_start_when_there_are_verdicts_but_no_commit() -> None:
    log = filled()
    run(log)
    log.committed.clear()
    with pytest.raises(RefusedError, match="no committed position"):
        run(log)
    assert len(log.values("verdicts")) == 32


def test_it_refuses_a_position_beyond_the_logs_end() -> None:
    log = filled()
    for at in list(log.logs):
        if at.topic == "windows":
            log.committed[at] = Commit(10_000, Note().encode())
    with pytest.raises(RefusedError, match="outside its log"):
        run(log)


def test_it_refuses_commits_that_are_not_its_own() -> None:
    log = filled()
    log.committed[TopicPartition("windows", 0)] = Commit(1, "someone else's")
    with pytest.raises(RefusedError, match="new namespace"):
        run(log)


def test_without_marks_it_is_done_at_the_end_offsets_of_the_start() -> None:
    log = broker()
    put(log, "ana", day_of("ana", 0, 0.9))
    run(log)
    assert len(log.values("verdicts")) == 1


def test_with_marks_it_is_done_only_when_the_last_one_has_been_shown() -> None:
    log = broker()
    put(log, "ana", day_of("ana", 0, 0.9))
    mark(log, 0)
    made = worker(log)
    for _ in range(10):
        made.step()
    assert not made.done
    put(log, "ana", day_of("ana", 1, 0.9))
    mark(log, 6 * HOUR, last=True)
    made.run(never)
    assert len(log.values("verdicts")) == 2


def test_a_partition_that_was_done_before_is_done_again_at_once() -> None:
    log = filled()
    run(log)
    made = run(log)
    assert made.totals.windows == 0


def test_marks_that_follow_the_last_one_change_nothing_about_it() -> None:
    log = filled()
    for partition in range(TOPICS.partitions):
        log.append(TopicPartition("windows", partition), None, None, encode_mark(10**12, idle=True))
    run(log)
    assert run(log).totals.windows == 0


def test_a_restart_remembers_that_a_replay_is_not_over() -> None:
    log = broker()
    put(log, "ana", day_of("ana", 0, 0.9))
    mark(log, 0)
    worker(log).step()
    made = worker(log)
    for _ in range(5):
        made.step()
    assert not made.done


def test_on_the_embedded_broker_an_uncertain_transaction_ends_the_run_with_a_clear_error() -> None:
    log = filled()

    class Failing(MemoryOutlet):
        def transact(self, records: Iterable[Out], commits: Any, group: object) -> None:
            raise TransientError("time-out")

    with pytest.raises(PipelineError, match="start the run anew"):
        run(log, outlet=Failing(log), trust_bounds=False)


def test_on_the_embedded_broker_a_log_ends_when_polls_have_said_so_for_two_seconds() -> None:
    log, clock = broker(), ManualClock()
    put(log, "ana", day_of("ana", 0, 0.9))
    chosen = DetectSettings(until_done=True, trust_bounds=False, poll_ms=500)
    made = DetectWorker(MemorySource(log, ["windows"]), MemoryOutlet(log), MemoryPast(log), FixedBackend(), TOPICS, chosen, clock)

    def never_but_time_passes() -> bool:
        clock.advance(500)
        return False

    made.run(never_but_time_passes)
    assert len(log.values("verdicts")) == 1
    assert 2_000 <= clock.now_ms() <= 4_500


def test_it_is_not_done_before_partitions_that_a_dead_worker_held_are() -> None:
    calm, log = filled(), filled()
    run(calm)
    source = Changing(log)
    source.next = frozenset({0})
    made = worker(log, source=source)
    asked = 0

    def heir() -> bool:
        """The other partition comes only after a while."""
        nonlocal asked
        asked += 1
        if asked == 20:
            assert made.done
            source.next = frozenset({0, 1})
        return asked > 100

    made.run(heir)
    assert asked > 20
    assert results(log) == results(calm)
