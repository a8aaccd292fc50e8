"""The benchmark counts only what is right: its checks find a lost, a double and a changed event, and its own answers are right."""

import sys
from pathlib import Path

import orjson
import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # bench/ is no installed package

from bench.checks import check_user_days, check_windows
from bench.contest import Contest, Figure, create_topics
from bench.drawing import picture, table
from bench.throughput import last_mark, options, report
from bench.workload import DAY_MS, Filled, Workload, fill, first_events, in_order, more_users, user_days, windows
from daywatch.embedded import EmbeddedBroker
from stream.kinds import KINDS
from stream.synth import write_organisation
from windowing.calendar import WindowSpec
from windowing.offline import windows_of

EVENTS = 3_000


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("organisation")
    write_organisation(place, 12, 24, seed=3)
    return place


@pytest.fixture(scope="module")
def work(directory: Path) -> Workload:
    return Workload(first_events(directory, EVENTS), directory / "LDAP")


def peer_records(work: Workload) -> list[dict[str, object]]:
    """What a faultless peer writes, counted in Python."""
    days: dict[tuple[str, int], list[dict[str, object]]] = {}
    for kind, frame in work.events.items():
        for row in frame.iter_rows(named=True):
            days.setdefault((row["user"], row["ts"] // DAY_MS), []).append({"kind": kind.value, **row})
    return [
        {
            "user": user,
            "day": day,
            "counts": {kind.value: sum(event["kind"] == kind for event in events) for kind in KINDS},
            "pcs": len({event["pc"] for event in events}),
            "size": sum(int(event.get("size") or 0) for event in events),  # type: ignore[call-overload]
            "ids": [event["id"] for event in events],
        }
        for (user, day), events in days.items()
    ]


def dumped(records: list[dict[str, object]]) -> list[bytes]:
    return [orjson.dumps(record) for record in records]


def test_the_first_events_are_so_many_and_none_is_older_than_one_that_was_left_out(directory: Path, work: Workload) -> None:
    assert work.total == EVENTS
    every = first_events(directory, 10**9)
    assert in_order(work.events)["ts"].to_list() == in_order(every)["ts"].head(EVENTS).to_list()


def test_a_faultless_peer_is_right(work: Workload) -> None:
    verdict = check_user_days(dumped(peer_records(work)), user_days(work.events))
    assert (verdict.right, str(verdict)) == (True, "right")
    assert verdict.expected > 40


def _lost(records: list[dict[str, object]]) -> None:
    """One event is lost, and with it what it counts for."""
    record = max(records, key=lambda record: record["counts"]["http"])  # type: ignore[index]
    record["ids"].pop(0)  # type: ignore[attr-defined]


def _miscounted(records: list[dict[str, object]]) -> None:
    records[0]["counts"]["http"] += 1  # type: ignore[index]


def _swapped(records: list[dict[str, object]]) -> None:
    """As many events, but one is somebody else's."""
    records[0]["ids"][0] = records[-1]["ids"][0]  # type: ignore[index]


def _sized(records: list[dict[str, object]]) -> None:
    records[0]["size"] += 1  # type: ignore[operator]


def _pcs(records: list[dict[str, object]]) -> None:
    records[0]["pcs"] += 1  # type: ignore[operator]


@pytest.mark.parametrize("fault", [_lost, _miscounted, _swapped, _sized, _pcs])
def test_a_peer_that_is_wrong_about_one_event_is_found_out(work: Workload, fault: object) -> None:
    records = peer_records(work)
    fault(records)  # type: ignore[operator]
    verdict = check_user_days(dumped(records), user_days(work.events))
    assert (verdict.right, verdict.different) == (False, 1)
    assert str(verdict) == "WRONG: 1 different"


def test_a_day_that_is_missing_double_or_nobodys_is_found_out(work: Workload) -> None:
    expected, records = user_days(work.events), dumped(peer_records(work))
    assert check_user_days(records[1:], expected).missing == 1
    assert check_user_days([*records, records[0]], expected).double == 1
    assert check_user_days([*records, records[0].replace(b'"day":1', b'"day":2')], expected).unwanted == 1


@pytest.fixture(scope="module", params=[24, 6])
def built(request: pytest.FixtureRequest, directory: Path) -> tuple[int, list[bytes], pl.DataFrame]:
    hop_ms = request.param * DAY_MS // 24
    values = [value.encode() for batch in windows_of(directory, WindowSpec(hop_ms=hop_ms)) for value in batch.windows["value"]]
    return hop_ms, values, windows(first_events(directory, 10**9), hop_ms)


def test_the_engines_windows_are_those_of_the_batch_computation(built: tuple[int, list[bytes], pl.DataFrame]) -> None:
    _, values, expected = built
    assert str(check_windows(values, expected)) == "right"


def test_a_window_that_is_wrong_about_one_event_is_found_out(built: tuple[int, list[bytes], pl.DataFrame]) -> None:
    _, values, expected = built
    window = orjson.loads(values[0])
    lost = {**window, "events": window["events"][1:]}
    foreign = {**window, "events": [{**window["events"][0], "id": "{nobody}"}, *window["events"][1:]]}
    twice = {**window, "events": [window["events"][1], *window["events"][1:]]}
    counted = {**window, "counts": {**window["counts"], "http": window["counts"]["http"] + 1}}
    for wrong in (lost, foreign, twice, counted):
        assert check_windows([orjson.dumps(wrong), *values[1:]], expected).different == 1
    assert check_windows(values[1:], expected).missing == 1
    assert check_windows([*values, values[0]], expected).double == 1


def test_more_users_live_the_same_days(directory: Path, work: Workload, tmp_path: Path) -> None:
    larger = more_users(directory, 10, 2, tmp_path)
    days, before = user_days(larger.events), user_days(first_events(directory, 10**9))
    # who was away on all the days that he or she was dealt is not there
    assert 0.8 < days["user"].n_unique() / (10 * before["user"].n_unique()) <= 1
    assert days["day"].n_unique() == 2
    # with the same amount of work in each day of theirs: working days only, and all of them different
    assert 0.7 < (larger.total / days.height) / (before.select(pl.col("ids").list.len()).mean().item()) < 1.5
    ids = pl.concat([frame["id"] for frame in larger.events.values()])
    assert ids.n_unique() == len(ids)
    assert all(frame["ts"].is_sorted() for frame in larger.events.values())
    people = pl.read_csv(next(larger.people.glob("*.csv")), infer_schema=False)["user_id"]
    assert set(days["user"]) <= set(people)


def test_a_wrong_figure_is_marked_in_the_table_and_the_picture() -> None:
    figures = [
        Figure("raw consume", 1_000, 1.0, 1.0, 1.0, 0.0),
        Figure("Daywatch, hop 24h", 1_000, 2.0, 1.0, 1.0, 100.0, verdict="right"),
        Figure("bytewax", 1_000, 8.0, 1.0, 1.0, 100.0, verdict="WRONG: 1 different", right=False),
    ]
    found = {"figures": [report(figure, figures) for figure in figures]}
    assert [each["of_raw"] for each in found["figures"]] == [1.0, 0.5, 0.125]
    assert "4.0x" in table(found)
    assert "WRONG: 1 different" in table(found)
    assert picture(found).count("(wrong)") == 1


def test_processes_are_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert options(["--processes", "1,4"]).processes == [1, 4]
    with pytest.raises(SystemExit):
        options(["--processes", "1,0"])
    assert "from 1" in capsys.readouterr().err


def test_a_contest_measures_and_checks_real_processes(work: Workload, tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "broker")
    broker.start()
    try:
        contest = Contest(broker.bootstrap_servers, True, Filled(2), tmp_path)
        create_topics(contest.client, [*contest.topics(), contest.filled.closing], 2)
        fill(work, contest.filled, contest.client, last_mark(work))
        raw = contest.raw(work.total)
        assert raw.events > work.total  # clock marks besides
        # the peer that needs no framework; the others are measured the same way
        peer, records = contest.peer("redis", Path(sys.executable), work.total)
        assert str(check_user_days(records, user_days(work.events))) == "right"
        found = []
        for processes in (1, 2):
            ours, values = contest.daywatch("Daywatch", "24h", work.people, work.total, processes)
            assert str(check_windows(values, windows(work.events, DAY_MS))) == "right"
            assert ours.more["processes"] == processes
            found.append(ours)
        assert found[1].peak_mb > found[0].peak_mb  # those of all processes count
        for figure in (peer, *found):
            assert 0 < figure.seconds < 120
            assert 0 < figure.cpu_s < figure.whole_cpu_s
            assert figure.peak_mb > 20
        assert ours.more["store_end_mb"] > 0
    finally:
        broker.stop()
