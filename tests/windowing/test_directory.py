"""Promises of `windowing.directory`: every snapshot counts from its date, and nobody departs before the month is over."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from stream.errors import ConfigurationError
from windowing.directory import Directory

HEADER = "employee_name,user_id,email,role,business_unit,functional_unit,department,team,supervisor\n"


def person(name: str, user: str, role: str, team: str = "1 - A", boss: str = "Bea Boss") -> str:
    return f"{name},{user},{user}@dtaa.com,{role},1,2 - Unit,3 - Dep,{team},{boss}\n"


def at(directory: Directory, year: int, month: int, day: int) -> "tuple[str, bool] | None":
    found = directory.at(int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000))
    if found is None:
        return None
    rows = found.rows(["ANA0001"])
    return rows.role[0], bool(rows.departed[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ldap = tmp_path / "LDAP"
    ldap.mkdir()
    (ldap / "2010-01.csv").write_text(HEADER + person("Ana A", "ANA0001", "Salesman") + person("Bea Boss", "BEA0001", "Manager", boss=""))
    (ldap / "2010-02.csv").write_text(HEADER + person("Ana A", "ANA0001", "ITAdmin") + person("Bea Boss", "BEA0001", "Manager", boss=""))
    (ldap / "2010-03.csv").write_text(HEADER + person("Bea Boss", "BEA0001", "Manager", boss=""))
    return tmp_path


def test_a_snapshot_is_valid_from_the_first_of_its_month(folder: Path) -> None:
    directory = Directory.read(folder)
    assert at(directory, 2009, 12, 31) is None
    assert at(directory, 2010, 1, 1) == ("Salesman", False)
    assert at(directory, 2010, 1, 31) == ("Salesman", False)
    assert at(directory, 2010, 2, 1) == ("ITAdmin", False)


def test_nobody_has_departed_before_the_month_that_lacks_them_is_over(folder: Path) -> None:
    directory = Directory.read(folder)
    assert at(directory, 2010, 3, 31) == ("ITAdmin", False)
    assert at(directory, 2010, 4, 1) == ("", True)


def test_who_comes_back_has_not_departed(folder: Path) -> None:
    (folder / "LDAP" / "2010-05.csv").write_text(HEADER + person("Ana A", "ANA0001", "Physicist"))
    directory = Directory.read(folder)
    assert at(directory, 2010, 4, 30) == ("", True)
    assert at(directory, 2010, 5, 1) == ("Physicist", False)


def test_dates_are_local_in_the_organisations_zone(folder: Path) -> None:
    directory = Directory.read(folder, "Asia/Kolkata")
    midnight = int(datetime(2010, 1, 31, 18, 30, tzinfo=UTC).timestamp() * 1000)
    before, after = directory.at(midnight - 1), directory.at(midnight)
    assert before is not None
    assert after is not None
    assert before.rows(["ANA0001"]).role == ["Salesman"]
    assert after.rows(["ANA0001"]).role == ["ITAdmin"]


def test_administrators_and_managers_are_known(folder: Path) -> None:
    (folder / "LDAP" / "2010-03.csv").write_text(
        HEADER
        + person("Ana A", "ANA0001", "ITAdmin")
        + person("Bea Boss", "BEA0001", "Manager", boss="")
        + person("Cal C", "CAL0001", "AdministrativeAssistant")
    )
    found = Directory.read(folder).at(int(datetime(2010, 3, 5, tzinfo=UTC).timestamp() * 1000))
    assert found is not None
    rows = found.rows(["ANA0001", "BEA0001", "CAL0001", "ZOE0001"])
    assert rows.admin.tolist() == [True, False, False, False]
    assert rows.manager.tolist() == [False, True, False, False]
    assert rows.known.tolist() == [True, True, True, False]


def test_a_folder_of_snapshots_may_be_given_itself(folder: Path) -> None:
    assert at(Directory.read(folder / "LDAP"), 2010, 2, 2) == ("ITAdmin", False)


def test_what_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no snapshots"):
        Directory.read(tmp_path / "nowhere")
    (folder / "LDAP" / "2010-13.csv").write_text(HEADER)
    with pytest.raises(ConfigurationError, match=r"2010-13.csv names no date"):
        Directory.read(folder)
    (folder / "LDAP" / "2010-13.csv").unlink()
    (folder / "LDAP" / "2010-06.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigurationError, match=r"2010-06.csv has no column user_id"):
        Directory.read(folder)
