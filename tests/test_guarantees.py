"""The page on guarantees names tests that exist."""

import re
from pathlib import Path

import pytest

PAGES = ("guarantees.md", "delivery.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_is_there(repository: Path, page: str) -> None:
    text = (repository / "docs" / page).read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+(?:\.py)?)(?:::(\w+))?`", text)
    assert len(named) > 3
    for path, name in named:
        place = repository / path
        assert place.exists(), path
        assert not name or re.search(rf"^def {name}\(", place.read_text(encoding="utf-8"), re.MULTILINE), f"{path} has no {name}"
