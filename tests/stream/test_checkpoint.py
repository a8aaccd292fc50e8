"""The place of a replay is kept whole, and belongs to that replay alone."""

from pathlib import Path

import pytest

from stream.checkpoint import PlaceFile
from stream.errors import ConfigurationError
from stream.replay import Place

PLACE = Place(number=2, at_ms=1262592753000, first_ms=1262563200000, newest_ms=1262592752999, events=41)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    kept = PlaceFile(tmp_path / "deep" / "place.json", {"files": [[1, 2]], "kinds": ("logon",)})
    assert kept.load() is None
    kept.save(PLACE, 7)
    kept.save(PLACE, 8)
    assert kept.load() == (PLACE, 8)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["place.json"]


def test_another_replays_place_is_not_taken(tmp_path: Path) -> None:
    PlaceFile(tmp_path / "place.json", {"zone": "UTC"}).save(PLACE, 0)
    assert PlaceFile(tmp_path / "place.json", {"zone": "Europe/Berlin"}).load() is None


def test_every_replay_has_a_file_of_its_own(tmp_path: Path) -> None:
    paths = {PlaceFile.beneath(tmp_path, identity).path for identity in ({"zone": "UTC"}, {"zone": "Asia/Kolkata"}, {})}
    assert len(paths) == 3


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "place.json").write_text("{")
    with pytest.raises(ConfigurationError, match="begin anew"):
        PlaceFile(tmp_path / "place.json", {}).load()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = PlaceFile(tmp_path / "file" / "place.json", {})
    assert kept.load() is None
    with pytest.raises(ConfigurationError, match="cannot be written"):
        kept.save(PLACE, 0)
