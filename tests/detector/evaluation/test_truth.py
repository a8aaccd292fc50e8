from datetime import date
from pathlib import Path

import pytest

from detector.evaluation.truth import Insider, read_answers
from stream.errors import ConfigurationError


def _day(year: int, month: int, day: int) -> int:
    return (date(year, month, day) - date(1970, 1, 1)).days


def test_a_day_is_positive_when_it_holds_a_key_event_not_because_a_span_covers_it(organisation: Path) -> None:
    days = read_answers(organisation).days()
    assert [day for user, day, *_ in days.iter_rows() if user == "ANA0001"] == [_day(2010, 7, 1), _day(2010, 7, 3)]


def test_an_event_under_anothers_account_counts_for_the_day_of_that_account_and_the_insiders_story(organisation: Path) -> None:
    days = read_answers(organisation).days().select("user", "day", "insider", "scenario", "n_key").rows()
    assert ("EVE0003", _day(2010, 7, 6), "BOB0002", 3, 1) in days
    assert ("BOB0002", _day(2010, 7, 6), "BOB0002", 3, 1) not in days


def test_identity_is_kind_and_id_so_the_same_id_may_occur_in_two_kinds(organisation: Path) -> None:
    events = read_answers(organisation).events
    assert events.filter(events["id"] == "{L1}")["kind"].to_list() == ["logon", "email"]
    assert events.height == 6


def test_naive_dates_are_times_of_the_organisations_zone(organisation: Path) -> None:
    utc, berlin = (read_answers(organisation, zone).events for zone in ("UTC", "Europe/Berlin"))
    assert set((utc["ts"] - berlin["ts"]).to_list()) == {2 * 3_600_000}
    assert utc["day"].to_list() == berlin["day"].to_list()


def test_insiders_of_releases_that_are_not_here_are_passed_over(organisation: Path) -> None:
    assert read_answers(organisation).insiders == (
        Insider("ANA0001", 1, "r4.2-1-ANA0001.csv"),
        Insider("BOB0002", 3, "r4.2-3-BOB0002.csv"),
    )


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"insiders\.csv does not exist"):
        read_answers(tmp_path)


def test_a_missing_file_of_a_release_that_is_here_is_an_error(organisation: Path) -> None:
    (organisation / "answers/r4.2-3/r4.2-3-BOB0002.csv").unlink()
    with pytest.raises(ConfigurationError, match=r"line 3"):
        read_answers(organisation)


@pytest.mark.parametrize("row", ["login,{X},07/05/2010 09:00:00,BOB0002,PC-2", "http,{X},2010-07-05,BOB0002,PC-2", "http,{X}"])
def test_a_broken_key_row_is_named_by_line_and_never_by_user(organisation: Path, row: str) -> None:
    path = organisation / "answers/r4.2-3/r4.2-3-BOB0002.csv"
    path.write_text(path.read_text() + row + "\n")
    with pytest.raises(ConfigurationError, match=r"r4\.2-3, line 3") as caught:
        read_answers(organisation)
    assert "BOB0002" not in str(caught.value)
