"""Promises of `windowing.features`: the registry is documented, the shortcut stays out of one track, and numbers mean what they say."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stream.kinds import Kind, frame_schema
from windowing.calendar import DAY_MS, Calendar, WindowSpec
from windowing.describe import DescribeSettings, describe
from windowing.directory import Directory
from windowing.features import FEATURES, FREE, NAMES, as_rows, names_of
from windowing.profiles import Profiles
from windowing.record import Window, parse_window

DAY0 = 14613  # 2010-01-04, a Monday
HOUR_MS = 3_600_000
CALENDAR = Calendar(WindowSpec(hop_ms=DAY_MS))


def rows(kind: Kind, day: int, *given: dict[str, object]) -> pl.DataFrame:
    """Events of Ana on her own machine at ten, where nothing else is said."""
    defaults: dict[Kind, dict[str, object]] = {
        Kind.LOGON: {"activity": "Logon"},
        Kind.DEVICE: {"activity": "Connect"},
        Kind.FILE: {"filename": "a.doc", "content": ""},
        Kind.EMAIL: {"to": "bob@dtaa.com", "cc": "", "from": "Ana.Maria.Smith@dtaa.com", "size": 2048, "attachments": 0, "content": ""},
        Kind.HTTP: {"url": "http://news.example.org/", "content": ""},
    }  # fmt: skip
    full = []
    for number, one in enumerate(given):
        hour = one.get("hour", 10)
        assert isinstance(hour, int)
        ts = day * DAY_MS + hour * HOUR_MS + number * 1000
        row = {"user": "ana", "ts": ts, "id": f"{kind}{day}-{number}", "pc": "PC-1"} | defaults[kind] | one
        row.pop("hour", None)
        full.append(row)
    return pl.DataFrame(full, schema=frame_schema(kind))


def routine(days: int) -> Profiles:
    """Working days of logons, pages and mails from nine to five, never a drive."""
    profiles = Profiles(CALENDAR)
    for day in range(DAY0, DAY0 + days):
        if (day + 3) % 7 < 5:
            events = {
                Kind.LOGON: rows(Kind.LOGON, day, {"hour": 9}, {"hour": 17, "activity": "Logoff"}),
                Kind.HTTP: rows(Kind.HTTP, day, *[{"hour": hour} for hour in range(9, 17)]),
                Kind.EMAIL: rows(Kind.EMAIL, day, {"hour": 11}),
            }
            profiles.fold(events, day)
    return profiles


def judged(profiles: Profiles, day: int, *frames: tuple[Kind, pl.DataFrame], directory: Directory | None = None) -> Window:
    frame = describe(dict(frames), day, CALENDAR, profiles, directory, DescribeSettings())
    return parse_window(frame["value"][0].encode())


DAY = DAY0 + 42  # a Monday


def test_names_are_distinct_and_families_known() -> None:
    assert len(set(NAMES)) == len(NAMES) == len(FEATURES)
    assert {feature.family for feature in FEATURES} == {"counts", "free"}
    assert names_of("all") == NAMES
    assert names_of("shortcut-free") == FREE
    with pytest.raises(ValueError, match="track"):
        names_of("other")


def test_the_documentation_lists_every_feature_as_the_registry_does() -> None:
    text = (Path(__file__).parents[2] / "docs" / "features.md").read_text()
    listed = [line for line in text.splitlines() if line.startswith("| `")]
    assert listed == [f"| `{feature.name}` | {feature.family} | {feature.unit} | {feature.meaning} |" for feature in FEATURES]


def test_more_of_the_same_pages_logons_and_mails_does_not_show_in_the_shortcut_free_track() -> None:
    profiles = routine(42)
    once = [(Kind.LOGON, {"hour": 10}), (Kind.HTTP, {"hour": 11}), (Kind.EMAIL, {"hour": 12})]
    few = judged(profiles, DAY, *((kind, rows(kind, DAY, one)) for kind, one in once))
    many = judged(profiles, DAY, *((kind, rows(kind, DAY, *[one] * 60)) for kind, one in once))
    assert {name for name in FREE if few.features[name] != many.features[name]} == set()
    assert few.features["pages_z"] < many.features["pages_z"]


def test_a_departure_does_not_show_in_the_shortcut_free_track(tmp_path: Path) -> None:
    header = "employee_name,user_id,email,role,department,team,supervisor\n"
    (tmp_path / "2009-11.csv").write_text(header + "Ana S,ana,a@dtaa.com,Salesman,D,T,B\n")
    (tmp_path / "2009-12.csv").write_text(header + "Bob S,bob,a@dtaa.com,Salesman,D,T,B\n")
    profiles, frame = routine(42), rows(Kind.HTTP, DAY, {})
    gone = judged(profiles, DAY, (Kind.HTTP, frame), directory=Directory.read(tmp_path))
    here = judged(profiles, DAY, (Kind.HTTP, frame))
    assert gone.features["departed"] == 1
    assert {name for name in FREE if gone.features[name] != here.features[name]} == set()


def test_the_first_drive_of_someone_who_never_used_one_is_odd() -> None:
    window = judged(
        routine(42), DAY, (Kind.DEVICE, rows(Kind.DEVICE, DAY, {"hour": 14})), (Kind.FILE, rows(Kind.FILE, DAY, {"filename": "x.zip"}))
    )
    assert window.features["odd_drive"] == window.features["connects_first"] == 1
    assert window.features["odd_program"] == window.features["new_file_types"] == 1
    assert window.features["odd_drive_hours"] == 0


def test_hours_are_judged_against_the_users_own() -> None:
    day = rows(Kind.LOGON, DAY, {"hour": 10})
    night = rows(Kind.LOGON, DAY, {"hour": 23})
    window = judged(routine(42), DAY, (Kind.LOGON, day))
    assert (window.features["off_hours_logon"], window.features["odd_hours"]) == (0, 0)
    window = judged(routine(42), DAY, (Kind.LOGON, night))
    assert (window.features["off_hours_logon"], window.features["odd_hours"]) == (6, 1)
    owl = Profiles(CALENDAR)
    for past in range(DAY0, DAY0 + 42):
        owl.fold({Kind.LOGON: rows(Kind.LOGON, past, {"hour": 22}, {"hour": 23})}, past)
    assert judged(owl, DAY, (Kind.LOGON, night)).features["odd_hours"] == 0


def test_flagged_sites_are_known_by_list_and_by_word() -> None:
    urls = [
        "http://www.wikileaks.org/submit",
        "http://dropbox.com/upload/x",
        "http://example.org/Free-Keylogger",
        "http://example.org/jobs/1",
    ]
    window = judged(routine(42), DAY, (Kind.HTTP, rows(Kind.HTTP, DAY, *[{"url": url} for url in urls])))
    for name in ("leak", "cloud", "spyware", "job"):
        assert window.features[f"{name}_any"] == window.features[f"{name}_first"] == 1
    assert window.features["odd_site"] == window.features["odd_upload"] == window.features["odd_job_hunt"] == 1
    assert window.features["employer_any"] == 0
    assert window.features["job_share"] == 0.25


def test_mails_that_leave_are_told_apart() -> None:
    mails = [
        {"to": "smith-ana@gmail.com", "attachments": 2},
        {"to": "bob@dtaa.com;" * 12},
        {"to": "hiring@boeing.com", "cc": "bob@dtaa.com"},
        {"to": "bob@dtaa.com"},
    ]
    window = judged(routine(42), DAY, (Kind.EMAIL, rows(Kind.EMAIL, DAY, *mails)))
    assert window.features["mail_to_own_address"] == window.features["odd_own_mail"] == 1
    assert window.features["mass_mail"] == 1
    assert window.features["most_recipients"] == 12
    assert window.features["employer_mail_any"] == window.features["employer_mail_new_recipient"] == 1
    assert window.features["outside_share"] == 0.5
    assert window.features["most_outside_attachments"] == 2


def test_another_machine_is_strange_and_a_new_one_is_new() -> None:
    window = judged(routine(42), DAY, (Kind.LOGON, rows(Kind.LOGON, DAY, {"pc": "PC-2"})))
    assert window.features["strange_machine"] == window.features["new_machines"] == window.features["odd_machine"] == 1
    assert window.features["rarest_machine_days"] == 0
    window = judged(routine(42), DAY, (Kind.LOGON, rows(Kind.LOGON, DAY, {})))
    assert window.features["strange_machine"] == window.features["new_machines"] == window.features["odd_machine"] == 0


def test_nothing_is_new_or_odd_to_someone_without_a_history() -> None:
    everything = (
        (Kind.DEVICE, rows(Kind.DEVICE, DAY0, {"hour": 23})),
        (Kind.HTTP, rows(Kind.HTTP, DAY0, {"url": "http://wikileaks.org/"})),
        (Kind.LOGON, rows(Kind.LOGON, DAY0, {"pc": "PC-9"})),
    )
    window = judged(Profiles(CALENDAR), DAY0, *everything)
    for name in ("oddities", "new_machines", "connects_z", "connects_first", "leak_first", "after_hours_first", "files_above_top"):
        assert window.features[name] == 0, name
    assert window.new == {}
    assert window.learning


def test_features_become_rows_in_the_order_asked_for() -> None:
    assert np.array_equal(as_rows([{"a": 1.0, "b": 2.0}, {"b": 3.0}], ["b", "a"]), [[2.0, 1.0], [3.0, 0.0]])
    assert as_rows([], ["a"]).shape == (0, 1)


def test_days_with_drives_are_counted_back_from_the_window() -> None:
    profiles = Profiles(CALENDAR)
    for past in (DAY0, DAY0 + 2, DAY0 + 5, DAY0 + 6):
        kind = Kind.LOGON if past == DAY0 + 6 else Kind.DEVICE
        profiles.fold({kind: rows(kind, past, {})}, past)

    def seen(day: int) -> tuple[float, float, float, float]:
        features = judged(profiles, day, (Kind.LOGON, rows(Kind.LOGON, day, {}))).features
        return tuple(features[f"connects_{name}"] for name in ("lately", "since", "age", "habit"))  # type: ignore[return-value]

    assert seen(DAY0 + 7) == (3, 2, 7, 0.75)
    assert seen(DAY0 + 30) == (3, 25, 30, 0.75)
    assert seen(DAY0 + 31) == (2, 26, 31, 0.75)
    assert seen(DAY0 + 35) == (1, 30, 35, 0.75)
    assert seen(DAY0 + 36) == (0, 31, 36, 0.75)
    assert seen(DAY0 + 400) == (0, 90, 90, 0.75)
