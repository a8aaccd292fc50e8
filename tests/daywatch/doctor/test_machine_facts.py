"""What the doctor sees of the machine it runs on."""

from pathlib import Path

from packaging.requirements import Requirement

from daywatch.doctor import machine_facts
from daywatch.doctor.machine_facts import disks, packages, zone_base


def test_directories_of_one_file_system_are_one_disk_and_those_not_made_yet_lie_on_their_parents(tmp_path: Path) -> None:
    (found,) = disks([(tmp_path, "results"), (tmp_path / "not" / "yet", "models")])
    assert (found.directory, found.purpose) == (str(tmp_path), "results, models")
    assert 0 < found.free <= found.total


def test_what_cannot_be_written_to_is_told_beside_its_disk() -> None:
    found = disks([(Path("/proc/sys"), "results")])
    # whoever may do everything may not write there either
    assert any(each.failure for each in found) or not found[0].failure
    (place,) = disks([(Path("/proc/1/task/no/such"), "results")])[1:] or (None,)
    assert place is None or place.failure


def test_a_zone_is_found_where_it_is_read_from_first_with_its_edition(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").touch()
    (tmp_path / "tzdata.zi").write_text("# version 2019c\n# more\n")
    found = zone_base("Europe/Berlin", [str(tmp_path / "not"), str(tmp_path)])
    assert (found.source, found.edition) == (str(tmp_path), "2019c")
    assert zone_base("Asia/Tokyo", [str(tmp_path)]).source == "the package tzdata"
    assert zone_base("Asia/Tokyo", [str(tmp_path)]).edition >= "2025"


def test_this_installation_is_in_range_and_an_impossible_one_is_not() -> None:
    found = {each.name: each for each in packages()}
    assert found["python"].fits
    assert found["confluent-kafka"].fits
    assert found["redis"].wanted
    assert "torch" not in found
    assert "torch" in {each.name for each in packages(["llm"])}
    assert not machine_facts.package_of(Requirement("redis>=999")).fits
    gone = machine_facts.package_of(Requirement("no-such-library-here>=1"))
    assert (gone.version, gone.fits) == ("", False)
