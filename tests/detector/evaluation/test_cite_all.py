from datetime import UTC, datetime

import polars as pl

from detector.evaluation.cite_all import cite_all
from detector.evaluation.truth import day_calendar
from stream.kinds import Kind, frame_schema

MONDAY_NOON = datetime(2010, 7, 5, 12, tzinfo=UTC)


def _frame(kind: Kind, *rows: tuple[str, datetime, str]) -> pl.DataFrame:
    """Events as (id, time, the kind's first own field)."""
    own = list(frame_schema(kind))[4]
    table = [{"user": "a", "ts": round(at.timestamp() * 1000), "id": name, "pc": "P", own: text} for name, at, text in rows]
    return pl.DataFrame(table, schema=frame_schema(kind))


def _ids(frames: dict[Kind, pl.DataFrame], zone: str = "UTC") -> set[tuple[str, str]]:
    return set(cite_all(frames, day_calendar(zone)).select("kind", "id").iter_rows())


def test_the_rule_cites_removable_media_at_any_hour() -> None:
    frames = {Kind.DEVICE: _frame(Kind.DEVICE, ("d", MONDAY_NOON, "Connect")), Kind.FILE: _frame(Kind.FILE, ("f", MONDAY_NOON, "a.doc"))}
    assert _ids(frames) == {("device", "d"), ("file", "f")}


def test_the_rule_cites_flagged_domains_at_any_hour_and_no_others() -> None:
    pages = _frame(Kind.HTTP, ("leak", MONDAY_NOON, "http://wikileaks.org/x"), ("news", MONDAY_NOON, "http://cnn.com/wikileaks"))
    assert _ids({Kind.HTTP: pages}) == {("http", "leak")}


def test_the_rule_cites_everything_outside_office_hours_of_the_zone() -> None:
    times = {
        "6": MONDAY_NOON.replace(hour=6, minute=59),
        "7": MONDAY_NOON.replace(hour=7),
        "18": MONDAY_NOON.replace(hour=18, minute=59),
        "19": MONDAY_NOON.replace(hour=19),
        "sunday": MONDAY_NOON.replace(day=4),
    }
    logons = {Kind.LOGON: _frame(Kind.LOGON, *((name, at, "Logon") for name, at in times.items()))}
    assert _ids(logons) == {("logon", "6"), ("logon", "19"), ("logon", "sunday")}
    assert _ids(logons, "Europe/Berlin") == {("logon", "18"), ("logon", "19"), ("logon", "sunday")}


def test_nothing_is_cited_where_there_is_nothing() -> None:
    assert cite_all({}, day_calendar("UTC")).height == 0
