"""Notes beside an adapter come back as they were, and nothing else is taken for them."""

from pathlib import Path

import pytest

from detector.narrative.notes import FILE, Notes, read_notes, write_notes
from stream.errors import ConfigurationError

NOTES = Notes(
    "package:x", "ab" * 32, "all", "1:abc", 640, (1.5, -2.0), 0.3, (0.5, 0.9, -1.0), {"malicious": 0.4}, {"0.05": 0.1}, {"seed": 1}
)


def test_notes_come_back_as_they_were(tmp_path: Path) -> None:
    write_notes(tmp_path, NOTES)
    assert read_notes(tmp_path) == NOTES


def test_an_adapter_of_another_maker_has_none(tmp_path: Path) -> None:
    assert read_notes(tmp_path) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "other"}', '{"schema": "daywatch.narrative/1", "base": "x"}', '{"schema": 1}'])
def test_what_is_no_note_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigurationError, match=FILE):
        read_notes(tmp_path)
