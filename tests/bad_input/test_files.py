"""Broken files, models and settings through the command line: what is said, with which exit code, and what still goes through."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from daywatch.__main__ import main
from detector.logline import classifier
from detector.logline.labels import LABELS
from tests.bad_input.files import FILES, FileCase
from tests.bad_input.site import Said, check


class Always:
    """A line classifier that needs no weights: what is looked at here comes before it."""

    def scores(self, lines: Sequence[str]) -> np.ndarray:
        return np.full((len(lines), len(LABELS)), 1 / len(LABELS))


@pytest.mark.parametrize("given", FILES, ids=lambda given: given.case.slug)
def test_it_is_told_what_is_wrong(
    given: FileCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if given.arguments[0] == "classify":
        monkeypatch.setattr(classifier.LineClassifier, "load", lambda *_arguments, **_more: Always())
    given.lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["daywatch", *given.arguments])
    with pytest.raises(SystemExit) as left:
        main()
    shown = capfd.readouterr()
    check(given.case, Said(int(left.value.code or 0), shown.out, shown.err))
    assert given.lines is None or len(shown.out.splitlines()) == given.lines
