"""Files that commands read."""

from pathlib import Path

import pytest

from daywatch.inputs import opened
from stream.errors import ConfigurationError


def test_a_file_gives_its_bytes_and_is_closed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\ntwo\n")
    with opened(tmp_path / "a") as lines:
        assert list(lines) == [b"one\n", b"two\n"]
    assert lines.closed


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="missing" if name == "missing" else "directory"), opened(tmp_path / name):
        pass
