"""A synthetic organisation is a CERT r4.2 directory, the same for a seed, with a key that lists every malicious event."""

import csv
import filecmp
import re
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from stream.errors import ConfigurationError
from stream.kinds import KINDS, Kind
from stream.synth import Progress, Summary, write_organisation, writer

USERS, DAYS, SEED = 60, 45, 11

COLUMNS = {
    "logon": ["id", "date", "user", "pc", "activity"],
    "device": ["id", "date", "user", "pc", "activity"],
    "file": ["id", "date", "user", "pc", "filename", "content"],
    "email": ["id", "date", "user", "pc", "to", "cc", "bcc", "from", "size", "attachments", "content"],
    "http": ["id", "date", "user", "pc", "url", "content"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    out = tmp_path_factory.mktemp("synth") / "organisation"
    return out, write_organisation(out, USERS, DAYS, SEED, 8)


@pytest.fixture(scope="module")
def frames(made: tuple[Path, Summary]) -> dict[Kind, pl.DataFrame]:
    stamp = pl.col("date").str.to_datetime("%m/%d/%Y %H:%M:%S").alias("at")
    return {kind: pl.read_csv(made[0] / f"{kind}.csv", infer_schema=False).with_columns(stamp) for kind in KINDS}


def key_rows(out: Path) -> list[tuple[Path, list[str]]]:
    found = []
    for path in sorted((out / "answers").glob("r4.2-*/*.csv")):
        with path.open(newline="") as lines:
            found += [(path, row) for row in csv.reader(lines)]
    return found


def files_of(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_the_same_seed_gives_the_same_bytes_however_it_is_cut(
    made: tuple[Path, Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_SLICE", 777)
    write_organisation(tmp_path / "again", USERS, DAYS, SEED, 8)
    names = files_of(made[0])
    assert names == files_of(tmp_path / "again")
    assert filecmp.cmpfiles(made[0], tmp_path / "again", names, shallow=False)[0] == names


def test_another_seed_gives_another_organisation(made: tuple[Path, Summary], tmp_path: Path) -> None:
    write_organisation(tmp_path / "other", USERS, DAYS, SEED + 1, 8)
    assert (tmp_path / "other" / "psychometric.csv").read_bytes() != (made[0] / "psychometric.csv").read_bytes()
    assert (tmp_path / "other" / "device.csv").read_bytes() != (made[0] / "device.csv").read_bytes()


def test_files_have_the_official_columns_dates_and_order(made: tuple[Path, Summary], frames: dict[Kind, pl.DataFrame]) -> None:
    for kind, frame in frames.items():
        assert frame.columns[:-1] == COLUMNS[kind]
        assert frame["date"].str.contains(r"^\d\d/\d\d/\d{4} \d\d:\d\d:\d\d$").all()
        assert frame["at"].is_sorted()
        assert frame.height == made[1].events[kind]


def test_ids_have_the_official_form_and_are_unique_within_a_file(frames: dict[Kind, pl.DataFrame]) -> None:
    for frame in frames.values():
        assert frame["id"].str.contains(r"^\{[A-Z]\d[A-Z]\d-[A-Z]\d[A-Z]{2}\d\d[A-Z]{2}-\d{4}[A-Z]{4}\}$").all()
        assert frame["id"].is_unique().all()


def test_every_row_of_the_key_is_a_row_of_its_file(made: tuple[Path, Summary]) -> None:
    texts = {kind: set((made[0] / f"{kind}.csv").read_text().splitlines()) for kind in KINDS}
    lines = [line for path in (made[0] / "answers").glob("r4.2-*/*.csv") for line in path.read_text().splitlines()]
    assert len(lines) == made[1].malicious_events > 0
    for line in lines:
        kind, _, row = line.partition(",")
        assert row in texts[Kind(kind)]


def test_all_five_scenarios_are_told_after_the_learning_days(made: tuple[Path, Summary]) -> None:
    with (made[0] / "answers" / "insiders.csv").open(newline="") as lines:
        listed = list(csv.DictReader(lines))
    assert list(listed[0]) == ["dataset", "scenario", "details", "user", "start", "end"]
    assert {row["scenario"] for row in listed} == {"1", "2", "3", "4", "5"}
    assert len(listed) == made[1].insiders == 8
    for row in listed:
        assert row["dataset"] == "4.2"
        assert row["details"] == f"r4.2-{row['scenario']}-{row['user']}.csv"
        assert (made[0] / "answers" / f"r4.2-{row['scenario']}" / row["details"]).is_file()
        start, end = (datetime.strptime(row[name], "%m/%d/%Y %H:%M:%S").replace(tzinfo=UTC) for name in ("start", "end"))
        assert (start.date() - date(2010, 1, 4)).days >= 14
        assert start <= end


def test_the_key_lists_file_copies_and_what_is_done_as_the_supervisor(made: tuple[Path, Summary]) -> None:
    rows = key_rows(made[0])
    assert {1, 2, 3, 4} <= {int(path.parent.name[-1]) for path, row in rows if row[0] == "file"}
    poses = [(path, row) for path, row in rows if row[3] not in path.stem]
    assert {row[0] for _, row in poses} >= {"logon", "email"}
    assert {path.parent.name for path, _ in poses} == {"r4.2-3"}
    people = {row["user_id"]: row for row in pl.read_csv(made[0] / "LDAP" / "2010-01.csv").iter_rows(named=True)}
    for path, row in poses:
        assert people[path.stem.split("-")[-1]]["supervisor"] == people[row[3]]["employee_name"]


def test_leavers_vanish_from_the_directory_in_the_month_after(tmp_path: Path) -> None:
    out = tmp_path / "organisation"
    write_organisation(out, 60, 75, 5, 8)
    with (out / "answers" / "insiders.csv").open(newline="") as lines:
        leavers = [row for row in csv.DictReader(lines) if row["scenario"] in {"1", "2", "3"}]
    months = sorted(path.stem for path in (out / "LDAP").iterdir())
    assert months == ["2010-01", "2010-02", "2010-03"]
    people = {month: set(pl.read_csv(out / "LDAP" / f"{month}.csv")["user_id"]) for month in months}
    left_in_time = [row for row in leavers if row["end"] < "02/23"]
    assert left_in_time
    for row in left_in_time:
        assert row["user"] in people["2010-01"]
        assert row["user"] not in people["2010-03"]


def test_nobody_acts_before_joining_or_after_leaving_the_directory(made: tuple[Path, Summary], frames: dict[Kind, pl.DataFrame]) -> None:
    for path in sorted((made[0] / "LDAP").iterdir()):
        known = set(pl.read_csv(path)["user_id"])
        for frame in frames.values():
            acting = frame.filter(pl.col("at").dt.strftime("%Y-%m") == path.stem)["user"].unique()
            assert set(acting) <= known


def test_daily_rates_vary(frames: dict[Kind, pl.DataFrame]) -> None:
    office = frames[Kind.HTTP].with_columns(pl.col("at").dt.date().alias("day")).filter(pl.col("at").dt.weekday() < 6)
    daily = (
        office.group_by("user", "day").len().group_by("user").agg((pl.std("len") / pl.mean("len")).alias("spread"), pl.len().alias("days"))
    )
    spread = daily.filter(pl.col("days") > 15)["spread"]
    assert spread.min() > 0.25  # type: ignore[operator]
    assert spread.median() > 0.4  # type: ignore[operator]


def test_weekends_are_quiet_and_logoffs_are_missing(frames: dict[Kind, pl.DataFrame]) -> None:
    logon = frames[Kind.LOGON]
    assert logon.filter(pl.col("at").dt.weekday() >= 6).height < 0.12 * logon.height
    ons, offs = (logon.filter(pl.col("activity") == activity).height for activity in ("Logon", "Logoff"))
    assert 0.9 * ons < offs < 0.99 * ons


def test_some_use_drives_and_most_do_not(frames: dict[Kind, pl.DataFrame]) -> None:
    connects = frames[Kind.DEVICE].filter(pl.col("activity") == "Connect").group_by("user").len()
    habitual = connects.filter(pl.col("len") > 15).height
    assert 0.1 * USERS < habitual < 0.6 * USERS


def test_pages_carry_words_that_fit(frames: dict[Kind, pl.DataFrame]) -> None:
    pages = frames[Kind.HTTP]
    for host, words in {"linkedin.com": "resume|career|salary|recruiter", "refog.com": "keylogger|monitor|password|record"}.items():
        there = pages.filter(pl.col("url").str.starts_with(f"http://{host}/"))
        assert there.height
        assert there["content"].str.contains(words).mean() > 0.6  # type: ignore[operator]
        assert pages["content"].str.contains(words).mean() < 0.3  # type: ignore[operator]


def test_no_event_falls_into_the_hour_that_the_clocks_skip(tmp_path: Path) -> None:
    out = tmp_path / "organisation"
    write_organisation(out, 1000, 3, 3, 0, "Europe/Berlin", first_day=date(2010, 3, 26))
    plain = tmp_path / "plain"
    write_organisation(plain, 1000, 3, 3, 0, "UTC", first_day=date(2010, 3, 26))
    skipped = re.compile(r"03/28/2010 02:\d\d:\d\d")
    text = {place: "".join((place / f"{kind}.csv").read_text() for kind in KINDS) for place in (out, plain)}
    assert skipped.search(text[plain])
    assert not skipped.search(text[out])


def test_progress_is_told_after_every_day(tmp_path: Path) -> None:
    told: list[Progress] = []
    summary = write_organisation(tmp_path / "organisation", 20, 5, 1, 0, progress=told.append)
    assert [progress.day for progress in told] == [1, 2, 3, 4, 5, 5]
    assert told[-1].events == summary.total == sum(summary.events.values())


def test_a_directory_that_holds_something_is_left_alone_unless_told(tmp_path: Path) -> None:
    out = tmp_path / "organisation"
    write_organisation(out, 20, 25, 1, 5)
    (out / "notes.txt").write_text("mine")
    before = (out / "logon.csv").read_bytes()
    with pytest.raises(ConfigurationError, match="not empty"):
        write_organisation(out, 20, 25, 2, 5)
    assert (out / "logon.csv").read_bytes() == before
    write_organisation(out, 20, 25, 2, 5, overwrite=True)
    write_organisation(tmp_path / "fresh", 20, 25, 2, 5)
    assert set(files_of(out)) == {*files_of(tmp_path / "fresh"), "notes.txt"}
    assert (out / "logon.csv").read_bytes() == (tmp_path / "fresh" / "logon.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"users": 5}, "users"),
        ({"days": 0}, "days"),
        ({"days": 20}, "days must be at least"),
        ({"seed": -1}, "seed"),
        ({"insiders": 30}, "insiders"),
        ({"zone": "Mars/Olympus"}, "zone"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, arguments: dict[str, int | str], text: str) -> None:
    given: dict[str, int | str] = {"users": 20, "days": 30, "seed": 1, "insiders": 2, "zone": "UTC", **arguments}
    with pytest.raises(ConfigurationError, match=text):
        write_organisation(tmp_path / "organisation", **given)  # type: ignore[arg-type]
    assert not (tmp_path / "organisation").exists()


def test_a_file_in_the_way_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "organisation").write_text("x")
    with pytest.raises(ConfigurationError, match="not a directory"):
        write_organisation(tmp_path / "organisation", 20, 30, 1)


@pytest.mark.parametrize("seed", range(6))
def test_small_houses_and_many_insiders_work_out(tmp_path: Path, seed: int) -> None:
    summary = write_organisation(tmp_path / "organisation", 12 + 3 * seed, 26 + seed, seed, 3 if seed % 2 else 1)
    assert summary.malicious_events > 0
    assert len(list((tmp_path / "organisation" / "answers").glob("r4.2-*/*.csv"))) == summary.insiders
    assert all(path.read_text() for path in (tmp_path / "organisation" / "answers").glob("r4.2-*/*.csv"))
